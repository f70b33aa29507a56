"""Momoko's traps, deadlines, and connections that come back whatever happens to them."""

import asyncio
import contextlib
import os
import signal
from importlib import metadata

import psycopg2
import pytest
from psycopg2.extensions import TRANSACTION_STATUS_IDLE

from server.database import Database, Prepared, Unavailable

pytestmark = pytest.mark.gen_test


@contextlib.asynccontextmanager
async def opened(url, size=2, timeout=5.0):
    """A Database within the running loop."""
    opened = Database(url, size, timeout)
    try:
        yield opened
    finally:
        await opened.close()


@contextlib.asynccontextmanager
async def listener(on_connect):
    """A TCP port whose connections are handed to `on_connect(reader, writer)`."""
    writers = []

    async def accept(reader, writer):
        writers.append(writer)
        await on_connect(reader, writer)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.close()


async def never_answer(reader, writer):
    await reader.read(1)


async def refuse_for_now(reader, writer):
    await reader.read(1)
    fields = b"SFATAL\0VFATAL\0C57P03\0Mthe database system is starting up\0\0"
    writer.write(b"E" + (len(fields) + 4).to_bytes(4, "big") + fields)
    await writer.drain()
    writer.close()


async def backend_of(db):
    ((pid,),) = await db.execute("SELECT pg_backend_pid()")
    return pid


async def test_trap_1_momoko_runs_beside_tornado_6():
    """What Momoko's metadata forbids is installed: Tornado 6, and psycopg2 without its source."""
    assert metadata.version("momoko") == "2.2.5.1"
    assert metadata.version("tornado").startswith("6.")
    with pytest.raises(metadata.PackageNotFoundError):
        metadata.version("psycopg2")


async def test_trap_2_a_statement_is_never_run_twice(msg_db_url):
    """Where the connection breaks after the effect, the caller is told, and nothing is repeated."""
    async with opened(msg_db_url) as db:
        await db.execute("CREATE TABLE effect (n integer)")
        with pytest.raises(Unavailable):
            await db.execute(
                "INSERT INTO effect VALUES (1); COMMIT; SELECT pg_terminate_backend(pg_backend_pid())"
            )

        assert await db.execute("SELECT count(*) FROM effect") == [(1,)]


async def test_trap_3_cancelling_a_waiting_caller_loses_no_connection(msg_db_url):
    """A caller that goes away while it waits leaves its connection to the others."""
    async with opened(msg_db_url, size=1) as db:
        async with db.connection():
            waiting = asyncio.create_task(db.execute("SELECT 1"))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])

        assert await db.execute("SELECT 2") == [(2,)]
        assert db.in_use == 0


async def begun(db):
    """A statement that is under way, for a minute, on the only connection."""
    await db.execute("SELECT 1")
    running = asyncio.create_task(db.execute("SELECT pg_sleep(60)"))
    while not db.in_use:
        await asyncio.sleep(0)
    return running


async def test_trap_3_cancelling_a_running_statement_loses_no_connection(msg_db_url):
    """A caller that goes away in the middle of a statement takes only that connection with it."""
    async with opened(msg_db_url, size=1) as db:
        running = await begun(db)
        running.cancel()
        await asyncio.wait([running])

        assert await db.execute("SELECT 2") == [(2,)]
        assert db.in_use == 0


async def test_trap_4_a_database_that_never_answers_is_given_up():
    """Connecting to a port behind which nobody speaks ends in time."""
    async with listener(never_answer) as port:
        async with opened(f"postgresql://127.0.0.1:{port}/x?sslmode=disable", timeout=0.2) as db:
            with pytest.raises(Unavailable):
                await db.execute("SELECT 1")


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


async def test_trap_4_waiting_for_a_connection_has_an_end(msg_db_url):
    """Whoever waits longer than the timeout is refused, and gets no connection later on."""
    async with opened(msg_db_url, size=1, timeout=0.2) as db:
        async with db.connection():
            with pytest.raises(Unavailable, match="free in time"):
                await db.execute("SELECT 1")

        assert await db.execute("SELECT 2") == [(2,)]
        assert db.in_use == 0


async def test_trap_4_only_so_many_may_wait(msg_db_url, monkeypatch):
    """More callers than the queue holds are refused at once."""
    monkeypatch.setattr("server.database.pool.LONGEST_QUEUE", 2)
    async with opened(msg_db_url, size=1) as db:
        async with db.connection():
            waiting = [asyncio.create_task(db.execute("SELECT 1")) for _ in range(2)]
            await asyncio.sleep(0)
            with pytest.raises(Unavailable, match="too many"):
                await db.execute("SELECT 1")

        assert await asyncio.gather(*waiting) == [[(1,)], [(1,)]]


async def test_trap_5_a_url_with_several_hosts_gets_to_the_one_that_answers(msg_db_url, postgres):
    """libpq moves on to another socket, and we follow it."""
    name = msg_db_url.partition("@/")[2].partition("?")[0]
    async with listener(refuse_for_now) as port:
        url = (
            f"host=127.0.0.1,{postgres.socket_folder} port={port},5432"
            f" dbname={name} user=note_whisperer sslmode=disable"
        )
        async with opened(url) as db:
            assert await db.execute("SELECT 1") == [(1,)]


async def test_trap_6_a_connection_in_a_transaction_does_not_go_back(msg_db_url):
    """The next caller starts outside of any transaction."""
    async with opened(msg_db_url, size=1) as db:
        async with db.connection() as connection:
            await connection.query("BEGIN; CREATE TABLE never (n integer)")

        async with db.connection() as connection:
            assert connection.connection.info.transaction_status == TRANSACTION_STATUS_IDLE
            assert await connection.query("SELECT to_regclass('never')") == [(None,)]


async def test_a_failed_transaction_does_not_go_back(msg_db_url):
    """Nor does one that waits for its ROLLBACK."""
    async with opened(msg_db_url, size=1) as db:
        with pytest.raises(psycopg2.errors.DivisionByZero):
            async with db.connection() as connection:
                await connection.query("BEGIN; SELECT 1 / 0")

        assert await db.execute("SELECT 1") == [(1,)]


async def test_a_connection_that_died_while_idle_is_not_handed_out(msg_db_url):
    """After a restart of the database the first statement works: nobody pays for a stale connection."""
    async with opened(msg_db_url, size=2) as db, opened(msg_db_url, size=1) as other:
        backend = await backend_of(db)
        await other.execute("SELECT pg_terminate_backend(%s, 5000)", (backend,))

        assert await backend_of(db) != backend


async def test_after_an_outage_all_connections_are_used_again(msg_db_url):
    """However many were lost, as many are opened again when they are needed, and none is leaked."""
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


async def test_what_is_under_way_when_all_is_closed_fails(msg_db_url):
    """Nobody is left waiting for an answer that no connection can bring any more."""
    async with opened(msg_db_url, size=1) as db:
        running = await begun(db)

    with pytest.raises(Unavailable, match="closed"):
        await running


async def test_a_deadline_that_passes_when_the_answer_is_there_is_one_like_any_other(msg_db_url, monkeypatch):
    """The connection is closed before whoever waited for the answer goes on: the caller may try again."""
    async with opened(msg_db_url, size=1) as db, db.connection() as connection:
        execute = connection.execute

        def execute_and_close(*arguments):
            answer = execute(*arguments)
            answer.add_done_callback(lambda _: connection.close())
            return answer

        monkeypatch.setattr(connection, "execute", execute_and_close)

        with pytest.raises(Unavailable):
            await connection.query("SELECT 1")


async def test_a_database_that_is_not_there_is_said_to_be_unavailable(postgres):
    """Refused at once, in one line, without what was asked."""
    async with opened(postgres.url("nowhere")) as db:
        with pytest.raises(Unavailable) as caught:
            await db.execute("SELECT %s", ("secret",))

    assert "nowhere" in str(caught.value)
    assert "\n" not in str(caught.value) and "secret" not in str(caught.value)


async def test_settings_of_the_url_are_kept(msg_db_url):
    """What an operator puts into the URL's options stands beside ours."""
    async with opened(f"{msg_db_url}&options=-c%20work_mem%3D8MB") as db:
        assert await db.execute("SHOW work_mem") == [("8MB",)]
        assert await db.execute("SHOW statement_timeout") == [("5s",)]
        assert await db.execute("SHOW idle_in_transaction_session_timeout") == [("5s",)]


async def test_a_prepared_statement_is_prepared_once_by_each_connection(msg_db_url):
    """Planned at its first use, and again after the connection was lost."""
    double = Prepared("double", "integer", "SELECT $1 * 2, (SELECT count(*) FROM pg_prepared_statements)")
    async with opened(msg_db_url, size=1) as db, opened(msg_db_url, size=1) as other:
        backend = await backend_of(db)

        assert await db.execute(double, ("21",)) == [(42, 1)]
        assert await db.execute(double, ("4",)) == [(8, 1)]

        await other.execute("SELECT pg_terminate_backend(%s, 5000)", (backend,))
        assert await db.execute(double, ("5",)) == [(10, 1)]


async def test_a_statement_that_cannot_be_prepared_leaves_the_connection_as_it_was(msg_db_url):
    """What does not exist yet may exist later: the same connection prepares it then."""
    late = Prepared("late", "integer", "SELECT n FROM late WHERE n > $1")
    async with opened(msg_db_url, size=1) as db:
        backend = await backend_of(db)
        with pytest.raises(psycopg2.errors.UndefinedTable):
            await db.execute(late, ("0",))
        await db.execute("CREATE TABLE late AS SELECT 7 AS n")

        assert await db.execute(late, ("0",)) == [(7,)]
        assert await backend_of(db) == backend


@pytest.mark.parametrize("change", ["DEALLOCATE ALL", "ALTER TABLE counted ALTER n TYPE bigint"])
async def test_a_session_whose_statements_are_of_no_use_is_given_up(msg_db_url, change):
    """Whether it has forgotten them or their tables have changed, the next one prepares them anew."""
    read = Prepared("counted", "integer", "SELECT n FROM counted WHERE n > $1")
    async with opened(msg_db_url, size=1) as db:
        await db.execute("CREATE TABLE counted AS SELECT 7 AS n")
        assert await db.execute(read, ("1",)) == [(7,)]
        await db.execute(change)

        with pytest.raises(Unavailable):
            await db.execute(read, ("1",))
        assert await db.execute(read, ("1",)) == [(7,)]


@pytest.mark.parametrize("text", ["'", "\\", "', ''); DELETE FROM note; --"])
async def test_nothing_that_would_have_to_be_escaped_is_sent(text):
    """A prepared statement's parameters are put into SQL as they are, so that they are looked at first."""
    with pytest.raises(ValueError):
        Prepared("any", "text", "SELECT $1").call([text])


async def test_what_the_database_says_unasked_costs_an_idle_connection_only(msg_db_url):
    """The connection is closed as soon as that arrives, and the next caller has another one."""
    async with opened(msg_db_url, size=1) as db, opened(msg_db_url, size=1) as other:
        backend = await backend_of(db)
        async with db.connection() as connection:
            pass
        await other.execute("SELECT pg_terminate_backend(%s, 5000)", (backend,))
        while not connection.closed:
            await asyncio.sleep(0.01)

        assert await backend_of(db) != backend
        assert (db.open, db.in_use) == (1, 0)
