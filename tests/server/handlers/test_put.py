"""The form and POST /post: what a client can put, and what it gets back."""

import html
import json
import re
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import pytest

from server import sealing
from tests.server.handlers.clients import (
    BROWSER,
    CURL,
    HTMX,
    JSON_CLIENT,
    JSON_TYPE,
    OLD_BROWSER,
    PAGE_TYPE,
    TEXT_CLIENT,
    TEXT_TYPE,
    table,
)
from tests.server.handlers.conftest import (
    JSON,
    PUBLIC_URL,
    proofs_of,
)

pytestmark = pytest.mark.gen_test


LINK = re.compile(rf"{PUBLIC_URL}/([A-Za-z0-9_-]{{5}})/([0-9A-Za-z]{{24}})")


# GET /


@table({"a browser": BROWSER, "curl": CURL, "JSON alone": JSON_CLIENT, "somebody unknown": {}})
async def test_the_form_is_a_page(site, row):
    """GET / is the form for every client."""
    answer = await site.ask("GET", "/", row)

    assert answer.code == 200
    assert answer.headers["Content-Type"] == PAGE_TYPE
    assert b'<form class="sheet" action="/post?lang=en" method="post"' in answer.body


async def test_htmx_gets_the_form_alone(site):
    """GET / with HX-Request is what stands in the page's main."""
    answer = await site.ask("GET", "/", HTMX)

    assert answer.code == 200
    assert b"<form" in answer.body
    assert b"<html" not in answer.body


# POST /post


@table(
    {
        "JSON": ({}, {"message": "hello"}, JSON_TYPE),
        "JSON, and asks for JSON": (JSON_CLIENT, {"message": "hello"}, JSON_TYPE),
        "JSON by curl": (CURL, {"message": "hello"}, JSON_TYPE),
        "JSON by axios": ({"Accept": "application/json, text/plain, */*"}, {"message": "hello"}, JSON_TYPE),
        "JSON, and asks for text": (TEXT_CLIENT, {"message": "hello"}, TEXT_TYPE),
        "JSON, and asks for a page": (OLD_BROWSER, {"message": "hello"}, PAGE_TYPE),
        "JSON by htmx": (HTMX, {"message": "hello"}, PAGE_TYPE),
        "a form by a browser": (BROWSER, "message=hello", PAGE_TYPE),
        "a form by htmx": (HTMX, "message=hello", PAGE_TYPE),
        "a form by curl": (CURL, "message=hello", TEXT_TYPE),
        "a form, and asks for text": (TEXT_CLIENT, "message=hello", TEXT_TYPE),
        "a form, and asks for JSON": (JSON_CLIENT, "message=hello", JSON_TYPE),
        "a form by somebody unknown": ({"Accept": "*/*"}, "message=hello", PAGE_TYPE),
    }
)
async def test_a_put_gets_a_link(site, row):
    """POST /post is a 201 with a link from PUBLIC_URL, in the form that was asked for; the link opens."""
    headers, body, content_type = row

    answer = await site.ask("POST", "/post", headers, body)

    if content_type == PAGE_TYPE and headers is not HTMX:
        assert answer.code == 303
        answer = await site.ask("GET", answer.headers["Location"], headers)
        assert answer.code == 200
    else:
        assert answer.code == 201
    assert answer.headers["Content-Type"] == content_type
    text = answer.body.decode()
    key, token = LINK.search(text).groups()
    if content_type == JSON_TYPE:
        left = json.loads(text)
        assert left.keys() == {"url", "key", "expires_at", "receipt"}
        assert left["url"] == f"{PUBLIC_URL}/{key}/{token}"
        assert left["key"] == key
        assert left["receipt"] == f"{PUBLIC_URL}/{key}/receipt#{sealing.derive_keys(token).receipt}"
        in_an_hour = datetime.fromisoformat(left["expires_at"]) - datetime.now(UTC)
        assert timedelta(minutes=59) < in_an_hour < timedelta(minutes=61)
    elif content_type == TEXT_TYPE:
        assert text == f"{PUBLIC_URL}/{key}/{token}\n"
    else:
        assert ("<html" in text) == ("HX-Request" not in headers)
        assert f'action="/{key}/destroy"' in text
    assert sealing.is_token(token)
    assert (await site.ask("GET", f"/{key}/{token}", TEXT_CLIENT)).body == b"hello"


async def _sent(site, **fields):
    """The path to which a browser without scripts is sent after its form."""
    answer = await site.ask("POST", "/post", BROWSER, urlencode(fields))
    assert (answer.code, answer.body) == (303, b"")
    return answer.headers["Location"]


@table({"no passphrase": "", "a passphrase": "sesame"})
async def test_the_page_after_a_plain_form_can_be_reloaded(site, row):
    """It has the link and the receipt, says whether a passphrase is needed, and puts and reveals nothing."""
    path = await _sent(site, message="hello", passphrase=row)

    answers = [
        await site.ask("GET", path, {**headers, "Accept-Encoding": "gzip"}) for headers in (BROWSER, CURL)
    ]

    key, token = re.fullmatch(r"/([\w-]{5})/(\w{24})/sent/[\w-]{43}", path).groups()
    stretched = sealing.stretch(token, row) if row else b""
    for answer in answers:
        page = answer.body.decode()
        assert answer.code == 200
        assert "Content-Encoding" not in answer.headers
        assert f'value="{PUBLIC_URL}/{key}/{token}"' in page
        assert f"{PUBLIC_URL}/{key}/receipt#{sealing.derive_keys(token, stretched).receipt}" in page
        assert ("enters the" in page) == bool(row)
    assert await site.holds(key)


async def test_the_page_after_a_plain_form_says_how_the_message_ended(site):
    """A sender without scripts learns it by reloading the page."""
    path = await _sent(site, message="hello")
    link = path.split("/sent/")[0]
    await site.ask("GET", link, TEXT_CLIENT)

    answer = await site.ask("GET", path, BROWSER)

    assert answer.code == 200
    assert "Your message was read" in answer.body.decode()
    assert link.split("/")[2] not in answer.body.decode()


async def test_the_page_after_a_plain_form_needs_the_link(site):
    """With another token there is no such message, whatever note is under the key."""
    key, _ = await site.put()
    for token in (sealing.new_token(), "A" * 24):
        answer = await site.ask("GET", f"/{key}/{token}/sent/{'A' * 43}", BROWSER)
        assert answer.code == 404


@table({"JSON": {}, "a page": BROWSER, "htmx": HTMX, "text": TEXT_CLIENT})
async def test_a_note_sealed_by_its_client_gets_a_link_without_a_token(site, row):
    """The URL ends with the key: only the client knows what belongs after its #."""
    keys = sealing.derive_keys(sealing.new_token())
    fields = {
        "sealed": sealing.to_text(sealing.seal(keys, "hello")),
        "link_verifier": sealing.to_text(keys.link_verifier),
        "reveal_verifier": sealing.to_text(keys.reveal_verifier),
        "has_passphrase": "false",
        "lifetime": "300",
    }

    answer = await site.ask("POST", "/post", row, urlencode(fields))
    if row == {}:
        answer = await site.ask("POST", "/post", row, fields | {"has_passphrase": False, "lifetime": 300})

    assert answer.code == 201
    (key,) = set(re.findall(rf"{PUBLIC_URL}/([A-Za-z0-9_-]{{5}})(?![A-Za-z0-9_/-])", answer.body.decode()))
    if row == {}:
        assert json.loads(answer.body).keys() == {"url", "key", "expires_at"}  # the client makes the receipt
    revealed = json.loads((await site.ask("POST", f"/{key}/reveal", {}, proofs_of(keys))).body)
    assert sealing.open_sealed(keys, sealing.from_text(revealed["sealed"])) == "hello"


MESSAGES = {
    "many lines": "one\r\ntwo\nthree\rfour",
    "no text but spaces": " \t ",
    "other scripts": "שלום · 你好 · 👩‍👩‍👧 · e\u0301 · \u202eright to left",
    "NUL and other controls": "\x00\x01\x1b[31m\x7f\u2028",
    "what looks like a page": "<script>alert(1)</script>&amp;\"'",
    "what looks like JSON": '{"message": "\\u0000"}',
    "not a character": "\ufffe\U0010ffff",
}


@table(MESSAGES)
async def test_a_message_comes_back_exactly(site, row):
    """As JSON and as text, every character of a message is what it was."""
    for reader in (JSON_CLIENT, TEXT_CLIENT):
        key, token = await site.put(row)

        answer = await site.ask("GET", f"/{key}/{token}", reader)

        message = answer.body.decode() if reader is TEXT_CLIENT else json.loads(answer.body)["message"]
        assert message == row


async def test_a_form_s_line_ends_become_line_feeds_and_json_s_stay(site):
    """A browser writes CRLF for every line end in a form; in JSON a line end is what somebody wrote."""
    form = (await site.ask("POST", "/post", CURL, urlencode({"message": "one\r\ntwo\rthree\n"}))).body
    key, token = LINK.search(form.decode()).groups()
    assert (await site.ask("GET", f"/{key}/{token}", TEXT_CLIENT)).body == b"one\ntwo\rthree\n"

    key, token = await site.put("one\r\ntwo\rthree\n")
    assert (await site.ask("GET", f"/{key}/{token}", TEXT_CLIENT)).body == b"one\r\ntwo\rthree\n"


@table(
    {
        "plain": b'{"message": "' + b"x" * 65536 + b'"}',
        "every character escaped": b'{"message": "' + b"\\u0041" * 65536 + b'"}',
        "three bytes a character, escaped": b'{"message": "' + b"\\u20ac" * 21845 + b'"}',
        "all of it escaped, with every other field": b'{"message": "'
        + b"\\u0041" * 65536
        + b'", "lifetime": 604800, "passphrase": ""}',
    }
)
async def test_the_longest_message_passes_however_it_is_escaped(site, row):
    """64 KiB of UTF-8, in up to six times as much JSON."""
    answer = await site.ask("POST", "/post", {"Content-Type": JSON}, row)

    assert answer.code == 201
    key, token = json.loads(answer.body)["url"].split("/")[-2:]
    message = (await site.ask("GET", f"/{key}/{token}", TEXT_CLIENT)).body.decode()
    assert message == json.loads(row)["message"]


async def test_the_longest_message_passes_as_a_form_and_sealed(site):
    """64 KiB, each byte as %XX; and sealed by its client."""
    answer = await site.ask("POST", "/post", CURL, "message=" + "%41" * 65536)
    assert answer.code == 201

    key, _, keys = await site.put_sealed("x" * 65536)
    answer = await site.ask("POST", f"/{key}/reveal", {}, proofs_of(keys))
    assert sealing.open_sealed(keys, sealing.from_text(json.loads(answer.body)["sealed"])) == "x" * 65536


# Message text that tries to be a page


HOSTILE = (
    "</textarea></div><script>alert(document.domain)</script><img src=x onerror=alert(1)>"
    "\"' onmouseover='alert(1)' <!-- --> {{ 7 * 7 }} {% raw %} javascript:alert(1) <svg/onload=alert(1)>"
)


async def test_message_text_stays_text_on_every_page(site):
    """Where a message is shown, on the page that reveals it and in a refused form, it is escaped."""
    key, token = await site.put(HOSTILE)
    revealed = (await site.ask("POST", f"/{key}/reveal", BROWSER, f"token={token}")).body.decode()
    refused = (
        await site.ask("POST", "/post", BROWSER, urlencode({"message": HOSTILE, "lifetime": HOSTILE}))
    ).body.decode()

    for page in (revealed, refused):
        assert str(html.escape(HOSTILE).replace("&quot;", "&#34;").replace("&#x27;", "&#39;")) in page
        assert "<script>" not in page
        assert "<img" not in page
        assert "<svg" not in page
    for headers in (TEXT_CLIENT, JSON_CLIENT):
        key, token = await site.put(HOSTILE)
        answer = await site.ask("GET", f"/{key}/{token}", headers)
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert not answer.headers["Content-Type"].startswith("text/html")


async def test_a_refused_form_comes_back_filled_in(site):
    """Without a script nothing that was typed is lost, but the passphrase, which is never sent back."""
    fields = {"message": "long typed", "lifetime": "86400", "passphrase": "p" * 2000}

    page = (await site.ask("POST", "/post", BROWSER, urlencode(fields))).body.decode()

    assert "long typed</textarea>" in page
    assert '<option value="86400" selected>' in page
    assert "The passphrase may have at most 1,024 bytes." in page
    assert "ppp" not in page
