"""Readers of the fields of a request's body: a JSON value in, a checked value out.

A reader takes the field's name, its value (None if it is missing) and the settings. It raises Problem, 400 or 413,
with the name.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

from tornado.httputil import HTTPFile

from server import sealed_files, sealing
from server.languages import text
from server.problems import Problem
from server.sealed_files import File, safe_name
from server.setting_values import MAX_LIFETIME
from server.settings import Settings


def message(name: str, value: Any, settings: Settings) -> str:
    message = _text(name, value)
    limit = settings.max_message_bytes
    if not message:
        raise Problem(400, "The message is missing or empty.", name)
    if len(message.encode("utf-8")) > limit:
        raise Problem(413, text("The message may have at most %(limit)s bytes.", limit=limit), name)
    return message


def passphrase(name: str, value: Any, settings: Settings) -> str:
    passphrase = _text(name, value)
    limit = sealing.MAX_PASSPHRASE_BYTES
    if len(passphrase.encode("utf-8")) > limit:
        raise Problem(400, text("The passphrase may have at most %(limit)s bytes.", limit=limit), name)
    return sealing.strip_passphrase(passphrase)


def lifetime(name: str, value: Any, settings: Settings) -> timedelta:
    seconds = settings.default_lifetime if value is None else value
    if type(seconds) is not int or not 1 <= seconds <= MAX_LIFETIME:
        raise Problem(
            400,
            text("The lifetime is a whole number of seconds from 1 to %(longest)s.", longest=MAX_LIFETIME),
            name,
        )
    return timedelta(seconds=seconds)


def sealed(name: str, value: Any, settings: Settings) -> bytes:
    sealed, limit = _bytes(name, value), settings.max_message_bytes
    with_files = sealing.is_sealed(sealed, sealed_files.VERSION)
    if not with_files and not sealing.is_sealed(sealed):
        layout = "0x02, or 0x03 with files, 12 bytes, and 16 + 256 n bytes"
        raise Problem(
            400,
            text(
                "The field %(field)s must be version 2 or 3 of the format: %(layout)s.",
                field=name,
                layout=layout,
            ),
            name,
        )
    if len(sealed) > (settings.max_sealed_bytes if with_files else sealing.sealed_length(limit)):
        raise Problem(
            413, text("The message may have at most %(limit)s bytes before it is sealed.", limit=limit), name
        )
    return sealed


def files(name: str, value: Any, settings: Settings) -> list[tuple[File, bytes]]:
    files: list[HTTPFile] = value or []
    limit = settings.max_form_file_bytes
    if files and not limit:
        raise Problem(400, "This service takes no files.", name)
    if len(files) > sealed_files.MAX_FILES:
        raise Problem(400, "A message can have at most 20 files. Put more of them into an archive.", name)
    if sum(len(file.body) for file in files) > limit:
        raise Problem(413, text("The files may have at most %(limit)s bytes together.", limit=limit), name)
    return [(_line_of(file), file.body) for file in files]


def _line_of(file: HTTPFile) -> File:
    """The file's line of the index: its name without a path, and its media type if that is valid."""
    name = safe_name(re.split(r"[/\\]", file.filename)[-1])
    media_type = file.content_type.partition(";")[0].strip().lower()
    if media_type == "application/unknown":  # Tornado's word for none
        media_type = ""
    is_valid = re.fullmatch(r"[a-z]+/[a-z0-9.+-]{1,100}", media_type)
    return File(name, media_type if is_valid else "", len(file.body))


def file_bytes(name: str, value: Any, settings: Settings) -> int:
    limit = settings.max_file_bytes
    if type(value) is not int or value < 1 or sealed_files.padded_length(value) != value:
        raise Problem(
            400, text("The field %(field)s must be the padded length of all files.", field=name), name
        )
    if value > sealed_files.padded_length(limit):
        raise Problem(413, text("The files may have at most %(limit)s bytes together.", limit=limit), name)
    return value


def number(name: str, value: Any, settings: Settings) -> int:
    if type(value) is not int or not 0 <= value <= sealed_files.HIGHEST_NUMBER:
        raise Problem(400, text("The field %(field)s must be the number of a chunk.", field=name), name)
    return value


def size(name: str, value: Any, settings: Settings) -> int:
    if type(value) is not int or not 0 <= value <= settings.max_form_file_bytes:
        raise Problem(400, "The request is malformed.", name)
    return value


def boolean(name: str, value: Any, settings: Settings) -> bool:
    if value is not None and not isinstance(value, bool):
        raise Problem(400, text("The field %(field)s must be true or false.", field=name), name)
    return bool(value)


def present(name: str, value: Any, settings: Settings) -> bool:
    if value not in (None, "yes", "no"):
        raise Problem(400, text("The field %(field)s must be yes or no.", field=name), name)
    return bool(value == "yes")


def digest(name: str, value: Any, settings: Settings) -> bytes:
    data = _bytes(name, value)
    if len(data) != sealing.DIGEST_LENGTH:
        raise Problem(
            400,
            text(
                "The field %(field)s must be %(length)s bytes in base64url without padding.",
                field=name,
                length=sealing.DIGEST_LENGTH,
            ),
            name,
        )
    return data


def cut_off(status: int, name: str | None = None) -> Problem:
    """The token has no valid check characters."""
    return Problem(
        status,
        "This link was cut off or mistyped: its token is incomplete. The message, if there is one, is untouched.",
        name,
        kind="cut-off",
    )


def token(name: str, value: Any, settings: Settings) -> str:
    token = _text(name, value)
    if not sealing.is_token(token):
        raise cut_off(400, name)
    return token


def _text(name: str, value: Any) -> str:
    string = _string(name, value)
    try:
        string.encode("utf-8")
    except UnicodeEncodeError:
        raise Problem(
            400,
            text("The field %(field)s is not Unicode text: it has half a surrogate pair.", field=name),
            name,
        ) from None
    return string


def _bytes(name: str, value: Any) -> bytes:
    try:
        return sealing.from_text(_string(name, value))
    except ValueError:
        raise Problem(
            400, text("The field %(field)s must be base64url without padding.", field=name), name
        ) from None


def _string(name: str, value: Any) -> str:
    string = "" if value is None else value
    if not isinstance(string, str):
        raise Problem(400, text("The field %(field)s must be a string.", field=name), name)
    return string


def plain_text(name: str, value: Any, settings: Settings) -> str:
    return _text(name, value)
