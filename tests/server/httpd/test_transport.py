"""What both HTTP transports promise: the application gets the same requests, and clients the same answers."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request

import psycopg2
import pytest

from server.httpd.transport import Server
from tests.server.httpd.site import PATIENCE, Site, chunked, get, post
from tests.server_process import free_port


def test_a_connection_serves_one_request_after_another(site):
    """HTTP/1.1 keeps a connection unless somebody says otherwise."""
    with site.connection() as connection:
        for text in (b"one", b"two", b""):
            connection.send(post(text))
            status, headers, body = connection.answer()
            assert (status, body) == (200, text)
            assert "connection" not in headers


def test_a_client_may_ask_for_the_end(site):
    """After `Connection: close` the answer comes, and the end."""
    answer = site.ask(get("/", "Connection: close"))
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nConnection: close\r\n" in answer
    assert answer.endswith(b"\r\n\r\nxx")


def test_nothing_is_answered_after_the_end_a_client_has_asked_for(site):
    """A request pipelined after `Connection: close` gets no answer."""
    answer = site.ask(get("/?size=1", "Connection: close") + get("/?size=2"))
    assert answer.count(b"HTTP/1.1 ") == 1


def test_http_1_0_ends_unless_it_asks_to_keep_the_connection(site):
    """In the older version, the default is the opposite."""
    assert site.ask(b"GET / HTTP/1.0\r\n\r\n").endswith(b"xx")
    with site.connection() as connection:
        for _ in range(2):
            connection.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            status, headers, body = connection.answer()
            assert (status, headers["connection"].lower(), body) == (200, "keep-alive", b"xx")


def test_pipelined_requests_are_answered_in_order_one_at_a_time(site):
    """The second one waits for the first one's answer."""
    with site.connection() as connection:
        connection.send(get("/slow") + post(b"second") + get("/?size=3"))
        assert site.app.entered.wait(PATIENCE)
        site.do(lambda: None)
        assert site.app.seen == []
        site.app.release.set()
        assert [connection.answer()[2] for _ in range(3)] == [b"at last", b"second", b"xxx"]
        connection.send(post(b"after"))
        assert connection.answer()[2] == b"after"


def test_many_pipelined_requests_are_all_answered(site):
    """However many arrive at once."""
    with site.connection() as connection:
        connection.send(get("/?size=1") * 1500)
        assert [connection.answer()[0] for _ in range(1500)] == [200] * 1500


def test_a_request_may_come_in_any_pieces(site):
    """What the application gets does not depend on how the bytes were split on their way."""
    requests = post(b"hello") + chunked(b"a", b"bc" * 20) + get("/?size=7", "X-Long: " + "v" * 50)
    for size in (1, 2, 3, 7, 50, 111):
        with site.connection() as connection:
            for start in range(0, len(requests), size):
                connection.send(requests[start : start + size])
            assert [connection.answer()[2] for _ in range(3)] == [b"hello", b"a" + b"bc" * 20, b"x" * 7]
    assert site.app.seen == ["POST /", "POST /", "GET /?size=7"] * 6


def test_http_1_0_does_not_know_100_continue():
    """Its client would take an interim answer for the answer, as Tornado's server gives it."""
    with Site(Server) as site:
        answer = site.ask(b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nbody")
        assert answer.startswith(b"HTTP/1.1 200 ")


def test_a_client_that_asks_whether_to_send_is_told_to(site):
    """`Expect: 100-continue`, which curl sends with longer bodies."""
    with site.connection() as connection:
        connection.send(post(b"", "Content-Length: 4", "Expect: 100-continue"))
        assert connection.answer()[0] == 100
        connection.send(b"body")
        assert connection.answer()[::2] == (200, b"body")


def test_an_offer_to_upgrade_is_ignored(site):
    """`curl --http2` gets HTTP/1.1, and nothing that follows is taken for a request of another protocol."""
    with site.connection() as connection:
        connection.send(
            get("/", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMA")
        )
        assert connection.answer()[::2] == (200, b"xx")


def test_an_upgrade_does_not_lose_a_body(site):
    """It reaches the application, or the request is refused."""
    with site.connection() as connection:
        connection.send(post(b"body", "Connection: Upgrade", "Upgrade: h2c", "Content-Length: 4"))
        assert connection.answer()[::2] in ((200, b"body"), (400, b""))


def test_answers_without_a_body_do_not_have_one(site):
    """To HEAD, and with status 204."""
    with site.connection() as connection:
        connection.send(b"HEAD /?size=5 HTTP/1.1\r\nHost: here\r\n\r\n")
        status, headers, _ = connection.answer(head=True)
        assert (status, headers["content-length"]) == (200, "5")
        connection.send(get("/nothing"))
        status, headers, _ = connection.answer()
        assert (status, "content-length" in headers, "transfer-encoding" in headers) == (204, False, False)
        connection.send(post(b"next"))
        assert connection.answer()[2] == b"next"


def test_an_answer_shorter_than_promised_ends_the_connection(site):
    """Otherwise the client would take the next answer for the rest of this one."""
    answer = site.ask(get("/wrong") + post(b"next"))
    assert b"next" not in answer


def test_a_header_cannot_end_its_line(site):
    """Nothing is sent of an answer whose head would have other lines than were meant."""
    assert b"Set-Cookie" not in site.ask(get("/split"))


def test_a_long_answer_arrives_whole_at_a_slow_reader(site):
    """Also when more is unsent than the kernel takes at once."""
    size = 20 << 20
    with site.connection() as connection:
        connection.send(get(f"/?size={size}") + get("/?size=1"))
        while not site.app.seen:  # reading nothing
            site.do(lambda: None)
        assert len(connection.answer()[2]) == size
        assert connection.answer()[2] == b"x"


@pytest.mark.parametrize("part", [b"GE", get()[:-2], post(b"abc")[:-1], chunked(b"abc")[:-3]])
def test_a_client_that_leaves_in_the_middle_is_forgotten(site, part):
    """The application never hears of half a request."""
    with site.connection() as connection:
        connection.send(part)
    assert site.ask(get("/", "Connection: close")).endswith(b"xx")
    assert site.app.seen == ["GET /"]


def test_the_application_learns_that_a_client_has_left(site):
    """While it still works on the answer, which then goes nowhere and breaks nothing."""
    with site.connection() as connection:
        connection.send(get("/slow"))
        assert site.app.entered.wait(PATIENCE)
    assert site.app.left.wait(PATIENCE)
    site.app.release.set()
    assert site.ask(get("/", "Connection: close")).endswith(b"xx")


@pytest.mark.parametrize("part", [b"", b"GET / HT", get()[:-2], post(b"abc")[:-1]])
def test_a_client_that_is_too_slow_is_hung_up_on(transport, part):
    """Whether it says nothing, or does not come to the end of a head or a body."""
    with Site(transport, idle_seconds=0.05, head_seconds=0.05, body_seconds=0.05) as site:
        answer = site.ask(part)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 408 ")
        assert site.app.seen == []


def test_a_stopping_server_ends_each_connection_with_its_answer(site):
    """Requests in progress are answered, and new connections are refused."""
    with site.connection() as idle, site.connection() as connection:
        connection.send(get("/slow"))
        assert site.app.entered.wait(PATIENCE)
        site.do(site.server.stop)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", site.port), PATIENCE)
        site.app.release.set()
        assert connection.answer()[::2] == (200, b"at last")
        idle.send(get())
        status, headers, body = idle.answer()
        assert (status, headers["connection"], body) == (200, "close", b"xx")
        assert idle.rest() == b""
        assert not site.server.sending


def test_a_server_that_is_told_to_stop_answers_requests_in_progress(key_db_url, msg_db_url):
    """SIGTERM while a reveal waits for its row: the reader gets the message, and the process ends well."""
    port = free_port()
    _give_keys(key_db_url)
    environment = {
        "KEY_DB_URL": key_db_url,
        "MSG_DB_URL": msg_db_url,
        "PORT": str(port),
        "PATH": os.environ["PATH"],
    }
    server = subprocess.Popen(
        [sys.executable, "-m", "server"], env=environment, stderr=subprocess.PIPE, text=True
    )
    try:
        assert any("serving" in line for line in server.stderr)
        link = _post(f"http://127.0.0.1:{port}/post", b"hello").strip()
        holder = psycopg2.connect(msg_db_url)
        holder.cursor().execute("SELECT FROM note FOR UPDATE")
        answers = []
        reader = threading.Thread(target=lambda: answers.append(_read(link)))
        reader.start()
        _until_somebody_waits(holder)
        server.send_signal(signal.SIGTERM)
        assert any("stopping: 1 requests are in progress" in line for line in server.stderr)
        holder.close()
        reader.join(PATIENCE)
        assert answers == [b"hello"]
        assert server.wait(PATIENCE) == 0
    finally:
        server.kill()
        server.communicate()


def _give_keys(key_db_url):
    with (
        contextlib.closing(psycopg2.connect(key_db_url)) as connection,
        connection,
        connection.cursor() as cursor,
    ):
        for block in range(4):
            keys = "".join(f"k{number:04}" for number in range(block * 256, block * 256 + 256))
            cursor.execute("INSERT INTO key_block (id, keys) VALUES (%s, %s)", (block, keys))
        cursor.execute("UPDATE key_cursor SET seeded = 4")


def _post(url, message):
    request = urllib.request.Request(url, b"message=" + message, {"Accept": "text/plain"})
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return answer.read().decode()


def _read(link):
    request = urllib.request.Request(link, headers={"Accept": "text/plain"})
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return answer.read()


def _until_somebody_waits(connection):
    deadline = time.monotonic() + PATIENCE
    with connection.cursor() as cursor:
        while time.monotonic() < deadline:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            if cursor.fetchone() != (0,):
                return
    raise AssertionError("nobody waits")
