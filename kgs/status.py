"""How much of the key table is filled and leased, and how long the rest lasts."""

from __future__ import annotations

import contextlib
from typing import NamedTuple

from kgs import blocks, key_db
from server.keys import KEYS_PER_BLOCK


class Status(NamedTuple):
    """All in keys, but for the last."""

    all: int
    seeded: int
    leased: int  # or skipped by a fence
    left: int  # seeded and not leased
    leased_last_day: int
    seconds_left: int | None  # at the rate of the last day; None if nothing was leased in it


LEASED_LAST_DAY = """
SELECT count(*)
FROM key_lease
WHERE at > now() - interval '1 day'
"""


def status(url: str) -> Status:
    """Ask the key-db at `url`, a libpq URL.

    Raises:
        psycopg2.Error: the key-db cannot be reached.
    """
    with contextlib.closing(key_db.connect(url)) as connection:
        next_, seeded = key_db.cursor_of(connection)
        with connection.cursor() as cursor:
            cursor.execute(LEASED_LAST_DAY)
            ((last_day,),) = cursor.fetchall()
    left = max(seeded - next_, 0)
    return Status(
        all=blocks.ALL_KEYS,
        seeded=seeded * KEYS_PER_BLOCK,
        leased=next_ * KEYS_PER_BLOCK,
        left=left * KEYS_PER_BLOCK,
        leased_last_day=last_day * KEYS_PER_BLOCK,
        seconds_left=left * 86400 // last_day if last_day else None,
    )


def as_text(status: Status) -> str:
    """A few lines for a person."""
    lasts = "nobody has leased any in the last day"
    if status.seconds_left is not None:
        lasts = f"they last {_duration(status.seconds_left)} at the rate of the last day"
    return "\n".join(
        [
            f"seeded {status.seeded:>15,} keys, {status.seeded / status.all:.1%} of all there are",
            f"leased {status.leased:>15,} keys, {status.leased_last_day:,} in the last day",
            f"left   {status.left:>15,} keys: {lasts}",
        ]
    )


def _duration(seconds: int) -> str:
    for unit, name in ((365 * 86400, "years"), (86400, "days"), (3600, "hours")):
        if seconds >= 2 * unit:
            return f"{seconds // unit:,} {name}"
    return f"{seconds // 60:,} minutes"
