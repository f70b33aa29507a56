"""Passphrases on the server: stretched in a few threads, and counted when they are wrong.

A browser stretches its passphrases itself; this is for clients that cannot seal and open.
"""

from __future__ import annotations

import asyncio
import collections
import time
from concurrent.futures import ThreadPoolExecutor

from server import sealing

STRETCH_THREADS = 1  # a fifth of a second of a core each, while the loop needs the core too
MAX_STRETCHES = 8  # under way and waiting

MAX_WRONG = 10
LOCKED_SECONDS = 60.0
MAX_COUNTED = 10_000


class Busy(Exception):
    """Too many passphrases are being stretched."""


class Stretcher:
    """A bounded pool of threads for `sealing.stretch`."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(STRETCH_THREADS, thread_name_prefix="stretch")
        self._under_way = 0

    async def stretch(self, token: str, passphrase: str) -> bytes:
        """As `sealing.stretch`, outside the loop.

        Raises:
            Busy: as many are under way as may be.
        """
        if self._under_way >= MAX_STRETCHES:
            raise Busy
        self._under_way += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, sealing.stretch, token, passphrase)
        finally:
            self._under_way -= 1

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


class WrongPassphrases:
    """How often an address was wrong about a note: never counted by the note alone, or a stranger could
    lock its reader out. The oldest counts are forgotten when the table is full."""

    def __init__(self) -> None:
        self._counts: collections.OrderedDict[tuple[str, str], tuple[int, float]] = collections.OrderedDict()

    def locked_for(self, key: str, address: str) -> int:
        """Whole seconds that `address` has to wait before it may try again for `key`; 0 if it may."""
        count, last = self._counts.get((key, address), (0, 0.0))
        left = last + LOCKED_SECONDS - time.monotonic()
        return int(left) + 1 if count >= MAX_WRONG and left > 0 else 0

    def add(self, key: str, address: str) -> None:
        """Count a wrong one; a minute without any starts the count anew."""
        now = time.monotonic()
        count, last = self._counts.pop((key, address), (0, now))
        self._counts[key, address] = (count + 1 if now - last < LOCKED_SECONDS else 1, now)
        if len(self._counts) > MAX_COUNTED:
            self._counts.popitem(last=False)
