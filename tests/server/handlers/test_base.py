"""What every handler does: errors in the client's format, headers, and whom it trusts about what."""

import asyncio
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
from tests.conftest import fresh_database
from tests.server.handlers.clients import (
    BROWSER,
    CURL,
    HTMX,
    JSON_CLIENT,
    OLD_BROWSER,
    REFUSED_CLIENTS,
    TEXT_CLIENT,
    table,
)
from tests.server.handlers.conftest import (
    DIGEST,
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
        (403, "POST", f"/{locked}/{locked_token}", "passphrase=&present=yes"),
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

            expected = 303 if status == 201 and headers is BROWSER else status
            assert answer.code == expected, (method, path)
            assert _security_headers_of(answer) == {}, (method, path)
            if not path.startswith("/static/"):
                assert answer.headers.get_list("Note-Whisperer") == ["1"]
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
async def test_requests_that_another_site_causes_are_refused(site, row):
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
async def test_requests_of_this_site_or_of_no_browser_are_accepted(site, row):
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


# Whom the server trusts


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
        if headers is BROWSER:
            assert answer.code == 303
            answer = await site.ask("GET", answer.headers["Location"], {**headers, **row})
        (key,) = set(re.findall(PUBLIC_URL + "/([A-Za-z0-9_-]{5})", answer.body.decode()))
        for path in ("/", f"/{key}", "/nowhere", f"/{key}%23abc"):
            looked = await site.ask("GET", path, {**headers, **row})
            for told in (answer, looked):
                assert "evil" not in told.body.decode() + str(dict(told.headers.get_all()))


@asynccontextmanager
async def _busy_stretcher(service):
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
async def test_a_stranger_is_not_trusted_about_an_address(site, service, row):
    """Another address in each request gets no more than one client's share of the stretching."""
    async with _busy_stretcher(service) as waiting:
        served = [_put_with_passphrase(site, {row: f"203.0.113.{n}"}) for n in range(MAX_STRETCHES_OF_CLIENT)]
        await waiting(MAX_STRETCHES_OF_CLIENT)

        refused = await _put_with_passphrase(site, {row: "203.0.113.99"})

    assert refused.code == 503
    assert "Retry-After" in refused.headers
    assert [answer.code for answer in await asyncio.gather(*served)] == [201] * MAX_STRETCHES_OF_CLIENT


async def test_a_trusted_proxy_names_the_address(http_client, seeded_key_db_url, handlers_msg_db_url):
    """By X-Real-IP alone: each client stretches at most two passphrases at a time, and others are served."""
    async with serviced(seeded_key_db_url, handlers_msg_db_url, TRUSTED_PROXIES="127.0.0.0/8") as service:
        await service.keys.start()
        async with listening(make_app(service), service, port := free_port()):
            site = Site(http_client, f"http://127.0.0.1:{port}")
            while not service.keys.available:
                await site.ask("GET", "/healthz")
            async with _busy_stretcher(service) as waiting:
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


# Bugs, and databases that are unavailable


class Broken(BaseHandler):
    """Fails with words that no client may read."""

    route = "/broken"

    def get(self):
        raise RuntimeError("the hidden words")


@pytest.fixture(scope="module")
def app(service):
    """The application, and an address where it fails."""
    app = make_app(service)
    app.add_handlers(".*", [("/broken", Broken, {"service": service})])
    return app


@table(REFUSED_CLIENTS)
async def test_a_bug_is_a_500_that_tells_nothing(site, row):
    """It is in the client's format, and has neither the exception's words nor a traceback."""
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
    """A server without keys, and with a msg-db that is unavailable."""
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


@table(REFUSED_CLIENTS)
async def test_without_keys_or_database_every_client_is_asked_to_come_again(http_client, stranded, row):
    """503 with Retry-After, in the client's format."""
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


async def test_a_refused_form_keeps_the_message_while_the_database_is_unavailable(http_client, stranded):
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
    answer = await site.ask("POST", "/AAAAA/reveal", HTMX, f"token={sealing.new_token()}")

    assert answer.code == 404
    assert "HX-Retarget" not in answer.headers
    assert b"There is no message here" in answer.body
    assert b"<html" not in answer.body
