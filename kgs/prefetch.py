"""Two things at a time: a thread computes the next results while the caller uses the current one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

DEPTH = 3  # results; one would be enough if neither side were ever delayed by anything else


def prefetch(compute: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[tuple[Item, Result]]:
    """Yield each item with its result, in order, computed in a thread up to DEPTH items ahead.

    numpy and psycopg2 release Python's lock while they work, so both cores are busy.
    """
    with ThreadPoolExecutor(max_workers=1) as thread:
        pending = deque[tuple[Item, Future[Result]]]()
        for item in items:
            pending.append((item, thread.submit(compute, item)))
            if len(pending) > DEPTH:
                yield _first(pending)
        while pending:
            yield _first(pending)


def _first(pending: deque[tuple[Item, Future[Result]]]) -> tuple[Item, Result]:
    item, result = pending.popleft()
    return item, result.result()
