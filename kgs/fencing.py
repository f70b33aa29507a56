"""After the key-db was restored: skip all blocks that servers may have leased since the backup.

A backup knows which blocks were leased before it was taken. Blocks that were leased later are in use, but
the restored key-db would lease them again. Nobody knows how many they are, so the KGS makes a
generous estimate from the log of leases. A skipped block counts as leased now: it rests, and then it comes back.
"""

from __future__ import annotations

import contextlib
import math
from datetime import datetime
from typing import NamedTuple

from kgs import blocks, key_db
from kgs.key_db import Positions

SAFETY = 2
# Blocks that no rate predicts: servers that all start at once, each of which leases eight blocks ahead.
AT_LEAST = 1024


class Unknowable(key_db.Refusal):
    """How much was leased cannot be estimated."""


class Range(NamedTuple):
    """Blocks with consecutive ids. After the id `modulus` - 1 comes 0."""

    first: int
    size: int
    modulus: int

    def __str__(self) -> str:
        last = (self.first + self.size - 1) % self.modulus
        return f"{self.first:,} to {last:,}"


class Plan(NamedTuple):
    """What a fence would skip, and why."""

    positions: Positions
    never_leased: Range  # may end beyond the last filled block
    to_be_leased_again: Range
    reason: str

    @property
    def ranges(self) -> list[Range]:
        """Those that are not empty."""
        return [range_ for range_ in (self.never_leased, self.to_be_leased_again) if range_.size]

    @property
    def size(self) -> int:
        """The number of blocks."""
        return sum(range_.size for range_ in self.ranges)


def plan_since(url: str, since: datetime) -> Plan:
    """Estimate what was leased from `since` until now: SAFETY times as much as if each hour that has begun
    had been the busiest on record, and AT_LEAST.

    Args:
        url: libpq URL of the key-db.
        since: when the backup was taken, with a time zone.

    Raises:
        Unknowable: the time lies in the future, or the log is empty.
        psycopg2.Error: the key-db cannot be reached.
    """
    seconds, busiest = _record(url, since)
    if seconds < 0:
        raise Unknowable(f"{since} lies in the future")
    if busiest is None:
        raise Unknowable("the log has no lease, so there is no rate to estimate from: use --blocks")
    hours = math.ceil(seconds / 3600)
    reason = (
        f"since {since} {hours:,} hours have begun; the busiest hour on record took {busiest:,} blocks;"
        f" {SAFETY} times that for every hour, and {AT_LEAST:,} at least"
    )
    return _plan(url, max(SAFETY * busiest * hours, AT_LEAST), reason)


def plan_blocks(url: str, count: int) -> Plan:
    """Skip as many blocks as the operator says. Raises psycopg2.Error if the key-db cannot be reached."""
    return _plan(url, count, "as many as you say")


# An earlier fence is not a lease: it says nothing about the rate.
RECORD = """
SELECT extract(epoch FROM now() - %s)::float8 AS seconds, (
    SELECT max(leases)
    FROM (
        SELECT count(*) AS leases
        FROM key_lease
        WHERE NOT fenced
        GROUP BY date_trunc('hour', at)
    ) AS hour
) AS busiest
"""


def _record(url: str, since: datetime) -> tuple[float, int | None]:
    """Return the seconds since then, and the most blocks that were leased in an hour."""
    with contextlib.closing(key_db.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(RECORD, (since,))
        ((seconds, busiest),) = cursor.fetchall()
        return seconds, busiest


def _plan(url: str, count: int, reason: str) -> Plan:
    """Plan to skip what `count` leases since the backup may have taken.

    Servers lease blocks that were never leased first. If those that the backup knows as filled are too few,
    there are two possibilities, and the fence covers both. Either more blocks were filled after the backup:
    they will be filled again with the same keys, so blocks beyond the last filled one are skipped too. Or
    blocks were leased again: of these only blocks that have rested by now can have been leased.
    """
    with contextlib.closing(key_db.connect(url)) as connection:
        positions = key_db.positions(connection)
        left = key_db.blocks_left(connection)
    filled = max(positions.seeded - positions.next, 0)
    ring = min(positions.next, positions.seeded)
    return Plan(
        positions,
        Range(positions.next, min(count, blocks.ALL_BLOCKS - positions.next), blocks.ALL_BLOCKS),
        Range(positions.again, min(max(count - filled, 0), left - filled), max(ring, 1)),
        reason,
    )


LOG = """
INSERT INTO key_lease (id, fenced)
SELECT mod(%(first)s + i, %(modulus)s), true
FROM generate_series(0, %(size)s - 1) AS i
ON CONFLICT (id) DO UPDATE SET fenced = true, at = excluded.at
"""

MOVE = """
UPDATE key_cursor
SET next = %s, again = %s
"""


def skip(url: str, plan: Plan) -> None:
    """Let the blocks of `plan` rest as if they had been leased now.

    Raises:
        Refusal: a server has leased blocks since the plan was made.
        psycopg2.Error: the key-db cannot be reached, or refuses.
    """
    with contextlib.closing(key_db.connect(url)) as connection:
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT FROM key_cursor FOR UPDATE")
            if key_db.positions(connection) != plan.positions:
                raise key_db.Refusal("servers are leasing keys: stop them all, then fence again")
            for range_ in plan.ranges:
                cursor.execute(LOG, range_._asdict())
            first, size, modulus = plan.to_be_leased_again
            next_ = plan.never_leased.first + plan.never_leased.size
            cursor.execute(MOVE, (next_, (first + size) % modulus))
