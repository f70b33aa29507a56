"""POST /KEY/reveal, and the form of a link: one reader, passphrases, deliveries."""

import asyncio
import itertools
import json
import re
from urllib.parse import urlencode

import pytest

from server import passphrases, sealing
from server.app import make_app
from tests.server.handlers import clients
from tests.server.handlers.clients import (
    BROWSER,
    CURL,
    HTMX,
    JSON_CLIENT,
    JSON_TYPE,
    OLD_BROWSER,
    PAGE_TYPE,
    PROBLEM_TYPE,
    REFUSED_CLIENTS,
    TEXT_CLIENT,
    TEXT_TYPE,
    table,
)
from tests.server.handlers.conftest import (
    DIGEST,
    TRIES,
    change_row,
    listening,
    proofs_of,
    serviced,
    wrong_guess,
)
from tests.server_process import free_port

pytestmark = pytest.mark.gen_test


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
        case clients.JSON_TYPE:
            assert json.loads(text) == {"message": "<b>hello</b>"}
        case clients.TEXT_TYPE:
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
        case clients.JSON_TYPE:
            sealed = json.loads(text)["sealed"]
        case clients.TEXT_TYPE:
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


@table(REFUSED_CLIENTS)
async def test_a_wrong_passphrase_is_told_to_a_client_that_proves_the_link(site, row):
    """403 in the client's format, as JSON with the number of tries that are left; the note stays."""
    headers, content_type = row
    key, _, keys = await site.put_sealed(has_passphrase=True)

    answer = await site.ask("POST", f"/{key}/reveal", headers, urlencode(wrong_guess(keys)))

    assert answer.code == 403
    assert answer.headers["Content-Type"] == content_type
    assert "The passphrase is wrong. The message is untouched. 9 tries are left." in answer.body.decode()
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

    change_row(service, "UPDATE note SET next_try_at = now() WHERE key = %s", key)
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

    change_row(service, "UPDATE delivery SET at = now() - interval '60 seconds' WHERE key = %s", key)

    answer = await site.ask("POST", f"/{key}/reveal", {}, fields)
    assert answer.code == 404
    assert json.loads(answer.body)["ending"]["status"] == "read"
    assert (await site.ask("POST", f"/{key}/received", {}, {"reader": DIGEST})).code == 204


# POST /KEY/TOKEN


@table({"a browser": BROWSER, "an old browser": OLD_BROWSER})
async def test_without_a_script_the_page_s_own_form_reveals(site, row):
    """POST to the link itself, with an empty passphrase, answers with the message."""
    key, token = await site.put("<b>hello</b>")

    answer = await site.ask("POST", f"/{key}/{token}", row, "passphrase=&present=yes")
    again = await site.ask("POST", f"/{key}/{token}", row, "passphrase=&present=yes")

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
        answer = await site.ask(
            "POST", f"/{key}/{token}", row, urlencode({"passphrase": passphrase, "present": "yes"})
        )
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
        fields = urlencode({"passphrase": passphrase, "present": "yes"})
        answer = await site.ask("POST", f"/{key}/{token}", BROWSER, fields)
        assert answer.code == status
    assert b">hello</div>" in answer.body


@table({"JSON": (JSON_CLIENT, PROBLEM_TYPE), "text": (TEXT_CLIENT, TEXT_TYPE), "htmx": (HTMX, PAGE_TYPE)})
async def test_a_form_at_the_link_is_answered_in_the_client_s_format(site, row):
    """403 with the problem alone if it asks for no page."""
    headers, content_type = row
    key, token, _ = await site.put_sealed(has_passphrase=True)

    answer = await site.ask("POST", f"/{key}/{token}", headers, "passphrase=&present=yes")

    assert answer.code == 403
    assert answer.headers["Content-Type"] == content_type
    assert b"<html" not in answer.body


BLIND = {
    "a browser that chose nothing": (BROWSER, "passphrase="),
    "a browser that chose to leave it": (BROWSER, "passphrase=&present=no"),
    "a browser with a passphrase": (BROWSER, "passphrase=guess"),
    "htmx": (HTMX, "passphrase="),
    "a script that sends no field": ({"Accept": "*/*", "User-Agent": "python-requests/2.32"}, ""),
    "a script that sends every choice": (BROWSER, "passphrase=&present=no&present=yes"),
    "a script that sends another choice": (BROWSER, "passphrase=&present=on"),
}


@table(BLIND)
async def test_a_form_that_is_sent_without_the_choice_opens_nothing(site, row):
    """400, and the note and its tries are untouched."""
    headers, fields = row
    key, token, keys = await site.put_sealed(has_passphrase="guess" in fields)

    answer = await site.ask("POST", f"/{key}/{token}", headers, fields)

    assert answer.code == 400
    status = await site.status(key, keys)
    assert (status["status"], status["wrong_passphrases"]) == ("unread", 0)


async def test_without_a_script_the_choice_is_asked_for(site):
    """The page again, with the problem beside the choice and the passphrase field only if one was sent."""
    key, token = await site.put()

    for fields, asks_passphrase in (("passphrase=", False), ("passphrase=guess&present=no", True)):
        page = (await site.ask("POST", f"/{key}/{token}", BROWSER, fields)).body.decode()

        assert re.search(r'id="problem-present"[^>]*><p>[A-Z]', page)
        assert bool(re.search(r'<input id="passphrase"[^>]*\brequired\b', page)) == asks_passphrase


@table({"curl": CURL, "JSON": JSON_CLIENT, "text": TEXT_CLIENT})
async def test_a_client_that_asks_for_data_needs_no_choice(site, row):
    """A program that posts to the link on purpose gets the message, as before."""
    key, token = await site.put("hello")

    answer = await site.ask("POST", f"/{key}/{token}", row, "passphrase=")

    assert answer.code == 200
    assert b"hello" in answer.body


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
