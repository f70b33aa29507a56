"""Stretches passphrases on the server, in a bounded pool in which each client has a share.

A browser stretches its passphrases itself; this is for clients that cannot seal and open messages.
"""

from __future__ import annotations

import asyncio
import collections
from concurrent.futures import ThreadPoolExecutor

from server import sealing

STRETCH_THREADS = 1  # each stretch takes a core a fifth of a second, and the loop needs a core too
MAX_STRETCHES = 32  # running and waiting
MAX_STRETCHES_OF_CLIENT = 2


class Busy(Exception):
    """Too many passphrases are being stretched."""


class Stretcher:
    """A bounded pool of threads for `sealing.stretch`."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(STRETCH_THREADS, thread_name_prefix="stretch")
        self._stretches: collections.Counter[str] = collections.Counter()  # by address

    async def stretch(self, token: str, passphrase: str, address: str) -> bytes:
        """Call `sealing.stretch` in another thread.

        Args:
            address: of the client.

        Raises:
            Busy: MAX_STRETCHES are running or waiting, or MAX_STRETCHES_OF_CLIENT of this client.
        """
        if self._stretches.total() >= MAX_STRETCHES or self._stretches[address] >= MAX_STRETCHES_OF_CLIENT:
            raise Busy
        self._stretches[address] += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, sealing.stretch, token, passphrase)
        finally:
            self._stretches[address] -= 1
            if not self._stretches[address]:
                del self._stretches[address]

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
