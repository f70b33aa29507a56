"""What every test may use: one real PostgreSQL for all of them, and fresh databases for each."""

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

# Else the first look for a current loop makes one, up to Python 3.13, that nobody ever closes.
asyncio.set_event_loop(None)

# A shared machine is slow now and then, which is no fault of what is tested.
hypothesis.settings.register_profile("without deadlines", deadline=None)
hypothesis.settings.load_profile("without deadlines")


@pytest.fixture(scope="session", autouse=True)
def _nothing_is_left_behind():
    """The run has a folder of its own for temporary files; in the end that is empty, and no process runs on."""
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
        left = [" ".join(process.cmdline()) for process in running]
        for process in running:
            process.kill()
        left += [path.name for path in folder.iterdir() if not path.name.startswith("pytest-of-")]
        assert left == []


@contextlib.contextmanager
def _data_dir():
    with tempfile.TemporaryDirectory(prefix="nw-") as folder:
        Path(folder).chmod(0o755)  # as root, PostgreSQL's own user has to pass
        yield Path(folder, "data")


@pytest.fixture
def data_dir():
    """A folder for an embedded PostgreSQL of the test's own."""
    with _data_dir() as folder:
        yield folder


@pytest.fixture(scope="session")
def postgres():
    """A running PostgreSQL, stopped after the last test."""
    with _data_dir() as folder:
        with embedded.running(folder) as running:
            # Nothing here has to outlive the machine's power, and disks are slow.
            _execute(running, "ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")
            yield running


def _execute(postgres, *statements):
    connection = psycopg2.connect(postgres.url("postgres"))
    connection.autocommit = True
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
    connection.close()


def _copy_of(postgres, template):
    name = f"{template}_{next(_numbers)}"
    _execute(postgres, f"CREATE DATABASE {name} TEMPLATE {template}")
    return postgres.url(name)


@pytest.fixture(scope="session")
def _templates(postgres):
    for database in (schema.KEY_DB, schema.MSG_DB):
        schema.migrate(postgres.url(database), database)


@pytest.fixture
def key_db_url(postgres, _templates):
    """A key-db of the test's own, migrated and without keys."""
    return _copy_of(postgres, schema.KEY_DB)


@pytest.fixture
def msg_db_url(postgres, _templates):
    """A msg-db of the test's own, migrated and empty."""
    return _copy_of(postgres, schema.MSG_DB)


@pytest.fixture(scope="session")
def seeded_key_db_url(postgres, _templates):
    """A key-db with a million keys, for every server process that the tests start."""
    from kgs import seeding

    url = _copy_of(postgres, schema.KEY_DB)
    seeding.ensure_ahead(url, 1_000_000)
    return url


@pytest.fixture(scope="session")
def server_url(postgres, seeded_key_db_url):
    """The address of a running server process, with databases of its own."""
    msg_db_url = _copy_of(postgres, schema.MSG_DB)
    with serving({"KEY_DB_URL": seeded_key_db_url, "MSG_DB_URL": msg_db_url}) as (url, _):
        yield url
