"""A client that has closed its side of the connection gets its answers, and one that has left is forgotten."""

import asyncio
import contextlib
import socket
import struct

import pytest
from tornado.web import RequestHandler

from server.httpd.transport import Server
from tests.server.httpd.test_transport import PATIENCE, TRANSPORTS, Site, chunked, get, post

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
SLOW_1_0 = b"GET /slow HTTP/1.0\r\n\r\n"
WHOLE = {
    "without a body": get("/?size=5"),
    "with a body": post(b"xxxxx"),
    "in chunks": chunked(b"xx", b"xxx"),
    "HTTP/1.0": b"GET /?size=5 HTTP/1.0\r\n\r\n",
    "the last one": get("/?size=5", "Connection: close"),
}
UNFINISHED = [b"", b"GE", get()[:-2], post(b"abc")[:-1], chunked(b"abc")[:-3]]


class Begun(RequestHandler):
    """Sends a part of its answer, and the rest when the test says so."""

    async def get(self):
        self.write("at ")
        await self.flush()
        self.application.entered.set()
        await asyncio.to_thread(self.application.release.wait, PATIENCE)
        self.finish("last")

    def on_connection_close(self):
        self.application.left.set()


@pytest.fixture
def site():
    with Site(Server) as site:
        site.app.add_handlers(".*", [("/begun", Begun)])
        yield site


def close_side(connection):
    connection.client.shutdown(socket.SHUT_WR)


def reset(connection):
    connection.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.file.close()
    connection.client.close()


def final_answer(connection):
    """The next answer that is no interim answer."""
    while (answer := connection.answer())[0] == 100:
        pass
    return answer


@contextlib.contextmanager
def slow_request(site, request):
    """A request that the application works on, on a connection whose client has closed its side."""
    with site.connection() as connection:
        site.app.entered.clear()
        connection.send(request)
        assert site.app.entered.wait(PATIENCE)
        close_side(connection)
        yield connection


def let_the_server_look(site):
    """Return when the server has looked for each client that had closed its side before."""
    with slow_request(site, get("/slow")) as later:
        assert later.answer()[0] == 100


@pytest.mark.parametrize("request_", WHOLE.values(), ids=WHOLE)
def test_a_whole_request_is_answered(site, request_):
    """A client may say that it sends nothing more, and wait; then the connection ends."""
    with site.connection() as connection:
        connection.send(request_)
        close_side(connection)
        answer = connection.rest()

    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\nxxxxx")
    assert len(site.app.seen) == 1


def test_the_answer_says_that_it_is_the_last(site):
    """The connection ends with it, so the client need not try to use it again."""
    with slow_request(site, get("/slow")) as connection:
        assert connection.answer()[0] == 100  # the server has seen that the client closed its side
        site.app.release.set()
        status, headers, body = final_answer(connection)
        assert (status, headers["connection"], body) == (200, "close", b"at last")
        assert connection.rest() == b""


@pytest.mark.parametrize("last", [get("/?size=3"), get("/?size=3", "Connection: close")])
def test_all_whole_requests_are_answered(site, last):
    """In their order, whether the server reads the client's end before or after the first answer."""
    with slow_request(site, get("/slow") + post(b"second") + last) as connection:
        site.app.release.set()
        assert [final_answer(connection)[2] for _ in range(3)] == [b"at last", b"second", b"xxx"]
        assert connection.rest() == b""


@pytest.mark.parametrize("transport", TRANSPORTS.values(), ids=TRANSPORTS)
@pytest.mark.parametrize("part", UNFINISHED)
def test_an_unfinished_request_ends_with_the_connection(transport, part):
    """It cannot become whole any more: the application never hears of it, and nothing is kept."""
    with Site(transport) as site, site.connection() as connection:
        connection.send(part)
        close_side(connection)
        assert connection.rest() == b""
        assert site.app.seen == []


@pytest.mark.parametrize("part", UNFINISHED)
def test_what_came_before_an_unfinished_request_is_answered(site, part):
    """The whole request gets its answer, the rest is forgotten."""
    with slow_request(site, get("/slow") + part) as connection:
        assert connection.answer()[0] == 100
        assert site.server.unfinished_bytes == 0
        site.app.release.set()
        assert final_answer(connection)[2] == b"at last"
        assert connection.rest() == b""
        assert site.app.seen == []


def test_what_is_malformed_is_still_refused(site):
    """The request before it gets its answer, and then the client learns what was wrong."""
    with slow_request(site, get("/slow") + b"nonsense\r\n\r\n") as connection:
        site.app.release.set()
        assert [final_answer(connection)[0] for _ in range(2)] == [200, 400]
        assert connection.rest() == b""


def test_a_long_answer_arrives_whole(site):
    """Also if the client reads it only after the server has said all of it."""
    size = 20 << 20
    with site.connection() as connection:
        connection.send(get(f"/?size={size}"))
        close_side(connection)
        while not site.app.seen:
            site.do(lambda: None)
        assert len(final_answer(connection)[2]) == size
        assert connection.rest() == b""


@pytest.mark.parametrize("request_", [SLOW_1_0, get("/begun")], ids=["HTTP/1.0", "begun"])
def test_no_interim_answer_is_sent_where_it_would_be_taken_for_the_answer(site, request_):
    """HTTP/1.0 knows none, and in the middle of an answer it would be a part of it."""
    with slow_request(site, request_) as connection:
        let_the_server_look(site)
        site.app.release.set()
        answer = connection.rest()
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n") and answer.endswith(b"at last")
        assert CONTINUE not in answer


@pytest.mark.parametrize("looks", [0, 1, 2])
def test_a_client_that_has_left_is_noticed(site, looks):
    """It has closed both sides, which looks the same at first: the application stops its work."""
    with slow_request(site, get("/slow")) as connection:
        for _ in range(looks):
            assert connection.answer()[0] == 100
        assert not site.app.left.is_set()
        connection.file.close()
        connection.client.close()
        assert site.app.left.wait(PATIENCE)


@pytest.mark.parametrize(
    "request_", [SLOW_1_0, get("/slow"), get("/begun")], ids=["HTTP/1.0", "HTTP/1.1", "begun"]
)
def test_a_client_that_resets_the_connection_is_noticed(site, request_):
    """Whatever it asked for."""
    with slow_request(site, request_) as connection, slow_request(site, get("/slow")) as later:
        assert later.answer()[0] == 100  # the server has looked for both
        assert not site.app.left.is_set()
        reset(connection)
        assert site.app.left.wait(PATIENCE)
