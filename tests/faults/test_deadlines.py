"""Whatever the databases do, every request ends in time, with a refusal that says when to come again."""

import asyncio
import contextlib
import json
import socket
import threading
import time
import urllib.request
from collections import Counter

import pytest

from server import database
from tests.faults import stack
from tests.faults.asking import fetch
from tests.faults.conftest import TIMEOUT
from tests.faults.proxy import Break, Moment, Proxy, Trap, socket_of

pytestmark = pytest.mark.gen_test(timeout=90)

# docs/reliability.md states these in seconds, for the default DB_TIMEOUT of 5 s: 35 and 75.
BOUND = 7 * TIMEOUT
QUICK = 0.4


async def post(server, message="hello", **fields):
    status, body = await fetch(server.port, "POST", "/post", {"message": message, **fields})
    assert status == 201, body
    return "/" + json.loads(body)["url"].split("/", 3)[3]


async def timed(asking):
    start = time.monotonic()
    status, body = await asking
    return status, time.monotonic() - start


def every_kind_of_request(server, path):
    key, token = path[1:].split("/")
    return [
        fetch(server.port, "POST", "/post", {"message": "hello"}),
        fetch(server.port, "GET", f"/{key}"),
        fetch(server.port, "GET", path),
        fetch(server.port, "POST", f"/{key}/reveal", {"token": token}),
        fetch(server.port, "POST", f"/{key}/reveal", {"token": token, "passphrase": "p"}),
        fetch(server.port, "POST", f"/{key}/status", {"token": token}),
        fetch(server.port, "POST", f"/{key}/received", {"reader": "A" * 43}),
        fetch(server.port, "POST", f"/{key}/destroy", {"token": token}),
        fetch(server.port, "POST", f"/{key}/chunks", {"reader": "A" * 43, "first": 0}),
        fetch(server.port, "GET", "/readyz"),
    ]


@pytest.mark.parametrize("outage", ["silence", "refusal"])
async def test_without_the_msg_db_every_request_ends_in_time(server, proxy, outage):
    """A hundred at once are refused within the bound, and told when to come again; none hurt a note."""
    path = await post(server)
    if outage == "silence":
        proxy.silence()
    else:
        proxy.refusing = True
        proxy.cut()

    asking = [asking for _ in range(14) for asking in every_kind_of_request(server, path)]
    asking.append(fetch(server.port, "GET", "/healthz"))
    *answers, alive = await asyncio.gather(*(timed(one) for one in asking))

    assert {status for status, _ in answers} == {503}
    assert alive[0] == 200
    assert max(seconds for _, seconds in [*answers, alive]) < BOUND
    proxy.heal()
    status = 503
    while status == 503:
        status, body = await fetch(server.port, "GET", path)
    assert (status, body) == (200, b'{"message": "hello"}\n')


async def test_a_refusal_says_when_to_come_again(server, proxy):
    """503 with Retry-After."""
    proxy.refusing = True
    proxy.cut()

    with pytest.raises(urllib.error.HTTPError) as refused:
        await asyncio.to_thread(urllib.request.urlopen, f"{server.url}/Ab3_x", timeout=BOUND)

    assert refused.value.code == 503
    assert int(refused.value.headers["Retry-After"]) > 0
    refused.value.close()


@pytest.mark.parametrize("server", [QUICK], indirect=True)
async def test_a_reveal_whose_commit_stays_unanswered_ends_too(server, proxy):
    """COMMIT was sent, and from then on the database is silent: an error after nine timeouts."""
    path = await post(server)
    trap = proxy.arm(Trap("commit", Moment.SENT, Break.SILENCE))
    revealing = asyncio.create_task(timed(fetch(server.port, "GET", path)))
    while not trap.sprung.is_set():
        await asyncio.sleep(0.005)
    proxy.silence()

    status, seconds = await revealing

    assert status == 503
    assert 8 * QUICK < seconds < 15 * QUICK


async def test_after_an_outage_all_connections_are_used_again_and_none_is_leaked(server, proxy):
    """Three outages later the pool serves as many at a time as before, and keeps to its size."""
    for _ in range(3):
        proxy.silence()
        await asyncio.gather(*(fetch(server.port, "GET", "/Ab3_x") for _ in range(30)))
        proxy.heal()
        proxy.cut()
    for _ in range(5):
        paths = await asyncio.gather(*(post(server) for _ in range(40)))
        answers = await asyncio.gather(*(fetch(server.port, "GET", path) for path in paths))
        assert {status for status, _ in answers} == {200}

    page = b""
    while (
        b'note_whisperer_connections_in_use{database="msg_db"} 0.0' not in page
    ):  # or it works in the background
        _, page = await fetch(server.port, "GET", "/metrics")
    assert 1 <= proxy.connections <= 8


async def keys_ahead(server):
    _, body = await fetch(server.port, "GET", "/readyz")
    return json.loads(body)["keys_ahead"]


async def test_the_key_db_may_be_away_as_long_as_the_keys_last(seeded_key_db_url, msg_db_url, tmp_path):
    """Hundreds of notes later nobody has noticed; then posting is refused, and reading goes on."""
    with Proxy(socket_of(seeded_key_db_url)) as key_proxy:
        environment = {
            "KEY_DB_URL": key_proxy.url(stack.name_of(seeded_key_db_url)),
            "MSG_DB_URL": msg_db_url,
            "DB_TIMEOUT": str(TIMEOUT),
        }
        with stack.servers(1, environment, tmp_path) as (server,):
            while await keys_ahead(server) <= 512:
                await asyncio.sleep(0.01)
            key_proxy.refusing = True
            key_proxy.cut()
            before, _ = await fetch(server.port, "GET", "/readyz")
            ahead = await keys_ahead(server)

            answers = []
            while len(answers) < ahead + 8:
                answers += await asyncio.gather(*(post_anything(server) for _ in range(16)))
            ready, story = await fetch(server.port, "GET", "/readyz")
            read, _ = await fetch(server.port, "GET", "/" + answers[0][1]["url"].split("/", 3)[3])
            key_proxy.heal()
            again = 503
            while again == 503:
                again, _ = await post_anything(server)

    statuses = Counter(status for status, _ in answers)
    assert before == 200
    assert statuses == {201: ahead, 503: len(answers) - ahead}
    assert (ready, json.loads(story)["key_db"], json.loads(story)["msg_db"]) == (503, False, True)
    assert read == 200
    assert again == 201


async def post_anything(server):
    status, body = await fetch(server.port, "POST", "/post", {"message": "hello"})
    return status, json.loads(body)


async def test_a_server_that_waits_for_its_databases_can_be_stopped(seeded_key_db_url, msg_db_url, tmp_path):
    """Started while nobody answers, it ends with SIGTERM at once, and not when somebody does."""
    with Proxy(socket_of(msg_db_url)) as proxy:
        proxy.silence()
        url = proxy.url(stack.name_of(msg_db_url))
        environment = {"KEY_DB_URL": url, "MSG_DB_URL": url, "DB_TIMEOUT": str(TIMEOUT)}
        server = stack.ServerProcess(environment, tmp_path / "log")
        server.start()
        status = 0
        while status != 200:
            try:
                status, _ = await fetch(server.port, "GET", "/healthz")
            except OSError:
                await asyncio.sleep(0.02)
        start = time.monotonic()

        assert await asyncio.to_thread(server.terminate) == 0
        assert time.monotonic() - start < 3 * TIMEOUT


async def test_a_name_is_looked_up_anew_for_each_connection(proxy, through_proxy, monkeypatch):
    """By us, and not by libpq, which would stop the loop for it; so a name that moves is followed."""
    asked = []

    def look_up(host, port, family=0, type=0, proto=0, flags=0):
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr("socket.getaddrinfo", look_up)
    db = database.Database(through_proxy.replace("127.0.0.1", "db.invalid"), 1, TIMEOUT)
    try:
        first = await db.execute("SELECT 1")
        proxy.cut()
        second = []
        while not second:
            with contextlib.suppress(database.Unavailable):
                second = await db.execute("SELECT 1")
    finally:
        await db.close()

    assert first == second == [(1,)]
    assert len(asked) >= 2 and set(asked) == {"db.invalid"}


async def test_a_name_service_that_hangs_does_not_stop_the_loop(monkeypatch):
    """Looking a database's name up takes place outside of the loop, and has an end."""
    began, may_end, ended = threading.Event(), threading.Event(), threading.Event()

    def hang(*_, **__):
        began.set()
        may_end.wait(60)
        ended.set()
        raise OSError("no answer")

    monkeypatch.setattr("socket.getaddrinfo", hang)
    monkeypatch.setattr("server.database.connection.CONNECT_TIMEOUT", TIMEOUT)
    db = database.Database("postgresql://db.invalid/x", 1, TIMEOUT)
    asking = asyncio.create_task(db.execute("SELECT 1"))
    while not began.is_set():
        await asyncio.sleep(0.005)
    in_the_loop = ended.is_set()

    with pytest.raises(database.Unavailable):
        await asking

    assert not in_the_loop
    assert not ended.is_set()
    may_end.set()
    await db.close()
