"""Problems: what went wrong, for each kind of client."""

import http

import pytest

from server.problems import Problem, gone, unavailable


def test_a_problem_is_a_problem_document():
    """RFC 9457: type, title, status and detail; and the field, where it is about one."""
    assert Problem(400, "The message is missing.", "message").as_json() == {
        "type": "urn:note-whisperer:problem:bad-request",
        "title": "Bad Request",
        "status": 400,
        "detail": "The message is missing.",
        "field": "message",
    }
    assert "field" not in Problem(404, "There is nothing here.").as_json()


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 413, 415, 422, 429, 500, 503])
def test_a_title_is_the_status_phrase(status):
    """A short text for the status."""
    assert Problem(status, "").title == http.HTTPStatus(status).phrase


def test_gone_tells_nothing_about_why():
    """No key, no field, the same words each time."""
    assert gone().as_json() == gone().as_json()
    assert gone().status == 404
    assert gone().field is None
    assert gone().headers == {}


def test_unavailable_says_when_to_come_again():
    """503 with Retry-After in seconds."""
    assert unavailable().status == 503
    assert int(unavailable().headers["Retry-After"]) > 0
