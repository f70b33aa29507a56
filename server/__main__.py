"""`python -m server`: serve, migrate the databases, or ask running processes for their health."""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import dataclasses
import logging
import os
import resource
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from functools import partial

import psycopg2

from server import embedded, logs, roles, schema
from server.database import first_line
from server.process import serve
from server.settings import Settings, SettingsError, text_of
from server.supervisor import REFUSED, supervise

log = logging.getLogger(__name__)

FIRST_KEYS = 1_000_000
SEED_INTERVAL = 30.0


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m server",
        description="note-whisperer: messages that destroy themselves.",
        epilog="Settings come from the environment; the README lists them.",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("migrate", help="bring both databases to this version's schema")
    commands.add_parser("health", help="exit with 0 if every server process of these settings answers")
    arguments = parser.parse_args()
    try:
        settings = Settings.from_env(os.environ)
    except SettingsError as error:
        print(f"These settings cannot be used:\n{error}", file=sys.stderr)
        return REFUSED
    logs.set_up(settings.log_format, settings.log_level)
    _leave_no_core_dump()
    try:
        match arguments.command:
            case "migrate":
                return migrate(settings)
            case "health":
                return health(settings)
            case _:
                return run(settings)
    except (embedded.EmbeddedError, schema.SchemaError) as error:
        log.error("%s", error)
        return REFUSED
    except OSError as error:
        log.error("cannot listen on %s, port %d: %s", settings.host, settings.port, error.strerror)
        return REFUSED


def _leave_no_core_dump() -> None:
    """Our memory holds messages and tokens while a request takes: it goes to no disk when we crash."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        pr_set_dumpable = 4
        ctypes.CDLL(None).prctl(pr_set_dumpable, 0)  # a core_pattern with a pipe ignores the limit


def run(settings: Settings) -> int:
    """Serve, with as much around the server processes as the settings ask for."""
    if not settings.embedded and settings.process_count == 1:
        asyncio.run(serve(settings))
        return 0
    if not settings.embedded:
        return supervise(_environments(settings), _stop_within(settings), lambda: None)
    from kgs import seeding  # needs numpy, which the server's container image leaves out

    _refuse_used_port(settings)
    with embedded.running(settings.data_dir) as postgres:
        settings = dataclasses.replace(
            settings, key_db_url=postgres.url(schema.KEY_DB), msg_db_url=postgres.url(schema.MSG_DB)
        )
        assert settings.key_db_url and settings.msg_db_url
        schema.migrate(settings.key_db_url, schema.KEY_DB)
        schema.migrate(settings.msg_db_url, schema.MSG_DB)
        seed = partial(seeding.ensure_ahead, settings.key_db_url, FIRST_KEYS)
        seed()
        return supervise(
            _environments(settings), _stop_within(settings), _Keeper(settings, postgres, seed).tick
        )


class _Keeper:
    """What the parent does beside its processes while it runs a PostgreSQL of its own."""

    def __init__(self, settings: Settings, postgres: embedded.Postgres, seed: Callable[[], object]) -> None:
        self._settings = settings
        self._postgres = postgres
        self._seed = seed
        self._welcomed = False
        self._seeded_at = time.monotonic()

    def tick(self) -> None:
        assert self._postgres.process
        if self._postgres.process.poll() is not None:
            raise embedded.EmbeddedError("PostgreSQL has ended; its log lies in DATA_DIR")
        if not self._welcomed and _answers(self._settings.local_host, self._settings.port):
            self._welcomed = True
            print(WELCOME.format(url=self._settings.public_url), flush=True)
        if time.monotonic() - self._seeded_at > SEED_INTERVAL:
            self._seeded_at = time.monotonic()
            try:
                self._seed()
            except psycopg2.Error as error:
                log.warning("no more keys were made: %s", first_line(error))


WELCOME = """
note-whisperer is ready: open {url} in a browser, or in another terminal

  curl -d '{{"message": "hello world"}}' -H 'Content-Type: application/json' {url}/post
  curl -d message=hello -H 'Accept: text/plain' {url}/post

and then curl the link, once. Ctrl-C stops it; unread notes are kept.
"""


def _environments(settings: Settings) -> list[dict[str, str]]:
    """For each process: one process, on its own port, with what the parent has made up."""
    assert settings.key_db_url and settings.msg_db_url and settings.public_url
    return [
        {
            "PROCESSES": "1",
            "PORT": str(port),
            "PUBLIC_URL": settings.public_url,
            "KEY_DB_URL": settings.key_db_url,
            "MSG_DB_URL": settings.msg_db_url,
        }
        for port in settings.ports
    ]


def _stop_within(settings: Settings) -> float:
    return settings.drain_seconds + 5


def _refuse_used_port(settings: Settings) -> None:
    """Say so at once, not after a PostgreSQL has been started for nothing."""
    for port in settings.ports:
        with socket.create_server((settings.host, port)):
            pass


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=0.1).close()
    except OSError:
        return False
    return True


def migrate(settings: Settings) -> int:
    """Apply migrations as the databases' owner, and provide the roles whose URLs are given."""
    if settings.embedded:
        with embedded.running(settings.data_dir) as postgres:
            return _migrate({"KEY_DB_URL": postgres.url("key_db"), "MSG_DB_URL": postgres.url("msg_db")})
    assert settings.key_db_url and settings.msg_db_url
    return _migrate({"KEY_DB_URL": settings.key_db_url, "MSG_DB_URL": settings.msg_db_url})


def _migrate(owner_urls: dict[str, str]) -> int:
    for variable, database in (("KEY_DB_URL", schema.KEY_DB), ("MSG_DB_URL", schema.MSG_DB)):
        try:
            applied = schema.migrate(owner_urls[variable], database)
        except psycopg2.Error as error:
            log.error("%s: %s", variable, first_line(error))
            return 1
        log.info("%s: %s", database, ", ".join(applied) or "nothing to do")
    for variable, (owner_variable, grants) in roles.ROLES.items():
        if url := text_of(variable, os.environ):
            try:
                name = roles.provide(owner_urls[owner_variable], url, grants)
            except (psycopg2.Error, ValueError) as error:
                log.error("%s: %s", variable, first_line(error))
                return 1
            log.info("%s: role %s is ready", variable, name)
    return 0


def health(settings: Settings) -> int:
    """Ask every process of these settings; for a container's health check."""
    for port in settings.ports:
        url = f"http://{settings.local_host}:{port}/healthz"
        try:
            urllib.request.urlopen(url, timeout=3).close()  # nosec B310 # http, a few lines above
        except (urllib.error.URLError, OSError) as error:
            print(f"{url}: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
