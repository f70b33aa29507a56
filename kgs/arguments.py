"""The arguments of `python -m kgs`, and its --help."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from datetime import datetime, timezone

from kgs import blocks, fencing
from server.keys import KEYS_PER_BLOCK, REST

PROGRAM = f"""\
The key generation service of note-whisperer. The key table holds every possible five-letter key,
{blocks.ALL_KEYS:,} of them, in an order that nobody can predict, as blocks of {KEYS_PER_BLOCK} keys.
Servers lease whole blocks. A block can be leased again {REST.days} days after its last lease.

KEY_DB_URL (or KEY_DB_URL_FILE, a file that holds it) names the key-db. Without it, the PostgreSQL
that `make run` keeps in DATA_DIR is used, and started if it is not running.
"""

SEED = """\
Fill the key table up to a number of keys. You may stop this and run it again at any time: it
continues where it stopped. Servers may lease meanwhile.
"""

VERIFY = """\
Read the whole table and prove that each block is there, that each key has five letters of the
alphabet and is in its place, and that no key occurs twice. It takes at most 256 MiB of memory,
names damaged blocks, and exits with 1 if there are any.
"""

FENCE = f"""\
Run this after the key-db was restored from a backup, with all servers stopped. The blocks that
they leased after the backup are in use, but the restored key-db does not know that. Their number
is estimated: {fencing.SAFETY} times as many as if each hour since had been the busiest on record, and
{fencing.AT_LEAST:,} at least. The command says which blocks it would skip, and asks first. Skipped blocks
can be leased after {REST.days} days.
"""


def parser() -> argparse.ArgumentParser:
    """Make the parser. Its result has the name of the command as `command`."""
    program = argparse.ArgumentParser(
        prog="python -m kgs", description=PROGRAM, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = program.add_subparsers(dest="command", required=True, metavar="COMMAND")

    seed = commands.add_parser("seed", help="fill the key table", description=SEED)
    how_much = seed.add_mutually_exclusive_group(required=True)
    how_much.add_argument(
        "--count",
        type=_whole_number(blocks.ALL_KEYS),
        metavar="N",
        help="until the table holds N keys in all, including those of earlier runs;"
        f" rounded up to whole blocks of {KEYS_PER_BLOCK}",
    )
    how_much.add_argument(
        "--all",
        dest="count",
        action="store_const",
        const=blocks.ALL_KEYS,
        help=f"until it holds all {blocks.ALL_KEYS:,}: 5.5 GiB, a few minutes",
    )

    status = commands.add_parser("status", help="show how many keys are seeded, resting and left")
    status.add_argument("--json", action="store_true", help="as one JSON object, in keys and seconds")

    commands.add_parser("verify", help="prove that every key occurs once", description=VERIFY)

    fence = commands.add_parser(
        "fence", help="after a restore: skip blocks that may have been leased since", description=FENCE
    )
    how_far = fence.add_mutually_exclusive_group(required=True)
    how_far.add_argument(
        "--since",
        type=_time,
        metavar="TIME",
        help="when the backup was taken: 2026-03-01T04:00:00+01:00 (UTC if it names no offset)",
    )
    how_far.add_argument(
        "--blocks",
        type=_whole_number(blocks.ALL_BLOCKS),
        metavar="N",
        help=f"skip N blocks of {KEYS_PER_BLOCK} keys, if you know better than the estimate",
    )
    fence.add_argument("--yes", action="store_true", help="do not ask")
    return program


def _whole_number(largest: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not (text.isdecimal() and 1 <= int(text) <= largest):
            raise argparse.ArgumentTypeError(f"takes a whole number from 1 to {largest}, not {text}")
        return int(text)

    return parse


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"takes a time such as 2026-03-01T04:00:00+01:00, not {text}"
        ) from None
    return time if time.tzinfo else time.replace(tzinfo=timezone.utc)
