"""No log has a key, token, proof, reader, mark, receipt, message or passphrase, however a request goes."""

import asyncio
import contextlib
import random
import re
from urllib.parse import urlencode

import psycopg2
import pytest

from server import schema, sealing
from server.app import make_app
from server.database import base64_of
from server.handlers.base import BaseHandler
from server.handlers.static import StaticHandler
from tests.conftest import fresh_database
from tests.server.handlers.clients import BROWSER, CURL, HTMX, JSON_CLIENT, TEXT_CLIENT
from tests.server.handlers.conftest import Site, link_of, listening, proofs_of, serviced, wrong_guess
from tests.server.test_logs import logged  # noqa: F401
from tests.server_process import free_port

pytestmark = pytest.mark.gen_test

MESSAGE = "Meet-me-at-the-lighthouse"
PASSPHRASE = "correct-horse-battery-staple"


class Broken(BaseHandler):
    """Fails with all that it was sent in its exception."""

    route = "/broken"
    allow = ("POST",)

    def post(self):
        raise RuntimeError(self.request.body.decode())


class BrokenLater(BaseHandler):
    """Fails when it has begun to answer."""

    route = "/broken-later"

    async def get(self):
        self.write("half of it")
        await self.flush()
        raise RuntimeError(self.request.uri)


@pytest.fixture(params=["text", "json"])
def log(logged, request):  # noqa: F811
    return logged(request.param)


async def _ask_raw(base_url, data):
    reader, writer = await asyncio.open_connection("127.0.0.1", int(base_url.rpartition(":")[2]))
    writer.write(data)
    writer.write_eof()
    with contextlib.suppress(ConnectionError):
        await reader.read()
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def _everything(site, secrets):
    """Every kind of request, good and bad; what is in them goes into `secrets`."""
    for headers in (JSON_CLIENT, TEXT_CLIENT, CURL, BROWSER, HTMX):
        key, token = await site.put(MESSAGE)
        sealed_key, sealed_token, keys = await site.put_sealed(MESSAGE, has_passphrase=True)
        proofs, other = proofs_of(keys), sealing.new_token()
        reader, mark = sealing.to_text(random.randbytes(32)), sealing.to_text(keys.mark)
        receipt = keys.receipt
        secrets.update([key, token, sealed_key, sealed_token, other, other[:12], *proofs.values()])
        secrets.update([reader, mark, receipt, receipt[43:], sealing.to_text(keys.link_verifier)])
        secrets.update([sealing.to_text(keys.reveal_verifier), keys.link_verifier.hex(), keys.mark.hex()])
        for method, path, body in (
            ("GET", f"/{key}", None),
            ("HEAD", f"/{key}/{token}", None),
            ("GET", f"/{key}%23{token}", None),
            ("GET", f"/{key}/{other}", None),
            ("GET", f"/{key}/{other[:12]}", None),
            ("GET", f"/{key}/{token}?message={MESSAGE}", None),
            ("GET", f"/{key}/{token}/{MESSAGE}", None),
            ("GET", f"/{MESSAGE}", None),
            ("GET", f"/static/{MESSAGE}", None),
            ("GET", f"/static/%00{MESSAGE}", None),
            ("GET", f"/{key}/%ff{token}", None),
            ("GET", f"/{sealed_key}/{sealed_token}", None),
            ("PUT", f"/{key}/{token}", MESSAGE),
            ("POST", "/post", f"message={MESSAGE}&passphrase={PASSPHRASE}&lifetime={MESSAGE}"),
            ("POST", "/post", f"{MESSAGE}={MESSAGE}"),
            ("POST", "/post", f'{{"message": "{MESSAGE}"'),
            ("POST", "/post", f"message={MESSAGE}%ff"),
            ("POST", "/post", "message=" + MESSAGE * 20_000),
            ("POST", "/shared-text", urlencode({"title": MESSAGE, "text": MESSAGE, "url": MESSAGE})),
            ("POST", "/shared-text", urlencode({MESSAGE: MESSAGE})),
            ("GET", f"/shared-text?text={MESSAGE}", None),
            ("GET", f"/{sealed_key}/receipt", None),
            ("GET", f"/{sealed_key}/receipt%23{receipt}", None),
            ("GET", f"/{sealed_key}/receipt?{receipt}", None),
            ("GET", f"/{key}/{token}/sent/{receipt[43:]}", None),
            ("GET", f"/{sealed_key}/{sealed_token}/sent/{receipt[43:]}", None),
            ("GET", f"/{key}/{other}/sent/{receipt}", None),
            ("GET", f"/{sealed_key}/{receipt}", None),
            ("POST", f"/{sealed_key}/{sealed_token}", urlencode({"passphrase": "", "present": "yes"})),
            ("POST", f"/{sealed_key}/{other}", urlencode({"passphrase": PASSPHRASE, "present": "yes"})),
            ("POST", f"/{sealed_key}/status", link_of(keys)),
            ("POST", f"/{sealed_key}/status", {"token": sealed_token}),
            ("POST", f"/{sealed_key}/status", {"link_proof": mark}),
            ("POST", f"/{sealed_key}/status", {"link_proof": receipt}),
            ("POST", f"/{sealed_key}/status", {**link_of(keys), "passphrase": PASSPHRASE}),
            ("POST", f"/{sealed_key}/reveal", wrong_guess(keys)),
            ("POST", f"/{sealed_key}/reveal", {"token": other, "passphrase": ""}),
            ("POST", f"/{sealed_key}/reveal", {"token": MESSAGE}),
            ("POST", f"/{sealed_key}/reveal", {**proofs, "token": token}),
            ("POST", f"/{sealed_key}/received", {"reader": reader, "mark": mark}),
            ("POST", f"/{sealed_key}/reveal", {**proofs, "reader": reader}),
            ("POST", f"/{sealed_key}/reveal", {**proofs, "reader": reader}),
            ("POST", f"/{sealed_key}/received", {"reader": reader, "mark": mark}),
            ("POST", f"/{sealed_key}/received", {"reader": reader, "mark": mark, "token": token}),
            ("POST", f"/{sealed_key}/status", link_of(keys)),
            ("POST", f"/{sealed_key}/reveal", proofs),
            ("POST", f"/{sealed_key}/destroy", link_of(keys)),
            ("POST", f"/{key}/destroy", {"token": other}),
            ("DELETE", f"/{key}", {"token": token}),
            ("POST", f"/{key}/status", {"token": token}),
            ("POST", "/broken", urlencode({"message": MESSAGE, "token": token, **proofs, "mark": mark})),
            ("GET", f"/broken-later?{key}/{token}", None),
        ):
            await site.ask(method, path, headers, body)
    malformed = [
        f"GET /{key}/{token}\r\n\r\n",
        f"GET /{key}/{token} HTTP/1.1\r\nHost: {MESSAGE}, {MESSAGE}\r\n\r\n",
        f"GET /{key}/{token} HTTP/1.1\r\n{MESSAGE}\r\n\r\n",
        f"{MESSAGE} /{key}/{token} HTTP/1.1\r\nHost: localhost\r\n\r\n",
        f"GET /{key}/{token}?" + "a=b&" * 2000 + " HTTP/1.1\r\nHost: localhost\r\n\r\n",
        f"POST /{key}/reveal HTTP/1.1\r\nHost: localhost\r\nContent-Length: {token}\r\n\r\ntoken={token}",
        f"POST /{key}/reveal HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\ntoken={token}\r\n",
        f"POST /{key}/reveal HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999\r\n\r\ntoken={token}",
        f"GET /{key}/{token} HTTP/1.1\r\nHost: localhost\r\nX: {MESSAGE * 1000}\r\n\r\n",
    ]
    for data in malformed:
        await _ask_raw(site.base_url, data.encode())


@pytest.fixture(scope="module")
def app(service):
    """The application, and addresses where it fails."""
    app = make_app(service)
    with_service = {"service": service}
    broken = [("/broken", Broken, with_service), ("/broken-later", BrokenLater, with_service)]
    app.add_handlers(".*", broken)
    return app


async def test_no_request_leaves_a_secret_in_the_log(site, log):
    """At the level that logs most, with failures that quote what they were sent."""
    secrets = {MESSAGE, PASSPHRASE}

    await _everything(site, secrets)

    text = log.getvalue()
    for logged_route in ("GET /KEY/TOKEN 200", "POST /KEY/status 200", "POST /KEY/received 204"):
        assert logged_route in text  # each request is logged, by its route
    for audit_line in ("put done", "reveal done", "reveal refused", "destroy done"):
        assert audit_line in text
    assert "POST /broken failed" in text
    assert "RuntimeError" in text
    assert [secret for secret in secrets if secret in text] == []


async def test_a_statement_that_the_database_refuses_is_not_quoted(
    http_client, log, postgres, seeded_key_db_url, handlers_msg_db_url
):
    """PostgreSQL's own words repeat the statement with what it was given."""
    msg_db_url = fresh_database(postgres, schema.MSG_DB)
    with psycopg2.connect(msg_db_url) as connection, connection.cursor() as cursor:
        cursor.execute("ALTER TABLE note RENAME COLUMN reveal_verifier TO proof")
    connection.close()
    key = "Ab3_x"
    keys = sealing.derive_keys(sealing.new_token())
    async with serviced(seeded_key_db_url, msg_db_url) as service:
        await service.keys.start()
        async with listening(make_app(service), service, port := free_port()):
            site = Site(http_client, f"http://127.0.0.1:{port}")

            answer = await site.ask("POST", f"/{key}/reveal", JSON_CLIENT, proofs_of(keys))

    assert answer.code == 500
    text = log.getvalue()
    assert "POST /KEY/reveal failed" in text
    assert "UndefinedColumn" in text
    assert key not in text
    for secret in (keys.link_proof, keys.reveal_proof, keys.link_verifier, keys.reveal_verifier):
        assert sealing.to_text(secret) not in text
        assert base64_of(secret) not in text
        assert secret.hex() not in text


async def test_an_unavailable_database_is_logged_without_the_request(http_client, log, seeded_key_db_url):
    """The log tells the operator that, and nothing more."""
    away = f"postgresql://127.0.0.1:{free_port()}/away"
    async with serviced(seeded_key_db_url, away, DB_TIMEOUT="0.1") as service:
        async with listening(make_app(service), service, port := free_port()):
            site = Site(http_client, f"http://127.0.0.1:{port}")
            assert (await site.ask("GET", "/Ab3_x", TEXT_CLIENT)).code == 503

    assert "WARNING GET /KEY refused" in log.getvalue() or '"GET /KEY refused' in log.getvalue()
    assert "Ab3_x" not in log.getvalue()


async def test_every_handler_logs_by_its_own_rule(app):
    """Tornado's `log_exception` quotes the request line and the headers; each handler has the service's own."""
    for rule in app.wildcard_router.rules:
        assert rule.target.log_exception is BaseHandler.log_exception
        assert re.fullmatch(r"(/[A-Za-z0-9_.%-]*)+", rule.target.route)
    assert StaticHandler in [rule.target for rule in app.wildcard_router.rules]
    assert app.settings["default_handler_class"].log_exception is BaseHandler.log_exception
