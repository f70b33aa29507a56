"""Destroy, status, received, and what a dead link says."""

import json
import re
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import psycopg2
import pytest

from server import sealing
from server.languages import LANGUAGES
from server.notes import Notes
from tests.server.handlers.clients import (
    BROWSER,
    CURL,
    HTMX,
    JSON_CLIENT,
    JSON_TYPE,
    PAGE_TYPE,
    PROBLEM_TYPE,
    REFUSED_CLIENTS,
    TEXT_CLIENT,
    TEXT_TYPE,
    table,
)
from tests.server.handlers.conftest import (
    DIGEST,
    change_row,
    link_of,
    proofs_of,
    wrong_guess,
)

pytestmark = pytest.mark.gen_test


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
    assert problem["detail"].startswith("It is too late. The message ")
    assert LANGUAGES["en"].utc(datetime.fromisoformat(ending["at"])) in problem["detail"]
    assert stranger.code == 404


# POST /KEY/status


async def _end(site, service, how, key, keys):
    """Let a note end: "read", "destroyed", "expired" and not yet purged, or "purged" after it expired."""
    if how == "read":
        assert (await site.ask("POST", f"/{key}/reveal", {}, proofs_of(keys))).code == 200
    elif how == "destroyed":
        assert (await site.ask("DELETE", f"/{key}", {}, link_of(keys))).code == 204
    else:
        change_row(service, "UPDATE note SET expires_at = now() WHERE key = %s", key)
        if how == "purged":
            await Notes(service.msg_db, service.keys).purge.notes()


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

    for wrong, words in enumerate(("", " 1 wrong passphrase was tried.", " 2 wrong passphrases were tried.")):
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
            assert re.fullmatch(r"The message is unread\. It expires on [^.]* UTC\.(.*)\n", text)[1] == words
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
            assert answer.body.decode().startswith(f"The message {words[ENDINGS[how]]} on ")


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
        assert LANGUAGES["en"].utc(datetime.fromisoformat(ending["at"])) in answer.body.decode()
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
        (f"/{key}/{token}", "passphrase=&present=yes"),
        (f"/{key}/reveal", urlencode(proofs_of(keys))),
    ):
        answer = await site.ask("POST", path, row, fields)

        assert answer.code == 404
        page = answer.body.decode()
        # For a script, the page without an ending has all three, hidden.
        assert re.findall(r'data-when="(\w+)"', page) == [ENDINGS[how]]
        assert LANGUAGES["en"].utc(datetime.fromisoformat(ending["at"])) in page
        assert ("<html" in page) == ("HX-Request" not in row)


async def _answers(site, headers, key):
    """Every way to ask for a note without its link: statuses, headers and bodies."""
    token = sealing.new_token()
    for method, path, sent in (
        ("GET", f"/{key}", None),
        ("HEAD", f"/{key}", None),
        ("GET", f"/{key}/{token}", None),
        ("POST", f"/{key}/{token}", "passphrase=&present=yes"),
        ("POST", f"/{key}/{token}", "passphrase=guess&present=yes"),
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


@table(REFUSED_CLIENTS)
@pytest.mark.parametrize("has_passphrase", [False, True], ids=["no passphrase", "passphrase"])
async def test_without_the_link_every_dead_note_is_the_same_404(site, service, row, has_passphrase):
    """Never existed, read, destroyed, expired, purged, wrong link: the same status, headers and bytes."""
    headers, content_type = row
    never = [answer async for answer in _answers(site, headers, "-____")]
    assert {status for status, _, _ in never} == {404}
    # All requests except HEAD, which has no body, and the one for a delivery, which has its own words.
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
