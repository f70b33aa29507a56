"""How much of the key table is filled and leased, and how long the keys last."""

from __future__ import annotations

import contextlib
from typing import NamedTuple

from kgs import blocks, key_db
from server.keys import KEYS_PER_BLOCK, REST

DAY = 86400  # seconds


class Status(NamedTuple):
    """All figures are numbers of keys, except the last."""

    all: int
    seeded: int
    resting: int  # leased or fenced less than REST ago
    left: int  # can be leased now
    leased_last_day: int
    seconds_left: int | None  # at the rate of the last day; None: they last for ever


# `ends_in` is the number of days, rounded up, until these blocks have rested. This reads the whole log.
STATUS = """
SELECT
    ceil(extract(epoch FROM at + key_rest() - now()) / 86400)::integer AS ends_in,
    count(*) AS blocks,
    count(*) FILTER (WHERE NOT fenced AND at > now() - interval '1 day') AS leased_last_day
FROM key_lease
WHERE at > now() - key_rest() AND id < (SELECT seeded FROM key_cursor)
GROUP BY ends_in
"""


def status(url: str) -> Status:
    """Read the status of the key-db at `url`, a libpq URL.

    Raises:
        psycopg2.Error: the key-db cannot be reached.
    """
    with contextlib.closing(key_db.connect(url)) as connection:
        seeded = key_db.positions(connection).seeded
        left = key_db.blocks_left(connection)
        with connection.cursor() as cursor:
            cursor.execute(STATUS)
            rows = cursor.fetchall()
    resting = {ends_in: count for ends_in, count, _ in rows}
    last_day = sum(leased for _, _, leased in rows)
    return Status(
        all=blocks.ALL_KEYS,
        seeded=seeded * KEYS_PER_BLOCK,
        resting=sum(resting.values()) * KEYS_PER_BLOCK,
        left=left * KEYS_PER_BLOCK,
        leased_last_day=last_day * KEYS_PER_BLOCK,
        seconds_left=_seconds_left(seeded, resting, last_day),
    )


def _seconds_left(seeded: int, resting: dict[int, int], rate: int) -> int | None:
    """How long the blocks last if `rate` of them are leased each day.

    Blocks that are leased from now on come back after REST. If there are enough until then, there always are.
    """
    for day in range(REST.days):
        still_resting = sum(count for ends_in, count in resting.items() if ends_in > day)
        left = seeded - still_resting - rate * day
        if left < rate:
            return day * DAY + left * DAY // rate
    return None


def as_text(status: Status) -> str:
    """A few lines for a person."""
    lasts = "nobody has leased any in the last day"
    if status.leased_last_day:
        duration = "for ever" if status.seconds_left is None else _duration(status.seconds_left)
        lasts = f"they last {duration} at the rate of the last day"
    return "\n".join(
        [
            f"seeded  {status.seeded:>15,} keys, {status.seeded / status.all:.1%} of all there are",
            f"resting {status.resting:>15,} keys, leased within the last {REST.days} days,"
            f" {status.leased_last_day:,} of them in the last day",
            f"left    {status.left:>15,} keys: {lasts}",
        ]
    )


def _duration(seconds: int) -> str:
    for unit, name in ((DAY, "days"), (3600, "hours")):
        if seconds >= 2 * unit:
            return f"{seconds // unit:,} {name}"
    return f"{seconds // 60:,} minutes"
