"""After a restore of the key-db: past everything that servers may have leased since the back-up.

A back-up knows which blocks were leased up to the moment it was taken. What was leased later is in use,
and the restored cursor would hand it out again. Nobody remembers how much that was, so it is estimated
from the log of leases, generously: a block skipped for nothing costs a four-millionth of the table.
"""

from __future__ import annotations

import contextlib
import math
from datetime import datetime
from typing import NamedTuple

from kgs import blocks, key_db
from kgs.key_db import Cursor

SAFETY = 2
# Blocks that no rate foretells: many servers that start at once, each with two blocks ahead.
AT_LEAST = 1024


class Unknowable(key_db.Refusal):
    """How much was leased cannot be estimated."""


class Plan(NamedTuple):
    """What a fence would skip, and why."""

    cursor: Cursor
    skip: int  # blocks
    reason: str


BUSIEST_HOUR = """
SELECT max(leases)
FROM (
    SELECT count(*) AS leases
    FROM key_lease
    GROUP BY date_trunc('hour', at)
) AS hour
"""


def plan_since(url: str, since: datetime) -> Plan:
    """Estimate what was leased from `since` until now: SAFETY times as much as if each hour that has begun
    had been the busiest on record, and AT_LEAST.

    Args:
        url: libpq URL of the key-db.
        since: when the back-up was taken, with a time zone.

    Raises:
        Unknowable: the time lies in the future, or the log is empty.
        psycopg2.Error: the key-db cannot be reached.
    """
    with contextlib.closing(key_db.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT extract(epoch FROM now() - %s)::float8", (since,))
        ((seconds,),) = cursor.fetchall()
        cursor.execute(BUSIEST_HOUR)
        ((busiest,),) = cursor.fetchall()
        if seconds < 0:
            raise Unknowable(f"{since} lies in the future")
        if busiest is None:
            raise Unknowable("no lease was ever logged, so there is no rate to estimate from: use --blocks")
        hours = math.ceil(seconds / 3600)
        skip = max(SAFETY * busiest * hours, AT_LEAST)
        reason = (
            f"since {since} {hours:,} hours have begun; the busiest hour on record took {busiest:,} blocks;"
            f" {SAFETY} times that for every hour, and {AT_LEAST:,} at least"
        )
        return _plan(key_db.cursor_of(connection), skip, reason)


def plan_blocks(url: str, count: int) -> Plan:
    """Skip as many blocks as the operator says. Raises psycopg2.Error if the key-db cannot be reached."""
    with contextlib.closing(key_db.connect(url)) as connection:
        return _plan(key_db.cursor_of(connection), count, "as many as you say")


def _plan(cursor: Cursor, skip: int, reason: str) -> Plan:
    return Plan(cursor, min(skip, blocks.ALL_BLOCKS - cursor.next), reason)


# Beyond `seeded` if need be: a back-up that is older than blocks seeded after it makes the same ones again,
# and they may have been leased.
SKIP = """
UPDATE key_cursor
SET next = least(next + %s, %s)
RETURNING next, seeded
"""


def skip(url: str, count: int) -> Cursor:
    """Move the cursor forward by `count` blocks, which nobody will ever lease; where it is now.

    Raises:
        psycopg2.Error: the key-db cannot be reached, or refuses.
    """
    with contextlib.closing(key_db.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(SKIP, (count, blocks.ALL_BLOCKS))
        (row,) = cursor.fetchall()
        return Cursor(*row)
