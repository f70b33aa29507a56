"""Passphrases on the server: stretched in a few threads, and counted when they are wrong.

A browser stretches its passphrases itself; this is for clients that cannot seal and open messages.
"""

from __future__ import annotations

import asyncio
import collections
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from server import sealing

STRETCH_THREADS = 1  # each stretch takes a core a fifth of a second, and the loop needs a core too
MAX_STRETCHES = 8  # running and waiting

MAX_WRONG = 10
LOCKED_SECONDS = 60.0
MAX_COUNTED = 10_000


class Busy(Exception):
    """Too many passphrases are being stretched."""


class Stretcher:
    """A bounded pool of threads for `sealing.stretch`."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(STRETCH_THREADS, thread_name_prefix="stretch")
        self._stretches = 0

    async def stretch(self, token: str, passphrase: str) -> bytes:
        """Call `sealing.stretch` outside of the loop.

        Raises:
            Busy: MAX_STRETCHES are running or waiting.
        """
        if self._stretches >= MAX_STRETCHES:
            raise Busy
        self._stretches += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, sealing.stretch, token, passphrase)
        finally:
            self._stretches -= 1

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


class WrongPassphrases:
    """Counts wrong passphrases by note and address. Counts by note alone would let a stranger lock its
    reader out. When the table is full, the oldest counts are forgotten."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._counts: collections.OrderedDict[tuple[str, str], tuple[int, float]] = collections.OrderedDict()

    def seconds_to_wait(self, key: str, address: str) -> int:
        """Whole seconds until `address` may try a passphrase for `key` again; 0 if it may now."""
        count, counted_at = self._counts.get((key, address), (0, 0.0))
        seconds = counted_at + LOCKED_SECONDS - self._clock()
        return int(seconds) + 1 if count >= MAX_WRONG and seconds > 0 else 0

    def add(self, key: str, address: str) -> None:
        """Count a wrong passphrase. After a minute without any, the count starts over."""
        now = self._clock()
        count, counted_at = self._counts.pop((key, address), (0, now))
        self._counts[key, address] = (count + 1 if now - counted_at < LOCKED_SECONDS else 1, now)
        if len(self._counts) > MAX_COUNTED:
            self._counts.popitem(last=False)
