"""What the fault tests share: a PostgreSQL that may be killed, and folders that its user may pass."""

import tempfile
from pathlib import Path

import pytest

from tests.faults import stack
from tests.faults.proxy import Proxy, socket_of

# Of the servers under test: a fifth of the default, so that what takes seconds takes less of them.
TIMEOUT = 1.0
# Where no timeout is to come: one that a busy machine does not reach.
PATIENT = 30.0


@pytest.fixture(scope="session")
def programs(postgres):
    """Where the embedded PostgreSQL's programs lie."""
    return Path(postgres.process.args[0]).parent


@pytest.fixture(scope="session")
def folder():
    """A folder that PostgreSQL's user may pass."""
    with tempfile.TemporaryDirectory(prefix="nw-faults-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="session")
def cluster(folder, programs):
    """A PostgreSQL that may be killed, with a msg-db."""
    with stack.cluster(folder / "cluster", programs) as cluster:
        yield cluster


@pytest.fixture
def proxy(msg_db_url):
    """A proxy in front of the test's own msg-db."""
    with Proxy(socket_of(msg_db_url), late=0.4 * TIMEOUT) as proxy:
        yield proxy


@pytest.fixture
def through_proxy(proxy, msg_db_url):
    """The URL of the test's own msg-db behind the proxy."""
    return proxy.url(stack.name_of(msg_db_url))


@pytest.fixture
def server(request, seeded_key_db_url, through_proxy, tmp_path):
    """A server process whose msg-db lies behind the proxy; its DB_TIMEOUT may be a parameter."""
    environment = {
        "KEY_DB_URL": seeded_key_db_url,
        "MSG_DB_URL": through_proxy,
        "DB_TIMEOUT": str(getattr(request, "param", TIMEOUT)),
    }
    with stack.servers(1, environment, tmp_path) as (server,):
        yield server
