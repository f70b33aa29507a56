"""Headers that are filled at once are what Tornado's would be."""

import pytest
from tornado.httputil import HTTPHeaders

from server.httpd.headers import Headers, header_lines

RECEIVED = {
    "none": [],
    "one": [(b"Host", b"localhost")],
    "in any case": [(b"hOST", b"localhost"), (b"x-REAL-ip", b"192.0.2.1"), (b"dnt", b"1"), (b"-", b"-")],
    "white space": [(b"Accept", b" \ttext/plain \t "), (b"Origin", b"")],
    "twice": [
        (b"Accept", b"text/plain"),
        (b"Host", b"localhost"),
        (b"accept", b"text/html"),
        (b"ACCEPT", b""),
    ],
    "not ASCII": [(b"User-Agent", b"caf\xe9"), (b"X", b"\xff\x80")],
}


@pytest.mark.parametrize("fields", RECEIVED.values(), ids=RECEIVED)
def test_what_is_received_is_what_tornado_would_make_of_it(fields):
    """Names in their usual case, values without white space, what stands there twice joined by a comma."""
    expected = HTTPHeaders()
    for name, value in fields:
        expected.add(name.decode("latin1"), value.decode("latin1").strip(" \t"))

    headers = Headers.received(fields)

    assert list(headers.items()) == list(expected.items())
    assert list(headers.get_all()) == list(expected.get_all())
    for name in ("Host", "accept", "X-Real-IP", "Origin"):
        assert headers.get(name) == expected.get(name)
        assert headers.get(name, "none") == expected.get(name, "none")
        assert (name in headers) == (name in expected)
    assert header_lines(headers) == header_lines(expected) == str(expected).split("\n")[:-1]


def test_a_copy_is_nobody_else_s():
    """What is set, added or deleted in one is not there in the next."""
    constant = Headers.constant({"Cache-Control": "no-store", "X-Frame-Options": "DENY"})

    copy = constant.copy()
    copy["Date"] = copy["Cache-Control"] = "today"
    copy.add("Set-Cookie", "a")
    copy.add("Set-Cookie", "b")
    del copy["X-Frame-Options"]

    assert dict(copy) == {"Cache-Control": "today", "Date": "today", "Set-Cookie": "a,b"}
    assert dict(constant.copy()) == {"Cache-Control": "no-store", "X-Frame-Options": "DENY"}
