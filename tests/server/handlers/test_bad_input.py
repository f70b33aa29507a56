"""Errors about bad input name the field and its limit in plain words."""

import itertools
import json
from urllib.parse import urlencode

import pytest

from server import sealing
from server.problems import Problem
from tests.server.handlers.clients import (
    BROWSER,
    HTMX,
    JSON_CLIENT,
    PROBLEM_TYPE,
    TEXT_CLIENT,
    TEXT_TYPE,
    table,
)
from tests.server.handlers.conftest import (
    DIGEST,
    FORM,
    JSON,
)

pytestmark = pytest.mark.gen_test


# Bad input: status, field, words; the same for a form and for JSON, where both can be as bad.

NO_MESSAGE = (400, "message", "The message is missing or empty.")
BAD_LIFETIME = (400, "lifetime", "The lifetime is a whole number of seconds from 1 to 2,592,000.")
NOT_JSON = (400, None, "The body is not JSON.")
TWICE = (400, None, "The JSON has a duplicate member.")
BAD_SEALED = (
    400,
    "sealed",
    "The field sealed must be version 2 or 3 of the format: 0x02, or 0x03 with files, 12 bytes, and 16 + 256 n bytes.",
)
BAD_DIGEST = "The field {} must be 32 bytes in base64url without padding."
GOOD_SEALED = "Ag" + "A" * 378
GOOD_NOTE = f'"sealed": "{GOOD_SEALED}", "link_verifier": "{DIGEST}", "reveal_verifier": "{DIGEST}"'.encode()

BAD_INPUT = {
    "nothing": (JSON, b"", NOT_JSON),
    "not JSON": (JSON, b'{"message": "hello"', NOT_JSON),
    "a comment": (JSON, b'{"message": "hello"} // yes', NOT_JSON),
    "JSON in UTF-16": (JSON, '{"message": "hello"}'.encode("utf-16"), (400, None, "The body is not UTF-8.")),
    "JSON with a byte order mark": (JSON, b'\xef\xbb\xbf{"message": "hello"}', NOT_JSON),
    "JSON that is not UTF-8": (JSON, b'{"message": "\xff"}', (400, None, "The body is not UTF-8.")),
    "JSON nested deeply": (JSON, b"[" * 100_000, NOT_JSON),
    "an endless number": (JSON, b'{"lifetime": ' + b"9" * 10_000 + b"}", NOT_JSON),
    "a list": (JSON, b'["hello"]', (400, None, "The body must be a JSON object.")),
    "a string": (JSON, b'"hello"', (400, None, "The body must be a JSON object.")),
    "a member twice": (JSON, b'{"message": "one", "message": "two"}', TWICE),
    "a member twice, further in": (JSON, b'{"message": {"a": 1, "a": 2}}', TWICE),
    "no message": (JSON, b"{}", NO_MESSAGE),
    "an empty message": (JSON, b'{"message": ""}', NO_MESSAGE),
    "a message of null": (
        JSON,
        b'{"message": null}',
        (400, "message", "The field message must not be null: leave it out."),
    ),
    "a number as message": (
        JSON,
        b'{"message": 17}',
        (400, "message", "The field message must be a string."),
    ),
    "an object as message": (
        JSON,
        b'{"message": {}}',
        (400, "message", "The field message must be a string."),
    ),
    "half a surrogate pair": (
        JSON,
        b'{"message": "\\ud83d"}',
        (400, "message", "The field message is not Unicode text: it has half a surrogate pair."),
    ),
    "a list as passphrase": (
        JSON,
        b'{"message": "x", "passphrase": ["x"]}',
        (400, "passphrase", "The field passphrase must be a string."),
    ),
    "a passphrase that is too long": (
        JSON,
        b'{"message": "x", "passphrase": "' + b"\xe2\x82\xac" * 342 + b'"}',
        (400, "passphrase", "The passphrase may have at most 1,024 bytes."),
    ),
    "a lifetime of 0": (JSON, b'{"message": "x", "lifetime": 0}', BAD_LIFETIME),
    "a negative lifetime": (JSON, b'{"message": "x", "lifetime": -1}', BAD_LIFETIME),
    "a lifetime of more than thirty days": (JSON, b'{"message": "x", "lifetime": 2592001}', BAD_LIFETIME),
    "a fraction as lifetime": (JSON, b'{"message": "x", "lifetime": 3600.0}', BAD_LIFETIME),
    "not a number as lifetime": (JSON, b'{"message": "x", "lifetime": NaN}', BAD_LIFETIME),
    "infinity as lifetime": (JSON, b'{"message": "x", "lifetime": 1e999}', BAD_LIFETIME),
    "a boolean as lifetime": (JSON, b'{"message": "x", "lifetime": true}', BAD_LIFETIME),
    "text as lifetime": (JSON, b'{"message": "x", "lifetime": "3600"}', BAD_LIFETIME),
    "null as lifetime": (
        JSON,
        b'{"message": "x", "lifetime": null}',
        (400, "lifetime", "The field lifetime must not be null: leave it out."),
    ),
    "an unknown member": (
        JSON,
        b'{"message": "x", "ttl": 3600}',
        (
            400,
            None,
            "There is an unknown field. The known ones are message, passphrase, lifetime, sealed,"
            " link_verifier, reveal_verifier, has_passphrase, upload.",
        ),
    ),
    "sealed and not": (
        JSON,
        b'{"message": "x", "sealed": "Ag"}',
        (400, "sealed", "Send either the message or its sealed bytes, not both."),
    ),
    "a verifier and a message": (
        JSON,
        b'{"message": "x", "link_verifier": "x"}',
        (400, "sealed", "Send either the message or its sealed bytes, not both."),
    ),
    "the verifier of version 1": (
        JSON,
        f'{{"sealed": "{GOOD_SEALED}", "verifier": "{DIGEST}"}}'.encode(),
        (
            400,
            None,
            "There is an unknown field. The known ones are message, passphrase, lifetime, sealed,"
            " link_verifier, reveal_verifier, has_passphrase, upload.",
        ),
    ),
    "a link verifier alone": (JSON, b'{"link_verifier": "x"}', BAD_SEALED),
    "a reveal verifier alone": (JSON, b'{"reveal_verifier": "x"}', BAD_SEALED),
    "sealed with padding": (
        JSON,
        b'{"sealed": "Ag==", "link_verifier": ""}',
        (400, "sealed", "The field sealed must be base64url without padding."),
    ),
    "sealed in another alphabet": (
        JSON,
        b'{"sealed": "A+//", "link_verifier": ""}',
        (400, "sealed", "The field sealed must be base64url without padding."),
    ),
    "sealed of another version": (JSON, f'{{"sealed": "AQ{GOOD_SEALED[2:]}"}}'.encode(), BAD_SEALED),
    "sealed too short": (JSON, f'{{"sealed": "{GOOD_SEALED[:-4]}"}}'.encode(), BAD_SEALED),
    "sealed with nothing in it": (JSON, b'{"sealed": "AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}', BAD_SEALED),
    "sealed, and no verifier": (
        JSON,
        f'{{"sealed": "{GOOD_SEALED}"}}'.encode(),
        (400, "link_verifier", BAD_DIGEST.format("link_verifier")),
    ),
    "sealed, and one verifier": (
        JSON,
        f'{{"sealed": "{GOOD_SEALED}", "link_verifier": "{DIGEST}"}}'.encode(),
        (400, "reveal_verifier", BAD_DIGEST.format("reveal_verifier")),
    ),
    "a verifier that is too long": (
        JSON,
        f'{{"sealed": "{GOOD_SEALED}", "link_verifier": "{DIGEST}A", "reveal_verifier": "{DIGEST}"}}'.encode(),
        (400, "link_verifier", BAD_DIGEST.format("link_verifier")),
    ),
    "text as has_passphrase": (
        JSON,
        b'{%s, "has_passphrase": "true"}' % GOOD_NOTE,
        (400, "has_passphrase", "The field has_passphrase must be true or false."),
    ),
    "1 as has_passphrase": (
        JSON,
        b'{%s, "has_passphrase": 1}' % GOOD_NOTE,
        (400, "has_passphrase", "The field has_passphrase must be true or false."),
    ),
    "no form": (FORM, b"", NO_MESSAGE),
    "an empty message in a form": (FORM, b"message=", NO_MESSAGE),
    "a field twice": (FORM, b"message=a&message=b", (400, None, "The form has a duplicate field.")),
    "a form that is not UTF-8": (
        FORM,
        b"message=%ff",
        (400, None, "The form is not UTF-8 in URL encoding."),
    ),
    "a form with a surrogate": (
        FORM,
        b"message=%ed%a0%80",
        (400, None, "The form is not UTF-8 in URL encoding."),
    ),
    "a form in Latin-1": (FORM, b"message=\xe4", (400, None, "The form is not UTF-8 in URL encoding.")),
    "a thousand fields": (FORM, b"a=1&" * 1000, (400, None, "The form has too many fields.")),
    "JSON that says it is a form": (
        FORM,
        b'{"message": "hello"}',
        (415, None, "The body looks like JSON: send it with Content-Type: application/json."),
    ),
    "an empty lifetime in a form": (FORM, b"message=x&lifetime=", BAD_LIFETIME),
    "words as lifetime": (FORM, b"message=x&lifetime=1+hour", BAD_LIFETIME),
    "a lifetime in other digits": (FORM, "message=x&lifetime=٣٦٠٠".encode(), BAD_LIFETIME),
    "a lifetime with a sign": (FORM, b"message=x&lifetime=%2B3600", BAD_LIFETIME),
    "an endless lifetime": (FORM, b"message=x&lifetime=" + b"9" * 100_000, BAD_LIFETIME),
    "yes as has_passphrase": (
        FORM,
        f"sealed={GOOD_SEALED}&link_verifier={DIGEST}&reveal_verifier={DIGEST}&has_passphrase=yes".encode(),
        (400, "has_passphrase", "The field has_passphrase must be true or false."),
    ),
    "no Content-Type": ("", b"hello", (415, None, f"Content-Type must be {JSON} or {FORM}.")),
    "text": ("text/plain", b"hello", (415, None, f"Content-Type must be {JSON} or {FORM}.")),
    "an absurd Content-Type": (";;=,", b"hello", (415, None, f"Content-Type must be {JSON} or {FORM}.")),
    "a message a byte too long": (
        FORM,
        b"message=" + b"x" * 65537,
        (413, "message", "The message may have at most 65,536 bytes."),
    ),
    "a message of too many bytes, not characters": (
        JSON,
        b'{"message": "' + b"\\u20ac" * 21846 + b'"}',
        (413, "message", "The message may have at most 65,536 bytes."),
    ),
    "a body that no message can have": (
        FORM,
        b"message=" + b"x" * 500_000,
        (413, "message", "The message may have at most 65,536 bytes."),
    ),
}


@table(BAD_INPUT)
async def test_bad_input_is_refused_in_plain_words(site, row):
    """The status, the field and the limit, as JSON; a line of text; a fragment beside the field; a page."""
    content_type, body, (status, field, detail) = row

    async def refused(headers):
        answer = await site.ask("POST", "/post", {**headers, "Content-Type": content_type}, body)
        assert answer.code == status, answer.body
        assert answer.headers["Cache-Control"] == "no-store"
        return answer

    answer = await refused(JSON_CLIENT)
    assert answer.headers["Content-Type"] == PROBLEM_TYPE
    problem = json.loads(answer.body)
    assert problem == Problem(status, detail, field).as_json()

    answer = await refused(TEXT_CLIENT)
    assert answer.headers["Content-Type"] == TEXT_TYPE
    assert answer.body.decode() == detail + "\n"

    answer = await refused(HTMX)
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    place = f"problem-{field}" if field in ("message", "lifetime", "passphrase") else "problem"
    assert answer.headers["HX-Retarget"] == f"#{place}"
    assert answer.headers["HX-Reswap"] == "innerHTML"
    assert answer.body.decode().strip() == f"<p>{detail}</p>"

    answer = await refused(BROWSER)
    page = answer.body.decode()
    assert "<html" in page
    assert f"<p>{detail}</p>" in page or f">{detail}</p>" in page


async def test_a_sealed_message_that_is_too_long_is_refused(site):
    """413 that names the limit of what is inside."""
    sealed = sealing.to_text(b"\x02" + bytes(sealing.sealed_length(65536 + 256) - 1))

    answer = await site.ask(
        "POST",
        "/post",
        JSON_CLIENT,
        {"sealed": sealed, "link_verifier": DIGEST, "reveal_verifier": DIGEST},
    )

    assert answer.code == 413
    assert json.loads(answer.body)["field"] == "sealed"
    assert "65,536 bytes before it is sealed" in json.loads(answer.body)["detail"]


# What each route under a key refuses: the fields, and the one that the problem names.
TOKEN = sealing.new_token()
LINKS = {
    "nothing": ({}, "token"),
    "a token with a link proof": ({"token": TOKEN, "link_proof": DIGEST}, "token"),
    "a token that is not text": ({"token": 17}, "token"),
    "a token of null": ({"token": None}, "token"),
    "a token that was cut off": ({"token": TOKEN[:-1]}, "token"),
    "half a surrogate pair as token": ({"token": "\ud800"}, "token"),
    "a link proof that is too short": ({"link_proof": DIGEST[:-1]}, "link_proof"),
    "a link proof with stray bits": ({"link_proof": DIGEST[:-1] + "B"}, "link_proof"),
    "a link proof that is not base64url": ({"link_proof": "?" * 43}, "link_proof"),
    "a link proof of null": ({"link_proof": None}, "link_proof"),
    "the proof of version 1": ({"proof": DIGEST}, None),
    "an unknown member": ({"token": TOKEN, "key": "y"}, None),
}
BAD_CLAIMS = {
    "reveal": {
        **LINKS,
        "a token with a reveal proof": ({"token": TOKEN, "reveal_proof": DIGEST}, "token"),
        "a passphrase with the proofs": (
            {"passphrase": "p", "link_proof": DIGEST, "reveal_proof": DIGEST},
            "token",
        ),
        "a passphrase alone": ({"passphrase": "p"}, "token"),
        "a reader alone": ({"reader": DIGEST}, "token"),
        "a link proof alone": ({"link_proof": DIGEST}, "reveal_proof"),
        "a reveal proof alone": ({"reveal_proof": DIGEST}, "link_proof"),
        "a reader that is too long": ({"token": TOKEN, "reader": DIGEST + "A"}, "reader"),
        "a reader of null": ({"token": TOKEN, "reader": None}, "reader"),
        "a reader that is empty": ({"token": TOKEN, "reader": ""}, "reader"),
        "a mark": ({"token": TOKEN, "mark": DIGEST}, None),
    },
    "status": {
        **LINKS,
        "a reveal proof": ({"link_proof": DIGEST, "reveal_proof": DIGEST}, None),
        "a passphrase": ({"token": TOKEN, "passphrase": "p"}, None),
        "a reader": ({"token": TOKEN, "reader": DIGEST}, None),
    },
    "destroy": {
        **LINKS,
        "a reveal proof": ({"link_proof": DIGEST, "reveal_proof": DIGEST}, None),
        "a passphrase": ({"token": TOKEN, "passphrase": "p"}, None),
    },
    "received": {
        "nothing": ({}, "reader"),
        "a mark alone": ({"mark": DIGEST}, "reader"),
        "a reader that is too short": ({"reader": DIGEST[:-1]}, "reader"),
        "a reader that is a list": ({"reader": [DIGEST]}, "reader"),
        "a mark that is too long": ({"reader": DIGEST, "mark": DIGEST + "A"}, "mark"),
        "a mark of null": ({"reader": DIGEST, "mark": None}, "mark"),
        "a token": ({"reader": DIGEST, "token": TOKEN}, None),
        "a link proof": ({"reader": DIGEST, "link_proof": DIGEST}, None),
    },
}


@table({f"{act}: {name}": (act, *row) for act, rows in BAD_CLAIMS.items() for name, row in rows.items()})
async def test_fields_that_make_no_sense_together_are_refused(site, row):
    """400 that names the field and repeats nothing, as JSON and as a form; the note stays."""
    act, fields, field = row
    key, _ = await site.put()
    paths = [("POST", f"/{key}/{act}")] + ([("DELETE", f"/{key}")] if act == "destroy" else [])
    bodies = [fields]
    if all(isinstance(value, str) and value.isascii() for value in fields.values()):
        bodies.append(urlencode(fields))

    for (method, path), body in itertools.product(paths, bodies):
        answer = await site.ask(method, path, JSON_CLIENT, body)

        assert answer.code == 400, answer.body
        assert json.loads(answer.body).get("field") == field
        assert TOKEN not in answer.body.decode()
        assert DIGEST not in answer.body.decode()
    assert await site.holds(key)


async def test_a_form_whose_token_is_in_its_url_has_a_passphrase_a_choice_and_nothing_else(site):
    """POST /KEY/TOKEN with any other field is a 400, and the note stays."""
    key, token = await site.put()

    for fields in (
        {"token": token},
        {"reader": DIGEST},
        {"passphrase": 17},
        {"passphrase": None},
        {"present": True},
    ):
        answer = await site.ask("POST", f"/{key}/{token}", JSON_CLIENT, fields)
        assert answer.code == 400, fields
    assert await site.holds(key)
