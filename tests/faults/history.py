"""What every client asked and was told, and what follows from it: was a note lost, or shown twice?

The checker knows nothing of how the server works. It reads the history as an outsider would, who
trusts no answer but compares all of them.
"""

from __future__ import annotations

import dataclasses
import enum
import time
from collections import Counter, defaultdict


class Outcome(enum.Enum):
    """What one call came to, as its client knows it."""

    PLACED = "placed"  # a put, and its link was handed out
    SHOWN = "shown"  # a reveal, and here is the message
    GONE = "gone"  # 404
    REFUSED = "refused"  # 503
    UNKNOWN = "unknown"  # no answer: the server died, or the client left
    WRONG = "wrong"  # any other answer


@dataclasses.dataclass
class Call:
    """One request and its answer. Times are seconds on one clock, which all clients share."""

    kind: str  # put, reveal, or guess: a reveal with a wrong token
    note: int | None
    start: float
    end: float = 0.0
    outcome: Outcome = Outcome.UNKNOWN
    status: int = 0
    content: str | None = None
    why: str = ""

    @property
    def seconds(self) -> float:
        return self.end - self.start


@dataclasses.dataclass
class Note:
    """A note whose link was handed out."""

    number: int
    path: str  # of the link
    content: str
    expires_at: float = float("inf")  # on the history's clock


class History:
    """All calls, in the order of their starts."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.notes: dict[int, Note] = {}

    def begin(self, kind: str, note: int | None = None) -> Call:
        call = Call(kind, note, time.monotonic())
        self.calls.append(call)
        return call


@dataclasses.dataclass
class Verdict:
    """What the checker found."""

    violations: list[str]
    counts: Counter[str]
    slowest: float

    @property
    def ok(self) -> bool:
        return not self.violations


def check(history: History, bound: float, unknown_after: float) -> Verdict:
    """Compare all answers with one another and with the promise.

    Call it when every note was asked for once more, after the last fault.

    Args:
        bound: seconds in which every call has to end.
        unknown_after: a refused reveal that took less than this must have left the note as it was;
            after that, a COMMIT may have stayed without an answer.
    """
    counts: Counter[str] = Counter()
    violations: list[str] = []
    reveals: dict[int, list[Call]] = defaultdict(list)
    for call in history.calls:
        counts[f"{call.kind} {call.outcome.value}"] += 1
        if call.kind == "reveal":
            assert call.note is not None
            reveals[call.note].append(call)
        if call.outcome is Outcome.WRONG:
            violations.append(f"{call.kind} of note {call.note} was answered with {call.status}: {call.why}")
        if call.kind == "guess" and call.outcome is Outcome.SHOWN:
            violations.append(f"note {call.note} was shown for a wrong token")
        if call.seconds > bound:
            violations.append(f"{call.kind} of note {call.note} took {call.seconds:.1f} s: {call.outcome}")
    for number, note in history.notes.items():
        fate, wrong = _fate_of(note, reveals[number], unknown_after)
        counts[f"note {fate}"] += 1
        violations += wrong
    slowest = max((call.seconds for call in history.calls), default=0.0)
    return Verdict(violations, counts, slowest)


def _fate_of(note: Note, calls: list[Call], unknown_after: float) -> tuple[str, list[str]]:
    """What became of one note, and what should not have."""
    wrong = []
    shown = [call for call in calls if call.outcome is Outcome.SHOWN]
    if len(shown) > 1:
        wrong.append(f"note {note.number} was shown {len(shown)} times")
    if any(call.content != note.content for call in shown):
        wrong.append(f"note {note.number} came back with another content")
    takers = [call for call in calls if _may_have_taken(call, unknown_after)]
    for gone in (call for call in calls if call.outcome is Outcome.GONE):
        if gone.end >= note.expires_at:
            continue
        if not any(taker.start < gone.end for taker in takers):
            wrong.append(f"note {note.number} was a 404 before anybody could have read it")
        if any(call.start > gone.end for call in shown):
            wrong.append(f"note {note.number} was a 404, and then was shown")
    if shown:
        return "shown once", wrong
    if any(call.end >= note.expires_at for call in calls):
        return "expired", wrong
    if not takers:
        return "lost", [*wrong, f"note {note.number} is gone, and nobody can have read it"]
    if all(call.outcome is Outcome.REFUSED for call in takers):
        return "taken by a reveal that never learned of it", wrong
    return "taken by a reveal whose answer nobody got", wrong


def _may_have_taken(call: Call, unknown_after: float) -> bool:
    if call.outcome is Outcome.REFUSED:
        return call.seconds >= unknown_after
    return call.outcome in (Outcome.SHOWN, Outcome.UNKNOWN)
