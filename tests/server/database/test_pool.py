"""Momoko's traps, deadlines, and connections that come back to the pool whatever happens to them."""

import asyncio
import contextlib
import os
import signal
from importlib import metadata

import psycopg2
import pytest
from psycopg2.extensions import TRANSACTION_STATUS_IDLE

from server.database import Unavailable
from tests.server.database.conftest import backend_of, opened, running_statement
from tests.server_process import free_port

pytestmark = pytest.mark.gen_test


async def test_trap_1_momoko_runs_beside_tornado_6():
    """What Momoko's metadata forbids is installed: Tornado 6, and psycopg2 as a binary."""
    assert metadata.version("momoko") == "2.2.5.1"
    assert metadata.version("tornado").startswith("6.")
    with pytest.raises(metadata.PackageNotFoundError):
        metadata.version("psycopg2")


async def test_trap_2_a_statement_is_never_run_twice(msg_db_url):
    """If the connection breaks after the effect, the caller gets an error, and nothing is repeated."""
    async with opened(msg_db_url) as db:
        await db.execute("CREATE TABLE effect (n integer)")
        with pytest.raises(Unavailable):
            await db.execute(
                "INSERT INTO effect VALUES (1); COMMIT; SELECT pg_terminate_backend(pg_backend_pid())"
            )

        assert await db.execute("SELECT count(*) FROM effect") == [(1,)]


async def test_trap_3_cancelling_a_waiting_caller_loses_no_connection(msg_db_url):
    """A caller that is cancelled while it waits leaves its connection to the others."""
    async with opened(msg_db_url, size=1) as db:
        async with db.connection():
            waiting = asyncio.create_task(db.execute("SELECT 1"))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])

        assert await db.execute("SELECT 2") == [(2,)]
        assert db.in_use == 0


async def test_trap_3_cancelling_a_running_statement_loses_no_connection(msg_db_url):
    """A caller that is cancelled in the middle of a statement costs only that connection."""
    async with opened(msg_db_url, size=1) as db:
        running = await running_statement(db)
        running.cancel()
        await asyncio.wait([running])

        assert await db.execute("SELECT 2") == [(2,)]
        assert db.in_use == 0


async def test_trap_4_a_slow_statement_is_ended_and_the_connection_lives(msg_db_url):
    """The database itself ends a statement after the timeout."""
    async with opened(msg_db_url, size=1, timeout=0.2) as db:
        backend = await backend_of(db)
        with pytest.raises(Unavailable, match="statement timeout"):
            await db.execute("SELECT pg_sleep(60)")

        assert await backend_of(db) == backend


async def test_trap_4_a_frozen_database_is_given_up_and_used_again(msg_db_url):
    """A backend that does not even end the statement costs its connection, and nothing else."""
    async with opened(msg_db_url, size=1, timeout=0.2) as db:
        backend = await backend_of(db)
        os.kill(backend, signal.SIGSTOP)
        try:
            with pytest.raises(Unavailable, match="did not answer in time"):
                await db.execute("SELECT 1")
        finally:
            os.kill(backend, signal.SIGCONT)

        assert await backend_of(db) != backend


async def test_trap_4_waiting_for_a_connection_ends(msg_db_url):
    """A caller that waits longer than the timeout is refused, and gets no connection later."""
    async with opened(msg_db_url, size=1, timeout=0.2) as db:
        async with db.connection():
            with pytest.raises(Unavailable, match="free in time"):
                await db.execute("SELECT 1")

        assert await db.execute("SELECT 2") == [(2,)]
        assert db.in_use == 0


async def test_trap_4_the_number_of_waiting_callers_is_bounded(msg_db_url, monkeypatch):
    """Further callers are refused at once."""
    monkeypatch.setattr("server.database.pool.MAX_WAITING_CALLERS", 2)
    async with opened(msg_db_url, size=1) as db:
        async with db.connection():
            waiting = [asyncio.create_task(db.execute("SELECT 1")) for _ in range(2)]
            await asyncio.sleep(0)
            with pytest.raises(Unavailable, match="too many"):
                await db.execute("SELECT 1")

        assert await asyncio.gather(*waiting) == [[(1,)], [(1,)]]


async def test_trap_6_a_connection_in_a_transaction_does_not_go_back(msg_db_url):
    """The next caller starts outside of any transaction."""
    async with opened(msg_db_url, size=1) as db:
        async with db.connection() as connection:
            await connection.query("BEGIN; CREATE TABLE never (n integer)")

        async with db.connection() as connection:
            assert connection.connection.info.transaction_status == TRANSACTION_STATUS_IDLE
            assert await connection.query("SELECT to_regclass('never')") == [(None,)]


async def test_a_failed_transaction_does_not_go_back(msg_db_url):
    """A connection that waits for its ROLLBACK is closed too."""
    async with opened(msg_db_url, size=1) as db:
        with pytest.raises(psycopg2.errors.DivisionByZero):
            async with db.connection() as connection:
                await connection.query("BEGIN; SELECT 1 / 0")

        assert await db.execute("SELECT 1") == [(1,)]


async def test_a_connection_that_died_while_idle_is_not_handed_out(msg_db_url):
    """After a restart of the database the first statement works."""
    async with opened(msg_db_url, size=2) as db, opened(msg_db_url, size=1) as other:
        backend = await backend_of(db)
        await other.execute("SELECT pg_terminate_backend(%s, 5000)", (backend,))

        assert await backend_of(db) != backend


async def test_after_an_outage_all_connections_are_used_again(msg_db_url):
    """Lost connections are opened again when they are needed, and none is leaked."""
    kill = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
    async with opened(msg_db_url, size=4) as db, opened(msg_db_url, size=1) as other:
        for _ in range(3):
            await asyncio.gather(*(db.execute("SELECT pg_sleep(0.02)") for _ in range(8)))
            await other.execute(f"{kill} AND datname = current_database()")
            await asyncio.gather(*(db.execute("SELECT pg_sleep(0.02)") for _ in range(8)))

        async with contextlib.AsyncExitStack() as stack:
            for _ in range(4):
                await stack.enter_async_context(db.connection())
            assert (db.open, db.in_use) == (4, 4)
        assert (db.open, db.in_use) == (4, 0)


async def test_a_running_statement_fails_when_the_pool_is_closed(msg_db_url):
    """No caller waits for an answer that no connection can bring."""
    async with opened(msg_db_url, size=1) as db:
        running = await running_statement(db)

    with pytest.raises(Unavailable, match="closed"):
        await running


async def test_a_database_says_whether_it_answers(msg_db_url):
    """A database that cannot be reached does not answer, and asking raises nothing."""
    away = f"postgresql://127.0.0.1:{free_port()}/away"
    async with opened(msg_db_url) as db, opened(away, timeout=0.2) as missing:
        assert await db.answers() is True
        assert await missing.answers() is False
