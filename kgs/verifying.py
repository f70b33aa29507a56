"""Proves that the key table holds each key of its blocks exactly once, and names damaged blocks."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from psycopg2.extensions import connection as Connection

from kgs import blocks, key_db, seeding
from kgs.permutation import Order
from kgs.prefetch import prefetch
from server.keys import KEYS_PER_BLOCK

PIECE = 1024  # blocks read at once: 1.3 MB


class Damage(NamedTuple):
    """A block that differs from what the KGS wrote."""

    block: int
    what: str

    def __str__(self) -> str:
        return f"block {self.block} {self.what}"


class Seen:
    """One bit for each key: 128 MiB.

    The three highest bits of a key's number select a bit of a byte, the others select the byte. So a sorted
    batch falls into eight parts, in each of which no byte occurs twice: each part can be marked at once.
    """

    BYTES = blocks.ALL_KEYS // 8

    def __init__(self) -> None:
        self._bits = np.zeros(self.BYTES, np.uint8)

    def add(self, numbers: NDArray[np.uint32]) -> NDArray[np.bool_]:
        """Mark keys as seen. Return which of them were seen before or occur twice in `numbers`."""
        ordered = np.sort(numbers, axis=None)
        repeated = np.zeros(ordered.shape, np.bool_)
        repeated[1:] = ordered[1:] == ordered[:-1]
        bounds = np.searchsorted(ordered, np.arange(9, dtype=np.uint32) * np.uint32(self.BYTES))
        for bit, (start, end) in enumerate(itertools.pairwise(bounds)):
            places = ordered[start:end] & np.uint32(self.BYTES - 1)
            marks = self._bits[places]
            repeated[start:end] |= marks & np.uint8(1 << bit) != 0
            self._bits[places] = marks | np.uint8(1 << bit)
        if not repeated.any():
            return np.zeros(numbers.shape, np.bool_)
        return np.isin(numbers, ordered[repeated])


def verify(url: str) -> Iterator[tuple[int, list[Damage]]]:
    """Read the whole table and check that each block is there, and holds the keys of its place, once each.

    A filled block never changes, so the table is read in many short statements. One long statement would
    keep the database from removing the old rows that leases leave behind meanwhile.

    Args:
        url: libpq URL of the key-db.

    Yields:
        The number of checked blocks, and the damage found since the last yield: first (0, what lies
        beyond the last block), then after each piece.

    Raises:
        psycopg2.Error: the key-db cannot be reached, or cannot read its own files.
    """
    with contextlib.closing(key_db.connect(url)) as connection:
        seeded = key_db.positions(connection).seeded
        order = seeding.order_of(connection)
        yield 0, _beyond(connection)
        if order is None:
            return
        seen = Seen()
        pieces = [range(first, min(first + PIECE, seeded)) for first in range(0, seeded, PIECE)]
        for ids, (stored, expected) in prefetch(
            lambda ids: (_stored(connection, ids), _expected(order, ids)), pieces
        ):
            yield ids.stop, list(_damage(ids, stored, expected, seen))


# With the limit, the database uses the index instead of reading the whole table.
BEYOND = """
SELECT id
FROM key_block
WHERE id >= (SELECT seeded FROM key_cursor)
ORDER BY id
LIMIT 100
"""


def _beyond(connection: Connection) -> list[Damage]:
    with connection.cursor() as cursor:
        cursor.execute(BEYOND)
        return [Damage(id_, "lies beyond what is seeded") for id_, in cursor.fetchall()]


STORED = """
SELECT id, keys
FROM key_block
WHERE id BETWEEN %s AND %s
"""


def _stored(connection: Connection, ids: range) -> dict[int, str]:
    """Read the letters of these blocks."""
    with connection.cursor() as cursor:
        cursor.execute(STORED, (ids[0], ids[-1]))
        return dict(cursor.fetchall())


def _expected(order: Order, ids: range) -> NDArray[np.uint32]:
    """Compute the numbers of the keys that these blocks should hold, with a row for each block."""
    numbers = order.numbers(ids.start * KEYS_PER_BLOCK, ids.stop * KEYS_PER_BLOCK)
    return numbers.reshape(-1, KEYS_PER_BLOCK)


def _damage(ids: range, stored: dict[int, str], expected: NDArray[np.uint32], seen: Seen) -> Iterator[Damage]:
    """Name each damaged block once, with the first thing that is wrong with it."""
    for id_ in ids:
        if id_ not in stored:
            yield Damage(id_, "is missing")
        elif len(stored[id_]) != blocks.BLOCK_LENGTH:
            yield Damage(id_, f"has {len(stored[id_])} letters, not {blocks.BLOCK_LENGTH}")
    whole = [id_ for id_ in ids if len(stored.get(id_, "")) == blocks.BLOCK_LENGTH]
    numbers, strange = blocks.numbers("".join(stored[id_] for id_ in whole).encode("ascii", "replace"))
    misplaced = numbers != expected[np.array(whole, np.intp) - ids.start]
    repeated = np.zeros_like(strange)
    repeated[~strange] = seen.add(numbers[~strange])
    for at in np.flatnonzero((strange | misplaced | repeated).any(axis=1)):
        if strange[at].any():
            yield Damage(whole[at], "has letters outside the alphabet")
        elif misplaced[at].any():
            yield Damage(whole[at], "does not hold the keys of its place in the order")
        else:
            yield Damage(whole[at], "repeats keys of another block")
