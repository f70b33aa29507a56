"""A pooler in front of the msg-db: what operating.md says about PgBouncer is so."""

import os
import shutil
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from server import embedded, schema
from tests.conftest import fresh_database
from tests.deploy.nginx.conftest import free_ports, wait_for
from tests.faults import stack

PGBOUNCER = shutil.which("pgbouncer", path=os.environ.get("PATH", "") + ":/usr/sbin")
pytestmark = pytest.mark.skipif(PGBOUNCER is None, reason="PgBouncer is not installed (Debian: pgbouncer)")


@pytest.fixture
def pooled(postgres, tmp_path_factory):
    """Starts a PgBouncer in a mode in front of a new msg-db, with two connections to it: the URL for servers."""
    started = []

    def start(mode):
        folder = tmp_path_factory.mktemp("pgbouncer")
        for path in (folder, *folder.parents):
            if path.name.startswith("pytest-") or path == folder:
                path.chmod(0o755)
        url = fresh_database(postgres, schema.MSG_DB)
        (port,) = free_ports(1)
        (folder / "pgbouncer.ini").write_text(f"""[databases]
msg_db = host={postgres.socket_folder} dbname={stack.name_of(url)} user=note_whisperer
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
default_pool_size = 12
ignore_startup_parameters = options,extra_float_digits
""")
        user = embedded._unprivileged_user()
        options = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}
        with open(folder / "log", "wb") as log:
            process = subprocess.Popen(
                [PGBOUNCER, folder / "pgbouncer.ini"], stdout=log, stderr=log, **options
            )
        started.append(process)
        wait_for(lambda: b"process up" in Path(folder, "log").read_bytes(), "PgBouncer does not start")
        return f"postgresql://web@127.0.0.1:{port}/msg_db?sslmode=disable"

    yield start
    for process in started:
        process.terminate()
        process.wait()


def put(url):
    request = urllib.request.Request(f"{url}/post", b"message=hello", {"Accept": "text/plain"})
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.read().decode().strip()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.status, None


def test_by_session_it_works(pooled, seeded_key_db_url, tmp_path):
    """A server on a pooler that assigns connections by session puts and reveals."""
    environment = {"KEY_DB_URL": seeded_key_db_url, "MSG_DB_URL": pooled("session")}
    with stack.servers(1, environment, tmp_path) as (server,):
        links = [put(server.url)[1] for _ in range(50)]
        for link in links:
            asked = urllib.request.Request(link, headers={"Accept": "text/plain"})
            assert urllib.request.urlopen(asked).read() == b"hello"


def test_by_transaction_it_does_not(pooled, seeded_key_db_url, tmp_path):
    """One of several servers on a pooler that assigns by transaction meets statements that it has not prepared."""
    environment = {"KEY_DB_URL": seeded_key_db_url, "MSG_DB_URL": pooled("transaction")}
    with stack.servers(2, environment, tmp_path) as servers:
        statuses = {put(server.url)[0] for _ in range(50) for server in servers}
    assert 500 in statuses
