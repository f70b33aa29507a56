"""How the command ends: its exit codes, and the failures that lead to them."""

from __future__ import annotations

import enum
from typing import Any


class Exit(enum.IntEnum):
    """The exit codes. The manual has the same table, which `client/manual.py` makes from these meanings."""

    meaning: str

    def __new__(cls, code: int, meaning: str) -> Exit:
        member = int.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    DONE = 0, "Done."
    FAILED = 1, "Something else went wrong; standard error says what."
    USAGE = 2, "The command was not given what it needs. Nothing was sent."
    GONE = 3, "There is no such message: it was read, destroyed, it expired, or it never existed."
    PASSPHRASE = (
        4,
        "The passphrase is wrong or missing, or there were too many tries. The message is untouched.",
    )
    UNREACHABLE = 5, "The service cannot be reached, or does not answer as it should."
    REFUSED = 6, "The service refused: posting is restricted, the message is too long, or a limit is reached."
    UNCONFIRMED = 7, "wait: the message was read, says the service; the reader has not confirmed it."
    DESTROYED = 8, "wait: the message was destroyed unread."
    EXPIRED = 9, "wait: the message expired unread."
    UNREAD = 10, "wait: the message was still unread when the time was over."
    DIFFERS = 11, "verify: the service does not answer as the manifest says."
    CANNOT_RUN = 126, "run: the command could not be started. Its messages were opened, and are gone."
    NOT_FOUND = 127, "run: the command was not found. Nothing was opened."
    INTERRUPTED = 130, "Interrupted with Ctrl+C."


class Failure(Exception):
    """The command cannot do what it was asked for."""

    def __init__(self, code: Exit, detail: str, **members: Any) -> None:
        """
        Args:
            detail: sentences for a person: what happened, what it means for the message, what to do.
            members: further members of the JSON object.
        """
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.members = members

    def as_json(self) -> dict[str, Any]:
        return {"error": self.code.name.lower(), "exit": int(self.code), "detail": self.detail} | self.members


class UsageError(Failure):
    """The command was not given what it needs."""

    def __init__(self, detail: str) -> None:
        super().__init__(Exit.USAGE, detail)


def interrupted() -> Failure:
    """What Ctrl+C leads to."""
    return Failure(Exit.INTERRUPTED, "Interrupted.")
