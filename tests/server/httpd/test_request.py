"""A request has the attributes that Tornado's would have."""

import types

import pytest
from tornado.httputil import HTTPHeaders, HTTPInputError, HTTPServerRequest, RequestStartLine

from server.httpd.request import Request

CONNECTION = types.SimpleNamespace(context=types.SimpleNamespace(remote_ip="192.0.2.1", protocol="http"))
HOSTS = ("localhost", "localhost:8080", "NOTES.test", "[::1]:8080", "[::1]", "", "a:", "a:b", "192.0.2.1:0")
NO_HOSTS = ("a b", "a,b", "a/b", "user@a", "a\xe9", "a\t")


def _request(kind, path, version, headers):
    line = RequestStartLine("POST", path, version)
    return kind(start_line=line, headers=HTTPHeaders(headers), body=b"body", connection=CONNECTION)


@pytest.mark.parametrize("path", ["/", "/post", "/abcde/%23", "/?", "/?a=b&a=c", "*"])
@pytest.mark.parametrize("host", [*HOSTS, None])
@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/1.0"])
def test_a_request_is_what_tornado_would_make_of_it(path, host, version):
    """Each attribute, with and without a Host or a query."""
    headers = {} if host is None else {"Host": host}
    if host is None and version == "HTTP/1.1":
        return

    expected, request = (_request(kind, path, version, headers) for kind in (HTTPServerRequest, Request))

    assert request.request_time() < 60
    for each in (expected, request):
        del each._start_time
    assert vars(request) == vars(expected)


@pytest.mark.parametrize("path", ["/post", "/post?a=b"])
@pytest.mark.parametrize("host", [*NO_HOSTS, None])
def test_a_request_needs_a_host(path, host):
    """As Tornado says it: a name, one, and in HTTP/1.1 always; asked again, the answer is the same."""
    headers = {} if host is None else {"Host": host}
    for kind in (HTTPServerRequest, Request, Request):
        with pytest.raises(HTTPInputError):
            _request(kind, path, "HTTP/1.1", headers)
