"""Tells clients what became of a note: in words, as JSON, or as a problem."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import timedelta
from typing import Any, TypeVar

from server import sealing
from server.handlers import inputs
from server.handlers.base import timestamp
from server.languages import Text, counted, text
from server.notes import (
    Ended,
    Ending,
    PassphraseNeeded,
    ReaderNeeded,
    TooManyTries,
    Unread,
    WrongPassphrase,
)
from server.problems import Problem

Result = TypeVar("Result")


async def with_problems(work: Awaitable[Result], passphrase_status: int = 403) -> Result:
    """The result of `work`; its refusals become problems.

    Args:
        passphrase_status: the status if the note needs a passphrase and none was given.

    Raises:
        Problem: 401, 403, 404, 422 or 429.
    """
    try:
        return await work
    except PassphraseNeeded:
        headers = {"WWW-Authenticate": 'Passphrase realm="note"'} if passphrase_status == 401 else {}
        raise Problem(
            passphrase_status,
            "This message needs a passphrase. It is untouched. To read it, POST its token and passphrase"
            " to /KEY/reveal.",
            inputs.PASSPHRASE.name,
            headers,
            kind="passphrase-needed",
        ) from None
    except ReaderNeeded:
        raise Problem(
            409,
            "This note has files. It is untouched. Open it in a browser with JavaScript, over HTTPS, or with the"
            " command `note-whisperer read`.",
            kind="files",
        ) from None
    except WrongPassphrase as wrong:
        raise Problem(
            403,
            _wrong(wrong.tries_left),
            inputs.PASSPHRASE.name,
            kind="wrong-passphrase",
            tries_left=wrong.tries_left,
        ) from None
    except TooManyTries as tries:
        raise Problem(
            429,
            text(
                "Too many wrong passphrases. The message is untouched. Try again in %(wait)s.",
                wait=timedelta(seconds=tries.seconds),
            ),
            inputs.PASSPHRASE.name,
            {"Retry-After": str(tries.seconds)},
            kind="too-many-tries",
        ) from None
    except Ended as ended:
        raise Problem(404, in_words(ended.ending), kind="ended", ending=as_json(ended.ending)) from None
    except sealing.SealingError:
        raise Problem(
            422, "This message was sealed wrongly. Nobody can open it, and it is now gone."
        ) from None


def in_words(status: Unread | Ending) -> Text:
    """What became of a note, in a sentence or two."""
    match status:
        case Unread(wrong_passphrases=0):
            return text("The message is unread. It expires on %(at)s.", at=status.expires_at)
        case Unread():
            return counted(
                "The message is unread. It expires on %(at)s. %(count)s wrong passphrase was tried.",
                "The message is unread. It expires on %(at)s. %(count)s wrong passphrases were tried.",
                at=status.expires_at,
                count=status.wrong_passphrases,
            )
        case Ending(how="read"):
            return text(
                "The message was read on %(at)s. If that was not you or your reader, somebody else opened the link.",
                at=status.at,
            )
        case Ending(how="destroyed"):
            return text("The message was destroyed unread on %(at)s.", at=status.at)
        case _:
            return text("The message expired unread on %(at)s.", at=status.at)


def too_late(ending: Ending) -> Text:
    """Why a note can no longer be destroyed."""
    if ending.how == "read":
        return text(
            "It is too late. The message was read on %(at)s. If that was not you or your reader, somebody else"
            " opened the link.",
            at=ending.at,
        )
    return text("It is too late. The message expired unread on %(at)s.", at=ending.at)


def _wrong(tries_left: int) -> Text:
    if tries_left == 0:  # the next answer tells the delay
        return text("The passphrase is wrong. The message is untouched.")
    return counted(
        "The passphrase is wrong. The message is untouched. %(count)s try is left.",
        "The passphrase is wrong. The message is untouched. %(count)s tries are left.",
        count=tries_left,
    )


def as_json(status: Unread | Ending) -> dict[str, Any]:
    """The same for a program."""
    if isinstance(status, Unread):
        members: dict[str, Any] = {
            "status": "unread",
            "has_passphrase": status.has_passphrase,
            "expires_at": timestamp(status.expires_at),
            "wrong_passphrases": status.wrong_passphrases,
        }
        if status.file_bytes is not None:
            members["file_bytes"] = status.file_bytes
        return members | ({"retry_after": status.seconds_to_wait} if status.seconds_to_wait else {})
    members = {"status": status.how, "at": timestamp(status.at)}
    return members | ({"mark": sealing.to_text(status.mark)} if status.mark is not None else {})
