"""A request and a handler that are Tornado's, at a fraction of the cost."""

import types

import pytest
from tornado.httputil import HTTPHeaders, HTTPInputError, HTTPServerRequest, RequestStartLine

from server.app import make_app
from server.handlers.base import BaseHandler
from server.httpd.handler import WholeRequest

pytestmark = pytest.mark.gen_test

CONNECTION = types.SimpleNamespace(context=types.SimpleNamespace(remote_ip="192.0.2.1", protocol="http"))
HOSTS = ("localhost", "localhost:8080", "NOTES.test", "[::1]:8080", "[::1]", "", "a:", "a:b", "192.0.2.1:0")
NO_HOSTS = ("a b", "a,b", "a/b", "user@a", "a\xe9", "a\t")


def _request(kind, path, version, headers):
    line = RequestStartLine("POST", path, version)
    return kind(start_line=line, headers=HTTPHeaders(headers), body=b"body", connection=CONNECTION)


@pytest.mark.parametrize("path", ["/", "/post", "/abcde/%23", "/?", "/?a=b&a=c", "*"])
@pytest.mark.parametrize("host", [*HOSTS, None])
@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/1.0"])
async def test_a_request_is_what_tornado_would_make_of_it(path, host, version):
    """Each attribute, with and without a Host or a query."""
    headers = {} if host is None else {"Host": host}
    if host is None and version == "HTTP/1.1":
        return

    expected, request = (_request(kind, path, version, headers) for kind in (HTTPServerRequest, WholeRequest))

    assert request.request_time() < 60
    for each in (expected, request):
        del each._start_time
    assert vars(request) == vars(expected)


@pytest.mark.parametrize("path", ["/post", "/post?a=b"])
@pytest.mark.parametrize("host", [*NO_HOSTS, None])
async def test_a_request_needs_a_host(path, host):
    """As Tornado says it: a name, one, and in HTTP/1.1 always; asked again, the answer is the same."""
    headers = {} if host is None else {"Host": host}
    for kind in (HTTPServerRequest, WholeRequest, WholeRequest):
        with pytest.raises(HTTPInputError):
            _request(kind, path, "HTTP/1.1", headers)


class Pieces(BaseHandler):
    """Answers in pieces."""

    route = "/pieces"

    async def get(self):
        self.write("one ")
        await self.flush()
        self.write("two ")
        self.finish("three")

    head = get


class Parts(BaseHandler):
    """Puts its answer together before it is sent."""

    route = "/in-parts"

    def get(self):
        self.write("one ")
        self.write("two")

    head = get


class Twice(BaseHandler):
    """Answers, and does not know it."""

    route = "/twice-over"

    def get(self):
        self.finish("once")
        self.finish("twice")

    head = get


@pytest.fixture(scope="module")
def app(service):
    """The application, with handlers that do what ours do not."""
    app = make_app(service)
    odd = [(handler.route, handler, {"service": service}) for handler in (Pieces, Parts, Twice)]
    app.add_handlers(".*", odd)
    return app


@pytest.mark.parametrize(
    ("path", "body", "length"),
    [("/pieces", b"one two three", None), ("/in-parts", b"one two", "7"), ("/twice-over", b"once", "4")],
)
async def test_an_answer_may_be_written_in_another_way(site, path, body, length):
    """In pieces, in parts or once too often: the client gets what Tornado would send."""
    whole, head = await site.ask("GET", path), await site.ask("HEAD", path)

    assert (whole.code, whole.body) == (200, body)
    assert (head.code, head.body) == (200, b"")
    if length is not None:
        assert whole.headers["Content-Length"] == head.headers["Content-Length"] == length


async def test_a_path_that_is_no_text_is_refused(site):
    """What a URL encodes must be UTF-8."""
    answer = await site.ask("GET", "/abcde/%ff%fe")

    assert answer.code == 400
