"""A bad day: both databases are lost at once, the key-db comes back from yesterday and the msg-db from its standby."""

import asyncio
import contextlib
import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta

import psycopg2
import pytest

from kgs import seeding
from server import schema
from tests.conftest import fresh_database
from tests.faults import history, stack
from tests.faults.conftest import TIMEOUT
from tests.faults.failover import pair
from tests.faults.load import Load, under_load
from tests.faults.test_failover import BOUND, UNKNOWN_AFTER
from tests.server_process import ROOT

KEYS = 400_000  # a day's fence and what the drill takes, with room to spare
A_DAY = timedelta(days=1)


def execute(url, *statements):
    with contextlib.closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)


class KeyDb:
    """A key-db that is backed up, lost and restored with PostgreSQL's own programs."""

    def __init__(self, postgres, programs, folder):
        self.url = fresh_database(postgres, schema.KEY_DB)
        self._admin_url, self._programs, self._dump = (
            postgres.url("postgres"),
            programs,
            folder / "key-db.dump",
        )
        seeding.ensure_ahead(self.url, KEYS)

    def back_up_yesterday(self):
        """Back up as if all that has happened until now had happened a day earlier."""
        execute(self.url, "UPDATE key_lease SET at = at - interval '1 day'")
        self._run("pg_dump", "--format=custom", f"--file={self._dump}", f"--dbname={self.url}")
        return datetime.now(UTC) - A_DAY

    def lose(self):
        execute(self._admin_url, f"DROP DATABASE {stack.name_of(self.url)} WITH (FORCE)")

    def restore(self):
        execute(self._admin_url, f"CREATE DATABASE {stack.name_of(self.url)} TEMPLATE template0")
        self._run("pg_restore", "--exit-on-error", f"--dbname={self.url}", self._dump)

    def fence(self, since):
        """As operating.md says it."""
        self._check([sys.executable, "-m", "kgs", "fence", "--since", since.isoformat(), "--yes"], ROOT)

    def _run(self, program, *arguments):
        self._check([self._programs / program, *arguments], "/")

    def _check(self, command, cwd):
        done = subprocess.run(
            command, cwd=cwd, env={"KEY_DB_URL": self.url, "LC_ALL": "C"}, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr


def keys_of(load):
    """The key of each note that was put."""
    return [note.path[1:6] for note in load.history.notes.values()]


@pytest.mark.gen_test(timeout=180)
async def test_after_the_worst_day_no_note_is_shown_twice_and_no_key_handed_out_twice(
    postgres, programs, folder, tmp_path
):
    """Restore the key-db, fence it, promote the msg-db's standby, start the servers: clients see a pause."""
    key_db = KeyDb(postgres, programs, tmp_path)
    with pair(folder / "restored", programs) as msg_db:
        environment = {
            "KEY_DB_URL": key_db.url,
            "MSG_DB_URL": msg_db.primary.url("msg_db"),
            "DB_TIMEOUT": str(TIMEOUT),
        }
        with stack.servers(2, environment, tmp_path) as servers:
            load = Load([server.port for server in servers], seed=19)
            async with under_load(load, clients=12):
                await more_notes(load, 100)
                since = await asyncio.to_thread(key_db.back_up_yesterday)
                # A day later: other servers lease keys that the backup knows nothing of.
                for server in servers:
                    await asyncio.to_thread(server.kill)
                    server.start()
                await asyncio.to_thread(wait_for_all, servers)
                await more_notes(load, 200)

                await asyncio.to_thread(msg_db.primary.kill)
                for server in servers:
                    server.kill()
                await asyncio.to_thread(key_db.lose)
                before = set(keys_of(load))

                await asyncio.to_thread(key_db.restore)
                await asyncio.to_thread(key_db.fence, since)
                await asyncio.to_thread(msg_db.promote)
                for server in servers:
                    server.environment["MSG_DB_URL"] = msg_db.standby.url("msg_db")
                    server.start()
                await asyncio.to_thread(wait_for_all, servers)
                await more_notes(load, 400)

    verdict = history.check(load.history, BOUND, UNKNOWN_AFTER)
    print(dict(verdict.counts))
    assert verdict.violations == []
    keys = keys_of(load)
    assert len(keys) - len(before) >= 400
    assert len(keys) == len(set(keys))


async def more_notes(load, count):
    wanted = len(load.history.notes) + count
    while len(load.history.notes) < wanted:
        await asyncio.sleep(0.01)


def wait_for_all(servers):
    for server in servers:
        server.wait_until_ready()


def put(url):
    request = urllib.request.Request(f"{url}/post", b"message=hello", {"Accept": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)["url"].split("/")[-2:]


def test_a_lost_msg_db_loses_notes_and_nothing_else(postgres, seeded_key_db_url, tmp_path):
    """With an empty msg-db in its place, old links are a plain 404, and new notes get other keys."""
    environment = {"KEY_DB_URL": seeded_key_db_url, "MSG_DB_URL": fresh_database(postgres, schema.MSG_DB)}
    with stack.servers(1, environment, tmp_path) as (server,):
        lost = [put(server.url) for _ in range(20)]
    environment["MSG_DB_URL"] = fresh_database(postgres, schema.MSG_DB)
    with stack.servers(1, environment, tmp_path) as (server,):
        new = [put(server.url) for _ in range(20)]
        for key, token in lost:
            request = urllib.request.Request(
                f"{server.url}/{key}/{token}", headers={"Accept": "application/json"}
            )
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(request)
            problem = json.load(refused.value)
            assert (problem["status"], "ending" in problem) == (404, False)
    assert not {key for key, _ in lost} & {key for key, _ in new}


def test_a_copy_of_the_msg_db_is_emptied_whole(msg_db_url):
    """The command of operating.md empties every table that holds anything of a note."""
    (command,) = re.findall(r"`(TRUNCATE [^`]*)`", (ROOT / "docs" / "operating.md").read_text())
    with contextlib.closing(psycopg2.connect(msg_db_url)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT tablename FROM pg_tables"
            " WHERE schemaname = 'public' AND tablename NOT IN ('schema_version', 'static_file')"
        )
        tables = {name for name, in cursor.fetchall()}
        cursor.execute(command)
    assert set(re.findall(r"\w+", command)) - {"TRUNCATE"} == tables
