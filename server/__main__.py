"""`python -m server`: serve, migrate the databases, check running processes, or print the manifest of the pages."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import sys
import urllib.error
import urllib.request

import psycopg2

from server import embedded, linux, local, logs, process, roles, schema
from server.database import first_line
from server.manifest import manifest_of
from server.setting_values import text_of
from server.settings import Settings, SettingsError
from server.supervisor import DONE, FAILED, REFUSED, supervise

log = logging.getLogger(__name__)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m server",
        description="note-whisperer: messages that destroy themselves.",
        epilog="Settings come from the environment; the README lists them.",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("serve", help="serve until SIGTERM or Ctrl-C; the default")
    commands.add_parser("migrate", help="bring both databases to this version's schema")
    commands.add_parser("health", help="exit with 0 if every server process of these settings answers")
    commands.add_parser("manifest", help="print what an unchanged service answers with these settings")
    arguments = parser.parse_args()
    try:
        settings = Settings.from_env(os.environ)
    except SettingsError as error:
        print(f"These settings cannot be used:\n{error}", file=sys.stderr)
        return REFUSED
    logs.set_up(settings.log_format, settings.log_level)
    linux.forbid_core_dumps()
    try:
        match arguments.command:
            case "migrate":
                return migrate(settings)
            case "health":
                return health(settings)
            case "manifest":
                print(json.dumps(manifest_of(settings), indent=1))
                return DONE
            case _:
                return serve(settings)
    except (embedded.EmbeddedError, schema.SchemaError, process.ListenError) as error:
        log.error("%s", error)
        return REFUSED


def serve(settings: Settings) -> int:
    """Serve, with as many processes and databases as the settings ask for."""
    if settings.embedded:
        return local.run(settings, os.environ)
    if settings.process_count > 1:
        return supervise(settings, os.environ)
    asyncio.run(process.serve(settings))
    return DONE


def migrate(settings: Settings) -> int:
    """Apply migrations as the databases' owner, and create the roles whose URLs are given."""
    if settings.embedded:
        with embedded.running(settings.data_dir) as postgres:
            urls = {"KEY_DB_URL": postgres.url(schema.KEY_DB), "MSG_DB_URL": postgres.url(schema.MSG_DB)}
            return _migrate(urls)
    assert settings.key_db_url and settings.msg_db_url
    return _migrate({"KEY_DB_URL": settings.key_db_url, "MSG_DB_URL": settings.msg_db_url})


def _migrate(owner_urls: dict[str, str]) -> int:
    for variable, database in (("KEY_DB_URL", schema.KEY_DB), ("MSG_DB_URL", schema.MSG_DB)):
        try:
            applied = schema.migrate(owner_urls[variable], database)
        except psycopg2.Error as error:
            log.error("%s: %s", variable, first_line(error))
            return FAILED
        log.info("%s: %s", database, ", ".join(applied) or "nothing to do")
    for variable, (owner_variable, grants) in roles.ROLES.items():
        if url := text_of(variable, os.environ):
            try:
                name = roles.provide(owner_urls[owner_variable], url, grants)
            except (psycopg2.Error, ValueError) as error:
                log.error("%s: %s", variable, first_line(error))
                return FAILED
            log.info("%s: role %s is ready", variable, name)
    return DONE


def health(settings: Settings) -> int:
    """Ask every process of these settings; a container's health check calls this."""
    for port in settings.ports:
        url = f"http://{settings.local_host}:{port}/healthz"
        try:
            urllib.request.urlopen(url, timeout=3).close()  # nosec B310 # http, one line above
        except (urllib.error.URLError, OSError) as error:
            print(f"{url}: {error}", file=sys.stderr)
            return FAILED
    return DONE


if __name__ == "__main__":
    sys.exit(main())
