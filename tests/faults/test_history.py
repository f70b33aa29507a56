"""The checker itself: it finds each fault that it is there for, and is content with what is allowed."""

import pytest

from tests.faults.history import Call, History, Note, Outcome, check


def history_of(*calls, content="hello", expires_at=float("inf")):
    history = History()
    history.notes[1] = Note(1, "/Ab3_x/token", content, expires_at)
    history.calls = [Call("put", 1, 0, 1, Outcome.PLACED), *calls]
    return history


def reveal(start, end, outcome, content=None, kind="reveal"):
    return Call(kind, 1, start, end, outcome, content=content)


SHOWN = Outcome.SHOWN
RIGHT = [
    [reveal(2, 3, SHOWN, "hello")],
    [reveal(2, 3, SHOWN, "hello"), reveal(2, 3, Outcome.GONE), reveal(5, 6, Outcome.GONE)],
    [reveal(2, 3, Outcome.REFUSED), reveal(5, 6, SHOWN, "hello")],
    [reveal(2, 3, Outcome.UNKNOWN), reveal(5, 6, SHOWN, "hello")],
    [reveal(2, 3, Outcome.UNKNOWN), reveal(5, 6, Outcome.GONE)],
    [reveal(2, 12, Outcome.REFUSED), reveal(20, 21, Outcome.GONE)],
]
WRONG = {
    "shown 2 times": [reveal(2, 3, SHOWN, "hello"), reveal(4, 5, SHOWN, "hello")],
    "another content": [reveal(2, 3, SHOWN, "hallo")],
    "nobody can have read it": [reveal(2, 3, Outcome.GONE)],
    "took 31.0 s": [reveal(2, 33, SHOWN, "hello")],
    "a 404, and then was shown": [
        reveal(1, 6, Outcome.UNKNOWN),
        reveal(2, 3, Outcome.GONE),
        reveal(4, 5, SHOWN, "hello"),
    ],
    "before anybody could": [reveal(2, 3, Outcome.GONE), reveal(4, 5, Outcome.UNKNOWN)],
    "gone, and nobody": [reveal(2, 3, Outcome.REFUSED), reveal(4, 5, Outcome.GONE)],
    "wrong token": [reveal(2, 3, SHOWN, "hello", kind="guess"), reveal(4, 5, Outcome.UNKNOWN)],
    "answered with 500": [Call("put", 2, 2, 3, Outcome.WRONG, 500), reveal(4, 5, SHOWN, "hello")],
}


@pytest.mark.parametrize("calls", RIGHT)
def test_what_the_promise_allows_is_no_violation(calls):
    """One reader, or a reader whose connection died, or a refusal after all patience."""
    assert check(history_of(*calls), bound=30, unknown_after=9).violations == []


@pytest.mark.parametrize("words", WRONG)
def test_what_the_promise_forbids_is_found(words):
    """Each kind of broken promise, in the checker's own words."""
    violations = check(history_of(*WRONG[words]), bound=30, unknown_after=9).violations

    assert any(words in violation for violation in violations)


def test_an_expired_note_may_be_gone():
    """A 404 after the end of the lifetime needs no reader."""
    calls = [reveal(9, 11, Outcome.GONE)]

    assert check(history_of(*calls, expires_at=10), bound=30, unknown_after=9).violations == []


def test_a_reveal_whose_answer_nobody_got_is_counted():
    """It is allowed, and shows in the figures."""
    calls = [reveal(2, 3, Outcome.UNKNOWN), reveal(5, 6, Outcome.GONE)]

    counts = check(history_of(*calls), bound=30, unknown_after=9).counts

    assert counts["note taken by a reveal whose answer nobody got"] == 1
