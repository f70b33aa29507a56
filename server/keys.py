"""The alphabet of keys, and leasing: a server process takes blocks of keys from the key-db before it needs them.

The database function `lease_blocks` decides which blocks may be leased (server/schema/key_db).
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import deque
from datetime import timedelta

import psycopg2

from server.database import Database, Unavailable, first_line

log = logging.getLogger(__name__)

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
KEY_LENGTH = 5
KEY_PATTERN = r"[A-Za-z0-9_-]{5}"
KEYS_PER_BLOCK = 256
ALL_BLOCKS = len(ALPHABET) ** KEY_LENGTH // KEYS_PER_BLOCK

# A block rests between two leases, so that a key never belongs to two notes that live at the same time.
LONGEST_LIFETIME = timedelta(days=30)  # of a note
REST = LONGEST_LIFETIME + timedelta(days=30)  # `key_rest()` in the key-db

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0  # seconds between attempts to lease, doubled after each failure
REPORT_INTERVAL = 60.0  # seconds until the log repeats why nothing can be leased
BLOCK_MISSING = "a block is missing from the key-db: run `python -m kgs verify`"
NOT_ALL_SEEDED = "the key-db has no keys left: run `python -m kgs seed --all`"
ALL_RESTING = f"the key-db has no keys left: all blocks were leased within the last {REST.days} days"


class OutOfKeys(Exception):
    """There is no key in memory and none can be leased; the log says what to run."""


class KeyLeaser:
    """The keys that a server process has leased and not used yet.

    Taking one costs the key-db nothing. Keys that are in memory when the process dies are lost until their
    block is leased again.
    """

    def __init__(self, key_db: Database, ahead: int = 512) -> None:
        """
        Args:
            ahead: keys; whenever fewer are in memory, more blocks are leased in the background.
        """
        self._key_db = key_db
        self._ahead = ahead
        self._keys: deque[str] = deque()
        self._refilling: asyncio.Task[None] | None = None
        self._first_attempt_ended = asyncio.Event()
        self._lease_in_progress: asyncio.Future[None] | None = None  # done when the lease has ended
        self._reported = ""
        self._reported_at = 0.0

    @property
    def available(self) -> int:
        """Keys in memory."""
        return len(self._keys)

    async def start(self) -> None:
        """Lease the first keys. If that fails, keep trying in the background."""
        self._refill_in_background()
        await self._first_attempt_ended.wait()

    async def stop(self) -> None:
        """Stop leasing."""
        if self._refilling is not None:
            self._refilling.cancel()
            await asyncio.wait([self._refilling])

    async def take(self) -> str:
        """Take a key that no living note has. If none is in memory, wait for the lease in progress.

        Raises:
            OutOfKeys: that lease brought none. Leasing continues in the background.
        """
        if len(self._keys) <= self._ahead:
            self._refill_in_background()
        if not self._keys:
            await asyncio.sleep(0)  # lets the task that was just created start its lease
        while not self._keys and self._lease_in_progress is not None:
            await asyncio.wait([self._lease_in_progress])
        try:
            return self._keys.popleft()
        except IndexError:
            raise OutOfKeys from None

    def give_back(self, key: str) -> None:
        """Return a key that was taken and not used; it is the next to be taken.

        Call this only if no statement that stores a note under the key was ever sent: after a lost answer
        the note may be there.
        """
        self._keys.appendleft(key)

    def _refill_in_background(self) -> None:
        if self._refilling is None or self._refilling.done():
            self._refilling = asyncio.get_running_loop().create_task(self._refill_with_retries())

    async def _refill_with_retries(self) -> None:
        pause = FIRST_PAUSE
        while not await self._refill():
            self._first_attempt_ended.set()
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        self._first_attempt_ended.set()

    async def _refill(self) -> bool:
        """Lease until enough keys are in memory; return whether that succeeded."""
        while (short_of := self._ahead - len(self._keys)) > 0:
            lease = self._lease_in_progress = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(self._key_db.max_wait):
                    self._keys.extend(await self._lease(math.ceil(short_of / KEYS_PER_BLOCK)))
            except OutOfKeys as error:
                self._report(str(error))
                return False
            except (Unavailable, TimeoutError, psycopg2.Error) as error:
                self._report(f"the key-db leases no keys: {first_line(error)}")
                return False
            finally:
                self._lease_in_progress = None
                lease.set_result(None)
        self._reported = ""
        return True

    LEASE = """
    SELECT keys
    FROM lease_blocks(%s)
    """

    async def _lease(self, blocks: int) -> list[str]:
        """Lease up to `blocks` blocks and return their keys. The key-db may return fewer blocks.

        Raises:
            OutOfKeys: no block can be leased, or all leased blocks are missing.
            Unavailable, psycopg2.Error: as `Database.execute`.
        """
        leased = [keys for (keys,) in await self._key_db.execute(self.LEASE, (blocks,))]
        if not leased:
            raise OutOfKeys(await self._why_none_is_left())
        present = [keys for keys in leased if keys is not None]
        if len(present) < len(leased):
            self._report(BLOCK_MISSING)
        if not present:
            raise OutOfKeys(BLOCK_MISSING)
        letters = "".join(present)
        return [letters[i : i + KEY_LENGTH] for i in range(0, len(letters), KEY_LENGTH)]

    WHY_NONE_IS_LEFT = """
    SELECT seeded
    FROM key_cursor
    """

    async def _why_none_is_left(self) -> str:
        ((seeded,),) = await self._key_db.execute(self.WHY_NONE_IS_LEFT)
        return ALL_RESTING if seeded == ALL_BLOCKS else NOT_ALL_SEEDED

    def _report(self, reason: str) -> None:
        """Log why no key can be leased: at once if the reason is new, otherwise once a minute."""
        now = time.monotonic()
        if reason != self._reported or now - self._reported_at > REPORT_INTERVAL:
            self._reported, self._reported_at = reason, now
            log.error("%s (%d keys are left in memory)", reason, self.available)


# In blocks: those that were never leased, and those that have rested. The latter follow `again`, and their
# rest ends in the order in which they were leased: a binary search finds the first block that still rests.
# Counting would read the whole log each time.
KEYS_LEFT = """
WITH RECURSIVE ring AS (
    SELECT greatest(seeded - next, 0) AS never_leased, least(next, seeded) AS size, again
    FROM key_cursor
), search (low, high) AS (
    SELECT 0, size
    FROM ring
    UNION ALL
    SELECT
        CASE WHEN rests THEN low ELSE middle + 1 END,
        CASE WHEN rests THEN middle ELSE high END
    FROM search, ring, LATERAL (
        SELECT (low + high) / 2 AS middle
    ) AS halving, LATERAL (
        SELECT coalesce(
            (SELECT at FROM key_lease WHERE id = mod(again + middle, size)) > now() - key_rest(), false
        ) AS rests
    ) AS probe
    WHERE low < high
)
SELECT never_leased + (SELECT max(low) FROM search)
FROM ring
"""


async def keys_left(key_db: Database) -> int:
    """Count the keys that can be leased now.

    Raises:
        Unavailable, psycopg2.Error: as `Database.execute`.
    """
    ((blocks,),) = await key_db.execute(KEYS_LEFT)
    return int(blocks) * KEYS_PER_BLOCK
