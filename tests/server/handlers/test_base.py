"""What every handler has: errors in the asker's format, headers, who is believed about what."""

import json
import re
from urllib.parse import urlencode

import pytest

from server import passphrases, schema, sealing
from server.app import make_app
from server.clients import is_trusted, network_of
from server.handlers.base import SECURITY_HEADERS, BaseHandler
from server.passphrases import MAX_WRONG
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
from tests.server.handlers.conftest import FORM, JSON, PUBLIC_URL, Site, listening, serviced
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
    "The field sealed must be version 1 of the format: 0x01, 12 bytes, and 16 + 256 n bytes.",
)
GOOD_SEALED = "AQ" + "A" * 378
DIGEST = "A" * 43

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
            "There is an unknown field. The known ones are message, passphrase, lifetime, sealed, verifier,"
            " has_passphrase.",
        ),
    ),
    "sealed and not": (
        JSON,
        b'{"message": "x", "sealed": "AQ"}',
        (400, "sealed", "Send either the message or the sealed note, not both."),
    ),
    "a verifier alone": (JSON, b'{"verifier": "x"}', BAD_SEALED),
    "sealed with padding": (
        JSON,
        b'{"sealed": "AQ==", "verifier": ""}',
        (400, "sealed", "The field sealed must be base64url without padding."),
    ),
    "sealed in another alphabet": (
        JSON,
        b'{"sealed": "A+//", "verifier": ""}',
        (400, "sealed", "The field sealed must be base64url without padding."),
    ),
    "sealed of another version": (JSON, f'{{"sealed": "Ag{GOOD_SEALED[2:]}"}}'.encode(), BAD_SEALED),
    "sealed too short": (JSON, f'{{"sealed": "{GOOD_SEALED[:-4]}"}}'.encode(), BAD_SEALED),
    "sealed with nothing in it": (JSON, b'{"sealed": "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}', BAD_SEALED),
    "sealed, and no verifier": (
        JSON,
        f'{{"sealed": "{GOOD_SEALED}"}}'.encode(),
        (400, "verifier", "The field verifier must be 32 bytes in base64url without padding."),
    ),
    "a verifier that is too long": (
        JSON,
        f'{{"sealed": "{GOOD_SEALED}", "verifier": "{DIGEST}A"}}'.encode(),
        (400, "verifier", "The field verifier must be 32 bytes in base64url without padding."),
    ),
    "text as has_passphrase": (
        JSON,
        f'{{"sealed": "{GOOD_SEALED}", "verifier": "{DIGEST}", "has_passphrase": "true"}}'.encode(),
        (400, "has_passphrase", "The field has_passphrase must be true or false."),
    ),
    "1 as has_passphrase": (
        JSON,
        f'{{"sealed": "{GOOD_SEALED}", "verifier": "{DIGEST}", "has_passphrase": 1}}'.encode(),
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
        f"sealed={GOOD_SEALED}&verifier={DIGEST}&has_passphrase=yes".encode(),
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
    sealed = sealing.to_text(b"\x01" + bytes(sealing.sealed_length(65536 + 256) - 1))

    answer = await site.ask("POST", "/post", JSON_CLIENT, {"sealed": sealed, "verifier": DIGEST})

    assert answer.code == 413
    assert json.loads(answer.body)["field"] == "sealed"
    assert "65536 bytes before it is sealed" in json.loads(answer.body)["detail"]


BAD_CLAIMS = {
    "nothing": ({}, "token"),
    "both": ({"token": "x", "proof": "y"}, "token"),
    "a token that is not text": ({"token": 17}, "token"),
    "half a surrogate pair as token": ({"token": "\ud800"}, "token"),
    "a proof that is too short": ({"proof": DIGEST[:-1]}, "proof"),
    "a proof with stray bits": ({"proof": DIGEST[:-1] + "B"}, "proof"),
    "a proof that is no base64url": ({"proof": "?" * 43}, "proof"),
    "an unknown member": ({"token": "x", "key": "y"}, None),
}


@table(BAD_CLAIMS)
async def test_a_claim_that_makes_no_sense_is_refused(site, row):
    """400 for reveal and destroy alike, and the note stays."""
    claim, field = row
    key, _ = await site.leave()

    for method, path in (("POST", f"/{key}/reveal"), ("POST", f"/{key}/destroy"), ("DELETE", f"/{key}")):
        answer = await site.ask(method, path, JSON_CLIENT, claim)
        assert answer.code == 400
        assert json.loads(answer.body).get("field") == field
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
    key, token = await site.leave()
    locked, locked_out = [(await site.leave_sealed(has_passphrase=True))[0] for _ in range(2)]
    for _ in range(MAX_WRONG):
        await site.ask("POST", f"/{locked_out}/reveal", {}, f"proof={DIGEST}")
    wrongly_sealed, wrong_token, _ = await site.leave_sealed(sealed=b"\x01" + bytes(28 + 256))
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
        (401, "GET", f"/{locked}/{wrong_token}", None),
        (429, "POST", f"/{locked_out}/reveal", f"proof={DIGEST}"),
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
            if status == 403:
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
    key, token = await site.leave()
    claim = f"token={token}"

    for method, path, body in (
        ("POST", "/post", "message=hello"),
        ("POST", f"/{key}/reveal", claim),
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
    key, token = await site.leave()

    answer = await site.ask("POST", f"/{key}/reveal", row, f"token={token}")

    assert answer.code == 200


@table(REFUSED_SITES)
async def test_a_page_may_be_looked_at_from_anywhere(site, row):
    """A link on another site leads to the confirm page, which destroys nothing."""
    key, token = await site.leave()

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
    key, token = await site.leave()
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


async def _wrong_from(site, key, headers):
    return (await site.ask("POST", f"/{key}/reveal", headers, f"proof={DIGEST}")).code


@table(
    {
        "X-Real-IP": "X-Real-IP",
        "X-Forwarded-For": "X-Forwarded-For",
        "Forwarded": "Forwarded",
        "X-Client-IP": "X-Client-IP",
        "True-Client-IP": "True-Client-IP",
    }
)
async def test_a_stranger_is_not_believed_about_an_address(site, row):
    """Another address in each request does not get more than ten wrong passphrases."""
    key, _, _ = await site.leave_sealed(has_passphrase=True)

    statuses = [await _wrong_from(site, key, {row: f"203.0.113.{n}"}) for n in range(MAX_WRONG + 1)]

    assert statuses == [403] * MAX_WRONG + [429]


async def test_a_trusted_proxy_is_believed_about_an_address(
    http_client, seeded_key_db_url, handlers_msg_db_url
):
    """By X-Real-IP, and by nothing else: who is locked out is an address, of IPv6 its /64."""
    async with serviced(seeded_key_db_url, handlers_msg_db_url, TRUSTED_PROXIES="127.0.0.0/8") as service:
        await service.keys.start()
        async with listening(make_app(service), service, port := free_port()):
            site = Site(http_client, f"http://127.0.0.1:{port}")
            while not service.keys.available:
                await site.ask("GET", "/healthz")
            key, _, _ = await site.leave_sealed(has_passphrase=True)
            for n in range(MAX_WRONG):
                headers = {"X-Real-IP": f"2001:db8::{n}", "X-Forwarded-For": f"203.0.113.{n}"}
                assert await _wrong_from(site, key, headers) == 403

            assert await _wrong_from(site, key, {"X-Real-IP": "2001:db8:0:0:ffff::1"}) == 429
            assert await _wrong_from(site, key, {"X-Real-IP": "2001:db8:0:1::1"}) == 403
            assert await _wrong_from(site, key, {"X-Real-IP": "192.0.2.7"}) == 403


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
        ("POST", "/AAAAA/reveal", f"proof={DIGEST}"),
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
    key, token = await site.leave()
    locked, _, _ = await site.leave_sealed(has_passphrase=True)
    monkeypatch.setattr(passphrases, "MAX_STRETCHES", 0)

    for path, fields in (
        ("/post", {"message": "hello", "passphrase": "x"}),
        (f"/{locked}/reveal", {"token": token, "passphrase": "x"}),
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
    answer = await site.ask("POST", "/AAAAA/reveal", HTMX, f"proof={DIGEST}")

    assert answer.code == 404
    assert "HX-Retarget" not in answer.headers
    assert b"There is no message here" in answer.body
    assert b"<html" not in answer.body
