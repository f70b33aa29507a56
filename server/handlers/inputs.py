"""The fields of a request's body. Each is declared once, and errors name it.

`bodies.py` turns a form or a JSON object into a mapping from names to JSON values, and `readers.py` reads the values.
`openapi.json` describes the same fields for programs, and a test compares the two.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Generic, NamedTuple, TypeVar

from server import sealed_files, sealing
from server.handlers import readers
from server.languages import text
from server.messages import FileClaim, Proofs, Token
from server.notes import Note
from server.problems import Problem
from server.sealed_files import File
from server.settings import Settings

Fields = Mapping[str, Any]
Value = TypeVar("Value")


class Field(NamedTuple, Generic[Value]):
    """A field of a form, and the member of JSON with the same name."""

    name: str
    read: Callable[[str, Any, Settings], Value]  # name and JSON value, None if it is missing; raises Problem
    has_place: bool = False  # the form can show a problem beside it
    is_text: bool = True  # False: in a form, its text stands for a number or a boolean

    def of(self, fields: Fields, settings: Settings) -> Value:
        """Its value in a body. Raises Problem, 400 or 413, which names the field and its limit."""
        name = self.name
        value = fields.get(name)
        if value is None and name in fields:
            raise Problem(400, text("The field %(field)s must not be null: leave it out.", field=name), name)
        return self.read(name, value, settings)


MESSAGE = Field("message", readers.message, has_place=True)
PASSPHRASE = Field("passphrase", readers.passphrase, has_place=True)
LIFETIME = Field("lifetime", readers.lifetime, has_place=True, is_text=False)
SEALED = Field("sealed", readers.sealed)
LINK_VERIFIER = Field("link_verifier", readers.digest)
REVEAL_VERIFIER = Field("reveal_verifier", readers.digest)
HAS_PASSPHRASE = Field("has_passphrase", readers.boolean, is_text=False)
TOKEN = Field("token", readers.token)
LINK_PROOF = Field("link_proof", readers.digest)
REVEAL_PROOF = Field("reveal_proof", readers.digest)
READER = Field("reader", readers.digest)
MARK = Field("mark", readers.digest)
UPLOAD = Field("upload", readers.digest)
FILE_BYTES = Field("file_bytes", readers.file_bytes, is_text=False)
FIRST = Field("first", readers.number, is_text=False)
FILES = Field("files", readers.boolean, is_text=False)
# People choose it; robots that submit forms do not.
PRESENT = Field("present", readers.present, has_place=True)
FILE = Field("file", readers.files)
FILE_KEY = Field("file_key", readers.digest)
START = Field("start", readers.size, is_text=False)
SIZE = Field("size", readers.size, is_text=False)
NAME = Field("name", readers.plain_text)
TITLE = Field("title", readers.plain_text)
TEXT = Field("text", readers.plain_text)
URL = Field("url", readers.plain_text)


def _by_name(*fields: Field[Any]) -> dict[str, Field[Any]]:
    return {field.name: field for field in fields}


# The fields of each kind of body.
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

# The fields of the two forms that can show a problem beside them.
PLACES = tuple(field.name for field in (FORM_FIELDS | CONFIRM_FIELDS).values() if field.has_place)


class MessageToPut(NamedTuple):
    """The message of a client that cannot seal, as `Messages.put` takes it."""

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


def optional(field: Field[Value], fields: Fields, settings: Settings) -> Value | None:
    """The value of a field that may be left out. Raises Problem, 400."""
    return field.of(fields, settings) if field.name in fields else None
