"""Two things at a time: the next pieces of work are prepared while the last one is used."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

DEPTH = 3  # pieces; one would do if both sides were never held up by anything else


def prepared(prepare: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[tuple[Item, Result]]:
    """Each item and what `prepare` makes of it, in order, prepared in a thread up to DEPTH items ahead.

    numpy and psycopg2 let go of Python's lock while they work, so that both cores are busy.
    """
    with ThreadPoolExecutor(max_workers=1) as thread:
        under_way = deque[tuple[Item, Future[Result]]]()
        for item in items:
            under_way.append((item, thread.submit(prepare, item)))
            if len(under_way) > DEPTH:
                yield _first(under_way)
        while under_way:
            yield _first(under_way)


def _first(under_way: deque[tuple[Item, Future[Result]]]) -> tuple[Item, Result]:
    item, result = under_way.popleft()
    return item, result.result()
