"""Every route under a key, and the form: which client gets which answer, and what it does to the note."""

import asyncio
import html
import itertools
import json
import re
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import psycopg2
import pytest

from server import passphrases, sealing
from server.app import make_app
from server.notes import Notes
from server.pages import utc
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
from tests.server.handlers.conftest import (
    DIGEST,
    JSON,
    PUBLIC_URL,
    TRIES,
    link_of,
    listening,
    proofs_of,
    serviced,
    wrong_guess,
)
from tests.server_process import free_port

pytestmark = pytest.mark.gen_test

LINK = re.compile(rf"{PUBLIC_URL}/([A-Za-z0-9_-]{{5}})/([0-9A-Za-z]{{24}})")


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


# GET /KEY/TOKEN


@table(READERS)
async def test_a_get_reveals_to_who_plainly_asks_for_data(site, row):
    """The message, once; after that the same request is a 404 that says when the note was read."""
    headers, content_type = row
    key, token = await site.put("hello\n")

    answer = await site.ask("GET", f"/{key}/{token}", headers)
    again = await site.ask("GET", f"/{key}/{token}", headers)

    assert answer.code == 200
    assert answer.headers["Content-Type"] == content_type
    assert answer.body == (b'{"message": "hello\\n"}\n' if content_type == JSON_TYPE else b"hello\n")
    assert again.code == 404
    assert "The note was read on " in again.body.decode()


@table(LOOKERS)
async def test_a_get_by_anything_else_leaves_the_note(site, row):
    """It gets the confirm page; nothing is destroyed and nothing of the message is in the answer."""
    key, token = await site.put("the hidden words")

    for path in (f"/{key}/{token}", f"/{key}"):
        answer = await site.ask("GET", path, row)

        assert answer.code == 200
        assert answer.headers["Content-Type"] == PAGE_TYPE
        assert b"Someone sent you a message" in answer.body
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
    key, token = await site.put()

    answer = await site.ask("GET", f"/{key}/{token}", {**JSON_CLIENT, **row})

    assert answer.code == 403
    assert await site.holds(key)


async def test_a_get_says_how_to_send_the_passphrase(site):
    """401, how to do it, and the note stays; as text and as JSON."""
    key, token, keys = await site.put_sealed(has_passphrase=True)

    for headers, content_type in ((JSON_CLIENT, PROBLEM_TYPE), (TEXT_CLIENT, TEXT_TYPE)):
        answer = await site.ask("GET", f"/{key}/{token}", headers)

        assert answer.code == 401
        assert "WWW-Authenticate" in answer.headers
        assert answer.headers["Content-Type"] == content_type
        assert "POST its token and passphrase to /KEY/reveal" in answer.body.decode()
    assert (await site.status(key, keys))["wrong_passphrases"] == 0  # no passphrase is no guess


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
    key, token = await site.put()
    while sealing.is_token(row(token)):  # by chance: with two alike that change places, for one
        key, token = await site.put()

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
    key, _ = await site.put()

    answer = await site.ask("GET", f"/{key}", row)

    assert answer.code == 200
    assert answer.headers["Content-Type"] == TEXT_TYPE
    assert f"curl {PUBLIC_URL}/{key}/TOKEN" in answer.body.decode()
    assert await site.holds(key)


async def test_a_key_alone_tells_a_program_what_is_there(site):
    """As JSON: that there is a note, and nothing more without a proof."""
    key, _, _ = await site.put_sealed(has_passphrase=True)

    answer = await site.ask("GET", f"/{key}", JSON_CLIENT)

    assert answer.code == 200
    assert answer.headers["Content-Type"] == JSON_TYPE
    told = json.loads(answer.body)
    assert told.keys() == {"key", "detail"}
    assert told["key"] == key


# GET /KEY%23TOKEN


@table({"a browser": BROWSER, "curl": CURL})
async def test_an_encoded_hash_is_redirected_to_a_real_one(site, row):
    """303 to /KEY#TOKEN, on this site whatever the Host header says."""
    key, token = await site.put()

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
    key, token = await site.put("<b>hello</b>")

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
async def test_proofs_get_the_sealed_bytes(site, row):
    """For the client to open: the server cannot."""
    headers, content_type = row
    key, _, keys = await site.put_sealed(has_passphrase=True)

    answer = await site.ask("POST", f"/{key}/reveal", headers, urlencode(proofs_of(keys)))

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
    assert sealing.open_sealed(keys, sealing.from_text(sealed)) == "hello"


async def test_the_right_passphrase_reveals(site):
    """The server opens the note, however the letters were composed and whatever space is around them."""
    key, token = await site.put("hello", passphrase="café")

    fields = {"token": token, "passphrase": " cafe\u0301\n"}
    answer = await site.ask("POST", f"/{key}/reveal", {}, fields)

    assert json.loads(answer.body) == {"message": "hello"}


@table(COMPLAINANTS)
async def test_a_wrong_passphrase_is_told_to_a_client_that_proves_the_link(site, row):
    """403 in the client's format, as JSON with the number of tries that are left; the note stays."""
    headers, content_type = row
    key, _, keys = await site.put_sealed(has_passphrase=True)

    answer = await site.ask("POST", f"/{key}/reveal", headers, urlencode(wrong_guess(keys)))

    assert answer.code == 403
    assert answer.headers["Content-Type"] == content_type
    assert "The passphrase is wrong. The note is untouched. 9 tries are left." in answer.body.decode()
    if content_type == PROBLEM_TYPE:
        problem = json.loads(answer.body)
        assert (problem["field"], problem["tries_left"]) == ("passphrase", TRIES - 1)
    assert (await site.status(key, keys))["wrong_passphrases"] == 1


@table({"no passphrase": "", "a blank one": " \t\n"})
async def test_a_missing_passphrase_is_no_guess(site, row):
    """403, as often as anybody likes."""
    key, token, keys = await site.put_sealed(has_passphrase=True)

    for _ in range(TRIES + 1):
        answer = await site.ask("POST", f"/{key}/reveal", JSON_CLIENT, {"token": token, "passphrase": row})
        assert answer.code == 403
        assert "needs a passphrase" in json.loads(answer.body)["detail"]
    assert (await site.status(key, keys))["wrong_passphrases"] == 0


async def test_a_blank_passphrase_is_none(site):
    """A message that was put with white space as passphrase opens without one."""
    key, token = await site.put(passphrase=" \n")

    assert (await site.ask("GET", f"/{key}/{token}", TEXT_CLIENT)).body == b"hello"


async def test_after_ten_wrong_passphrases_everybody_has_to_wait(site, service):
    """429 with Retry-After for anybody who has the link, even with the right one; then one try at a time."""
    key, token, keys = await site.put_sealed(has_passphrase=True)
    for left in range(TRIES - 1, -1, -1):
        answer = await site.ask("POST", f"/{key}/reveal", JSON_CLIENT, wrong_guess(keys))
        assert (answer.code, json.loads(answer.body)["tries_left"]) == (403, left)

    for fields in (proofs_of(keys), wrong_guess(keys), {"token": token, "passphrase": "open sesame"}):
        answer = await site.ask("POST", f"/{key}/reveal", {**JSON_CLIENT, "X-Real-IP": "192.0.2.9"}, fields)
        assert answer.code == 429
        assert 0 < int(answer.headers["Retry-After"]) <= 60
        assert json.loads(answer.body)["field"] == "passphrase"
    told = await site.status(key, keys)
    assert told["wrong_passphrases"] == TRIES
    assert 0 < told["retry_after"] <= 60

    _execute(service, "UPDATE note SET next_try_at = now() WHERE key = %s", key)
    assert "retry_after" not in await site.status(key, keys)
    assert (await site.ask("POST", f"/{key}/reveal", {}, proofs_of(keys))).code == 200


async def test_a_stranger_s_guesses_count_nowhere(site):
    """A thousand guesses by somebody who has only the key are 404s, and take no try from the reader."""
    key, _, keys = await site.put_sealed(has_passphrase=True)
    guess = {"link_proof": DIGEST, "reveal_proof": DIGEST}

    for _ in range(100):
        answers = await asyncio.gather(
            *[site.ask("POST", f"/{key}/reveal", JSON_CLIENT, guess) for _ in range(10)]
        )
        assert {answer.code for answer in answers} == {404}

    told = await site.status(key, keys)
    assert told["wrong_passphrases"] == 0
    assert "retry_after" not in told
    assert (await site.ask("POST", f"/{key}/reveal", {}, proofs_of(keys))).code == 200


async def test_guesses_at_the_same_time_are_as_many_guesses(site):
    """Of forty wrong passphrases that arrive together, ten are tried."""
    key, _, keys = await site.put_sealed(has_passphrase=True)

    answers = await asyncio.gather(
        *[site.ask("POST", f"/{key}/reveal", {}, wrong_guess(keys)) for _ in range(40)]
    )

    statuses = [answer.code for answer in answers]
    assert (statuses.count(403), statuses.count(429)) == (TRIES, 40 - TRIES)
    assert (await site.status(key, keys))["wrong_passphrases"] == TRIES


async def test_the_server_stretches_only_for_the_link_and_within_the_budget(site, monkeypatch):
    """A wrong token is a 404 and a note without tries is a 429, even while no stretch is possible."""
    key, token, keys = await site.put_sealed(has_passphrase=True)
    monkeypatch.setattr(passphrases, "MAX_STRETCHES", 0)  # a stretch would be a 503
    guess = {"passphrase": "open sesame"}

    async def status_of(token):
        return (await site.ask("POST", f"/{key}/reveal", {}, {"token": token, **guess})).code

    assert await status_of(sealing.new_token()) == 404
    assert await status_of(token) == 503
    for _ in range(TRIES):
        await site.ask("POST", f"/{key}/reveal", {}, wrong_guess(keys))
    assert await status_of(token) == 429


async def test_the_same_reader_gets_the_same_answer_again(site):
    """For as long as it has not acknowledged; any other reader gets a 404 that says when the note was read."""
    key, _, keys = await site.put_sealed(has_passphrase=True)
    reader, other = {"reader": sealing.to_text(b"r" * 32)}, {"reader": sealing.to_text(b"o" * 32)}

    answers = [
        await site.ask("POST", f"/{key}/reveal", JSON_CLIENT, proofs_of(keys) | reader) for _ in range(3)
    ]

    assert {(answer.code, answer.body) for answer in answers} == {(200, answers[0].body)}
    for fields in (proofs_of(keys), proofs_of(keys) | other):
        answer = await site.ask("POST", f"/{key}/reveal", JSON_CLIENT, fields)
        assert answer.code == 404
        assert json.loads(answer.body)["ending"]["status"] == "read"
    stranger = {"link_proof": DIGEST, "reveal_proof": DIGEST} | reader
    assert "ending" not in json.loads((await site.ask("POST", f"/{key}/reveal", {}, stranger)).body)


@table({"without a passphrase": {}, "with one": {"passphrase": "open sesame"}})
async def test_the_same_reader_gets_the_same_message_again(site, row):
    """Also if the server opens the note."""
    key, token = await site.put(**row)
    fields = {"token": token, "reader": DIGEST, "passphrase": "open sesame"}

    for _ in range(2):
        answer = await site.ask("POST", f"/{key}/reveal", JSON_CLIENT, fields)
        assert (answer.code, json.loads(answer.body)) == (200, {"message": "hello"})


async def test_after_a_minute_the_same_reader_is_too_late(site, service):
    """404, and the acknowledgement is still taken."""
    key, _, keys = await site.put_sealed()
    fields = proofs_of(keys) | {"reader": DIGEST}
    assert (await site.ask("POST", f"/{key}/reveal", {}, fields)).code == 200

    _execute(service, "UPDATE delivery SET at = now() - interval '60 seconds' WHERE key = %s", key)

    answer = await site.ask("POST", f"/{key}/reveal", {}, fields)
    assert answer.code == 404
    assert json.loads(answer.body)["ending"]["status"] == "read"
    assert (await site.ask("POST", f"/{key}/received", {}, {"reader": DIGEST})).code == 204


# POST /KEY/TOKEN


@table({"a browser": BROWSER, "an old browser": OLD_BROWSER})
async def test_without_a_script_the_page_s_own_form_reveals(site, row):
    """POST to the link itself, with an empty passphrase, answers with the message."""
    key, token = await site.put("<b>hello</b>")

    answer = await site.ask("POST", f"/{key}/{token}", row, "passphrase=")
    again = await site.ask("POST", f"/{key}/{token}", row, "passphrase=")

    assert answer.code == 200
    assert ">&lt;b&gt;hello&lt;/b&gt;</div>" in answer.body.decode()
    assert again.code == 404
    assert b"There is no message here" not in again.body
    assert b"This message was already read" in again.body


@table({"a browser": BROWSER, "an old browser": OLD_BROWSER})
async def test_without_a_script_the_passphrase_is_asked_for(site, row):
    """The page again with the field and the problem beside it: missing, wrong, too many; then the message."""
    key, token = await site.put(passphrase="open sesame")
    keys = sealing.derive_keys(token)

    async def post(passphrase):
        answer = await site.ask("POST", f"/{key}/{token}", row, urlencode({"passphrase": passphrase}))
        page = answer.body.decode()
        if answer.code == 200:
            assert ">hello</div>" in page
        else:
            assert re.search(r'<input id="passphrase"[^>]*\brequired\b', page)
            assert re.search(r'id="problem-passphrase"[^>]*><p>[A-Z]', page)
        return answer

    assert (await post("")).code == 403
    assert b"9 tries are left" in (await post("wrong")).body
    for _ in range(TRIES - 1):
        await site.ask("POST", f"/{key}/reveal", {}, wrong_guess(keys))
    answer = await post("open sesame")
    assert answer.code == 429
    assert int(answer.headers["Retry-After"]) > 0
    assert (await site.status(key, keys))["status"] == "unread"


async def test_without_a_script_the_right_passphrase_reveals(site):
    """After a wrong one too."""
    key, token = await site.put(passphrase="open sesame")

    for passphrase, status in (("wrong", 403), ("open sesame", 200)):
        answer = await site.ask("POST", f"/{key}/{token}", BROWSER, urlencode({"passphrase": passphrase}))
        assert answer.code == status
    assert b">hello</div>" in answer.body


@table({"JSON": (JSON_CLIENT, PROBLEM_TYPE), "text": (TEXT_CLIENT, TEXT_TYPE), "htmx": (HTMX, PAGE_TYPE)})
async def test_a_form_at_the_link_is_answered_in_the_client_s_format(site, row):
    """403 with the problem alone if it asks for no page."""
    headers, content_type = row
    key, token, _ = await site.put_sealed(has_passphrase=True)

    answer = await site.ask("POST", f"/{key}/{token}", headers, "passphrase=")

    assert answer.code == 403
    assert answer.headers["Content-Type"] == content_type
    assert b"<html" not in answer.body


async def test_a_form_at_a_link_that_was_cut_off_is_a_404(site):
    """In the words for a mangled link, and the note stays."""
    key, token = await site.put()

    answer = await site.ask("POST", f"/{key}/{token[:-1]}", BROWSER, "passphrase=")

    assert answer.code == 404
    assert "cut off" in answer.body.decode()
    assert await site.holds(key)


@table({"JSON": JSON_CLIENT, "text": TEXT_CLIENT, "a browser": BROWSER, "htmx": HTMX})
async def test_a_note_sealed_wrongly_is_gone_and_said_to_be(site, row):
    """422: what its sealer sent fits the token, and does not open with it."""
    other = sealing.seal(sealing.derive_keys(sealing.new_token()), "hello")
    key, token, _ = await site.put_sealed(sealed=other)

    answer = await site.ask("POST", f"/{key}/reveal", row, f"token={token}")

    assert answer.code == 422
    assert "now gone" in answer.body.decode()
    assert not await site.holds(key)


# POST /KEY/destroy, DELETE /KEY


@table({"POST": ("POST", "/{}/destroy"), "DELETE": ("DELETE", "/{}")})
async def test_a_note_is_destroyed_unread(site, row):
    """By token or link proof, form or JSON: 204 without a body, as often as it is asked for."""
    method, path = row
    key, token = await site.put()
    wrong = await site.ask(method, path.format(key), JSON_CLIENT, f"token={sealing.new_token()}")
    assert wrong.code == 404
    assert await site.holds(key)
    sealed_key, _, keys = await site.put_sealed(has_passphrase=True)  # no passphrase is needed

    for key, fields in ((key, f"token={token}"), (sealed_key, link_of(keys))):
        for _ in range(2):
            answer = await site.ask(method, path.format(key), CURL, fields)
            assert (answer.code, answer.body) == (204, b"")
            assert "Content-Type" not in answer.headers
        assert not await site.holds(key)
    assert (await site.status(sealed_key, keys))["status"] == "destroyed"


@table({"a browser": BROWSER, "htmx": HTMX})
async def test_a_form_that_destroys_gets_a_page(site, row):
    """200, and what has happened in words."""
    key, token = await site.put()

    answer = await site.ask("POST", f"/{key}/destroy", row, f"token={token}")

    assert answer.code == 200
    assert answer.headers["Content-Type"] == PAGE_TYPE
    assert b"Destroyed, unread" in answer.body
    assert not await site.holds(key)


@table({"POST": ("POST", "/{}/destroy"), "DELETE": ("DELETE", "/{}")})
@pytest.mark.parametrize("how", ["read", "expired", "purged"])
async def test_a_note_that_ended_otherwise_cannot_be_destroyed(site, service, row, how):
    """409 that says how and when it ended; to anybody else a 404."""
    method, path = row
    key, _, keys = await site.put_sealed()
    await _end(site, service, how, key, keys)
    ending = await site.status(key, keys)

    answer = await site.ask(method, path.format(key), JSON_CLIENT, link_of(keys))
    stranger = await site.ask(method, path.format(key), JSON_CLIENT, {"link_proof": DIGEST})

    assert answer.code == 409
    problem = json.loads(answer.body)
    assert problem["ending"] == ending
    assert problem["detail"].startswith("It is too late. The note ")
    assert utc(datetime.fromisoformat(ending["at"])) in problem["detail"]
    assert stranger.code == 404


# POST /KEY/status


async def _end(site, service, how, key, keys):
    """Let a note end: "read", "destroyed", "expired" and not yet purged, or "purged" after it expired."""
    if how == "read":
        assert (await site.ask("POST", f"/{key}/reveal", {}, proofs_of(keys))).code == 200
    elif how == "destroyed":
        assert (await site.ask("DELETE", f"/{key}", {}, link_of(keys))).code == 204
    else:
        _execute(service, "UPDATE note SET expires_at = now() WHERE key = %s", key)
        if how == "purged":
            await Notes(service.msg_db, service.keys).purge()


def _execute(service, statement, key):
    """Change the row of a note."""
    with psycopg2.connect(service.settings.msg_db_url) as connection, connection.cursor() as cursor:
        cursor.execute(statement, (key,))
        assert cursor.rowcount == 1
    connection.close()


ENDINGS = {"read": "read", "destroyed": "destroyed", "expired": "expired", "purged": "expired"}
STATUS_CLIENTS = {
    "JSON alone": (JSON_CLIENT, JSON_TYPE),
    "htmx": (HTMX, JSON_TYPE),
    "a browser": (BROWSER, JSON_TYPE),
    "text": (TEXT_CLIENT, TEXT_TYPE),
    "curl": (CURL, TEXT_TYPE),
}


@table(STATUS_CLIENTS)
@pytest.mark.parametrize("by", ["token", "link proof"])
async def test_the_status_of_an_unread_note(site, row, by):
    """Whether it has a passphrase, when it expires, how many were wrong; as text, in a sentence."""
    headers, content_type = row
    key, token, keys = await site.put_sealed(has_passphrase=True)
    fields = {"token": token} if by == "token" else link_of(keys)

    for wrong, words in enumerate(
        ("", " One wrong passphrase was tried.", " 2 wrong passphrases were tried.")
    ):
        answer = await site.ask("POST", f"/{key}/status", headers, urlencode(fields))

        assert answer.code == 200
        assert answer.headers["Content-Type"] == content_type
        if content_type == JSON_TYPE:
            told = json.loads(answer.body)
            in_an_hour = datetime.fromisoformat(told.pop("expires_at")) - datetime.now(UTC)
            assert timedelta(minutes=59) < in_an_hour < timedelta(minutes=61)
            assert told == {"status": "unread", "has_passphrase": True, "wrong_passphrases": wrong}
        else:
            text = answer.body.decode()
            assert re.fullmatch(r"The note is unread\. It expires on [^.]* UTC\.(.*)\n", text)[1] == words
        await site.ask("POST", f"/{key}/reveal", {}, wrong_guess(keys))
    assert await site.holds(key)


@table(STATUS_CLIENTS)
@pytest.mark.parametrize("how", ENDINGS)
async def test_the_status_of_a_note_that_ended(site, service, row, how):
    """How and when it ended, to anybody who proves the link, by token or by proof."""
    headers, content_type = row
    key, token, keys = await site.put_sealed()
    await _end(site, service, how, key, keys)

    for fields in ({"token": token}, link_of(keys)):
        answer = await site.ask("POST", f"/{key}/status", headers, urlencode(fields))

        assert answer.code == 200
        assert answer.headers["Content-Type"] == content_type
        if content_type == JSON_TYPE:
            told = json.loads(answer.body)
            ended = datetime.now(UTC) - datetime.fromisoformat(told.pop("at"))
            assert timedelta(seconds=-1) < ended < timedelta(minutes=1)
            assert told == {"status": ENDINGS[how]}
        else:
            words = {"read": "was read", "destroyed": "was destroyed unread", "expired": "expired unread"}
            assert answer.body.decode().startswith(f"The note {words[ENDINGS[how]]} on ")


# POST /KEY/received


async def _status_of_received(site, key, **fields):
    return (await site.ask("POST", f"/{key}/received", JSON_CLIENT, fields)).code


async def test_an_acknowledgement_ends_the_delivery_and_keeps_the_mark(site, service):
    """204 as often as it is sent; the reader cannot fetch again, and the sender sees the first mark."""
    key, _, keys = await site.put_sealed()
    other_key, _, other_keys = await site.put_sealed()
    mark = sealing.to_text(keys.mark)
    for revealed, its_keys in ((key, keys), (other_key, other_keys)):
        fields = proofs_of(its_keys) | {"reader": DIGEST}
        assert (await site.ask("POST", f"/{revealed}/reveal", {}, fields)).code == 200

    assert await _status_of_received(site, key, reader=DIGEST, mark=mark) == 204
    assert await _status_of_received(site, key, reader=DIGEST, mark=mark) == 204
    assert await _status_of_received(site, key, reader=DIGEST) == 204
    assert await _status_of_received(site, key, reader=DIGEST, mark=DIGEST) == 204

    assert (await site.status(key, keys))["mark"] == mark
    assert "mark" not in await site.status(other_key, other_keys)
    again = await site.ask("POST", f"/{key}/reveal", {}, proofs_of(keys) | {"reader": DIGEST})
    assert again.code == 404
    with psycopg2.connect(service.settings.msg_db_url) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT sealed IS NULL FROM delivery WHERE key IN (%s, %s) ORDER BY key = %s",
            (key, other_key, key),
        )
        assert cursor.fetchall() == [(False,), (True,)]
    connection.close()


@table({"no such delivery": sealing.to_text(b"x" * 32), "a reader of another note": DIGEST})
async def test_an_acknowledgement_of_no_delivery_is_a_404(site, row):
    """It tells nothing about the note, and leaves no mark."""
    key, _, keys = await site.put_sealed()
    other_key, _, other_keys = await site.put_sealed()
    await site.ask("POST", f"/{other_key}/reveal", {}, proofs_of(other_keys) | {"reader": DIGEST})

    before = await site.ask("POST", f"/{key}/received", JSON_CLIENT, {"reader": row, "mark": DIGEST})
    await _end_by(site, key, keys)
    after = await site.ask("POST", f"/{key}/received", JSON_CLIENT, {"reader": row, "mark": DIGEST})
    never = await site.ask("POST", "/-----/received", JSON_CLIENT, {"reader": row, "mark": DIGEST})

    assert before.code == 404
    assert before.body == after.body == never.body
    assert "mark" not in await site.status(key, keys)


async def _end_by(site, key, keys):
    """Read a note with a nonce that nobody else knows."""
    fields = proofs_of(keys) | {"reader": sealing.to_text(b"unknown".rjust(32))}
    assert (await site.ask("POST", f"/{key}/reveal", {}, fields)).code == 200


# Dead links


@table(
    {"JSON alone": (JSON_CLIENT, PROBLEM_TYPE), "text": (TEXT_CLIENT, TEXT_TYPE), "curl": (CURL, TEXT_TYPE)}
)
@pytest.mark.parametrize("how", ENDINGS)
async def test_a_404_tells_the_holder_of_the_link_how_the_note_ended(site, service, row, how):
    """By GET and by POST, how and when, in words and for programs."""
    headers, content_type = row
    key, token, keys = await site.put_sealed()
    await _end(site, service, how, key, keys)
    ending = await site.status(key, keys)

    for method, path, fields in (
        ("GET", f"/{key}/{token}", None),
        ("POST", f"/{key}/{token}", "passphrase=x"),
        ("POST", f"/{key}/reveal", f"token={token}"),
        ("POST", f"/{key}/reveal", urlencode(proofs_of(keys))),
        ("POST", f"/{key}/reveal", urlencode(wrong_guess(keys))),
    ):
        answer = await site.ask(method, path, headers, fields)

        assert answer.code == 404
        assert answer.headers["Content-Type"] == content_type
        assert utc(datetime.fromisoformat(ending["at"])) in answer.body.decode()
        assert ENDINGS[how] in answer.body.decode()
        if content_type == PROBLEM_TYPE:
            assert json.loads(answer.body)["ending"] == ending


@table({"a browser": BROWSER, "htmx": HTMX})
@pytest.mark.parametrize("how", ENDINGS)
async def test_a_page_tells_the_holder_of_the_link_how_the_note_ended(site, service, row, how):
    """After a click on "Open", if the note ended meanwhile."""
    key, token, keys = await site.put_sealed()
    await _end(site, service, how, key, keys)
    ending = await site.status(key, keys)

    for path, fields in (
        (f"/{key}/{token}", "passphrase="),
        (f"/{key}/reveal", urlencode(proofs_of(keys))),
    ):
        answer = await site.ask("POST", path, row, fields)

        assert answer.code == 404
        page = answer.body.decode()
        # For a script, the page without an ending has all three, hidden.
        assert re.findall(r'data-when="(\w+)"', page) == [ENDINGS[how]]
        assert utc(datetime.fromisoformat(ending["at"])) in page
        assert ("<html" in page) == ("HX-Request" not in row)


async def _answers(site, headers, key):
    """Every way to ask for a note without its link: statuses, headers and bodies."""
    token = sealing.new_token()
    for method, path, sent in (
        ("GET", f"/{key}", None),
        ("HEAD", f"/{key}", None),
        ("GET", f"/{key}/{token}", None),
        ("POST", f"/{key}/{token}", "passphrase="),
        ("POST", f"/{key}/{token}", "passphrase=guess"),
        ("POST", f"/{key}/reveal", f"token={token}"),
        ("POST", f"/{key}/reveal", f"token={token}&passphrase=guess&reader={DIGEST}"),
        ("POST", f"/{key}/reveal", f"link_proof={DIGEST}&reveal_proof={DIGEST}"),
        ("POST", f"/{key}/status", f"token={token}"),
        ("POST", f"/{key}/status", f"link_proof={DIGEST}"),
        ("POST", f"/{key}/destroy", f"token={token}"),
        ("POST", f"/{key}/destroy", f"link_proof={DIGEST}"),
        ("DELETE", f"/{key}", f"token={token}"),
        ("POST", f"/{key}/received", f"reader={DIGEST}"),
    ):
        answer = await site.ask(method, path, headers, sent)
        shown = {name: value for name, value in answer.headers.get_all() if name != "Date"}
        yield answer.code, shown, answer.body


@table(COMPLAINANTS)
@pytest.mark.parametrize("has_passphrase", [False, True], ids=["no passphrase", "passphrase"])
async def test_without_the_link_every_dead_note_is_the_same_404(site, service, row, has_passphrase):
    """Never existed, read, destroyed, expired, purged, wrong link: the same status, headers and bytes."""
    headers, content_type = row
    never = [answer async for answer in _answers(site, headers, "-____")]
    assert {status for status, _, _ in never} == {404}
    # Whatever is asked for, but HEAD, which has no body, and a delivery, which has words of its own.
    assert len({body for _, _, body in never[:1] + never[2:-1]}) == 1
    assert {shown["Content-Type"] for _, shown, _ in never} == {content_type}

    for how in ("read", "destroyed", "purged", "expired"):
        key, _, keys = await site.put_sealed(has_passphrase=has_passphrase)
        await _end(site, service, how, key, keys)
        assert [answer async for answer in _answers(site, headers, key)] == never, how

    key, _, keys = await site.put_sealed(has_passphrase=has_passphrase)
    unread = [answer async for answer in _answers(site, headers, key)]
    # That there is an unread note, a peek may tell.
    browses = 3 if headers not in (JSON_CLIENT, TEXT_CLIENT, CURL) else 2
    assert unread[browses:] == never[browses:]
    assert (await site.status(key, keys))["wrong_passphrases"] == 0


# Pages are the same for every key


PAGES = {
    "the form": "/",
    "the confirm page": "/{key}",
    "the confirm page of a link": "/{key}/{token}",
    "the receipt": "/{key}/receipt",
}


@table(PAGES)
@pytest.mark.parametrize("headers", [BROWSER, HTMX], ids=["a browser", "htmx"])
async def test_a_page_is_the_same_bytes_for_every_note(site, row, headers):
    """With a passphrase and without, whatever the lifetime: anybody can compare it with the release's."""
    notes = [
        await site.put(),
        await site.put(lifetime=86400),
        (await site.put_sealed())[:2],
        (await site.put_sealed(has_passphrase=True))[:2],
    ]

    pages = {(await site.ask("GET", row.format(key=key, token=token), headers)).body for key, token in notes}

    assert len(pages) == 1
    (page,) = pages
    for key, token in notes:
        assert f"/{key}".encode() not in page
        assert token.encode() not in page


async def test_the_confirm_page_of_a_key_and_of_a_link_are_the_same(site):
    """The script takes the token from behind the # or from the path."""
    key, token = await site.put()

    assert (await site.ask("GET", f"/{key}", BROWSER)).body == (
        await site.ask("GET", f"/{key}/{token}", BROWSER)
    ).body


async def test_the_receipt_s_page_asks_nothing_about_the_note(site):
    """200 for a key that never had one, too: the same bytes."""
    key, _ = await site.put()

    answer = await site.ask("GET", f"/{key}/receipt", BROWSER)
    never = await site.ask("GET", "/-____/receipt", BROWSER)

    assert answer.code == never.code == 200
    assert answer.headers["Content-Type"] == PAGE_TYPE
    assert answer.body == never.body


# HEAD, OPTIONS and everything else that is not asked for


PATHS = {
    "/": ("GET", "HEAD"),
    "/post": ("POST",),
    "/{key}": ("GET", "HEAD", "DELETE"),
    "/{key}/{token}": ("GET", "HEAD", "POST"),
    "/{key}/reveal": ("POST",),
    "/{key}/received": ("POST",),
    "/{key}/status": ("POST",),
    "/{key}/receipt": ("GET", "HEAD"),
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
    key, token = await site.put()
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
    key, token = await site.put()
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
                key, token = await site.put(f"message {number}")

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
    assert "The passphrase may have at most 1024 bytes." in page
    assert "ppp" not in page
