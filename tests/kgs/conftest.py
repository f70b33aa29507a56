"""`python -m kgs` as an operator runs it, and a KGS that is caught in the middle of a chunk."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import psycopg2
import pytest

from kgs import seeding, verifying

ROOT = Path(__file__).parents[2]
DEADLINE = 60


def start(url, *arguments, **options):
    """A running `python -m kgs`, whose output is captured."""
    return subprocess.Popen(
        [sys.executable, "-m", "kgs", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "KEY_DB_URL": url},
        text=True,
        **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
    )


@pytest.fixture
def kgs(key_db_url):
    """Run `python -m kgs` on the test's key-db; returns its exit code, output and errors."""

    def run(*arguments, url=key_db_url, said=""):
        with start(url, *arguments, stdin=subprocess.PIPE) as process:
            try:
                output, errors = process.communicate(said, DEADLINE)
            finally:
                process.kill()
        return process.returncode, output, errors

    return run


def fill(url, blocks):
    """Seed in this process until there are this many blocks."""
    for _ in seeding.seed(url, blocks):
        pass


def damage(url):
    """List all damage of a key table."""
    return [each for _, found in verifying.verify(url) for each in found]


@pytest.fixture
def sql(key_db_url):
    """Run SQL on the test's key-db, each call in a separate transaction."""
    connection = psycopg2.connect(key_db_url)

    def run(statement, *parameters):
        with connection, connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    yield run
    connection.close()


@pytest.fixture
def lease(sql):
    """Lease up to this many blocks, as a server does; returns their ids."""
    return lambda blocks=1: [id_ for (id_,) in sql("SELECT id FROM lease_blocks(%s)", blocks)]


# Each takes a moment, so that repeating it does not keep a core busy.
WAITING = """
SELECT count(*) = 1
FROM pg_stat_activity, pg_sleep(0.02)
WHERE datname = current_database() AND application_name = 'note-whisperer KGS' AND wait_event_type = 'Lock'
"""

GONE = """
SELECT count(*) = 0
FROM pg_stat_activity, pg_sleep(0.02)
WHERE datname = current_database() AND application_name = 'note-whisperer KGS'
"""


@pytest.fixture
def caught(key_db_url, sql):
    """Start `python -m kgs` and hold it after it has written a chunk, before it can commit."""

    @contextlib.contextmanager
    def catch(*arguments):
        with contextlib.closing(psycopg2.connect(key_db_url)) as holder, holder.cursor() as cursor:
            cursor.execute("SELECT FROM key_cursor FOR UPDATE")
            with start(key_db_url, *arguments) as process:
                try:
                    while sql(WAITING) != [(True,)]:
                        assert process.poll() is None, process.stderr.read()
                    yield process
                finally:
                    process.kill()
        while sql(GONE) != [(True,)]:
            pass

    return catch
