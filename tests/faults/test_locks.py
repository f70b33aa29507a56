"""Rows that are locked: in one order, and not for longer than a moment by the dead."""

import asyncio
import contextlib
import os
import time

import psycopg2
import pytest

from server.database import Unavailable
from server.database.dsn import with_session_settings
from tests.faults import stack
from tests.faults.conftest import PATIENT, TIMEOUT
from tests.faults.proxy import Break, Moment, Trap
from tests.faults.test_conversation import SEALED, a_note, attempt, opened

pytestmark = pytest.mark.gen_test(timeout=60)


def execute(url, sql):
    with contextlib.closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        connection.commit()
        return cursor.fetchall() if cursor.description else None


async def until_two_wait(connection):
    waiting = 0
    while waiting < 2:
        await asyncio.sleep(0.005)
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE wait_event_type = 'Lock' AND datname = current_database()"
            )
            ((waiting,),) = cursor.fetchall()


async def test_two_groups_never_wait_for_each_other(msg_db_url):
    """They ask for the same notes in opposite orders, and meet in the middle: no deadlock."""
    name = stack.name_of(msg_db_url)
    async with opened(msg_db_url, 0, PATIENT) as one, opened(msg_db_url, 0, PATIENT) as other:
        placed = [await one.put(a_note("proof")) for _ in range(9)]
        with contextlib.closing(psycopg2.connect(msg_db_url)) as middle, middle.cursor() as cursor:
            cursor.execute("SELECT FROM note WHERE key = %s FOR UPDATE", (placed[4].key,))
            groups = [
                asyncio.gather(*(attempt(one, place.key, "proof") for place in placed)),
                asyncio.gather(*(attempt(other, place.key, "proof") for place in placed[::-1])),
            ]
            await until_two_wait(middle)
            middle.rollback()
        got, got_reversed = await asyncio.gather(*groups)

    assert [{a, b} for a, b in zip(got, got_reversed[::-1])] == [{SEALED, "read"}] * 9
    ((deadlocks,),) = execute(msg_db_url, f"SELECT deadlocks FROM pg_stat_database WHERE datname = '{name}'")
    assert deadlocks == 0


async def test_an_upload_is_not_locked_by_a_copy_that_stopped(proxy, through_proxy):
    """Its database waits for the rest of the chunks, and no timeout of PostgreSQL ends that."""
    upload, chunk = b"u" * 32, bytes(256 + 16)
    proxy.arm(Trap("chunks", Moment.SENT, Break.SILENCE))
    async with opened(through_proxy, timeout=TIMEOUT) as notes:
        await notes.files.begin(upload, 256)
        with pytest.raises(Unavailable):
            await notes.files.put_chunks(upload, 0, chunk)

        stored = False
        while not stored:
            with contextlib.suppress(Unavailable):
                await notes.files.put_chunks(upload, 0, chunk)
                stored = True

    assert proxy.sprung.total() == 1


@pytest.mark.skipif("FAULTS" not in os.environ, reason="waits for the kernel: `make faults` runs it")
async def test_a_server_that_freezes_holds_its_rows_for_seconds_only(cluster):
    """It takes no byte of a large note that the database sends: another reader gets it all the same.

    The database then sits in a system call, where no timeout of a statement reaches it: the kernel gives
    the connection up.
    """
    url = cluster.url("msg_db")
    execute(
        url,
        "INSERT INTO note (key, link_verifier, reveal_verifier, sealed, has_passphrase, expires_at)"
        " VALUES ('large', sha256('link'), sha256('proof'),"
        " decode('02' || repeat('00', 28 + 256 * 65536), 'hex'), false, now() + interval '1 day')",
    )
    async with opened(url, timeout=5.0) as notes:
        frozen = await take_no_byte(url, "large")
        start = time.monotonic()
        sealed = Unavailable()
        while isinstance(sealed, Unavailable):
            sealed = await attempt(notes, "large", "proof")
        seconds = time.monotonic() - start
        frozen.close()

    assert len(sealed) == 29 + 256 * 65536
    assert seconds < 20


async def take_no_byte(url, key):
    """A connection as ours are, whose client has asked for a note and does not read the answer."""
    dsn = with_session_settings(url, TIMEOUT)
    frozen = psycopg2.connect(dsn, async_=True)
    while frozen.poll() != psycopg2.extensions.POLL_OK:
        await asyncio.sleep(0.005)
    frozen.cursor().execute("BEGIN; SELECT sealed FROM note WHERE key = %s FOR UPDATE", (key,))
    while frozen.poll() == psycopg2.extensions.POLL_WRITE:
        await asyncio.sleep(0.005)
    return frozen
