"""`python -m kgs`: settings, progress, one-line errors and exit codes. The other modules do the work."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping

import psycopg2

from kgs import arguments, blocks, fencing, key_db, seeding, status, verifying
from kgs.progress import meter
from server import embedded, logs, schema
from server.keys import KEYS_PER_BLOCK, REST
from server.settings import Settings, SettingsError

log = logging.getLogger("kgs")

DONE, FAILED, INTERRUPTED = 0, 1, 130
MAX_DAMAGE_LISTED = 20


def main() -> int:
    """Run one command and return its exit code."""
    options = arguments.parser().parse_args()
    try:
        settings = _settings(os.environ)
        logs.set_up(settings.log_format, settings.log_level)
        with _key_db(settings) as url:
            return COMMANDS[options.command](url, options)
    except SettingsError as error:
        print(error, file=sys.stderr)
    except psycopg2.Error as error:
        log.error("%s", key_db.explain(error))
    except (embedded.EmbeddedError, schema.SchemaError, key_db.Refusal) as error:
        log.error("%s", error)
    except KeyboardInterrupt:
        log.error("interrupted; what was committed is kept")
        return INTERRUPTED
    return FAILED


def _settings(env: Mapping[str, str]) -> Settings:
    """Read only the settings that the KGS uses: it may run where the server's other settings are unknown."""
    names = ("KEY_DB_URL", "KEY_DB_URL_FILE", "DATA_DIR", "LOG_FORMAT", "LOG_LEVEL")
    used = {name: env[name] for name in names if env.get(name)}
    if "KEY_DB_URL" in used or "KEY_DB_URL_FILE" in used:
        used["MSG_DB_URL"] = "postgresql://unused"  # Settings requires both databases or neither
    return Settings.from_env(used)


@contextlib.contextmanager
def _key_db(settings: Settings) -> Iterator[str]:
    """Yield the URL of a key-db whose schema has this program's version."""
    if settings.key_db_url:
        schema.check(settings.key_db_url, schema.KEY_DB)
        yield settings.key_db_url
        return
    with embedded.running(settings.data_dir, share=True) as postgres:
        url = postgres.url(schema.KEY_DB)
        schema.migrate(url, schema.KEY_DB)
        yield url


def seed(url: str, options: argparse.Namespace) -> int:
    target = seeding.blocks_for(options.count)
    if options.count % KEYS_PER_BLOCK:
        log.info("rounded up to %s keys: whole blocks of %d", _keys(target), KEYS_PER_BLOCK)
    steps = seeding.seed(url, target)
    seeded = next(steps)
    if seeded >= target:
        log.info("nothing to do: %s keys are seeded", _keys(seeded))
        return DONE
    with meter("seeding", seeded * KEYS_PER_BLOCK, target * KEYS_PER_BLOCK) as progress:
        for step in steps:
            progress.update((step - seeded) * KEYS_PER_BLOCK)
            seeded = step
    log.info("done: %s keys are seeded", _keys(seeded))
    return DONE


def show_status(url: str, options: argparse.Namespace) -> int:
    current = status.status(url)
    print(json.dumps(current._asdict()) if options.json else status.as_text(current))
    return DONE


def verify(url: str, options: argparse.Namespace) -> int:
    damaged = checked = 0
    with meter("verifying", 0, status.status(url).seeded) as progress:
        for step, damage in verifying.verify(url):
            for each in damage[: max(MAX_DAMAGE_LISTED - damaged, 0)]:
                log.error("%s", each)
            damaged += len(damage)
            progress.update((step - checked) * KEYS_PER_BLOCK)
            checked = step
    if damaged:
        log.error("%s blocks are damaged: restore the key-db from a backup, then fence it", f"{damaged:,}")
        return FAILED
    log.info("sound: %s keys, each of five letters, in its place, and present exactly once", _keys(checked))
    return DONE


def fence(url: str, options: argparse.Namespace) -> int:
    if options.since:
        plan = fencing.plan_since(url, options.since)
    else:
        plan = fencing.plan_blocks(url, options.blocks)
    ranges = " and ".join(map(str, plan.ranges)) or "none"
    print(
        f"Of {blocks.ALL_BLOCKS:,} blocks, {plan.positions.seeded:,} are seeded.\n"
        f"To be skipped: {plan.size:,} blocks, {ranges}, {plan.reason}."
    )
    if not options.yes and not _agreed(f"Skip them for {REST.days} days? [y/N] "):
        print("Nothing was skipped.")
        return FAILED
    fencing.skip(url, plan)
    current = status.status(url)
    print(f"Skipped. {current.left:,} keys can be leased.")
    if not current.left and current.seeded < current.all:
        print("Run `python -m kgs seed --all` before the servers start.")
    return DONE


COMMANDS = {"seed": seed, "status": show_status, "verify": verify, "fence": fence}


def _keys(count: int) -> str:
    return f"{count * KEYS_PER_BLOCK:,}"


def _agreed(question: str) -> bool:
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:
        print()
        return False


if __name__ == "__main__":
    sys.exit(main())
