"""Every route under a key, and the form: who gets which answer, and what it does to the note."""

import asyncio
import html
import itertools
import json
import re
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import psycopg2
import pytest

from server import sealing
from server.app import make_app
from server.passphrases import MAX_WRONG
from tests.server.handlers import askers
from tests.server.handlers.askers import (
    BROWSER,
    COMPLAINANTS,
    CURL,
    HTMX,
    JSON_CLIENT,
    JSON_TYPE,
    LOOKERS,
    OLD_BROWSER,
    PAGE_TYPE,
    PROBLEM_TYPE,
    READERS,
    TEXT_CLIENT,
    TEXT_TYPE,
    table,
)
from tests.server.handlers.conftest import JSON, PUBLIC_URL, listening, serviced
from tests.server_process import free_port

pytestmark = pytest.mark.gen_test

LINK = re.compile(rf"{PUBLIC_URL}/([A-Za-z0-9_-]{{5}})/([0-9A-Za-z]{{24}})")
GONE = "There is no such note. It was read, it expired, or it never existed."


# GET /


@table({"a browser": BROWSER, "curl": CURL, "JSON alone": JSON_CLIENT, "somebody unknown": {}})
async def test_the_form_is_a_page(site, row):
    """GET / is the form, whoever asks."""
    answer = await site.ask("GET", "/", row)

    assert answer.code == 200
    assert answer.headers["Content-Type"] == PAGE_TYPE
    assert b'<form class="sheet" action="/post" method="post"' in answer.body


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
async def test_a_message_left_gets_a_link(site, row):
    """POST /post is a 201 with a link from PUBLIC_URL, in the form that was asked for; the link opens."""
    headers, body, content_type = row

    answer = await site.ask("POST", "/post", headers, body)

    assert answer.code == 201
    assert answer.headers["Content-Type"] == content_type
    text = answer.body.decode()
    key, token = LINK.search(text).groups()
    if content_type == JSON_TYPE:
        left = json.loads(text)
        assert left.keys() == {"url", "key", "expires_at"}
        assert left["url"] == f"{PUBLIC_URL}/{key}/{token}"
        assert left["key"] == key
        in_an_hour = datetime.fromisoformat(left["expires_at"]) - datetime.now(UTC)
        assert timedelta(minutes=59) < in_an_hour < timedelta(minutes=61)
    elif content_type == TEXT_TYPE:
        assert text == f"{PUBLIC_URL}/{key}/{token}\n"
    else:
        assert ("<html" in text) == ("HX-Request" not in headers)
        assert f'action="/{key}/destroy"' in text
    assert sealing.is_token(token)
    assert (await site.ask("GET", f"/{key}/{token}", TEXT_CLIENT)).body == b"hello"


@table({"JSON": {}, "a page": BROWSER, "htmx": HTMX, "text": TEXT_CLIENT})
async def test_a_note_sealed_by_its_client_gets_a_link_without_a_token(site, row):
    """The URL ends with the key: only the client knows what belongs after its #."""
    lock = sealing.derive_keys(sealing.new_token())
    fields = {
        "sealed": sealing.to_text(sealing.seal(lock, "hello")),
        "verifier": sealing.to_text(lock.verifier),
        "has_passphrase": "false",
        "lifetime": "300",
    }

    answer = await site.ask("POST", "/post", row, urlencode(fields))
    if row == {}:
        answer = await site.ask("POST", "/post", row, fields | {"has_passphrase": False, "lifetime": 300})

    assert answer.code == 201
    (key,) = set(re.findall(rf"{PUBLIC_URL}/([A-Za-z0-9_-]{{5}})(?![A-Za-z0-9_/-])", answer.body.decode()))
    proof = {"proof": sealing.to_text(lock.proof)}
    revealed = json.loads((await site.ask("POST", f"/{key}/reveal", {}, proof)).body)
    assert sealing.open_sealed(lock, sealing.from_text(revealed["sealed"])) == "hello"


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
        key, token = await site.leave(row)

        answer = await site.ask("GET", f"/{key}/{token}", reader)

        message = answer.body.decode() if reader is TEXT_CLIENT else json.loads(answer.body)["message"]
        assert message == row


async def test_a_form_s_line_ends_become_line_feeds_and_json_s_stay(site):
    """A browser writes CRLF for every line end in a form; in JSON a line end is what somebody wrote."""
    form = (await site.ask("POST", "/post", CURL, urlencode({"message": "one\r\ntwo\rthree\n"}))).body
    key, token = LINK.search(form.decode()).groups()
    assert (await site.ask("GET", f"/{key}/{token}", TEXT_CLIENT)).body == b"one\ntwo\rthree\n"

    key, token = await site.leave("one\r\ntwo\rthree\n")
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

    key, _, lock = await site.leave_sealed("x" * 65536)
    answer = await site.ask("POST", f"/{key}/reveal", {}, {"proof": sealing.to_text(lock.proof)})
    assert sealing.open_sealed(lock, sealing.from_text(json.loads(answer.body)["sealed"])) == "x" * 65536


# GET /KEY/TOKEN


@table(READERS)
async def test_a_get_reveals_to_who_plainly_asks_for_data(site, row):
    """The message, once; after that the same request is a 404."""
    headers, content_type = row
    key, token = await site.leave("hello\n")

    answer = await site.ask("GET", f"/{key}/{token}", headers)
    again = await site.ask("GET", f"/{key}/{token}", headers)

    assert answer.code == 200
    assert answer.headers["Content-Type"] == content_type
    assert answer.body == (b'{"message": "hello\\n"}\n' if content_type == JSON_TYPE else b"hello\n")
    assert again.code == 404
    assert GONE in again.body.decode()


@table(LOOKERS)
async def test_a_get_by_anything_else_leaves_the_note(site, row):
    """It gets the confirm page; nothing is destroyed and nothing of the message is in the answer."""
    key, token = await site.leave("the hidden words")

    for path in (f"/{key}/{token}", f"/{key}"):
        answer = await site.ask("GET", path, row)

        assert answer.code == 200
        assert answer.headers["Content-Type"] == PAGE_TYPE
        assert f'action="/{key}/reveal"' in answer.body.decode()
        assert b"the hidden words" not in answer.body
    assert (await site.ask("GET", f"/{key}/{token}", TEXT_CLIENT)).body == b"the hidden words"


@table(
    {
        "from another site": {"Sec-Fetch-Site": "cross-site"},
        "from a neighbouring site": {"Sec-Fetch-Site": "same-site"},
        "with another origin": {"Origin": "https://evil.test"},
    }
)
async def test_a_get_from_another_site_never_reveals(site, row):
    """403, and the note stays."""
    key, token = await site.leave()

    answer = await site.ask("GET", f"/{key}/{token}", {**JSON_CLIENT, **row})

    assert answer.code == 403
    assert await site.holds(key)


async def test_a_get_says_how_to_send_the_passphrase(site):
    """401, how to do it, and the note stays; as text and as JSON."""
    key, token, _ = await site.leave_sealed(has_passphrase=True)

    # The verifier fits a token without passphrase, so let another token ask.
    for headers, content_type in ((JSON_CLIENT, PROBLEM_TYPE), (TEXT_CLIENT, TEXT_TYPE)):
        answer = await site.ask("GET", f"/{key}/{sealing.new_token()}", headers)

        assert answer.code == 401
        assert "WWW-Authenticate" in answer.headers
        assert answer.headers["Content-Type"] == content_type
        assert "POST its token and passphrase to /KEY/reveal" in answer.body.decode()
    assert await site.holds(key)


MANGLED = {
    "cut off": lambda token: token[:-1],
    "with a full stop": lambda token: token + ".",
    "with a bracket": lambda token: token + "%29",
    "in lower case": lambda token: token.lower(),
    "with two characters changed places": lambda token: token[1] + token[0] + token[2:],
    "one character": lambda token: "x",
    "very long": lambda token: token * 100,
    "with NUL": lambda token: token[:-1] + "%00",
    "in another script": lambda token: token[:-2] + "%D9%A1",
}


@table(MANGLED)
async def test_a_mangled_token_is_told_from_a_wrong_one(site, row):
    """A link that was cut off is a 404 in words of its own, to a form a 400, and the note stays."""
    key, token = await site.leave()
    while sealing.is_token(row(token)):  # by chance: with two alike that change places, for one
        key, token = await site.leave()

    for headers in (CURL, BROWSER):
        answer = await site.ask("GET", f"/{key}/{row(token)}", headers)
        assert answer.code == 404
        assert "cut off" in answer.body.decode()
    answer = await site.ask("POST", f"/{key}/reveal", JSON_CLIENT, f"token={row(token)}")
    assert answer.code == 400
    assert json.loads(answer.body)["field"] == "token"
    assert await site.holds(key)


async def test_a_token_that_is_not_text_is_malformed(site):
    """Bytes that are not UTF-8 in a path are a 400."""
    assert (await site.ask("GET", "/AAAAA/%ff%fe", BROWSER)).code == 400


# GET /KEY


@table({"text": TEXT_CLIENT, "curl": CURL})
async def test_a_key_alone_tells_a_terminal_how_to_open_the_note(site, row):
    """The token is behind the # and was not sent: say how to send it. Nothing is destroyed."""
    key, _ = await site.leave()

    answer = await site.ask("GET", f"/{key}", row)

    assert answer.code == 200
    assert answer.headers["Content-Type"] == TEXT_TYPE
    assert f"curl {PUBLIC_URL}/{key}/TOKEN" in answer.body.decode()
    assert await site.holds(key)


async def test_a_key_alone_tells_a_program_what_is_there(site):
    """As JSON: whether it has a passphrase, and until when it waits."""
    key, _, _ = await site.leave_sealed(has_passphrase=True)

    answer = await site.ask("GET", f"/{key}", JSON_CLIENT)

    assert answer.code == 200
    assert answer.headers["Content-Type"] == JSON_TYPE
    told = json.loads(answer.body)
    assert told.keys() == {"key", "has_passphrase", "expires_at", "detail"}
    assert told["key"] == key
    assert told["has_passphrase"] is True


# GET /KEY%23TOKEN


@table({"a browser": BROWSER, "curl": CURL})
async def test_an_encoded_hash_is_redirected_to_a_real_one(site, row):
    """303 to /KEY#TOKEN, on this site whatever the Host header says."""
    key, token = await site.leave()

    answer = await site.ask("GET", f"/{key}%23{token}", {**row, "Host": "NOTES.test:81"})

    assert answer.code == 303
    assert answer.headers["Location"] == f"/{key}#{token}"
    assert await site.holds(key)


# POST /KEY/reveal


@table(
    {
        "JSON": ({}, dict, JSON_TYPE),
        "JSON by curl": (CURL, dict, JSON_TYPE),
        "a form by curl": (CURL, urlencode, TEXT_TYPE),
        "a form by a browser": (BROWSER, urlencode, PAGE_TYPE),
        "a form by an old browser": ({**OLD_BROWSER, "Origin": "null"}, urlencode, PAGE_TYPE),
        "a form by htmx": (HTMX, urlencode, PAGE_TYPE),
        "a form, and asks for JSON": (JSON_CLIENT, urlencode, JSON_TYPE),
        "a form, and asks for text": (TEXT_CLIENT, urlencode, TEXT_TYPE),
    }
)
async def test_the_confirm_click_reveals(site, row):
    """With a token the message, once, in the form that was asked for; after that a 404."""
    headers, encoded, content_type = row
    key, token = await site.leave("<b>hello</b>")

    answer = await site.ask("POST", f"/{key}/reveal", headers, encoded({"token": token}))
    again = await site.ask("POST", f"/{key}/reveal", headers, encoded({"token": token}))

    assert answer.code == 200
    assert answer.headers["Content-Type"] == content_type
    text = answer.body.decode()
    match content_type:
        case askers.JSON_TYPE:
            assert json.loads(text) == {"message": "<b>hello</b>"}
        case askers.TEXT_TYPE:
            assert text == "<b>hello</b>"
        case _:
            assert ">&lt;b&gt;hello&lt;/b&gt;</div>" in text
            assert ("<html" in text) == ("HX-Request" not in headers)
    assert again.code == 404


@table({"JSON": (JSON_CLIENT, JSON_TYPE), "text": (TEXT_CLIENT, TEXT_TYPE), "htmx": (HTMX, PAGE_TYPE)})
async def test_a_proof_gets_the_sealed_bytes(site, row):
    """For the client to open: the server cannot."""
    headers, content_type = row
    key, _, lock = await site.leave_sealed()

    answer = await site.ask("POST", f"/{key}/reveal", headers, f"proof={sealing.to_text(lock.proof)}")

    assert answer.code == 200
    assert answer.headers["Content-Type"] == content_type
    text = answer.body.decode()
    match content_type:
        case askers.JSON_TYPE:
            sealed = json.loads(text)["sealed"]
        case askers.TEXT_TYPE:
            sealed = text
        case _:
            sealed = re.search(r'data-sealed="([A-Za-z0-9_-]+)"', text)[1]
    assert sealing.open_sealed(lock, sealing.from_text(sealed)) == "hello"


async def test_the_right_passphrase_reveals(site):
    """By token and passphrase, the server opens; in whichever way the letters were composed."""
    key, token = await site.leave("hello", passphrase="café")

    fields = {"token": token, "passphrase": "cafe\u0301"}
    answer = await site.ask("POST", f"/{key}/reveal", {}, fields)

    assert json.loads(answer.body) == {"message": "hello"}


@table(COMPLAINANTS)
async def test_a_proof_that_does_not_fit_is_told_from_a_dead_link_where_there_is_a_passphrase(site, row):
    """403, in the form that was asked for, and the note stays."""
    headers, content_type = row
    key, _, _ = await site.leave_sealed(has_passphrase=True)

    answer = await site.ask("POST", f"/{key}/reveal", headers, "proof=" + "A" * 43)

    assert answer.code == 403
    assert answer.headers["Content-Type"] == content_type
    assert "The passphrase is wrong. The note is untouched." in answer.body.decode()
    assert await site.holds(key)


@table(COMPLAINANTS)
async def test_a_proof_that_does_not_fit_is_a_dead_link_where_there_is_no_passphrase(site, row):
    """404 in a dead link's words, and the note stays."""
    headers, content_type = row
    key, _, _ = await site.leave_sealed()

    answer = await site.ask("POST", f"/{key}/reveal", headers, "proof=" + "A" * 43)
    never = await site.ask("POST", "/-----/reveal", headers, "proof=" + "A" * 43)

    assert answer.code == 404
    assert answer.headers["Content-Type"] == content_type
    assert answer.body == never.body
    assert await site.holds(key)


@table({"a browser": BROWSER, "an old browser": OLD_BROWSER})
async def test_without_a_script_a_wrong_passphrase_gets_the_form_again(site, row):
    """403 or 429, the problem beside its field and the token still in the form, so that one can try again."""
    key, _, _ = await site.leave_sealed(has_passphrase=True)
    token = sealing.new_token()
    for status in (403, 429):
        answer = await site.ask("POST", f"/{key}/reveal", row, f"token={token}")

        assert answer.code == status
        page = answer.body.decode()
        assert f'action="/{key}/reveal"' in page
        assert f'name="token" value="{token}"' in page
        assert re.search(r'id="problem-passphrase"[^>]*><p>[A-Z]', page)
        assert ("Retry-After" in answer.headers) == (status == 429)
        for _ in range(MAX_WRONG):
            await site.ask("POST", f"/{key}/reveal", {}, "proof=" + "A" * 43)
    assert await site.holds(key)


async def test_after_ten_wrong_proofs_an_address_has_to_wait(site):
    """429 with Retry-After, even with the right one; another address may go on, and the note stays."""
    key, _, lock = await site.leave_sealed(has_passphrase=True)
    right = f"proof={sealing.to_text(lock.proof)}"
    for _ in range(MAX_WRONG):
        assert (await site.ask("POST", f"/{key}/reveal", {}, "proof=" + "A" * 43)).code == 403

    answer = await site.ask("POST", f"/{key}/reveal", JSON_CLIENT, right)

    assert answer.code == 429
    assert 0 < int(answer.headers["Retry-After"]) <= 60
    assert json.loads(answer.body)["field"] == "passphrase"
    assert await site.holds(key)


@table({"JSON": JSON_CLIENT, "text": TEXT_CLIENT, "a browser": BROWSER, "htmx": HTMX})
async def test_a_note_sealed_wrongly_is_gone_and_said_to_be(site, row):
    """422: what its sealer sent fits the token, and does not open with it."""
    other = sealing.seal(sealing.derive_keys(sealing.new_token()), "hello")
    key, token, _ = await site.leave_sealed(sealed=other)

    answer = await site.ask("POST", f"/{key}/reveal", row, f"token={token}")

    assert answer.code == 422
    assert "now gone" in answer.body.decode()
    assert not await site.holds(key)


# POST /KEY/destroy, DELETE /KEY


@table({"POST": ("POST", "/{}/destroy"), "DELETE": ("DELETE", "/{}")})
async def test_a_note_is_destroyed_unread(site, row):
    """By token or proof, form or JSON: 204 without a body, then 404; a wrong one destroys nothing."""
    method, path = row
    key, token = await site.leave()
    wrong = await site.ask(method, path.format(key), JSON_CLIENT, f"token={sealing.new_token()}")
    assert wrong.code == 404
    assert await site.holds(key)

    answer = await site.ask(method, path.format(key), JSON_CLIENT, f"token={token}")
    assert (answer.code, answer.body) == (204, b"")
    assert "Content-Type" not in answer.headers
    assert not await site.holds(key)

    key, _, lock = await site.leave_sealed()
    answer = await site.ask(method, path.format(key), CURL, {"proof": sealing.to_text(lock.proof)})
    assert (answer.code, answer.body) == (204, b"")
    assert not await site.holds(key)
    answer = await site.ask(method, path.format(key), CURL, {"proof": sealing.to_text(lock.proof)})
    assert answer.code == 404


@table({"a browser": BROWSER, "htmx": HTMX})
async def test_a_form_that_destroys_gets_a_page(site, row):
    """200, and what has happened in words."""
    key, token = await site.leave()

    answer = await site.ask("POST", f"/{key}/destroy", row, f"token={token}")

    assert answer.code == 200
    assert answer.headers["Content-Type"] == PAGE_TYPE
    assert b"Destroyed, unread" in answer.body
    assert not await site.holds(key)


# Dead links


def _dead(service, how, key):
    """Make a note dead: "read" or "expired"."""
    statement = {
        "read": "DELETE FROM note WHERE key = %s",
        "expired": "UPDATE note SET expires_at = now() WHERE key = %s",
    }[how]
    with psycopg2.connect(service.settings.msg_db_url) as connection, connection.cursor() as cursor:
        cursor.execute(statement, (key,))
        assert cursor.rowcount == 1
    connection.close()


@table(COMPLAINANTS)
async def test_never_existed_and_read_and_expired_and_wrong_token_are_one_answer(site, service, row):
    """The same status, the same headers and the same bytes, for every way of asking."""
    headers, content_type = row
    alive, _ = await site.leave()
    read, expired = [(await site.leave())[0] for _ in range(2)]
    _dead(service, "read", read)
    _dead(service, "expired", expired)
    token = sealing.new_token()

    async def answers(key):
        body = f"token={token}"
        for method, path, sent in (
            ("POST", f"/{key}/reveal", body),
            ("POST", f"/{key}/destroy", body),
            ("DELETE", f"/{key}", body),
            ("GET", f"/{key}", None),
            ("GET", f"/{key}/{token}", None),
        ):
            answer = await site.ask(method, path, headers, sent)
            shown = {name: value for name, value in answer.headers.get_all() if name != "Date"}
            yield answer.code, shown, answer.body

    never = [answer async for answer in answers("-____")]

    assert {status for status, _, _ in never} == {404}
    assert {shown["Content-Type"] for _, shown, _ in never} == {content_type}
    assert [answer async for answer in answers(read)] == never
    assert [answer async for answer in answers(expired)] == never
    wrong_token = [answer async for answer in answers(alive)]
    assert wrong_token[:3] == never[:3]  # that a note is there, the confirm page may tell


# HEAD, OPTIONS and everything else that is not asked for


PATHS = {
    "/": ("GET", "HEAD"),
    "/post": ("POST",),
    "/{key}": ("GET", "HEAD", "DELETE"),
    "/{key}/{token}": ("GET", "HEAD"),
    "/{key}/reveal": ("POST",),
    "/{key}/destroy": ("POST",),
    "/{key}%23{token}": ("GET", "HEAD"),
    "/healthz": ("GET", "HEAD"),
    "/readyz": ("GET", "HEAD"),
    "/metrics": ("GET", "HEAD"),
    "/openapi.json": ("GET", "HEAD"),
    "/static/favicon.svg": ("GET", "HEAD"),
    "/robots.txt": ("GET", "HEAD"),
}


@table({path: (path, allowed) for path, allowed in PATHS.items()})
async def test_head_and_options_destroy_nothing(site, row):
    """HEAD has no body, OPTIONS names the methods; the note stays, even for who plainly asks for data."""
    template, allowed = row
    key, token = await site.leave()
    path = template.format(key=key, token=token)

    for headers in (CURL, JSON_CLIENT, BROWSER):
        head = await site.ask("HEAD", path, headers)
        options = await site.ask("OPTIONS", path, headers)

        assert head.code == (405 if "HEAD" not in allowed else 303 if "%23" in path else 200)
        assert head.body == b""
        assert (options.code, options.body) == (204, b"")
        assert options.headers["Allow"] == ", ".join((*allowed, "OPTIONS"))
    assert await site.holds(key)


@table({path: (path, allowed) for path, allowed in PATHS.items()})
async def test_other_methods_are_refused_and_told_which_are_not(site, row):
    """405 with Allow, in the asker's terms, and the note stays."""
    template, allowed = row
    key, token = await site.leave()
    path = template.format(key=key, token=token)

    for method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"} - set(allowed):
        body = json.dumps({"token": token}) if method in ("POST", "PUT", "PATCH", "DELETE") else None
        answer = await site.ask(method, path, {**JSON_CLIENT, "Content-Type": JSON}, body)

        assert answer.code == 405, method
        assert answer.headers["Allow"] == ", ".join((*allowed, "OPTIONS")), method
        if template[:4] not in ("/sta", "/rob") and method != "HEAD":
            assert json.loads(answer.body)["status"] == 405
    assert await site.holds(key)


@table(COMPLAINANTS)
async def test_an_unknown_address_is_a_404(site, row):
    """Keys have five letters; what has fewer, more or others is no note's address."""
    headers, content_type = row
    for path in ("/AAAA", "/AAAAAA", "/AAA.A", "/AAAAA/", "/AAAAA/B/C", "/wp-login.php", "//", "/%41AAAA"):
        for method, body in (("GET", None), ("POST", "token=x")):
            answer = await site.ask(method, path, headers, body)

            assert answer.code == 404, path
            assert answer.headers["Content-Type"] == content_type


# Exactly one


class _Reader:
    """A connection that stays, so that nothing but the request itself stands between a reader and the note."""

    def __init__(self, port, request):
        self._port, self._request = port, request

    async def connect(self):
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)

    async def read(self, key, token):
        """Ask for the message: status and body."""
        self._writer.write(self._request(key, token))
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = int(re.search(rb"Content-Length: (\d+)", head)[1])
        return int(head.split()[1]), await self._reader.readexactly(length)

    async def close(self):
        self._writer.close()
        await self._writer.wait_closed()


def _by_post(key, token):
    body = urlencode({"token": token})
    return (
        f"POST /{key}/reveal HTTP/1.1\r\nHost: localhost\r\nAccept: text/plain\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


def _by_get(key, token):
    return f"GET /{key}/{token} HTTP/1.1\r\nHost: localhost\r\nAccept: text/plain\r\n\r\n".encode()


async def test_of_twenty_readers_exactly_one_reads(site, seeded_key_db_url, handlers_msg_db_url, http_port):
    """A hundred notes; for each, twenty connections ask at once, by GET and by POST, at two servers."""
    async with serviced(seeded_key_db_url, handlers_msg_db_url) as other:
        async with listening(make_app(other), other, other_port := free_port()):
            ways = itertools.product((http_port, other_port), (_by_get, _by_post))
            readers = [_Reader(*way) for way in list(ways) * 5]
            await asyncio.gather(*[reader.connect() for reader in readers])
            for number in range(100):
                key, token = await site.leave(f"message {number}")

                answers = await asyncio.gather(*[reader.read(key, token) for reader in readers])

                assert [body.decode() for status, body in answers if status == 200] == [f"message {number}"]
                assert [status for status, _ in answers].count(404) == 19
            await asyncio.gather(*[reader.close() for reader in readers])


# Message text that tries to be a page


HOSTILE = (
    "</textarea></div><script>alert(document.domain)</script><img src=x onerror=alert(1)>"
    "\"' onmouseover='alert(1)' <!-- --> {{ 7 * 7 }} {% raw %} javascript:alert(1) <svg/onload=alert(1)>"
)


async def test_message_text_stays_text_on_every_page(site):
    """Where a message is shown, on the page that reveals it and in a refused form, it is escaped."""
    key, token = await site.leave(HOSTILE)
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
        key, token = await site.leave(HOSTILE)
        answer = await site.ask("GET", f"/{key}/{token}", headers)
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert not answer.headers["Content-Type"].startswith("text/html")


async def test_a_refused_form_comes_back_filled_in(site):
    """Without a script nothing that was typed is lost, but the passphrase, which is never sent back."""
    fields = {"message": "long typed", "lifetime": "86400", "passphrase": "p" * 2000}

    page = (await site.ask("POST", "/post", BROWSER, urlencode(fields))).body.decode()

    assert "long typed</textarea>" in page
    assert '<option value="86400" selected>' in page
    assert "The passphrase may have at most 1024 bytes." in page
    assert "ppp" not in page
