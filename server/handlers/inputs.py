"""What may stand in a field: each checked once, each error naming the field and its limit."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from server import sealing
from server.messages import Claim
from server.notes import Note
from server.problems import Problem

MIN_LIFETIME = 1
MAX_LIFETIME = 7 * 24 * 3600
DEFAULT_LIFETIME = 3600
LONGEST_NUMBER = 20  # digits in a form's field: converting thousands of them is costly

Fields = Mapping[str, Any]


def from_form(fields: Mapping[str, str]) -> Fields:
    """A form's fields with what JSON would have there: numbers and booleans, where the text is one."""
    typed: dict[str, Any] = dict(fields)
    lifetime = fields.get("lifetime", "")
    if lifetime.isascii() and lifetime.isdigit() and len(lifetime) <= LONGEST_NUMBER:
        typed["lifetime"] = int(lifetime)
    if fields.get("has_passphrase") in ("true", "false"):
        typed["has_passphrase"] = fields["has_passphrase"] == "true"
    return typed


def message_of(fields: Fields, max_bytes: int) -> str:
    """The message, at most `max_bytes` of UTF-8.

    Raises:
        Problem: 400 or 413.
    """
    message = _text(fields, "message")
    if not message:
        raise Problem(400, "The message is missing or empty.", "message")
    if len(message.encode("utf-8")) > max_bytes:
        raise Problem(413, f"The message may have at most {max_bytes} bytes.", "message")
    return message


def passphrase_of(fields: Fields) -> str:
    """The passphrase; "" is none. Raises Problem, 400."""
    passphrase = _text(fields, "passphrase")
    if len(passphrase.encode("utf-8")) > sealing.MAX_PASSPHRASE_BYTES:
        limit = sealing.MAX_PASSPHRASE_BYTES
        raise Problem(400, f"The passphrase may have at most {limit} bytes.", "passphrase")
    return passphrase


def lifetime_of(fields: Fields) -> timedelta:
    """The lifetime, in whole seconds; an hour if none is given. Raises Problem, 400."""
    value = fields.get("lifetime", DEFAULT_LIFETIME)
    if type(value) is not int or not MIN_LIFETIME <= value <= MAX_LIFETIME:
        raise Problem(
            400,
            f"The lifetime is a whole number of seconds from {MIN_LIFETIME} to {MAX_LIFETIME}.",
            "lifetime",
        )
    return timedelta(seconds=value)


def sealed_note_of(fields: Fields, max_message_bytes: int) -> Note:
    """A note that the client has sealed itself. Raises Problem, 400 or 413."""
    sealed = _bytes(fields, "sealed")
    if not sealing.is_sealed(sealed):
        raise Problem(
            400, "Sealed must be version 1 of the format: 0x01, 12 bytes, and 16 + 256 n bytes.", "sealed"
        )
    if len(sealed) > sealing.sealed_length(max_message_bytes):
        raise Problem(
            413, f"The message may have at most {max_message_bytes} bytes before it is sealed.", "sealed"
        )
    has_passphrase = fields.get("has_passphrase", False)
    if not isinstance(has_passphrase, bool):
        raise Problem(400, "The member has_passphrase is true or false.", "has_passphrase")
    return Note(_digest(fields, "verifier"), sealed, has_passphrase, lifetime_of(fields))


def claim_of(fields: Fields, address: str) -> Claim:
    """What somebody shows for a note: `proof`, or `token` with `passphrase`. Raises Problem, 400."""
    if ("proof" in fields) == ("token" in fields):
        raise Problem(400, "Send either the token of the link, or a proof.", "token")
    if "proof" in fields:
        return Claim(proof=_digest(fields, "proof"), address=address)
    token = _text(fields, "token")
    if not sealing.is_token(token):
        raise Problem(400, CUT_OFF, "token")
    return Claim(token=token, passphrase=passphrase_of(fields), address=address)


CUT_OFF = (
    "This link was cut off or mistyped: its token is not whole. The note, if there is one, is untouched."
)


def _text(fields: Fields, name: str) -> str:
    value = fields.get(name, "")
    if not isinstance(value, str):
        raise Problem(400, f"The {name} must be a string.", name)
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise Problem(
            400, f"The {name} is not Unicode text: half of a surrogate pair is missing.", name
        ) from None
    return value


def _digest(fields: Fields, name: str) -> bytes:
    data = _bytes(fields, name)
    if len(data) != sealing.DIGEST_LENGTH:
        raise Problem(400, f"The {name} must be {sealing.DIGEST_LENGTH} bytes in base64url.", name)
    return data


def _bytes(fields: Fields, name: str) -> bytes:
    try:
        return sealing.from_text(_text(fields, name))
    except ValueError:
        raise Problem(400, f"The {name} must be base64url without padding.", name) from None
