"""What every client asked and was told, and what follows from it: was a note lost, or shown to two readers?

The checker knows nothing of how the server works. It reads the history as an outsider would, who
trusts no answer but compares all of them.
"""

from __future__ import annotations

import dataclasses
import enum
import math
import time
from collections import Counter, defaultdict


class Outcome(enum.Enum):
    """What one call came to, as its client knows it."""

    PLACED = "placed"  # a put, and its link was handed out
    SHOWN = "shown"  # a reveal, and here is the message
    GONE = "gone"  # 404 that tells nothing: for clients that do not prove the link
    ENDED = "ended"  # 404 or 409 that tells how the note ended
    UNREAD = "unread"  # the status of a note that has not ended
    TRIED = "tried"  # 403: a wrong proof was tried
    LOCKED = "locked"  # 429: the note's tries are used up
    DONE = "done"  # 200 or 204, to all that changes something and shows nothing
    INCOMPLETE = "incomplete"  # 409 to a put: chunks are missing
    REFUSED = "refused"  # 503
    UNKNOWN = "unknown"  # no answer: the server died, or the client left
    WRONG = "wrong"  # any other answer


@dataclasses.dataclass
class Call:
    """One request and its answer. Times are seconds on one clock, which all clients share."""

    # put, reveal, received, destroy, status; guess: with a wrong token; try: with a wrong proof.
    # Of notes with files: begin, chunks, cancel, put, repeated put; fetch, received files.
    kind: str
    note: int
    start: float
    end: float = 0.0
    outcome: Outcome = Outcome.UNKNOWN
    status: int = 0
    content: str | None = None  # the message; of a fetch a digest of the bytes, of a put with files the key
    why: str = ""
    reader: str | None = None  # its nonce
    ending: str | None = None  # read, destroyed or expired
    body: bytes = b""
    first: int = 0  # of a fetch: the number of its first chunk

    @property
    def seconds(self) -> float:
        return self.end - self.start

    @property
    def has_left(self) -> bool:
        """Whether the client hung up without waiting for the answer."""
        return "left" in self.why

    @property
    def is_unanswered(self) -> bool:
        return self.outcome in (Outcome.UNKNOWN, Outcome.REFUSED)


@dataclasses.dataclass
class Note:
    """A note whose link was handed out."""

    number: int
    path: str  # of the link
    content: str
    expires_at: float = float("inf")  # on the history's clock
    files: tuple[str, ...] = ()  # a digest of the files' bytes from each chunk on, if it has any

    @property
    def key(self) -> str:
        return self.path[1:6]

    @property
    def token(self) -> str:
        return self.path[7:]


class History:
    """All calls, in the order of their starts."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.notes: dict[int, Note] = {}
        self.clock_changes = 0  # of the database: each may end the delay before one more try

    def begin(self, kind: str, note: int, reader: str | None = None, first: int = 0) -> Call:
        call = Call(kind, note, time.monotonic(), reader=reader, first=first)
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


# Seconds that a reader's second try may come after its first one; a delivery lasts 60, and its files an hour.
STAYS = 50.0
STAYS_FOR_FILES = 3500.0
TRIES = 10
UPLOADING = ("begin", "chunks", "cancel", "put", "repeated put")
TELL_ENDINGS = ("reveal", "try", "destroy", "status")


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
    calls_of: dict[int, list[Call]] = defaultdict(list)
    uploads: dict[int, list[Call]] = defaultdict(list)
    for call in history.calls:
        counts[f"{call.kind} {call.outcome.value}"] += 1
        is_upload = call.kind.removeprefix("unasked ") in UPLOADING
        (uploads if is_upload else calls_of)[call.note].append(call)
        if call.outcome is Outcome.WRONG:
            violations.append(f"{call.kind} of note {call.note} was answered with {call.status}: {call.why}")
        if call.kind in ("guess", "try") and call.outcome is Outcome.SHOWN:
            violations.append(f"note {call.note} was shown for a wrong token")
        if call.kind == "guess" and call.outcome is Outcome.ENDED:
            violations.append(f"the ending of note {call.note} was told for a wrong token")
        if call.kind in TELL_ENDINGS and call.outcome is Outcome.GONE:
            violations.append(f"note {call.note} has no ending for its link: {call.kind}")
        if call.seconds > bound:
            violations.append(f"{call.kind} of note {call.note} took {call.seconds:.1f} s: {call.outcome}")
    for number, calls in uploads.items():
        violations += _wrong_uploads(number, calls, history.clock_changes)
    for number, note in history.notes.items():
        fate, wrong = _fate_of(note, calls_of[number], unknown_after, history.clock_changes)
        counts["notes"] += 1
        counts[f"note {fate}"] += 1
        violations += wrong
        if note.files:
            counts["note with files"] += 1
            counts["note whose files were fetched"] += any(_is_whole(call) for call in calls_of[number])
            shown = [
                call for call in calls_of[number] if call.kind == "reveal" and call.outcome is Outcome.SHOWN
            ]
            counts["files lost to a jump of the clock"] += _is_lost(calls_of[number], shown)
    slowest = max((call.seconds for call in history.calls), default=0.0)
    return Verdict(violations, counts, slowest)


def _is_whole(call: Call) -> bool:
    return call.kind == "fetch" and call.outcome is Outcome.SHOWN and call.first == 0


def _wrong_uploads(number: int, calls: list[Call], clock_changes: int) -> list[str]:
    """Whether a writer that stays puts its note, and only once."""
    wrong = []
    keys = {call.content for call in calls if call.outcome is Outcome.PLACED}
    if len(keys) > 1:
        wrong.append(f"note {number} was put under {len(keys)} keys")
    # The database's clock counts the hour of an upload.
    if any(call.outcome is Outcome.GONE for call in calls) and not clock_changes:
        wrong.append(f"the upload of note {number} was lost to a writer that stayed")
    if any(call.kind == "begin" for call in calls) and calls[-1].is_unanswered and not calls[-1].has_left:
        wrong.append(f"the writer of note {number} stayed, and was never answered")
    return wrong


def _fate_of(
    note: Note, calls: list[Call], unknown_after: float, clock_changes: int
) -> tuple[str, list[str]]:
    """What became of one note, and what should not have."""
    wrong = []
    reveals = [call for call in calls if call.kind == "reveal"]
    shown = [call for call in reveals if call.outcome is Outcome.SHOWN]
    fetched = [call for call in calls if call.kind == "fetch" and call.outcome is Outcome.SHOWN]
    readers = {call.reader for call in shown + fetched}
    if len(readers) > 1 or None in readers and len(shown) > 1:
        wrong.append(
            f"note {note.number} was shown to {len(shown) if None in readers else len(readers)} readers"
        )
    if any(call.content != note.content for call in shown):
        wrong.append(f"note {note.number} came back with another content")
    wrong += _wrong_deliveries(note, calls, shown)
    wrong += _wrong_fetches(note, calls, shown, fetched)
    if _is_lost(calls, shown) and not clock_changes:
        wrong.append(f"the files of note {note.number} were lost to a reader that stayed")
    wrong += _wrong_endings(note, calls, shown, unknown_after)
    tried = [call for call in calls if call.outcome is Outcome.TRIED]
    if tried and len(tried) > TRIES + (tried[-1].end - tried[0].start) // 60 + clock_changes:
        wrong.append(f"note {note.number} had {len(tried)} wrong proofs tried")

    takers = [call for call in reveals if _may_have_happened(call, Outcome.SHOWN, unknown_after)]
    destroyers = [
        call
        for call in calls
        if call.kind == "destroy" and _may_have_happened(call, Outcome.DONE, unknown_after)
    ]
    if shown:
        return "shown to one reader", wrong
    endings = {call.ending for call in calls if call.ending}
    if endings == {"destroyed"}:
        return "destroyed", wrong
    if "expired" in endings:
        return "expired", wrong
    if not endings and any(call.outcome is Outcome.LOCKED for call in calls):
        return "unread, and locked by wrong proofs", wrong
    if not takers and not destroyers:
        return "lost", [*wrong, f"note {note.number} is gone, and nobody can have read it"]
    # A reader stays if it asked again until it had an answer.
    stayed = {call.reader for call in reveals if call.outcome is Outcome.ENDED and call.reader}
    if takers and all(_stayed(taker, reveals, stayed) for taker in takers):
        wrong.append(f"note {note.number} was lost to a reader that stayed")
    if all(call.outcome is Outcome.REFUSED for call in takers):
        return "taken by a reveal that never learned of it", wrong
    return "taken by a reveal whose answer nobody got", wrong


def _stayed(taker: Call, reveals: list[Call], stayed: set[str]) -> bool:
    own = [call for call in reveals if call.reader == taker.reader]
    return taker.reader in stayed and own[-1].start - own[0].start < STAYS


def _wrong_deliveries(note: Note, calls: list[Call], shown: list[Call]) -> list[str]:
    """Whether an acknowledgement ends what one reader may fetch, and is known for every reader that was shown it."""
    wrong = []
    for received in (call for call in calls if call.kind in ("received", "received files")):
        first = min((call.end for call in shown if call.reader == received.reader), default=math.inf)
        if received.outcome is Outcome.DONE and any(call.start > received.end for call in shown):
            wrong.append(f"note {note.number} was shown after its reader had received it")
        if received.outcome is Outcome.GONE and first < received.start:
            wrong.append(f"note {note.number} was shown, and its delivery is unknown")
    return wrong


def _wrong_fetches(note: Note, calls: list[Call], shown: list[Call], fetched: list[Call]) -> list[str]:
    """Whether the reader that was shown the note gets its files, all of them, until it acknowledges them."""
    wrong = []
    if any(call.content != note.files[call.first] for call in fetched):
        wrong.append(f"the files of note {note.number} came back with other bytes")
    for reader in {call.reader for call in calls if call.kind.endswith("fetch")}:
        own = [call for call in calls if call.reader == reader]
        fetches = [call for call in own if call.kind.endswith("fetch")]
        begun = min((call.start for call in own if call.kind == "reveal"), default=math.inf)
        since = min((call.end for call in shown if call.reader == reader), default=math.inf)
        received = [call for call in own if call.kind == "received files"]
        over = min((call.end for call in received if call.outcome is Outcome.DONE), default=math.inf)
        if any(call.end < begun for call in fetched if call.reader == reader):
            wrong.append(f"the files of note {note.number} were fetched by a client that had not revealed it")
        if any(call.start > over for call in fetched if call.reader == reader):
            wrong.append(f"the files of note {note.number} were fetched after their reader had received them")
        if since < math.inf and not received and fetches[-1].is_unanswered and not fetches[-1].has_left:
            wrong.append(f"the reader of note {note.number} stayed, and never got its files")
    return wrong


def _is_lost(calls: list[Call], shown: list[Call]) -> bool:
    """Whether the reader that was shown the note was refused its files within the hour, before it acknowledged them.

    The database's clock tells when that was: if it was set back by an hour for the reveal, the hour is over.
    """
    for first in shown:
        own = [call for call in calls if call.reader == first.reader]
        acknowledged = min((call.start for call in own if call.kind == "received files"), default=math.inf)
        until = min(acknowledged, own[0].start + STAYS_FOR_FILES)
        for call in own:
            if (
                call.kind == "fetch"
                and call.outcome is Outcome.GONE
                and first.end < call.start
                and call.end < until
            ):
                return True
    return False


def _wrong_endings(note: Note, calls: list[Call], shown: list[Call], unknown_after: float) -> list[str]:
    """Whether each end was told, once it can have come, to all alike and for ever."""
    wrong = []
    causes = {
        "read": [
            c for c in calls if c.kind == "reveal" and _may_have_happened(c, Outcome.SHOWN, unknown_after)
        ],
        "destroyed": [
            c for c in calls if c.kind == "destroy" and _may_have_happened(c, Outcome.DONE, unknown_after)
        ],
    }
    ended = [call for call in calls if call.ending]
    if len({call.ending for call in ended}) > 1:
        wrong.append(
            f"note {note.number} has several endings: {sorted({str(call.ending) for call in ended})}"
        )
    for call in ended:
        if call.ending == "expired":
            if call.end < note.expires_at:
                wrong.append(f"note {note.number} expired too early")
        elif not any(cause.start < call.end for cause in causes[str(call.ending)]):
            wrong.append(f"note {note.number} was {call.ending} before anybody could have done it")
    if ended:
        first = min(call.end for call in ended)
        begun = {
            reader: min(c.start for c in calls if c.reader == reader) for reader in {c.reader for c in shown}
        }
        if any(call.start > first and (not call.reader or begun[call.reader] > first) for call in shown):
            wrong.append(f"note {note.number} had ended, and then was shown to a reader who came later")
    if any(call.outcome is Outcome.DONE for call in causes["destroyed"]) and shown:
        wrong.append(f"note {note.number} was destroyed and shown")
    since = min((c.end for c in shown), default=math.inf)
    since = min([since, *(c.end for c in causes["destroyed"] if c.outcome is Outcome.DONE)])
    if any(call.outcome is Outcome.UNREAD and call.start > since for call in calls):
        wrong.append(f"note {note.number} is unread after its end")
    return wrong


def _may_have_happened(call: Call, outcome: Outcome, unknown_after: float) -> bool:
    if call.outcome is Outcome.REFUSED:  # of a destroy, a refusal never says whether it was carried out
        return call.kind == "destroy" or call.seconds >= unknown_after
    return call.outcome in (outcome, Outcome.UNKNOWN)
