"""Which clients ask for data, and in which format they get answers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tornado.httputil import HTTPHeaders

from server.negotiation import Format, answer_format, is_command_line, plainly_asked
from tests.server.handlers import clients

ROBOT_MARKS = ("Range", "Sec-Purpose", "Purpose", "X-Moz", "Sec-Fetch-Mode", "Sec-Fetch-Dest")

MEDIA_RANGES = st.sampled_from(
    ["application/json", "text/plain", "text/html", "*/*", "application/*", "text/*", "", "json", "x/y"]
)
PARAMETERS = st.sampled_from(["", ";q=1", ";q=0", ";q=0.0", "; q=0.5", ";charset=utf-8", ";", ";=", ";q"])
ACCEPTS = st.lists(st.tuples(MEDIA_RANGES, PARAMETERS).map("".join), max_size=4).map(",".join) | st.text(
    st.characters(min_codepoint=32, max_codepoint=126), max_size=40
)
AGENTS = st.sampled_from(
    ["curl/8.14.1", "Wget/1.25.0", "HTTPie/3.2.4", "xh/0.24", "Mozilla/5.0", "", "a curl/8"]
)


@given(ACCEPTS, AGENTS, st.sampled_from(ROBOT_MARKS), st.text(max_size=10))
def test_no_mark_of_a_robot_ever_asks_plainly(accept, agent, mark, value):
    """Whatever else it says, and however the mark is written."""
    for name in (mark, mark.upper(), mark.lower()):
        headers = HTTPHeaders({"Accept": accept, "User-Agent": agent})
        headers[name] = value
        assert plainly_asked(headers) is None


@given(ACCEPTS, AGENTS)
def test_a_client_that_asks_for_several_things_never_asks_plainly(accept, agent):
    """A second media range, a wildcard or a page: only one range of JSON or text, or a terminal, is plain."""
    asked = plainly_asked(HTTPHeaders({"Accept": accept, "User-Agent": agent}))

    media_range = accept.partition(";")[0].strip().lower()
    match asked:
        case Format.JSON:
            assert media_range == "application/json"
            assert "," not in accept
        case Format.TEXT:
            by_name = accept.strip() == "*/*" and agent.startswith(("curl/", "Wget/", "HTTPie/", "xh/"))
            assert media_range == "text/plain" or by_name
            assert "," not in accept
        case _:
            assert asked is None


@given(ACCEPTS, AGENTS, st.booleans(), st.sampled_from([Format.PAGE, Format.JSON]))
def test_every_request_is_answered_in_some_format(accept, agent, by_htmx, asks_by):
    """Whatever it accepts; htmx always gets a fragment, and nobody else does."""
    headers = HTTPHeaders({"Accept": accept, "User-Agent": agent})
    if by_htmx:
        headers["HX-Request"] = "true"

    assert (answer_format(headers, asks_by) is Format.FRAGMENT) == by_htmx


PLAIN_ACCEPTS = st.tuples(
    st.sampled_from(["application/json", "text/plain", "Application/JSON", " text/plain "]),
    st.sampled_from(["", ";q=1", "; q=0.01", ";charset=utf-8"]),
).map("".join)


@given(PLAIN_ACCEPTS, AGENTS, st.sampled_from([Format.PAGE, Format.JSON]))
def test_a_client_that_asks_plainly_gets_errors_in_the_same_format(accept, agent, asks_by):
    """A reader that gets JSON gets its errors as JSON."""
    headers = HTTPHeaders({"Accept": accept, "User-Agent": agent})

    assert plainly_asked(headers) is answer_format(headers, asks_by) is not None


@pytest.mark.parametrize("name", clients.DATA_CLIENTS)
def test_data_clients_ask_plainly(name):
    """Each client of the handlers' table is recognised by its headers alone."""
    headers, content_type = clients.DATA_CLIENTS[name]
    expected = Format.JSON if content_type == clients.JSON_TYPE else Format.TEXT

    assert plainly_asked(HTTPHeaders(headers)) is expected


@pytest.mark.parametrize("name", [name for name in clients.OTHER_CLIENTS if "htmx" not in name])
def test_other_clients_do_not_ask_plainly(name):
    """No other client of the table is taken for one. The handlers recognise htmx by HX-Request."""
    assert plainly_asked(HTTPHeaders(clients.OTHER_CLIENTS[name])) is None


@pytest.mark.parametrize(
    ("agent", "expected"),
    [
        ("curl/8.14.1", True),
        ("CURL/8.14.1", True),
        ("Wget/1.25.0", True),
        ("HTTPie/3.2.4", True),
        ("xh/0.24.1", True),
        ("curly/1.0", False),
        ("libcurl-agent/1.0", False),
        ("Mozilla/5.0 curl/8.14.1", False),
        ("python-requests/2.32", False),
        ("", False),
    ],
)
def test_command_line_clients_give_their_name_first(agent, expected):
    """A name further on is a robot's that pretends."""
    assert is_command_line(HTTPHeaders({"User-Agent": agent})) is expected
