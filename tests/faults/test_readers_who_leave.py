"""A reader who leaves before the note was taken takes nothing along."""

import asyncio
import contextlib
import json
import re

import psycopg2
import pytest

from tests.faults.asking import fetch
from tests.faults.conftest import PATIENT

pytestmark = [
    pytest.mark.gen_test(timeout=60),
    pytest.mark.parametrize("server", [PATIENT], indirect=True),
]


async def post(server, message="hello"):
    status, body = await fetch(server.port, "POST", "/post", {"message": message})
    assert status == 201, body
    return "/" + json.loads(body)["url"].split("/", 3)[3]


@contextlib.contextmanager
def locked_notes(url):
    """Every note is held by somebody else, as by a reveal that hangs."""
    with contextlib.closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT FROM note FOR UPDATE")
        yield connection


async def until_somebody_waits(connection):
    """For the lock that `connection` holds."""
    waiting = 0
    while not waiting:
        await asyncio.sleep(0.005)
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid))"
            )
            ((waiting,),) = cursor.fetchall()


async def leave(server, paths, connection):
    """Ask for notes, hang up while the statement waits for the lock, and wait until the server has noticed."""

    async def ask(path):
        with contextlib.suppress(EOFError):
            await fetch(server.port, "GET", path, leave_after=lambda: until_somebody_waits(connection))

    before = await readers_who_left(server)
    await asyncio.gather(*map(ask, paths))
    while await readers_who_left(server) < before + len(paths):
        await asyncio.sleep(0.005)


async def readers_who_left(server):
    _, page = await fetch(server.port, "GET", "/metrics")
    counts = re.findall(rb'^note_whisperer_request_seconds_count{.*status="499".*} (.+)$', page, re.M)
    return sum(map(float, counts))


async def test_who_leaves_before_the_commit_leaves_the_note(server, msg_db_url):
    """The statement is under way, its reader hangs up: the note stays for the next one."""
    paths = [await post(server, f"message {n}") for n in range(2)]
    with locked_notes(msg_db_url) as connection:
        await leave(server, paths[:1], connection)
        staying = asyncio.create_task(fetch(server.port, "GET", paths[1]))
        await until_somebody_waits(connection)
        connection.rollback()

    assert await staying == (200, b'{"message": "message 1"}\n')
    assert await fetch(server.port, "GET", paths[0]) == (200, b'{"message": "message 0"}\n')


async def test_who_leaves_a_group_leaves_it_to_the_others(server, msg_db_url):
    """Of several readers in one statement one hangs up: the others are served, its note stays."""
    paths = [await post(server, f"message {n}") for n in range(20)]
    with locked_notes(msg_db_url) as connection:
        others = [asyncio.create_task(fetch(server.port, "GET", path)) for path in paths[1:]]
        await leave(server, paths[:1], connection)
        connection.rollback()

    assert [status for status, _ in await asyncio.gather(*others)] == [200] * 19
    assert await fetch(server.port, "GET", paths[0]) == (200, b'{"message": "message 0"}\n')


async def test_leaving_costs_no_connection(server, msg_db_url):
    """However many readers leave, the pool is whole afterwards."""
    paths = [await post(server) for _ in range(30)]
    with locked_notes(msg_db_url) as connection:
        await leave(server, paths, connection)

    answers = [(await fetch(server.port, "GET", path))[0] for path in paths]
    assert answers == [200] * 30
    page = b""
    while (
        b'note_whisperer_connections_in_use{database="msg_db"} 0.0' not in page
    ):  # or it works in the background
        _, page = await fetch(server.port, "GET", "/metrics")
