"""The application over real databases, on a loop and a port that all tests of a module share.

pytest-tornado makes its fixtures again for each test. A pool of connections and compiled templates for each
of hundreds of requests would take most of the time.
"""

import asyncio
import json
from contextlib import asynccontextmanager

import psycopg2
import pytest
from tornado.ioloop import IOLoop

from server import schema, sealing
from server.app import make_app
from server.database import Database
from server.httpd.transport import Limits, Server
from server.keys import KeyLeaser
from server.messages import Messages
from server.notes import Notes
from server.pages import Pages
from server.posting import Posting
from server.service import Service
from server.settings import Settings
from tests.conftest import fresh_database
from tests.server_process import free_port

PUBLIC_URL = "https://notes.test"

NOON = 1_795_608_000.0  # a clock that stands still, so that no hour ends during a test

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"

TRIES = 10  # of a passphrase, before delays begin
DIGEST = "A" * 43  # 32 zero bytes: a proof, a verifier, a reader or a mark that fits nothing
# In place of a stretched passphrase, which takes a fifth of a second of a core.
STRETCHED = b"s" * 32


@pytest.fixture(scope="module")
def io_loop():
    """The loop that pytest-tornado runs a module's tests on, one after another."""
    asyncio_loop = asyncio.new_event_loop()
    asyncio.set_event_loop(asyncio_loop)
    loop = IOLoop.current()
    yield loop
    loop.close(all_fds=True)
    asyncio.set_event_loop(None)


@pytest.fixture(scope="session")
def handlers_msg_db_url(postgres):
    """One msg-db for all handlers' tests. Each test knows its own notes by their keys."""
    return fresh_database(postgres, schema.MSG_DB)


@asynccontextmanager
async def serviced(key_db_url, msg_db_url, **environment):
    """What handlers work with, as server/process.py makes it."""
    settings = Settings.from_env(
        {"PUBLIC_URL": PUBLIC_URL, "KEY_DB_URL": key_db_url, "MSG_DB_URL": msg_db_url, **environment}
    )
    key_db = Database(key_db_url, 1, settings.db_timeout)
    msg_db = Database(msg_db_url, 4, settings.db_timeout)
    keys = KeyLeaser(key_db)
    messages = Messages(Notes(msg_db, keys))
    posting = Posting(settings, clock=lambda: NOON)
    try:
        yield Service(settings, key_db, msg_db, keys, messages, Pages(settings), posting)
    finally:
        await keys.stop()
        messages.close()
        await key_db.close()
        await msg_db.close()


@pytest.fixture(scope="module")
def service(io_loop, seeded_key_db_url, handlers_msg_db_url):
    """A service with keys ahead and audit lines, behind a proxy at an address that nobody has."""
    making = serviced(seeded_key_db_url, handlers_msg_db_url, TRUSTED_PROXIES="192.0.2.1", AUDIT_LOG="true")

    async def start():
        service = await making.__aenter__()
        await service.keys.start()
        while not service.keys.available:
            await asyncio.sleep(0)
        return service

    yield io_loop.run_sync(start)
    io_loop.run_sync(lambda: making.__aexit__(None, None, None))


@pytest.fixture(scope="module")
def app(service):
    """The application that pytest-tornado serves."""
    return make_app(service)


@pytest.fixture(scope="module")
def http_port():
    return free_port()


@pytest.fixture(scope="module")
def base_url(http_port):
    return f"http://127.0.0.1:{http_port}"


@pytest.fixture(scope="module")
def http_server(io_loop, app, service, http_port):
    """The application behind the server's own transport."""
    listener = listening(app, service, http_port)
    yield io_loop.run_sync(listener.__aenter__)
    io_loop.run_sync(lambda: listener.__aexit__(None, None, None))


@asynccontextmanager
async def listening(app, service, port):
    """The application on a port."""
    server = Server(app, Limits(service.settings.longest_body_bytes))
    await server.listen(port, "127.0.0.1")
    try:
        yield server
    finally:
        server.stop()
        await server.close()


def link_of(keys):
    """What proves the link: the fields of a status or a destroy."""
    return {"link_proof": sealing.to_text(keys.link_proof)}


def proofs_of(keys):
    """What proves the link and the passphrase: the fields of a reveal."""
    return link_of(keys) | {"reveal_proof": sealing.to_text(keys.reveal_proof)}


def wrong_guess(keys):
    """The fields of a reveal by somebody who has the link, and guesses the passphrase."""
    return link_of(keys) | {"reveal_proof": DIGEST}


class Site:
    """Sends requests as clients do, and knows what it has put."""

    def __init__(self, http_client, base_url):
        self._client, self.base_url = http_client, base_url

    async def ask(self, method, path, headers=None, body=None, as_sent=False):
        """One request; the answer, whatever its status. A dict as body is sent as JSON.

        With `as_sent`, the client asks for no compression by itself, and decompresses nothing.
        """
        headers = dict(headers or {})
        if isinstance(body, dict):
            headers.setdefault("Content-Type", JSON)
            body = json.dumps(body)
        elif body is not None:
            headers.setdefault("Content-Type", FORM)
        return await self._client.fetch(
            self.base_url + path,
            method=method,
            headers=headers,
            body=body,
            raise_error=False,
            follow_redirects=False,
            allow_nonstandard_methods=True,
            decompress_response=not as_sent,
        )

    async def put(self, message="hello", **fields):
        """Put a message for the server to seal; returns its key and token."""
        answer = await self.ask("POST", "/post", {"Accept": JSON}, {"message": message, **fields})
        assert answer.code == 201, answer.body
        return json.loads(answer.body)["url"].split("/")[-2:]

    async def put_sealed(self, message="hello", has_passphrase=False, sealed=None):
        """Put a note that is sealed already; returns its key, its token and what is derived from them."""
        token = sealing.new_token()
        keys = sealing.derive_keys(token, STRETCHED if has_passphrase else b"")
        fields = {
            "sealed": sealing.to_text(sealed or sealing.seal(keys, message)),
            "link_verifier": sealing.to_text(keys.link_verifier),
            "reveal_verifier": sealing.to_text(keys.reveal_verifier),
            "has_passphrase": has_passphrase,
        }
        answer = await self.ask("POST", "/post", {"Accept": JSON}, fields)
        assert answer.code == 201, answer.body
        return json.loads(answer.body)["key"], token, keys

    async def holds(self, key):
        """Whether there is an unread note under the key."""
        return (await self.ask("GET", f"/{key}")).code == 200

    async def status(self, key, keys):
        """What a client with the link is told about a note."""
        answer = await self.ask("POST", f"/{key}/status", {"Accept": JSON}, link_of(keys))
        assert answer.code == 200, answer.body
        return json.loads(answer.body)


@pytest.fixture
def site(http_client, base_url):
    return Site(http_client, base_url)


def change_row(service, statement, key):
    """Change the row of a note."""
    with psycopg2.connect(service.settings.msg_db_url) as connection, connection.cursor() as cursor:
        cursor.execute(statement, (key,))
        assert cursor.rowcount == 1
    connection.close()
