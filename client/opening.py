"""Opening a note: ask for its status, reveal it with its passphrase, open it here, and acknowledge it.

`read` shows what was opened, and `run` gives it to a command.
"""

from __future__ import annotations

import secrets
from typing import NamedTuple

from client import passphrases, terminal
from client.failures import Exit, Failure, interrupted
from client.links import Link
from client.service import Service, Status, WrongPassphrase
from client.terminal import moment
from server import sealed_files, sealing
from server.sealed_files import File

READER_LENGTH = 32

ENDED = {
    "read": "The message was read on {at}. If that was not you or your reader, somebody else opened the link.",
    "destroyed": "The message was destroyed unread on {at}.",
    "expired": "The message expired unread on {at}.",
}


class Opened(NamedTuple):
    """A message, and what acknowledges it."""

    key: str
    message: str
    reader: bytes
    mark: bytes
    files: list[File]
    file_key: bytes


def unread_status(service: Service, link: Link) -> Status:
    """The status of an unread note whose passphrase may be tried. Changes nothing. Raises Failure."""
    status = service.status(link.key, link.link_proof)
    if status.state != "unread":
        raise Failure(Exit.GONE, ENDED[status.state].format(at=moment(status.at)), **_ending(status))
    if status.seconds_to_wait:
        raise Failure(
            Exit.PASSPHRASE,
            f"Too many wrong passphrases were tried. Try again in {status.seconds_to_wait} seconds."
            " The message is untouched.",
            retry_after=status.seconds_to_wait,
        )
    return status


def _ending(status: Status) -> dict[str, dict[str, str]]:
    return {"ending": {"status": status.state, "at": status.at}}


def open_note(
    service: Service, link: Link, status: Status, passphrase: str | None, prompt: str = "Passphrase: "
) -> Opened:
    """Reveal a note and open it. If no passphrase is given, ask for it, until it is right or no try is left.

    Raises:
        Failure: the detail says what became of the message.
    """
    reader = secrets.token_bytes(READER_LENGTH)
    question, lost = prompt, False

    def on_lost() -> None:
        nonlocal lost
        if not lost:
            terminal.warn("No answer arrived. Asking again: the service keeps it for a minute.")
        lost = True

    while True:
        stretched = b""
        if status.has_passphrase:
            words = passphrase if passphrase is not None else passphrases.ask(question)
            stretched = sealing.stretch(link.token, words)
        keys = sealing.derive_keys(link.token, stretched)
        try:
            sealed = service.reveal(link.key, keys, reader, on_lost)
            break
        except WrongPassphrase as wrong:
            if passphrase is not None or not status.has_passphrase or not wrong.tries_left:
                raise Failure(Exit.PASSPHRASE, wrong.detail, tries_left=wrong.tries_left) from None
            question = f"{wrong.detail}\n{prompt}"
        except Failure as failure:
            raise _perhaps_opened(failure) if lost else failure from None
        except KeyboardInterrupt:
            raise _perhaps_opened(interrupted()) from None
    try:
        message, files = sealed_files.open_any(keys, sealed)
        return Opened(link.key, message, reader, keys.mark, files, sealing.file_key_of(keys, sealed))
    except sealing.SealingError:
        raise Failure(
            Exit.FAILED, "The message was sealed wrongly. Nobody can open it, and it is now gone."
        ) from None


def _perhaps_opened(failure: Failure) -> Failure:
    detail = (
        f"{failure.detail} The message may have been opened, and the answer lost: ask note-whisperer status."
    )
    return Failure(failure.code, detail, **failure.members)


def acknowledge(service: Service, opened: Opened) -> None:
    """Tell the service and the sender that the message has arrived. If that fails, the message is still here."""
    try:
        service.received(opened.key, opened.reader, opened.mark, bool(opened.files))
    except Failure:
        terminal.warn(
            "The receipt will not say that you confirmed it: the confirmation did not reach the service."
        )
