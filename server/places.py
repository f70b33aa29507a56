"""Bounds how many requests with chunks of files are in progress at the same time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from server.database import Unavailable

# Further requests are refused, and their clients repeat them.
MAX_PUTS = 8
MAX_FETCHES = 32  # an answer counts until its client has taken it


class Busy(Unavailable):
    """Too many requests with chunks are in progress."""


class Places:
    """Bounds how many requests are in progress, and so their bytes in memory."""

    def __init__(self, places: int) -> None:
        self._free = places

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """One place, for a `with`. Raises Busy if none is free."""
        if not self._free:
            raise Busy("too many requests with chunks of files are in progress")
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1
