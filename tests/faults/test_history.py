"""The checker itself: it finds each fault that it is there for, and is content with what is allowed."""

import pytest

from tests.faults.history import Call, History, Note, Outcome, check


def history_of(*calls, content="hello", expires_at=float("inf")):
    history = History()
    history.notes[1] = Note(1, "/Ab3_x/token", content, expires_at)
    history.calls = [Call("put", 1, 0, 1, Outcome.PLACED), *calls]
    return history


def reveal(start, end, outcome, content=None, reader="one", ending=None):
    if outcome is Outcome.ENDED and ending is None:
        ending = "read"
    if outcome is SHOWN and content is None:
        content = "hello"
    return Call("reveal", 1, start, end, outcome, content=content, reader=reader, ending=ending)


def other(kind, start, end, outcome, reader=None, ending=None, status=0):
    return Call(kind, 1, start, end, outcome, status, reader=reader, ending=ending)


def fetch(start, end, outcome, first=0, content=None, reader="one", why=""):
    if outcome is SHOWN and content is None:
        content = FILES[first]
    return Call("fetch", 1, start, end, outcome, content=content, reader=reader, first=first, why=why)


def put(start, end, outcome, key=None):
    return Call("put", 1, start, end, outcome, content=key)


SHOWN, ENDED, UNKNOWN, REFUSED = Outcome.SHOWN, Outcome.ENDED, Outcome.UNKNOWN, Outcome.REFUSED
DONE, GONE, TRIED, PLACED = Outcome.DONE, Outcome.GONE, Outcome.TRIED, Outcome.PLACED
FILES = ("both chunks", "the last chunk")  # in place of digests
RIGHT = [
    [reveal(2, 3, SHOWN)],
    [reveal(2, 3, SHOWN), reveal(2, 3, ENDED, reader="two"), reveal(5, 6, ENDED, reader="two")],
    [reveal(2, 3, REFUSED), reveal(5, 6, SHOWN)],
    [reveal(2, 3, UNKNOWN), reveal(5, 6, SHOWN)],
    [reveal(2, 3, UNKNOWN), reveal(5, 6, ENDED, reader="two")],  # the first one left
    [reveal(2, 12, REFUSED), reveal(20, 21, ENDED, reader="two")],
    [reveal(2, 3, SHOWN), reveal(4, 5, SHOWN), other("received", 6, 7, DONE, "one"), reveal(8, 9, ENDED)],
    [reveal(1, 2, UNKNOWN), reveal(3, 4, ENDED, reader="two"), reveal(5, 6, SHOWN)],
    [reveal(2, 3, UNKNOWN), reveal(70, 71, ENDED)],  # more than a minute later
    [other("destroy", 2, 3, DONE), reveal(4, 5, ENDED, ending="destroyed")],
    [other("destroy", 2, 3, REFUSED), reveal(4, 5, ENDED, ending="destroyed")],
    [reveal(2, 3, SHOWN), other("destroy", 4, 5, ENDED, ending="read")],
    [other("guess", 2, 3, GONE), reveal(4, 5, SHOWN)],
    [other("try", 2, 3, TRIED)] * 10 + [other("try", 4, 5, Outcome.LOCKED)],
]
WRONG = {
    "shown to 2 readers": [reveal(2, 3, SHOWN), reveal(4, 5, SHOWN, reader="two")],
    "another content": [reveal(2, 3, SHOWN, "hallo")],
    "nobody can have read it": [reveal(2, 3, GONE)],
    "no ending for its link": [reveal(2, 3, SHOWN), reveal(4, 5, GONE, reader="two")],
    "took 31.0 s": [reveal(2, 33, SHOWN)],
    "had ended, and then was shown": [
        reveal(1, 6, UNKNOWN, reader="three"),
        reveal(2, 3, ENDED),
        reveal(4, 5, SHOWN, reader="two"),
    ],
    "was read before anybody could": [reveal(2, 3, ENDED), reveal(4, 5, UNKNOWN, reader="two")],
    "was destroyed before anybody could": [reveal(2, 3, ENDED, ending="destroyed"), reveal(4, 5, UNKNOWN)],
    "expired too early": [reveal(2, 3, ENDED, ending="expired"), reveal(4, 5, UNKNOWN)],
    "several endings": [
        other("destroy", 2, 3, UNKNOWN),
        reveal(2, 3, UNKNOWN),
        reveal(4, 5, ENDED, ending="destroyed"),
        reveal(4, 5, ENDED, reader="two"),
    ],
    "destroyed and shown": [other("destroy", 2, 3, DONE), reveal(2, 3, SHOWN)],
    "unread after its end": [reveal(2, 3, SHOWN), other("status", 4, 5, Outcome.UNREAD)],
    "gone, and nobody": [reveal(2, 3, REFUSED), reveal(4, 5, ENDED, reader="two")],
    "lost to a reader that stayed": [reveal(2, 3, UNKNOWN), reveal(4, 5, ENDED)],
    "after its reader had received it": [
        reveal(2, 3, SHOWN),
        other("received", 4, 5, DONE, "one"),
        reveal(6, 7, SHOWN),
    ],
    "its delivery is unknown": [reveal(2, 3, SHOWN), other("received", 4, 5, GONE, "one")],
    "11 wrong proofs tried": [other("try", 2, 3, TRIED)] * 11 + [reveal(4, 5, SHOWN)],
    "wrong token": [other("guess", 2, 3, SHOWN), reveal(4, 5, UNKNOWN)],
    "told for a wrong token": [reveal(2, 3, SHOWN), other("guess", 4, 5, ENDED, ending="read")],
    "answered with 500": [Call("put", 2, 2, 3, Outcome.WRONG, 500), reveal(4, 5, SHOWN)],
}

ACKNOWLEDGED = other("received files", 8, 9, DONE, "one")
RIGHT_WITH_FILES = [
    [reveal(2, 3, SHOWN), fetch(4, 5, SHOWN, 1), fetch(4, 5, SHOWN)],
    [reveal(2, 3, SHOWN), fetch(4, 5, UNKNOWN), fetch(4, 5, REFUSED), fetch(60, 61, SHOWN)],
    [reveal(2, 3, SHOWN), fetch(4, 5, UNKNOWN, why="left")],
    [fetch(1, 2, GONE), reveal(2, 3, SHOWN), fetch(4, 5, SHOWN)],
    [
        reveal(2, 3, SHOWN),
        fetch(4, 5, SHOWN),
        reveal(4, 5, ENDED, reader="two"),
        fetch(6, 7, GONE, reader="two"),
    ],
    [reveal(2, 3, SHOWN), other("received", 3, 4, DONE, "one"), fetch(4, 5, SHOWN), ACKNOWLEDGED],
    [reveal(2, 3, SHOWN), fetch(4, 5, SHOWN), ACKNOWLEDGED, fetch(9, 10, GONE)],
    [
        reveal(2, 3, SHOWN),
        fetch(4, 5, SHOWN),
        other("received files", 6, 7, UNKNOWN, "one"),
        fetch(8, 9, GONE),
    ],
    [reveal(2, 3, SHOWN), fetch(3700, 3701, GONE)],  # more than an hour later
    [other("begin", 0, 0, DONE), put(0, 0, REFUSED), put(0, 0, Outcome.INCOMPLETE), put(0, 1, PLACED)]
    + [reveal(2, 3, SHOWN), fetch(4, 5, SHOWN)],
]
WRONG_WITH_FILES = {
    "shown to 2 readers": [reveal(2, 3, SHOWN), fetch(4, 5, SHOWN, reader="two")],
    "other bytes": [reveal(2, 3, SHOWN), fetch(4, 5, SHOWN, 1, content="both chunks")],
    "had not revealed it": [fetch(1, 2, SHOWN), reveal(3, 4, SHOWN)],
    "after their reader had received them": [
        reveal(2, 3, SHOWN),
        fetch(4, 5, SHOWN),
        ACKNOWLEDGED,
        fetch(9.5, 10, SHOWN),
    ],
    "files of note 1 were lost to a reader that stayed": [
        reveal(2, 3, SHOWN),
        fetch(4, 5, SHOWN),
        fetch(3000, 3001, GONE),
    ],
    "never got its files": [reveal(2, 3, SHOWN), fetch(4, 5, UNKNOWN), fetch(6, 7, REFUSED)],
    "its delivery is unknown": [reveal(2, 3, SHOWN), other("received files", 4, 5, GONE, "one")],
    "put under 2 keys": [put(0, 1, PLACED, "Ab3_x"), reveal(2, 3, SHOWN)],
    "the upload of note 1 was lost": [other("chunks", 0, 1, GONE), reveal(2, 3, SHOWN)],
    "was never answered": [other("begin", 0, 1, DONE), other("chunks", 1, 2, REFUSED), reveal(2, 3, SHOWN)],
}


def with_files(calls):
    history = history_of(*calls)
    history.notes[1].files = FILES
    return history


@pytest.mark.parametrize("calls", RIGHT)
def test_what_the_promise_allows_is_no_violation(calls):
    """One reader, or one that left, or a refusal after all patience; and an ending for each end."""
    assert check(history_of(*calls), bound=30, unknown_after=9).violations == []


@pytest.mark.parametrize("words", WRONG)
def test_what_the_promise_forbids_is_found(words):
    """Each kind of broken promise, in the checker's own words."""
    violations = check(history_of(*WRONG[words]), bound=30, unknown_after=9).violations

    assert any(words in violation for violation in violations)


@pytest.mark.parametrize("calls", RIGHT_WITH_FILES)
def test_what_the_promise_allows_of_files_is_no_violation(calls):
    """All bytes to one reader, as often as it asks, until it has acknowledged them or an hour is over."""
    assert check(with_files(calls), bound=30, unknown_after=9).violations == []


@pytest.mark.parametrize("words", WRONG_WITH_FILES)
def test_what_the_promise_forbids_of_files_is_found(words):
    """Each kind of broken promise, in the checker's own words."""
    violations = check(with_files(WRONG_WITH_FILES[words]), bound=30, unknown_after=9).violations

    assert any(words in violation for violation in violations)


def test_the_hours_of_uploads_and_files_go_by_the_clock_of_the_database():
    """If that jumps, they may be over; what readers lose by it is counted."""
    history = with_files([other("chunks", 0, 1, GONE), reveal(2, 3, SHOWN), fetch(4, 5, GONE)])
    history.clock_changes = 2

    verdict = check(history, bound=30, unknown_after=9)

    assert verdict.violations == []
    assert verdict.counts["files lost to a jump of the clock"] == 1


def test_an_expired_note_may_be_gone():
    """After the end of the lifetime, it takes no reader."""
    calls = [reveal(9, 11, ENDED, ending="expired")]

    assert check(history_of(*calls, expires_at=10), bound=30, unknown_after=9).violations == []


def test_a_reveal_whose_answer_nobody_got_is_counted():
    """It is allowed, and shows in the figures."""
    calls = [reveal(2, 3, UNKNOWN), reveal(5, 6, ENDED, reader="two")]

    counts = check(history_of(*calls), bound=30, unknown_after=9).counts

    assert counts["note taken by a reveal whose answer nobody got"] == 1
