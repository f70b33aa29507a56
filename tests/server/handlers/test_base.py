"""What every handler has: errors in the asker's format, headers, who is believed about what."""

import asyncio
import itertools
import json
import re
import threading
from contextlib import asynccontextmanager
from urllib.parse import urlencode

import pytest

from server import passphrases, schema, sealing
from server.app import make_app
from server.clients import is_trusted, network_of
from server.handlers.base import SECURITY_HEADERS, BaseHandler
from server.passphrases import MAX_STRETCHES_OF_CLIENT
from server.problems import Problem
from tests.conftest import fresh_database
from tests.server.handlers.askers import (
    BROWSER,
    COMPLAINANTS,
    CURL,
    HTMX,
    JSON_CLIENT,
    OLD_BROWSER,
    PROBLEM_TYPE,
    TEXT_CLIENT,
    TEXT_TYPE,
    table,
)
from tests.server.handlers.conftest import (
    DIGEST,
    FORM,
    JSON,
    PUBLIC_URL,
    TRIES,
    Site,
    link_of,
    listening,
    proofs_of,
    serviced,
    wrong_guess,
)
from tests.server_process import free_port

pytestmark = pytest.mark.gen_test


# Bad input: status, field, words; the same for a form and for JSON, where both can be as bad.

NO_MESSAGE = (400, "message", "The message is missing or empty.")
BAD_LIFETIME = (400, "lifetime", "The lifetime is a whole number of seconds from 1 to 2592000.")
NOT_JSON = (400, None, "The body is not JSON.")
TWICE = (400, None, "The JSON has a duplicate member.")
BAD_SEALED = (
    400,
    "sealed",
    "The field sealed must be version 2 of the format: 0x02, 12 bytes, and 16 + 256 n bytes.",
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
        (400, "passphrase", "The passphrase may have at most 1024 bytes."),
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
            " link_verifier, reveal_verifier, has_passphrase.",
        ),
    ),
    "sealed and not": (
        JSON,
        b'{"message": "x", "sealed": "Ag"}',
        (400, "sealed", "Send either the message or the sealed note, not both."),
    ),
    "a verifier and a message": (
        JSON,
        b'{"message": "x", "link_verifier": "x"}',
        (400, "sealed", "Send either the message or the sealed note, not both."),
    ),
    "the verifier of version 1": (
        JSON,
        f'{{"sealed": "{GOOD_SEALED}", "verifier": "{DIGEST}"}}'.encode(),
        (
            400,
            None,
            "There is an unknown field. The known ones are message, passphrase, lifetime, sealed,"
            " link_verifier, reveal_verifier, has_passphrase.",
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
    "another form": (
        "multipart/form-data; boundary=x",
        b'--x\r\nContent-Disposition: form-data; name="message"\r\n\r\nhello\r\n--x--\r\n',
        (415, None, f"Content-Type must be {JSON} or {FORM}."),
    ),
    "no Content-Type": ("", b"hello", (415, None, f"Content-Type must be {JSON} or {FORM}.")),
    "text": ("text/plain", b"hello", (415, None, f"Content-Type must be {JSON} or {FORM}.")),
    "an absurd Content-Type": (";;=,", b"hello", (415, None, f"Content-Type must be {JSON} or {FORM}.")),
    "a message a byte too long": (
        FORM,
        b"message=" + b"x" * 65537,
        (413, "message", "The message may have at most 65536 bytes."),
    ),
    "a message of too many bytes, not characters": (
        JSON,
        b'{"message": "' + b"\\u20ac" * 21846 + b'"}',
        (413, "message", "The message may have at most 65536 bytes."),
    ),
    "a body that no message can have": (
        FORM,
        b"message=" + b"x" * 500_000,
        (413, "message", "The message may have at most 65536 bytes."),
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
    assert "65536 bytes before it is sealed" in json.loads(answer.body)["detail"]


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


async def test_a_form_whose_token_is_in_its_url_has_a_passphrase_and_nothing_else(site):
    """POST /KEY/TOKEN with any other field is a 400, and the note stays."""
    key, token = await site.put()

    for fields in ({"token": token}, {"reader": DIGEST}, {"passphrase": 17}, {"passphrase": None}):
        answer = await site.ask("POST", f"/{key}/{token}", JSON_CLIENT, fields)
        assert answer.code == 400, fields
    assert await site.holds(key)


# Headers of every answer


def _security_headers_of(answer):
    """What differs from SECURITY_HEADERS: none, or what is missing, wrong or there twice."""
    return {
        name: answer.headers.get_list(name)
        for name, value in SECURITY_HEADERS.items()
        if answer.headers.get_list(name) != [value]
    }


async def test_every_answer_has_the_security_headers(site):
    """Whatever the route, the status and the format; and no answer names the server's software."""
    key, token = await site.put()
    locked, locked_token, locked_keys = await site.put_sealed(has_passphrase=True)
    locked_out, _, locked_out_keys = await site.put_sealed(has_passphrase=True)
    for _ in range(TRIES):
        await site.ask("POST", f"/{locked_out}/reveal", {}, wrong_guess(locked_out_keys))
    wrongly_sealed, wrong_token, _ = await site.put_sealed(sealed=b"\x02" + bytes(28 + 256))
    read, _, read_keys = await site.put_sealed()
    await site.ask("POST", f"/{read}/reveal", {}, {**proofs_of(read_keys), "reader": DIGEST})
    asked = [
        (200, "GET", "/", None),
        (200, "HEAD", "/", None),
        (204, "OPTIONS", "/", None),
        (201, "POST", "/post", "message=hello"),
        (400, "POST", "/post", "message="),
        (413, "POST", "/post", "message=" + "x" * 500_000),
        (415, "POST", "/post", "{}"),
        (405, "PUT", "/post", "message=hello"),
        (405, "TRACE", "/", None),
        (303, "GET", f"/{key}%23{token}", None),
        (200, "GET", f"/{key}", None),
        (403, "POST", f"/{key}/reveal", f"token={token}"),
        (200, "POST", f"/{key}/reveal", f"token={token}"),
        (404, "GET", f"/{key}/{token}", None),
        (404, "GET", f"/{key}/cut-off", None),
        (404, "GET", "/nowhere", None),
        (400, "GET", "/AAAAA/%ff", None),
        (401, "GET", f"/{locked}/{locked_token}", None),
        (403, "POST", f"/{locked}/{locked_token}", "passphrase="),
        (200, "POST", f"/{locked}/status", urlencode(link_of(locked_keys))),
        (429, "POST", f"/{locked_out}/reveal", urlencode(wrong_guess(locked_out_keys))),
        (204, "POST", f"/{read}/received", f"reader={DIGEST}"),
        (404, "POST", f"/{read}/reveal", urlencode(proofs_of(read_keys))),
        (409, "POST", f"/{read}/destroy", urlencode(link_of(read_keys))),
        (200, "GET", f"/{read}/receipt", None),
        (422, "POST", f"/{wrongly_sealed}/reveal", f"token={wrong_token}"),
        (200, "GET", "/healthz", None),
        (200, "GET", "/readyz", None),
        (200, "GET", "/metrics", None),
        (200, "GET", "/openapi.json", None),
        (404, "GET", "/static/nothing.js", None),
    ]
    for status, method, path, body in asked:
        for headers in (CURL, JSON_CLIENT, HTMX, BROWSER):
            if status == 401 and headers in (HTMX, BROWSER):
                continue  # they get the confirm page
            if path == f"/{key}/reveal" and status == 403:
                headers = {**headers, "Sec-Fetch-Site": "cross-site"}

            answer = await site.ask(method, path, headers, body)

            assert answer.code == status, (method, path)
            assert _security_headers_of(answer) == {}, (method, path)
            assert "Server" not in answer.headers
            assert "Set-Cookie" not in answer.headers
            if status in (200, 422) and path.endswith("/reveal"):
                break  # it is gone now
    assert "unsafe" not in SECURITY_HEADERS["Content-Security-Policy"]


async def test_pages_cannot_be_framed(site):
    """By the header that all browsers know, and by the one that has replaced it."""
    for headers in (BROWSER, HTMX):
        answer = await site.ask("GET", "/", headers)
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]


# Other sites

REFUSED_SITES = {
    "another site": {"Sec-Fetch-Site": "cross-site"},
    "a neighbouring site": {"Sec-Fetch-Site": "same-site"},
    "another site that claims our origin": {"Sec-Fetch-Site": "cross-site", "Origin": PUBLIC_URL},
    "a word that no browser says": {"Sec-Fetch-Site": "SAME-ORIGIN"},
    "nothing": {"Sec-Fetch-Site": ""},
    "another origin": {"Origin": "https://evil.test"},
    "an origin that begins like ours": {"Origin": PUBLIC_URL + ".evil.test"},
    "an origin that ends like ours": {"Origin": "https://evil-notes.test"},
    "our origin in its path": {"Origin": "https://evil.test/" + PUBLIC_URL},
    "two origins": {"Origin": f"{PUBLIC_URL} https://evil.test"},
    "our host as a user's name": {"Origin": "https://notes.test@evil.test"},
    "an empty origin": {"Origin": ""},
    "no origin but a scheme": {"Origin": "http://"},
    "half an IPv6 address": {"Origin": "http://["},
    "our host without a scheme": {"Origin": "notes.test"},
    "a file": {"Origin": "file://"},
    "another port of this machine": {"Host": "localhost:81", "Origin": "http://localhost:82"},
}
ACCEPTED_SITES = {
    "no browser": {},
    "this site": {"Sec-Fetch-Site": "same-origin"},
    "somebody who typed it": {"Sec-Fetch-Site": "none"},
    "this site behind a proxy that changes Host": {"Origin": PUBLIC_URL},
    "this machine by the name it was asked by": {"Host": "localhost:81", "Origin": "http://localhost:81"},
    "this machine in other letters": {"Host": "Localhost", "Origin": "http://localhost"},
    "this machine by its address": {"Host": "[::1]:81", "Origin": "http://[::1]:81"},
    "an old browser told to send no referrer": {"Origin": "null"},
    "this site, where its pages send no origin": {"Sec-Fetch-Site": "same-origin", "Origin": "null"},
}


@table(REFUSED_SITES)
async def test_what_another_site_makes_a_browser_send_is_refused(site, row):
    """403 for every method that may change something, and the note stays."""
    key, token = await site.put()
    claim = f"token={token}"

    for method, path, body in (
        ("POST", "/post", "message=hello"),
        ("POST", f"/{key}/reveal", claim),
        ("POST", f"/{key}/{token}", "passphrase="),
        ("POST", f"/{key}/status", claim),
        ("POST", f"/{key}/received", f"reader={DIGEST}"),
        ("POST", f"/{key}/destroy", claim),
        ("DELETE", f"/{key}", claim),
    ):
        answer = await site.ask(method, path, {**OLD_BROWSER, **row}, body)

        assert answer.code == 403
        assert b"another site" in answer.body
    assert await site.holds(key)


@table(ACCEPTED_SITES)
async def test_what_comes_from_here_or_from_no_browser_is_accepted(site, row):
    """The same request, from where it may come."""
    key, token = await site.put()

    answer = await site.ask("POST", f"/{key}/reveal", row, f"token={token}")

    assert answer.code == 200


@table(REFUSED_SITES)
async def test_a_page_may_be_looked_at_from_anywhere(site, row):
    """A link on another site leads to the confirm page, which destroys nothing."""
    key, token = await site.put()

    answer = await site.ask("GET", f"/{key}/{token}", {**OLD_BROWSER, **row})

    assert answer.code == 200


# Who is believed


OTHER_HOSTS = (
    "evil.test",
    "evil.test:443",
    "notes.test.evil.test",
    "192.0.2.7",
    "localhost.evil.test",
    "[2001:db8::1]",
)


@pytest.mark.parametrize("host", OTHER_HOSTS)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
async def test_another_host_name_is_not_served(site, host, method):
    """421: a name that somebody else points at this server gets no page, and is no \"same site\"."""
    key, token = await site.put()
    body = f"token={token}" if method == "POST" else None
    headers = {"Host": host, "Origin": f"http://{host}"}

    answer = await site.ask(method, f"/{key}/reveal" if body else f"/{key}", headers, body)

    assert answer.code == 421
    assert await site.holds(key)


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
async def test_operations_are_served_under_any_host_name(site, path):
    """A health check names the machine."""
    assert (await site.ask("GET", path, {"Host": "10.0.0.7:8080"})).code == 200


@table(
    {
        "Host with a port": {"Host": "notes.test:81"},
        "Host in other letters": {"Host": "NOTES.test"},
        "X-Forwarded-Host": {"X-Forwarded-Host": "evil.test"},
        "Forwarded": {"Forwarded": "host=evil.test;proto=http"},
        "X-Forwarded-Proto": {"X-Forwarded-Proto": "evil"},
        "X-Original-URL": {"X-Original-URL": "/evil.test", "X-Rewrite-URL": "/evil.test"},
        "Referer": {"Referer": "http://evil.test/"},
    }
)
async def test_links_come_from_public_url_only(site, row):
    """Whatever a request says about this server's name, no answer repeats it."""
    for headers in (JSON_CLIENT, TEXT_CLIENT, BROWSER):
        answer = await site.ask("POST", "/post", {**headers, **row}, "message=hello")
        assert answer.code == 201
        (key,) = set(re.findall(PUBLIC_URL + "/([A-Za-z0-9_-]{5})", answer.body.decode()))
        for path in ("/", f"/{key}", "/nowhere", f"/{key}%23abc"):
            looked = await site.ask("GET", path, {**headers, **row})
            for told in (answer, looked):
                assert "evil" not in told.body.decode() + str(dict(told.headers.get_all()))


@asynccontextmanager
async def _stretching(service):
    """Keeps the thread that stretches passphrases busy, so that every stretch has to wait."""
    stretcher, go_on = service.messages._stretcher, threading.Event()
    stretcher._threads.submit(go_on.wait)

    async def waiting(count):
        while stretcher._stretches.total() < count:
            await asyncio.sleep(0)

    try:
        yield waiting
    finally:
        go_on.set()


def _put_with_passphrase(site, headers):
    fields = {"message": "hello", "passphrase": "x"}
    return asyncio.ensure_future(site.ask("POST", "/post", {**JSON_CLIENT, **headers}, fields))


@table(
    {
        "X-Real-IP": "X-Real-IP",
        "X-Forwarded-For": "X-Forwarded-For",
        "Forwarded": "Forwarded",
        "X-Client-IP": "X-Client-IP",
        "True-Client-IP": "True-Client-IP",
    }
)
async def test_a_stranger_is_not_believed_about_an_address(site, service, row):
    """Another address in each request gets no more than one client's share of the stretching."""
    async with _stretching(service) as waiting:
        served = [_put_with_passphrase(site, {row: f"203.0.113.{n}"}) for n in range(MAX_STRETCHES_OF_CLIENT)]
        await waiting(MAX_STRETCHES_OF_CLIENT)

        refused = await _put_with_passphrase(site, {row: "203.0.113.99"})

    assert refused.code == 503
    assert "Retry-After" in refused.headers
    assert [answer.code for answer in await asyncio.gather(*served)] == [201] * MAX_STRETCHES_OF_CLIENT


async def test_a_trusted_proxy_is_believed_about_an_address(
    http_client, seeded_key_db_url, handlers_msg_db_url
):
    """By X-Real-IP alone: each client stretches at most two passphrases at a time, and others are served."""
    async with serviced(seeded_key_db_url, handlers_msg_db_url, TRUSTED_PROXIES="127.0.0.0/8") as service:
        await service.keys.start()
        async with listening(make_app(service), service, port := free_port()):
            site = Site(http_client, f"http://127.0.0.1:{port}")
            while not service.keys.available:
                await site.ask("GET", "/healthz")
            async with _stretching(service) as waiting:
                served = [
                    _put_with_passphrase(site, {"X-Real-IP": f"2001:db8::{n}", "X-Forwarded-For": f"::{n}"})
                    for n in range(MAX_STRETCHES_OF_CLIENT)
                ]
                await waiting(MAX_STRETCHES_OF_CLIENT)
                refused = await _put_with_passphrase(site, {"X-Real-IP": "2001:db8:0:0:ffff::1"})
                served.append(_put_with_passphrase(site, {"X-Real-IP": "2001:db8:0:1::1"}))
                served.append(_put_with_passphrase(site, {"X-Real-IP": "192.0.2.7"}))
                await waiting(len(served))

            assert refused.code == 503
            assert {answer.code for answer in await asyncio.gather(*served)} == {201}


@pytest.mark.parametrize(
    ("peer", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8:0:0:ffff::", "2001:db8::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::/64"),
        ("192.0.2.1, 192.0.2.2", ""),
        ("not an address", ""),
        ("", ""),
    ],
)
async def test_addresses_are_counted_by_what_one_client_has(peer, network):
    """IPv4 whole, IPv6 by /64, the same client the same however it is written, and no address is none."""
    assert network_of(peer) == network


async def test_nobody_is_trusted_by_default(service):
    """Neither this machine nor what is no address."""
    assert not is_trusted("127.0.0.1", ())
    assert not is_trusted("not an address", service.settings.trusted_proxies)


# What nobody foresaw, and what is away


class Broken(BaseHandler):
    """Fails with words that nobody is to read."""

    route = "/broken"

    def get(self):
        raise RuntimeError("the hidden words")


@pytest.fixture(scope="module")
def app(service):
    """The application, and an address where it fails."""
    app = make_app(service)
    app.add_handlers(".*", [("/broken", Broken, {"service": service})])
    return app


@table(COMPLAINANTS)
async def test_a_mistake_of_ours_is_a_500_that_tells_nothing(site, row):
    """In the asker's format, without the exception's words or a traceback."""
    headers, content_type = row

    answer = await site.ask("GET", "/broken", headers)

    assert answer.code == 500
    assert answer.headers["Content-Type"] == content_type
    assert b"Something went wrong on the server. It has been logged." in answer.body
    assert b"hidden" not in answer.body
    assert b"Traceback" not in answer.body
    assert _security_headers_of(answer) == {}


@pytest.fixture(scope="module")
def stranded(io_loop, postgres):
    """A server without keys, and with a msg-db that is not there."""
    port = free_port()
    without_keys = fresh_database(postgres, schema.KEY_DB)
    away = f"postgresql://127.0.0.1:{free_port()}/away"
    making = serviced(without_keys, away, DB_TIMEOUT="0.1")
    service = io_loop.run_sync(making.__aenter__)
    listener = listening(make_app(service), service, port)
    io_loop.run_sync(listener.__aenter__)
    yield f"http://127.0.0.1:{port}"
    io_loop.run_sync(lambda: listener.__aexit__(None, None, None))
    io_loop.run_sync(lambda: making.__aexit__(None, None, None))


@table(COMPLAINANTS)
async def test_without_keys_or_database_everybody_is_asked_to_come_again(http_client, stranded, row):
    """503 with Retry-After, in the asker's format."""
    headers, content_type = row
    site = Site(http_client, stranded)
    for method, path, body in (
        ("POST", "/post", "message=hello"),
        ("POST", "/AAAAA/reveal", f"link_proof={DIGEST}&reveal_proof={DIGEST}"),
        ("POST", "/AAAAA/status", f"link_proof={DIGEST}"),
        ("POST", "/AAAAA/received", f"reader={DIGEST}"),
        ("POST", "/AAAAA/destroy", f"link_proof={DIGEST}"),
        ("GET", "/AAAAA", None),
    ):
        answer = await site.ask(method, path, headers, body)

        assert answer.code == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert answer.headers["Content-Type"] == content_type
        assert b"again" in answer.body
        assert _security_headers_of(answer) == {}


async def test_a_refused_form_keeps_the_message_while_the_database_is_away(http_client, stranded):
    """Without a script, what was typed comes back with the problem."""
    site = Site(http_client, stranded)

    answer = await site.ask("POST", "/post", BROWSER, urlencode({"message": "typed for an hour"}))

    assert answer.code == 503
    assert b"typed for an hour</textarea>" in answer.body


async def test_when_too_many_passphrases_are_stretched_the_rest_come_again(site, monkeypatch):
    """503 with Retry-After, and the note stays."""
    key, token = await site.put()
    locked, locked_token, _ = await site.put_sealed(has_passphrase=True)
    monkeypatch.setattr(passphrases, "MAX_STRETCHES", 0)

    for path, fields in (
        ("/post", {"message": "hello", "passphrase": "x"}),
        (f"/{locked}/reveal", {"token": locked_token, "passphrase": "x"}),
        (f"/{locked}/{locked_token}", {"passphrase": "x"}),
    ):
        answer = await site.ask("POST", path, JSON_CLIENT, fields)
        assert answer.code == 503
        assert "Retry-After" in answer.headers
    assert await site.holds(locked)
    # A note without a passphrase costs no stretching, whatever is sent along.
    fields = {"token": token, "passphrase": "x"}
    assert (await site.ask("POST", f"/{key}/reveal", JSON_CLIENT, fields)).code == 200


async def test_a_404_of_htmx_is_the_page_s_own_fragment(site):
    """It goes where the answer would have gone, not beside a field."""
    answer = await site.ask("POST", "/AAAAA/reveal", HTMX, f"token={TOKEN}")

    assert answer.code == 404
    assert "HX-Retarget" not in answer.headers
    assert b"There is no message here" in answer.body
    assert b"<html" not in answer.body
