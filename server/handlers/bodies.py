"""Turns the body of a request, a form or a JSON object, into a mapping from names to JSON values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from tornado.httputil import (
    HTTPFile,
    HTTPInputError,
    HTTPServerRequest,
    ParseBodyConfig,
    ParseMultipartConfig,
    parse_body_arguments,
)

from server.handlers.inputs import FILE, Field, Fields
from server.languages import text
from server.problems import Problem
from server.sealed_files import MAX_FILES

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"
MULTIPART = "multipart/form-data"  # a form with files

MAX_FORM_FIELDS = 20
# A file name has 255 at most, and parsing four times as many would take 0.1 seconds.
MAX_PART_HEAD_BYTES = 1024
_MULTIPART = ParseBodyConfig(
    multipart=ParseMultipartConfig(
        max_parts=MAX_FORM_FIELDS + MAX_FILES, max_part_header_size=MAX_PART_HEAD_BYTES
    )
)
LONGEST_NUMBER = 20  # digits in a form's field: converting thousands of them is costly


def media_type_of(request: HTTPServerRequest) -> str:
    """The body's media type, in lower case, without parameters."""
    return request.headers.get("Content-Type", "").partition(";")[0].strip().lower()


def fields_of(request: HTTPServerRequest, known: Mapping[str, Field[Any]]) -> Fields:
    """The fields of the request's body, if all of them are `known`. The line ends of a form become LF.

    A form may have files if FILE is known.

    Raises:
        Problem: 400 or 415.
    """
    media_type = media_type_of(request)
    if media_type == JSON:
        fields = from_json(request.body)
    elif media_type == FORM:
        fields = from_form(request.body, known)
    elif media_type == MULTIPART and FILE.name in known:
        fields = from_multipart(request, known)
    else:
        raise Problem(415, text("Content-Type must be %(json)s or %(form)s.", json=JSON, form=FORM))
    if not fields.keys() <= known.keys():
        raise Problem(
            400, text("There is an unknown field. The known ones are %(known)s.", known=", ".join(known))
        )
    return fields


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise Problem(400, "The JSON has a duplicate member.")
    return members


_FROM_JSON = json.JSONDecoder(object_pairs_hook=_members)  # made once: json.loads makes one for each call


def from_json(body: bytes) -> Fields:
    """The members of a JSON object. Raises Problem, 400."""
    try:
        fields = _FROM_JSON.decode(body.decode("utf-8"))
    except UnicodeDecodeError:
        raise Problem(400, "The body is not UTF-8.") from None
    except (ValueError, RecursionError):
        raise Problem(400, "The body is not JSON.") from None
    if not isinstance(fields, dict):
        raise Problem(400, "The body must be a JSON object.")
    return fields


def from_form(body: bytes, known: Mapping[str, Field[Any]]) -> Fields:
    """A form's fields, with numbers and booleans where JSON would have them. Raises Problem, 400 or 415."""
    if body.lstrip().startswith(b"{"):
        raise Problem(415, text("The body looks like JSON: send it with Content-Type: %(json)s.", json=JSON))
    try:
        pairs = parse_qsl(
            body.decode("utf-8"), keep_blank_values=True, errors="strict", max_num_fields=MAX_FORM_FIELDS
        )
    except UnicodeDecodeError:
        raise Problem(400, "The form is not UTF-8 in URL encoding.") from None
    except ValueError:
        raise Problem(400, "The form has too many fields.") from None
    return _from_pairs(pairs, known)


def from_multipart(request: HTTPServerRequest, known: Mapping[str, Field[Any]]) -> Fields:
    """The fields of a form with files; FILE is a list of HTTPFile. Raises Problem, 400."""
    values: dict[str, list[bytes]] = {}
    files: dict[str, list[HTTPFile]] = {}
    try:
        content_type = request.headers["Content-Type"]
        parse_body_arguments(content_type, request.body, values, files, request.headers, config=_MULTIPART)
        # If no file was chosen, a browser sends one without a name or bytes.
        unnamed = [
            HTTPFile(filename="", body=body, content_type="") for body in values.pop(FILE.name, []) if body
        ]
        pairs = [(name, value.decode("utf-8")) for name in values for value in values[name]]
    except (HTTPInputError, ValueError):
        raise Problem(400, "The request is malformed.") from None
    chosen = files.pop(FILE.name, []) + unnamed
    if files:
        raise Problem(400, text("There is an unknown field. The known ones are %(known)s.", known=FILE.name))
    return {**_from_pairs(pairs, known), FILE.name: chosen}


def _from_pairs(pairs: list[tuple[str, str]], known: Mapping[str, Field[Any]]) -> dict[str, Any]:
    fields: dict[str, Any] = {name: value.replace("\r\n", "\n") for name, value in pairs}
    if len(fields) != len(pairs):
        raise Problem(400, "The form has a duplicate field.")
    for name in fields.keys() & known.keys():
        if not known[name].is_text:
            fields[name] = _from_text(fields[name])
    return fields


def _from_text(text: str) -> Any:
    """The number or boolean in a form's field. Any other text stays as it is, and the field's reader refuses it."""
    if text.isascii() and text.isdigit() and len(text) <= LONGEST_NUMBER:
        return int(text)
    return {"true": True, "false": False}.get(text, text)
