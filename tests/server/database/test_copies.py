"""COPY in threads: values arrive as they are, transactions end in time, and a broken connection costs only itself."""

import asyncio
import contextlib
import os
import signal
import threading

import psycopg2
import pytest

from server.database import Unavailable, copy_in, copy_out
from server.database.copies import CopyPool
from tests.server.database.conftest import backend_of, opened
from tests.server_process import free_port

pytestmark = pytest.mark.gen_test

VALUES = [(0, b""), (-1, b"\xff\xff"), (2**31 - 1, bytes(range(256))), (7, memoryview(b"PGCOPY\n" * 20_000))]


@contextlib.contextmanager
def copying(url, size=1, timeout=5.0):
    pool = CopyPool(url, size, timeout)
    yield pool
    pool.close()


def backend(cursor):
    cursor.execute("SELECT pg_backend_pid()")
    return cursor.fetchone()[0]


def fill(cursor):
    cursor.execute("CREATE TABLE copied (number integer, data bytea)")
    copy_in(cursor, "copied (number, data)", VALUES)


async def test_values_arrive_as_they_are(msg_db_url):
    """Empty ones, those that look like the end of the data, and long ones."""
    query = "SELECT data FROM copied WHERE number < %s ORDER BY number"
    async with opened(msg_db_url) as db:
        await db.copy(fill)

        rows = await db.execute("SELECT * FROM copied ORDER BY number")
        assert [(number, bytes(data)) for number, data in rows] == sorted(VALUES)
        assert await db.copy(lambda cursor: copy_out(cursor, query, (2**31 - 1,))) == [
            data for number, data in sorted(VALUES) if number < 2**31 - 1
        ]
        assert await db.copy(lambda cursor: copy_out(cursor, query, (-5,))) == []


async def test_work_that_raises_takes_no_effect(msg_db_url):
    """Its error is the caller's, and the connection is used again."""

    def refuse(cursor):
        fill(cursor)
        raise LookupError(backend(cursor))

    with copying(msg_db_url) as pool:
        with pytest.raises(LookupError) as refused:
            await pool.run(refuse)

        assert await pool.run(backend) == refused.value.args[0]
        await pool.run(fill)


async def test_a_statement_that_is_wrong_is_the_caller_s_fault(msg_db_url):
    """It is no outage."""
    with copying(msg_db_url) as pool:
        with pytest.raises(psycopg2.errors.UndefinedTable):
            await pool.run(lambda cursor: copy_in(cursor, "nowhere", VALUES))


async def test_a_slow_statement_is_ended(msg_db_url):
    """By the database itself, after the timeout."""
    with copying(msg_db_url, timeout=2.5) as pool:
        with pytest.raises(Unavailable, match="statement timeout"):
            await pool.run(lambda cursor: cursor.execute("SELECT pg_sleep(60)"))

        assert await pool.run(backend)


async def test_a_frozen_database_is_given_up_and_its_thread_used_again(msg_db_url):
    """A backend that does not even end the statement costs its connection, and nothing else."""
    with copying(msg_db_url, timeout=0.2) as pool:
        frozen = await _in_the_end(pool, backend)
        os.kill(frozen, signal.SIGSTOP)
        try:
            with pytest.raises(Unavailable, match="did not answer in time"):
                await pool.run(backend)
            assert await _in_the_end(pool, backend) != frozen
        finally:
            os.kill(frozen, signal.SIGCONT)


async def _in_the_end(pool, work):
    """The result of `work` once the only thread is free again: on a busy machine, that may take several tries."""
    while True:
        with contextlib.suppress(Unavailable):
            return await pool.run(work)


async def test_waiting_for_a_thread_ends(msg_db_url):
    """A transaction that waited for longer than a statement may take is never run."""
    release, ran = threading.Event(), []
    with copying(msg_db_url, timeout=0.2) as pool:
        holding = asyncio.create_task(pool.run(lambda cursor: release.wait(60)))
        await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="did not answer in time"):
            await pool.run(lambda cursor: ran.append(1))
        release.set()
        await asyncio.gather(holding, return_exceptions=True)

        assert await _in_the_end(pool, backend)
        assert ran == []


async def test_a_connection_that_opens_too_late_is_used_only_by_the_next_transaction(postgres, msg_db_url):
    """The caller was told that the database did not answer, and nothing would end what runs now."""
    ran = []
    with copying(msg_db_url, timeout=0.2) as pool:
        postgres.process.send_signal(signal.SIGSTOP)
        try:
            with pytest.raises(Unavailable, match="did not answer in time"):
                await pool.run(lambda cursor: ran.append(1))
        finally:
            postgres.process.send_signal(signal.SIGCONT)

        assert await _in_the_end(pool, backend)
        assert ran == []


async def test_a_connection_that_died_while_idle_is_not_used(msg_db_url):
    """After a restart of the database the first transaction works."""
    async with opened(msg_db_url) as db:
        with copying(msg_db_url) as pool:
            dead = await pool.run(backend)
            await db.execute("SELECT pg_terminate_backend(%s, 5000)", (dead,))

            assert await pool.run(backend) != dead


async def test_a_connection_that_breaks_costs_one_transaction(msg_db_url):
    """It may have taken effect, so it is not run a second time."""

    def die(cursor):
        cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    with copying(msg_db_url) as pool:
        with pytest.raises(Unavailable):
            await pool.run(die)

        assert await pool.run(backend)


async def test_a_transaction_outlives_its_caller(msg_db_url):
    """A client that leaves costs no connection."""
    begun, release = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def slow(cursor):
        fill(cursor)
        loop.call_soon_threadsafe(begun.set)
        release.wait(60)

    async with opened(msg_db_url) as db:
        await backend_of(db)
        with copying(msg_db_url) as pool:
            calling = asyncio.create_task(pool.run(slow))
            await begun.wait()
            calling.cancel()
            await asyncio.wait([calling])
            release.set()

            await pool.run(backend)  # by the same thread, so after the other one

            assert await db.execute("SELECT count(*) FROM copied") == [(len(VALUES),)]


async def test_closing_ends_a_transaction_that_is_running(msg_db_url):
    """A server that stops does not wait for its database."""
    begun, loop = asyncio.Event(), asyncio.get_running_loop()

    def sleep(cursor):
        loop.call_soon_threadsafe(begun.set)
        cursor.execute("SELECT pg_sleep(60)")

    with copying(msg_db_url, timeout=50) as pool:
        running = asyncio.create_task(pool.run(sleep))
        await begun.wait()
    with pytest.raises(Unavailable):
        await running


@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-name.invalid"])
async def test_a_database_that_is_not_there_is_unavailable(host):
    """Whether nothing listens, or nobody knows its name."""
    with copying(f"postgresql://{host}:{free_port()}/msg_db") as pool:
        with pytest.raises(Unavailable):
            await pool.run(backend)
