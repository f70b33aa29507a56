"""What both HTTP transports refuse: malformed requests, and bodies and heads beyond the limits."""

import contextlib

import pytest

from server.httpd.transport import Server
from tests.server.httpd.site import DROPPED, MAX_BODY, Site, chunked, get, post

HOST = b"Host: here\r\n"


MALFORMED = {
    "no HTTP at all": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "no version": b"GET /\r\nHost: here\r\n\r\n",
    "version 0.9": b"GET / HTTP/0.9\r\n" + HOST + b"\r\n",
    "version 2.0": b"GET / HTTP/2.0\r\n" + HOST + b"\r\n",
    "preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "method with a space": b"GE T / HTTP/1.1\r\n" + HOST + b"\r\n",
    "space in the address": b"GET /a b HTTP/1.1\r\n" + HOST + b"\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "host with a path": b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "header without a colon": b"GET / HTTP/1.1\r\n" + HOST + b"nonsense\r\n\r\n",
    "space before the colon": b"GET / HTTP/1.1\r\nHost : here\r\n\r\n",
    "space in a name": b"GET / HTTP/1.1\r\n" + HOST + b"a b: c\r\n\r\n",
    "folded header": b"GET / HTTP/1.1\r\n" + HOST + b"a: b\r\n c: d\r\n\r\n",
    "NUL in a value": b"GET / HTTP/1.1\r\n" + HOST + b"a: \x00\r\n\r\n",
    "carriage return in a value": b"GET / HTTP/1.1\r\n" + HOST + b"a: b\rc: d\r\n\r\n",
    "two lengths": post(b"abc", "Content-Length: 3", "Content-Length: 0"),
    "list of two lengths": post(b"abc", "Content-Length: 3, 0"),
    "negative length": post(b"abc", "Content-Length: -3"),
    "length with a sign": post(b"abc", "Content-Length: +3"),
    "hexadecimal length": post(b"abc", "Content-Length: 0x3"),
    "empty length": post(b"abc", "Content-Length:"),
    "endless length": post(b"abc", "Content-Length: " + "9" * 30),
    "length and chunks": post(b"0\r\n\r\n", "Content-Length: 5", "Transfer-Encoding: chunked"),
    "chunks and length": post(b"0\r\n\r\n", "Transfer-Encoding: chunked", "Content-Length: 5"),
    "unknown coding": post(b"abc", "Transfer-Encoding: gzip"),
    "two codings": post(b"0\r\n\r\n", "Transfer-Encoding: gzip, chunked"),
    "chunks twice": post(b"0\r\n\r\n", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
    "coding with something before": post(b"0\r\n\r\n", "Transfer-Encoding: xchunked"),
    "no size of a chunk": post(b"\r\nabc\r\n0\r\n\r\n", "Transfer-Encoding: chunked"),
    "bad size of a chunk": post(b"zz\r\nabc\r\n0\r\n\r\n", "Transfer-Encoding: chunked"),
    "negative size of a chunk": post(b"-3\r\nabc\r\n0\r\n\r\n", "Transfer-Encoding: chunked"),
    "chunk longer than its size": post(b"3\r\nabcd\r\n0\r\n\r\n", "Transfer-Encoding: chunked"),
    "trailer": chunked(b"abc", end=b"0\r\nX-Real-IP: 6.6.6.6\r\n\r\n"),
    "long name": b"GET / HTTP/1.1\r\n" + HOST + b"a" * 70_000 + b": b\r\n\r\n",
    "endless address": b"GET /" + b"a" * 70_000,
    "endless head": b"GET / HTTP/1.1\r\n" + HOST + b"a: b\r\n" * 20_000,
    "endless extension of a chunk": post(b"3;" + b"x" * 70_000, "Transfer-Encoding: chunked"),
    "endless empty lines": b"\r\n" * 50_000,
}


@pytest.mark.parametrize("request_", MALFORMED.values(), ids=MALFORMED)
def test_malformed_requests_never_reach_the_application(site, request_):
    """They are refused or dropped, the connection ends, and what follows on it is not read as a request."""
    answer = site.ask(request_ + get("/?smuggled"))
    assert answer == b"" or answer.split()[1] in (b"400", b"413", b"431", b"408")
    assert site.app.seen == []


LAST_REQUESTS = {
    "asks for it": get("/", "Connection: close"),
    "body": post(b"abc", "Content-Length: 3", "Connection: close"),
    "HTTP/1.0": b"GET / HTTP/1.0\r\n\r\n",
    "chunks in HTTP/1.0": b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("request_", LAST_REQUESTS.values(), ids=LAST_REQUESTS)
def test_nothing_is_read_after_the_last_request(site, request_):
    """If the connection ends with an answer, nothing after that is read as a request."""
    site.ask(request_ + 2 * get("/?smuggled"))
    assert "GET /?smuggled" not in site.app.seen


def test_what_came_before_a_malformed_request_is_answered(site):
    """An error ends the connection only after the requests that arrived before it."""
    answer = site.ask(post(b"fine") + b"nonsense\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\n\r\nfine" in answer
    assert answer.count(b"HTTP/1.1 ") == 1 + answer.count(b"HTTP/1.1 400")


@pytest.mark.parametrize("size", [0, 1, MAX_BODY])
def test_a_body_may_be_as_long_as_allowed(site, size):
    """With its length at the start, or in chunks."""
    with site.connection() as connection:
        for request in (post(b"b" * size), chunked(*[b"b"] * size)):
            connection.send(request)
            status, _, body = connection.answer()
            assert (status, len(body)) == (200, size)


@pytest.mark.parametrize("size", [MAX_BODY + 1, 300_000, MAX_BODY + DROPPED])
def test_a_longer_body_gets_the_applications_own_answer(site, size):
    """A client that reads only after it has sent everything sees it, and may keep the connection."""
    with site.connection() as connection:
        for request in (
            post(b"b" * size),
            chunked(*[b"b" * 1000] * (size // 1000), b"b" * (size % 1000 or 1)),
        ):
            if size == MAX_BODY + DROPPED and b"chunked" in request:
                break
            connection.send(request)
            assert connection.answer()[::2] == (413, b"too long")
        connection.send(post(b"next"))
        assert connection.answer()[2] == b"next"


@pytest.mark.parametrize("request_", [post(b"", "Content-Length: 9999999999"), chunked(b"b" * (DROPPED * 3))])
def test_a_much_longer_body_is_refused_without_asking_the_application(site, request_):
    """Nobody can make the server read for ever."""
    answer = site.ask(request_)
    assert answer == b"" or answer.split()[1] in (b"400", b"413")
    assert site.app.seen == []


FIELD = b"a: b\r\n"


HEADS = {
    "as many fields as allowed": (FIELD * 98, b"200"),  # with Host and Connection
    "a field too many": (FIELD * 99, b"431"),
    "a long field": (b"a: " + b"b" * 16_000 + b"\r\n", b"200"),
    "a field that is too long": (b"a: " + b"b" * 16_384 + b"\r\n", b"431"),
    "fields that are too long together": ((b"a: " + b"b" * 3_000 + b"\r\n") * 6, b"431"),
}


@pytest.mark.parametrize(("fields", "status"), HEADS.values(), ids=HEADS)
@pytest.mark.parametrize("before", [0, 10_000])
def test_a_head_is_limited_by_its_own_bytes_and_its_fields(fields, status, before):
    """16 KiB and 100 fields, wherever it begins in the received bytes."""
    with Site(Server) as site:
        request = b"GET / HTTP/1.1\r\nHost: here\r\n" + fields + b"Connection: close\r\n\r\n"
        answer = site.ask(post(b"b" * before) + request)
        assert answer.split(b"HTTP/1.1 ")[-1].split()[0] == status


def test_unfinished_bodies_are_bounded_together():
    """Beyond the bound a long body is refused with 503 and a short one is taken; then there is room again."""
    with (
        Site(Server, unfinished_bodies=3 * MAX_BODY, small_body=100) as site,
        contextlib.ExitStack() as stack,
    ):
        waiting = [stack.enter_context(site.connection()) for _ in range(3)]
        for connection in waiting:
            connection.send(post(b"b" * MAX_BODY)[:-1])
        while site.server.unfinished_bytes < 3 * (MAX_BODY - 1):
            site.do(lambda: None)
        answer = site.ask(post(b"b" * MAX_BODY))
        assert answer.startswith(b"HTTP/1.1 503 ") and b"\r\nRetry-After: " in answer
        with site.connection() as connection:
            connection.send(post(b"b" * 100))
            assert connection.answer()[0] == 200
        for connection in waiting:
            connection.send(b"b")
            assert connection.answer()[0] == 200
        assert site.server.unfinished_bytes == 0


def test_a_body_that_is_given_up_makes_room():
    """When its client leaves, or it is malformed."""
    with Site(Server) as site:
        with site.connection() as connection:
            connection.send(post(b"b" * MAX_BODY)[:-1])
            while not site.server.unfinished_bytes:
                site.do(lambda: None)
        site.ask(chunked(b"b" * MAX_BODY, end=b"nonsense\r\n"))
        while site.server.connections:
            site.do(lambda: None)
        assert site.server.unfinished_bytes == 0


def test_a_refusal_arrives_while_the_client_is_still_sending():
    """Tornado's server closes at once; the kernel then sends RST, which can discard the refusal."""
    with Site(Server) as site:
        for request, status in ((chunked(b"b" * (DROPPED * 4)), b"413"), (b"nonsense" * 1_000_000, b"400")):
            assert site.ask(request).startswith(b"HTTP/1.1 " + status)
