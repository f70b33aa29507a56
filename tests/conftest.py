"""Fixtures for all tests: one real PostgreSQL, and fresh databases for each test."""

import asyncio
import contextlib
import ctypes
import itertools
import sys
import tempfile
from pathlib import Path

import hypothesis
import psutil
import psycopg2
import pytest

from server import embedded, schema
from tests.server_process import serving

_numbers = itertools.count()

# Otherwise, up to Python 3.13, the first call that asks for a current loop makes one that is never closed.
asyncio.set_event_loop(None)

# A shared machine is slow at times, which is not a fault of the code under test.
hypothesis.settings.register_profile("without deadlines", deadline=None)
hypothesis.settings.load_profile("without deadlines")


@pytest.fixture(scope="session", autouse=True)
def _nothing_is_left_behind():
    """At the end, the run's folder of temporary files is empty, and none of its processes still runs."""
    with tempfile.TemporaryDirectory(prefix="nw-") as name, pytest.MonkeyPatch.context() as patch:
        folder = Path(name)
        folder.chmod(0o755)  # as root, the users of PostgreSQL and nginx have to pass
        patch.setenv("TMPDIR", name)
        patch.setattr(tempfile, "tempdir", name)
        if sys.platform == "linux":
            pr_set_child_subreaper = 36  # a process whose parent ends becomes a child of this one
            ctypes.CDLL(None).prctl(pr_set_child_subreaper, 1)
        yield
        _, running = psutil.wait_procs(psutil.Process().children(recursive=True), timeout=30)
        left = [str(process) for process in running]
        for process in running:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        left += [path.name for path in folder.iterdir() if not path.name.startswith("pytest-of-")]
        assert left == []


@contextlib.contextmanager
def _data_dir():
    with tempfile.TemporaryDirectory(prefix="nw-") as folder:
        Path(folder).chmod(0o755)  # for root, PostgreSQL runs as another user, who has to reach the folder
        yield Path(folder, "data")


@pytest.fixture
def data_dir():
    """A folder in which a test may run an embedded PostgreSQL."""
    with _data_dir() as folder:
        yield folder


@pytest.fixture(scope="session")
def postgres():
    """A running PostgreSQL with migrated databases, stopped after the last test."""
    with _data_dir() as folder:
        with embedded.running(folder) as running:
            # Nothing here has to survive a power cut, and disks are slow.
            with statements(running.url("postgres")) as run:
                run("ALTER SYSTEM SET fsync = off")
                run("SELECT pg_reload_conf()")
            for database in (schema.KEY_DB, schema.MSG_DB):
                schema.migrate(running.url(database), database)
            yield running


def fresh_database(postgres, template):
    """The URL of a new, migrated database.

    Args:
        template: schema.KEY_DB, without keys, or schema.MSG_DB, without notes.
    """
    name = f"{template}_{next(_numbers)}"
    with statements(postgres.url("postgres")) as run:
        run(f"CREATE DATABASE {name} TEMPLATE {template}")
    return postgres.url(name)


@contextlib.contextmanager
def statements(url):
    """Runs single statements in a database: `run(statement, parameters)`."""
    connection = psycopg2.connect(url)
    connection.autocommit = True

    def run(statement, parameters=()):
        with connection.cursor() as cursor:
            cursor.execute(statement, parameters)

    yield run
    connection.close()


@pytest.fixture
def key_db_url(postgres):
    """A key-db for one test, migrated and without keys."""
    return fresh_database(postgres, schema.KEY_DB)


@pytest.fixture
def msg_db_url(postgres):
    """A msg-db for one test, migrated and empty."""
    return fresh_database(postgres, schema.MSG_DB)


@pytest.fixture(scope="session")
def seeded_key_db_url(postgres):
    """A key-db with a million keys, for every server process that the tests start."""
    from kgs import seeding

    url = fresh_database(postgres, schema.KEY_DB)
    seeding.ensure_ahead(url, 1_000_000)
    return url


@pytest.fixture(scope="session")
def server_url(postgres, seeded_key_db_url):
    """The URL of a running server process that has its own databases."""
    msg_db_url = fresh_database(postgres, schema.MSG_DB)
    with serving({"KEY_DB_URL": seeded_key_db_url, "MSG_DB_URL": msg_db_url}) as (url, _):
        yield url
