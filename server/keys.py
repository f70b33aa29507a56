"""The key's alphabet, and keys ahead: blocks leased from the key-db before they are needed."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import deque

import psycopg2

from server.database import Database, Unavailable, first_line

log = logging.getLogger(__name__)

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
KEY_LENGTH = 5
KEY_PATTERN = r"[A-Za-z0-9_-]{5}"
KEYS_PER_BLOCK = 256

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0  # seconds between attempts to lease, doubled after each failure
COMPLAINT_INTERVAL = 60.0  # seconds until the log repeats why nothing can be leased
MISSING = "a block is missing from the key-db: run `python -m kgs verify`"


class OutOfKeys(Exception):
    """There is no key in memory; the log says what to run."""


class KeyLeaser:
    """Keys ahead of need: handing one out costs the key-db nothing.

    Whatever is in memory when the process dies, or in an answer that was lost, is never used by anybody:
    a block is leased once.
    """

    def __init__(self, key_db: Database, ahead: int = 512) -> None:
        """
        Args:
            ahead: keys; with fewer in memory, as many blocks as it takes are leased in the background.
        """
        self._key_db = key_db
        self._ahead = ahead
        self._keys: deque[str] = deque()
        self._filling: asyncio.Task[None] | None = None
        self._tried = asyncio.Event()
        self._leasing: asyncio.Future[None] | None = None  # a lease that is under way, until it has ended
        self._complaint = ""
        self._complained_at = 0.0

    @property
    def available(self) -> int:
        """Keys in memory."""
        return len(self._keys)

    async def start(self) -> None:
        """Lease the first keys; if that fails, go on trying in the background."""
        self._fill_in_background()
        await self._tried.wait()

    async def stop(self) -> None:
        """Lease no more."""
        if self._filling is not None:
            self._filling.cancel()
            await asyncio.wait([self._filling])

    async def take(self) -> str:
        """A key that nobody has had before; where none is in memory, what is being leased is waited for.

        Raises:
            OutOfKeys: there is none. More will be leased as soon as the key-db has any.
        """
        if len(self._keys) <= self._ahead:
            self._fill_in_background()
        if not self._keys:
            await asyncio.sleep(0)  # what was asked for just now has not begun
        while not self._keys and self._leasing is not None:
            await asyncio.wait([self._leasing])
        try:
            return self._keys.popleft()
        except IndexError:
            raise OutOfKeys from None

    def _fill_in_background(self) -> None:
        if self._filling is None or self._filling.done():
            self._filling = asyncio.get_running_loop().create_task(self._fill_at_last())

    async def _fill_at_last(self) -> None:
        pause = FIRST_PAUSE
        while not await self._fill():
            self._tried.set()
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        self._tried.set()

    async def _fill(self) -> bool:
        """Lease until there are keys ahead; whether that worked."""
        while (missing := self._ahead - len(self._keys)) > 0:
            leasing = self._leasing = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(self._key_db.max_wait):
                    keys = await self._lease(math.ceil(missing / KEYS_PER_BLOCK))
                self._keys.extend(keys[i : i + KEY_LENGTH] for i in range(0, len(keys), KEY_LENGTH))
            except OutOfKeys as error:
                self._complain(str(error))
                return False
            except (Unavailable, TimeoutError, psycopg2.Error) as error:
                self._complain(f"the key-db leases no keys: {first_line(error)}")
                return False
            finally:
                self._leasing = None
                leasing.set_result(None)
        self._complaint = ""
        return True

    # The cursor's row lock puts lessees in a queue; its move and the log become visible together or not at
    # all. A sequence would be faster and is wrong: after a crash it may give the same value again.
    LEASE = """
    WITH moved AS (
        UPDATE key_cursor
        SET next = next + %(blocks)s
        WHERE next + %(blocks)s <= seeded
        RETURNING next
    ), leased AS (
        SELECT generate_series(next - %(blocks)s, next - 1) AS id FROM moved
    ), logged AS (
        INSERT INTO key_lease (id)
        SELECT id FROM leased
    )
    SELECT id FROM leased
    """

    # A statement of its own: a lease that waited for its turn may get a block that was filled meanwhile,
    # and does not see it.
    READ = """
    SELECT keys
    FROM key_block
    WHERE id = ANY (%s)
    ORDER BY id
    """

    async def _lease(self, blocks: int) -> str:
        """The letters of so many blocks, or of one where there are not so many left.

        Raises:
            OutOfKeys: there is none, or those that were leased are missing.
        """
        leased = [id_ for (id_,) in await self._key_db.execute(self.LEASE, {"blocks": blocks})]
        if not leased and blocks > 1:
            return await self._lease(1)
        if not leased:
            raise OutOfKeys("the key-db has no keys left: run `python -m kgs seed --all`")
        rows = await self._key_db.execute(self.READ, (leased,))
        if len(rows) < len(leased):
            self._complain(MISSING)
        if not rows:
            raise OutOfKeys(MISSING)
        return "".join(keys for (keys,) in rows)

    def _complain(self, complaint: str) -> None:
        """Log why no key can be leased: at once if that is new, else now and then."""
        now = time.monotonic()
        if complaint != self._complaint or now - self._complained_at > COMPLAINT_INTERVAL:
            self._complaint, self._complained_at = complaint, now
            log.error("%s (%d keys are left in memory)", complaint, self.available)


KEYS_LEFT = """
SELECT greatest(seeded - next, 0)
FROM key_cursor
"""


async def keys_left(key_db: Database) -> int:
    """The keys in the key-db that no process has leased.

    Raises:
        Unavailable: the key-db cannot be reached.
    """
    ((blocks,),) = await key_db.execute(KEYS_LEFT)
    return int(blocks) * KEYS_PER_BLOCK
