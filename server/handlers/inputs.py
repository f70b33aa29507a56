"""The fields of a request's body: each one is declared once, read once, and refused by name.

`bodies.py` makes a mapping from names to JSON values of a form or a JSON object. `openapi.json` describes the
same fields for programs, and a test compares the two.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Generic, NamedTuple, TypeVar

from tornado.httputil import HTTPFile

from server import sealed_files, sealing
from server.languages import text
from server.messages import FileClaim, Proofs, Token
from server.notes import Note
from server.problems import Problem
from server.sealed_files import File, safe_name
from server.setting_values import MAX_LIFETIME
from server.settings import Settings

Fields = Mapping[str, Any]
Value = TypeVar("Value")


class Field(NamedTuple, Generic[Value]):
    """A field of a form, and the member of JSON with the same name."""

    name: str
    read: Callable[[str, Any, Settings], Value]  # name and JSON value, None if it is missing; raises Problem
    has_place: bool = False  # the form has a place beside it for its problem
    is_text: bool = True  # else the text of a form's field stands for a number or a boolean

    def of(self, fields: Fields, settings: Settings) -> Value:
        """Its value in a body. Raises Problem, 400 or 413, naming the field and its limit."""
        name = self.name
        value = fields.get(name)
        if value is None and name in fields:
            raise Problem(400, text("The field %(field)s must not be null: leave it out.", field=name), name)
        return self.read(name, value, settings)


class MessageToPut(NamedTuple):
    """What a client that cannot seal sends."""

    message: str
    passphrase: str
    lifetime: timedelta
    files: list[tuple[File, bytes]]


def message_to_put(fields: Fields, settings: Settings) -> MessageToPut:
    """A message that the server is to seal. Raises Problem, 400 or 413."""
    files = FILE.of(fields, settings)
    message = "" if files and not fields.get(MESSAGE.name) else MESSAGE.of(fields, settings)
    return MessageToPut(message, PASSPHRASE.of(fields, settings), LIFETIME.of(fields, settings), files)


def sealed_note(fields: Fields, settings: Settings) -> Note:
    """A note that the client sealed itself. Raises Problem, 400 or 413."""
    sealed = SEALED.of(fields, settings)
    if sealed.startswith(sealed_files.VERSION) != (UPLOAD.name in fields):
        raise Problem(
            400, "A note of version 3 of the format needs an upload, and no other has one.", UPLOAD.name
        )
    return Note(
        sealed=sealed,
        link_verifier=LINK_VERIFIER.of(fields, settings),
        reveal_verifier=REVEAL_VERIFIER.of(fields, settings),
        has_passphrase=HAS_PASSPHRASE.of(fields, settings),
        lifetime=LIFETIME.of(fields, settings),
    )


def claim(fields: Fields, settings: Settings) -> Proofs | Token:
    """What the client sends to reveal a note: both proofs, or the token and its passphrase. Raises Problem, 400."""
    by_token = TOKEN.name in fields or PASSPHRASE.name in fields
    if by_token == (LINK_PROOF.name in fields or REVEAL_PROOF.name in fields):
        raise Problem(400, "Send either the token of the link, or both proofs.", TOKEN.name)
    if by_token:
        return Token(TOKEN.of(fields, settings), PASSPHRASE.of(fields, settings))
    return Proofs(LINK_PROOF.of(fields, settings), REVEAL_PROOF.of(fields, settings))


def file_claim(fields: Fields, settings: Settings) -> FileClaim:
    """What the page of a browser without a script sends for a file. Raises Problem, 400 or 413."""
    return FileClaim(
        READER.of(fields, settings),
        FILE_KEY.of(fields, settings),
        FILE_BYTES.of(fields, settings),
        START.of(fields, settings),
        SIZE.of(fields, settings),
    )


def link_proof(fields: Fields, settings: Settings) -> bytes:
    """The proof of the link, sent by itself or as the link's token. Raises Problem, 400."""
    if (LINK_PROOF.name in fields) == (TOKEN.name in fields):
        raise Problem(400, "Send either the token of the link, or its proof.", TOKEN.name)
    if LINK_PROOF.name in fields:
        return LINK_PROOF.of(fields, settings)
    return sealing.link_proof_of(TOKEN.of(fields, settings))


def cut_off(status: int, name: str | None = None) -> Problem:
    """The token has no valid check characters."""
    return Problem(
        status,
        "This link was cut off or mistyped: its token is incomplete. The message, if there is one, is untouched.",
        name,
        kind="cut-off",
    )


def optional(field: Field[Value], fields: Fields, settings: Settings) -> Value | None:
    """The value of a field that may be left out. Raises Problem, 400."""
    return field.of(fields, settings) if field.name in fields else None


def _read_message(name: str, value: Any, settings: Settings) -> str:
    message = _text(name, value)
    limit = settings.max_message_bytes
    if not message:
        raise Problem(400, "The message is missing or empty.", name)
    if len(message.encode("utf-8")) > limit:
        raise Problem(413, text("The message may have at most %(limit)s bytes.", limit=limit), name)
    return message


def _read_passphrase(name: str, value: Any, settings: Settings) -> str:
    passphrase = _text(name, value)
    limit = sealing.MAX_PASSPHRASE_BYTES
    if len(passphrase.encode("utf-8")) > limit:
        raise Problem(400, text("The passphrase may have at most %(limit)s bytes.", limit=limit), name)
    return sealing.strip_passphrase(passphrase)


def _read_lifetime(name: str, value: Any, settings: Settings) -> timedelta:
    seconds = settings.default_lifetime if value is None else value
    if type(seconds) is not int or not 1 <= seconds <= MAX_LIFETIME:
        raise Problem(
            400,
            text("The lifetime is a whole number of seconds from 1 to %(longest)s.", longest=MAX_LIFETIME),
            name,
        )
    return timedelta(seconds=seconds)


def _read_sealed(name: str, value: Any, settings: Settings) -> bytes:
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


def _read_files(name: str, value: Any, settings: Settings) -> list[tuple[File, bytes]]:
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
    """The line of the index: a name without its path, and a type that is one."""
    name = safe_name(re.split(r"[/\\]", file.filename)[-1])
    media_type = file.content_type.partition(";")[0].strip().lower()
    if media_type == "application/unknown":  # Tornado's word for none
        media_type = ""
    is_one = re.fullmatch(r"[a-z]+/[a-z0-9.+-]{1,100}", media_type)
    return File(name, media_type if is_one else "", len(file.body))


def _read_file_bytes(name: str, value: Any, settings: Settings) -> int:
    limit = settings.max_file_bytes
    if type(value) is not int or value < 1 or sealed_files.padded_length(value) != value:
        raise Problem(
            400, text("The field %(field)s must be the padded length of all files.", field=name), name
        )
    if value > sealed_files.padded_length(limit):
        raise Problem(413, text("The files may have at most %(limit)s bytes together.", limit=limit), name)
    return value


def _read_number(name: str, value: Any, settings: Settings) -> int:
    if type(value) is not int or not 0 <= value <= sealed_files.HIGHEST_NUMBER:
        raise Problem(400, text("The field %(field)s must be the number of a chunk.", field=name), name)
    return value


def _read_size(name: str, value: Any, settings: Settings) -> int:
    if type(value) is not int or not 0 <= value <= settings.max_form_file_bytes:
        raise Problem(400, "The request is malformed.", name)
    return value


def _read_boolean(name: str, value: Any, settings: Settings) -> bool:
    if value is not None and not isinstance(value, bool):
        raise Problem(400, text("The field %(field)s must be true or false.", field=name), name)
    return bool(value)


def _read_present(name: str, value: Any, settings: Settings) -> bool:
    if value not in (None, "yes", "no"):
        raise Problem(400, text("The field %(field)s must be yes or no.", field=name), name)
    return bool(value == "yes")


def _read_digest(name: str, value: Any, settings: Settings) -> bytes:
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


def _read_token(name: str, value: Any, settings: Settings) -> str:
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


def _read_text(name: str, value: Any, settings: Settings) -> str:
    return _text(name, value)


MESSAGE = Field("message", _read_message, has_place=True)
PASSPHRASE = Field("passphrase", _read_passphrase, has_place=True)
LIFETIME = Field("lifetime", _read_lifetime, has_place=True, is_text=False)
SEALED = Field("sealed", _read_sealed)
LINK_VERIFIER = Field("link_verifier", _read_digest)
REVEAL_VERIFIER = Field("reveal_verifier", _read_digest)
HAS_PASSPHRASE = Field("has_passphrase", _read_boolean, is_text=False)
TOKEN = Field("token", _read_token)
LINK_PROOF = Field("link_proof", _read_digest)
REVEAL_PROOF = Field("reveal_proof", _read_digest)
READER = Field("reader", _read_digest)
MARK = Field("mark", _read_digest)
UPLOAD = Field("upload", _read_digest)
FILE_BYTES = Field("file_bytes", _read_file_bytes, is_text=False)
FIRST = Field("first", _read_number, is_text=False)
FILES = Field("files", _read_boolean, is_text=False)
PRESENT = Field("present", _read_present, has_place=True)  # what a person says, and no blind submitter
FILE = Field("file", _read_files)
FILE_KEY = Field("file_key", _read_digest)
START = Field("start", _read_size, is_text=False)
SIZE = Field("size", _read_size, is_text=False)
NAME = Field("name", _read_text)
TITLE = Field("title", _read_text)
TEXT = Field("text", _read_text)
URL = Field("url", _read_text)


def _by_name(*fields: Field[Any]) -> dict[str, Field[Any]]:
    return {field.name: field for field in fields}


# The bodies that there are.
MESSAGE_FIELDS = _by_name(MESSAGE, PASSPHRASE, LIFETIME)
FORM_FIELDS = MESSAGE_FIELDS | _by_name(FILE)  # of a form with files
SEALED_FIELDS = _by_name(SEALED, LINK_VERIFIER, REVEAL_VERIFIER, HAS_PASSPHRASE, LIFETIME, UPLOAD)
PUT_FIELDS = MESSAGE_FIELDS | SEALED_FIELDS
REVEAL_FIELDS = _by_name(LINK_PROOF, REVEAL_PROOF, TOKEN, PASSPHRASE, READER)
LINK_FIELDS = _by_name(LINK_PROOF, TOKEN)
RECEIVED_FIELDS = _by_name(READER, MARK, FILES)
UPLOAD_FIELDS = _by_name(UPLOAD, FILE_BYTES)
CANCEL_FIELDS = _by_name(UPLOAD)
FILE_FIELDS = _by_name(READER, FILE_KEY, FILE_BYTES, START, SIZE, NAME)
CHUNKS_FIELDS = _by_name(READER, FIRST)
SHARED_FIELDS = _by_name(TITLE, TEXT, URL)
CONFIRM_FIELDS = _by_name(PASSPHRASE, PRESENT)  # of the form whose token is in its URL

# Of the two forms, those that have a place for their problem beside them.
PLACES = tuple(field.name for field in (MESSAGE_FIELDS | CONFIRM_FIELDS).values() if field.has_place)
