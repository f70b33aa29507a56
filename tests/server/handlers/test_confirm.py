"""GET under a key: which clients get the message, and which get the confirm page."""

import json

import pytest

from server import sealing
from tests.server.handlers.clients import (
    BROWSER,
    CURL,
    DATA_CLIENTS,
    HTMX,
    JSON_CLIENT,
    JSON_TYPE,
    OTHER_CLIENTS,
    PAGE_TYPE,
    PROBLEM_TYPE,
    TEXT_CLIENT,
    TEXT_TYPE,
    table,
)
from tests.server.handlers.conftest import (
    PUBLIC_URL,
)

pytestmark = pytest.mark.gen_test


# GET /KEY/TOKEN


@table(DATA_CLIENTS)
async def test_a_get_reveals_to_clients_that_plainly_ask_for_data(site, row):
    """The message, once; after that the same request is a 404 that says when the note was read."""
    headers, content_type = row
    key, token = await site.put("hello\n")

    answer = await site.ask("GET", f"/{key}/{token}", headers)
    again = await site.ask("GET", f"/{key}/{token}", headers)

    assert answer.code == 200
    assert answer.headers["Content-Type"] == content_type
    assert answer.body == (b'{"message": "hello\\n"}\n' if content_type == JSON_TYPE else b"hello\n")
    assert again.code == 404
    assert "The message was read on " in again.body.decode()


@table(OTHER_CLIENTS)
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
async def test_a_mangled_token_is_distinguished_from_a_wrong_one(site, row):
    """A link that was cut off is a 404 that says so, or a 400 for a form, and the note stays."""
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


# GET /KEY/


@table({"a browser": BROWSER, "curl": CURL})
async def test_a_slash_at_the_end_is_redirected_to_the_key(site, row):
    """308 to /KEY, where a browser keeps what is behind the #."""
    key, _ = await site.put()

    for method in ("GET", "HEAD"):
        answer = await site.ask(method, f"/{key}/", row)
        assert (answer.code, answer.headers["Location"]) == (308, f"/{key}")
    assert await site.holds(key)


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
