"""Links and receipts: what a person pastes, and the key and the secrets in it."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from client import terminal
from client.failures import UsageError
from server import sealing

LONGEST = 4096  # characters
RECEIPT_LENGTH = 86  # the link proof and the SHA-256 of the mark, 43 characters each
KEY = re.compile(r"[A-Za-z0-9_-]{5}")

# Mail programs encode the #; an encoded # counts as well.
_RECEIPT = re.compile(r"(https?://[^/?#\s]*)/([A-Za-z0-9_-]{5})/receipt/?(?:(?:#|%23)([A-Za-z0-9_-]*).*)?")
_LINK = re.compile(r"(https?://[^/?#\s]*)/([A-Za-z0-9_-]{5})(?:(?:#|%23|/)([0-9A-Za-z]*).*)?")


class Link(NamedTuple):
    """For the reader: opens the message."""

    origin: str
    key: str
    token: str

    @property
    def link_proof(self) -> bytes:
        return sealing.link_proof_of(self.token)

    @property
    def address(self) -> str:
        """The link without its secret."""
        return f"{self.origin}/{self.key}"

    def __str__(self) -> str:
        return f"{self.address}#{self.token}"


class Receipt(NamedTuple):
    """For the sender: shows what became of the message, destroys it, and cannot open it."""

    origin: str
    key: str
    link_proof: bytes
    mark_verifier: bytes

    @property
    def address(self) -> str:
        """The link without its secret."""
        return f"{self.origin}/{self.key}"


def text_of(argument: str) -> str:
    """The link itself, or the link in a file (@FILE) or on standard input (-). Raises UsageError."""
    try:
        if argument == "-":
            return _typed()
        if argument.startswith("@"):
            with Path(argument[1:]).open(encoding="utf-8") as file:
                return file.read(LONGEST).strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise UsageError(f"The link could not be read: {reason}.") from None
    return argument.strip()


def _typed() -> str:
    if sys.stdin is None:
        raise UsageError("Standard input is closed: there is no link.")
    if not sys.stdin.isatty():
        return sys.stdin.read(LONGEST).strip()
    terminal.say("Paste it here, then press Enter.")
    return sys.stdin.readline(LONGEST).strip()


def link(argument: str) -> Link:
    """The link in an argument. Raises UsageError if there is none, or if it was cut off."""
    text = text_of(argument)
    if _RECEIPT.fullmatch(text):
        raise UsageError(
            "This is a receipt. It shows what became of a message but cannot open it. To open it, use the link."
        )
    found = _LINK.fullmatch(text)
    if found is None:
        raise UsageError("This is not a note-whisperer link. Links look like https://HOST/KEY#TOKEN.")
    origin, key, token = found.groups(default="")
    if not sealing.is_token(token):
        raise UsageError(_cut_off("link"))
    return Link(origin_of(origin), key, token)


def receipt(argument: str) -> Receipt:
    """The receipt in an argument. Raises UsageError if there is none, or if it was cut off."""
    text = text_of(argument)
    found = _RECEIPT.fullmatch(text)
    if found is None:
        raise UsageError("This is not a receipt. Receipts look like https://HOST/KEY/receipt#SECRET.")
    origin, key, secret = found.groups(default="")
    if len(secret) != RECEIPT_LENGTH:
        raise UsageError(_cut_off("receipt"))
    half = RECEIPT_LENGTH // 2
    try:
        parts = sealing.from_text(secret[:half]), sealing.from_text(secret[half:])
    except ValueError:
        raise UsageError(_cut_off("receipt")) from None
    return Receipt(origin_of(origin), key, *parts)


def link_or_receipt(argument: str) -> Link | Receipt:
    """The link or the receipt in an argument. Raises UsageError."""
    text = text_of(argument)
    return receipt(text) if _RECEIPT.fullmatch(text) else link(text)


def origin_of(url: str) -> str:
    """The origin of a service's address, such as https://notes.example.org. Raises UsageError."""
    try:
        parts = urlsplit(url.strip())
        host, port = (parts.hostname or "").encode("idna").decode("ascii"), parts.port
    except ValueError:
        host, port, parts = "", None, urlsplit("")
    is_origin = parts.path in ("", "/") and not (parts.query or parts.fragment or parts.username is not None)
    if parts.scheme not in ("http", "https") or not host or not is_origin:
        raise UsageError(
            "The address of the service has the form https://HOST, without a user name and without a path."
        )
    host = f"[{host}]" if ":" in host else host
    default = {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{host}" + (f":{port}" if port not in (None, default) else "")


def _cut_off(what: str) -> str:
    return (
        f"This {what} was cut off or mistyped: its end is missing. Nothing was sent, and the message is untouched."
        f" Copy the whole {what}, and put it between quotes."
    )
