"""One connection: sockets that libpq changes, prepared statements, and errors that end it."""

import asyncio
import contextlib

import psycopg2
import pytest

from server.database import PreparedStatement, Unavailable, first_line
from tests.server.database.conftest import backend_of, opened

pytestmark = pytest.mark.gen_test


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


async def test_trap_4_connecting_to_a_database_that_never_answers_ends():
    """If nothing answers behind a port, connecting to it ends in time."""
    async with listener(never_answer) as port:
        async with opened(f"postgresql://127.0.0.1:{port}/x?sslmode=disable", timeout=0.2) as db:
            with pytest.raises(Unavailable):
                await db.execute("SELECT 1")


async def test_trap_5_a_url_with_several_hosts_gets_to_the_one_that_answers(msg_db_url, postgres):
    """When libpq moves on to another socket, the connection follows it."""
    name = msg_db_url.partition("@/")[2].partition("?")[0]
    async with listener(refuse_for_now) as port:
        url = (
            f"host=127.0.0.1,{postgres.socket_folder} port={port},5432"
            f" dbname={name} user=note_whisperer sslmode=disable"
        )
        async with opened(url) as db:
            assert await db.execute("SELECT 1") == [(1,)]


async def test_a_missing_database_is_unavailable(postgres):
    """The error comes at once, in one line, and without the statement's parameters."""
    async with opened(postgres.url("nowhere")) as db:
        with pytest.raises(Unavailable) as caught:
            await db.execute("SELECT %s", ("secret",))

    assert "nowhere" in str(caught.value)
    assert "\n" not in str(caught.value) and "secret" not in str(caught.value)


async def test_each_connection_prepares_a_statement_once(msg_db_url):
    """A statement is planned at its first use, and again after the connection was lost."""
    double = PreparedStatement(
        "double", "integer", "SELECT $1 * 2, (SELECT count(*) FROM pg_prepared_statements)"
    )
    async with opened(msg_db_url, size=1) as db, opened(msg_db_url, size=1) as other:
        backend = await backend_of(db)

        assert await db.execute(double, ("21",)) == [(42, 1)]
        assert await db.execute(double, ("4",)) == [(8, 1)]

        await other.execute("SELECT pg_terminate_backend(%s, 5000)", (backend,))
        assert await db.execute(double, ("5",)) == [(10, 1)]


async def test_a_statement_that_cannot_be_prepared_does_not_harm_its_connection(msg_db_url):
    """The same connection can prepare the statement later, when its table exists."""
    late = PreparedStatement("late", "integer", "SELECT n FROM late WHERE n > $1")
    async with opened(msg_db_url, size=1) as db:
        backend = await backend_of(db)
        with pytest.raises(psycopg2.errors.UndefinedTable):
            await db.execute(late, ("0",))
        await db.execute("CREATE TABLE late AS SELECT 7 AS n")

        assert await db.execute(late, ("0",)) == [(7,)]
        assert await backend_of(db) == backend


@pytest.mark.parametrize("change", ["DEALLOCATE ALL", "ALTER TABLE counted ALTER n TYPE bigint"])
async def test_a_session_with_useless_prepared_statements_is_closed(msg_db_url, change):
    """If the session lost its statements or their tables changed, the next session prepares them again."""
    count = PreparedStatement("counted", "integer", "SELECT n FROM counted WHERE n > $1")
    async with opened(msg_db_url, size=1) as db:
        await db.execute("CREATE TABLE counted AS SELECT 7 AS n")
        assert await db.execute(count, ("1",)) == [(7,)]
        await db.execute(change)

        with pytest.raises(Unavailable):
            await db.execute(count, ("1",))
        assert await db.execute(count, ("1",)) == [(7,)]


@pytest.mark.parametrize("text", ["'", "\\", "', ''); DELETE FROM note; --"])
async def test_a_parameter_that_needs_escaping_is_refused(text):
    """The parameters of a prepared statement go into the SQL unescaped, so they are checked first."""
    with pytest.raises(ValueError):
        PreparedStatement("any", "text", "SELECT $1").call([text])


async def test_an_answer_that_meets_its_deadline_is_unavailable(msg_db_url, monkeypatch):
    """If the connection is closed before the caller resumes with its answer, the caller may try again."""
    async with opened(msg_db_url, size=1) as database, database.connection() as connection:
        execute = connection.execute

        def execute_and_close(*arguments):
            answer = execute(*arguments)
            if answer.done():  # a busy loop may find the answer at once
                connection.close()
            else:
                answer.add_done_callback(lambda _: connection.close())
            return answer

        monkeypatch.setattr(connection, "execute", execute_and_close)

        with pytest.raises(Unavailable):
            await connection.query("SELECT 1")


async def test_an_unexpected_message_costs_only_an_idle_connection(msg_db_url):
    """The connection is closed as soon as the message arrives, and the next caller gets another one."""
    async with opened(msg_db_url, size=1) as db, opened(msg_db_url, size=1) as other:
        backend = await backend_of(db)
        async with db.connection() as connection:
            pass
        await other.execute("SELECT pg_terminate_backend(%s, 5000)", (backend,))
        while not connection.closed:
            await asyncio.sleep(0.01)

        assert await backend_of(db) != backend
        assert (db.open, db.in_use) == (1, 0)


@pytest.mark.parametrize(
    ("text", "line"),
    [("connection lost\nDETAIL: more", "connection lost"), ("\n gone \n", "gone"), ("", "OperationalError")],
)
async def test_the_first_line_of_an_error_always_exists(text, line):
    """An error without a text is named by its type."""
    assert first_line(psycopg2.OperationalError(text)) == line
