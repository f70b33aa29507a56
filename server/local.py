"""`make run`: the service with a PostgreSQL of its own, migrated and supplied with keys."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable, Mapping
from functools import partial

import psycopg2

from server import embedded, schema
from server.database import first_line
from server.process import ListenError
from server.settings import Settings
from server.supervisor import supervise

log = logging.getLogger(__name__)

FIRST_KEYS = 1_000_000
SEED_INTERVAL = 30.0  # seconds

WELCOME = """
note-whisperer is ready: open {url} in a browser, or type in another terminal

  curl -d '{{"message": "hello world"}}' -H 'Content-Type: application/json' {url}/post
  curl -d message=hello -H 'Accept: text/plain' {url}/post

and then curl the link, once. Ctrl-C stops the server; unread notes are kept.
"""


def run(settings: Settings, environment: Mapping[str, str]) -> int:
    """Start PostgreSQL and the server processes, and keep them running until SIGTERM or SIGINT.

    Args:
        environment: of the server processes, which also get the URLs of the databases.

    Returns:
        The exit code.

    Raises:
        ListenError: a port is in use.
        EmbeddedError: PostgreSQL does not start, or has ended.
    """
    from kgs import seeding  # needs numpy, which the server's container image leaves out

    _check_ports(settings)
    with embedded.running(settings.data_dir) as postgres:
        key_db_url, msg_db_url = postgres.url(schema.KEY_DB), postgres.url(schema.MSG_DB)
        schema.migrate(key_db_url, schema.KEY_DB)
        schema.migrate(msg_db_url, schema.MSG_DB)
        seed = partial(seeding.ensure_ahead, key_db_url, FIRST_KEYS)
        seed()
        urls = {"KEY_DB_URL": key_db_url, "MSG_DB_URL": msg_db_url}
        return supervise(settings, {**environment, **urls}, Upkeep(settings, postgres, seed).tick)


def _check_ports(settings: Settings) -> None:
    """Check that the server can listen, before PostgreSQL starts for nothing."""
    for port in settings.ports:
        try:
            found = socket.getaddrinfo(settings.host, port, type=socket.SOCK_STREAM)
            for family, _, _, _, address in found:
                socket.create_server(address, family=family).close()
        except OSError as error:
            raise ListenError(settings.host, port, error) from None


class Upkeep:
    """What the parent does while its PostgreSQL and the server processes run."""

    def __init__(
        self,
        settings: Settings,
        postgres: embedded.Postgres,
        seed: Callable[[], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            seed: makes more keys if few are left.
        """
        self._settings = settings
        self._postgres = postgres
        self._seed = seed
        self._clock = clock
        self._welcomed = False
        self._seeded_at = clock()

    def tick(self) -> None:
        """Check PostgreSQL, welcome the user once, and make keys from time to time.

        Raises:
            EmbeddedError: PostgreSQL has ended.
        """
        assert self._postgres.process
        if self._postgres.process.poll() is not None:
            raise embedded.EmbeddedError("PostgreSQL has ended; DATA_DIR/postgres.log says why")
        host = self._settings.local_host.strip("[]")  # an IPv6 address has brackets only in a URL
        if not self._welcomed and _accepts_connections(host, self._settings.port):
            self._welcomed = True
            print(WELCOME.format(url=self._settings.public_url), flush=True)
        if self._clock() - self._seeded_at > SEED_INTERVAL:
            self._seeded_at = self._clock()
            try:
                self._seed()
            except psycopg2.Error as error:
                log.warning("no more keys were made: %s", first_line(error))


def _accepts_connections(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=0.1).close()
    except OSError:
        return False
    return True
