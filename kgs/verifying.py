"""Proves that the key table holds every key of its blocks exactly once; on damage it names the block."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from psycopg2.extensions import connection as Connection

from kgs import blocks, key_db, seeding
from kgs.ahead import prepared
from kgs.permutation import Order
from server.keys import KEYS_PER_BLOCK

PIECE = 1024  # blocks read at once: 1.3 MB


class Damage(NamedTuple):
    """A block that is not as the KGS wrote it."""

    block: int
    what: str

    def __str__(self) -> str:
        return f"block {self.block} {self.what}"


class Seen:
    """One bit for each key there is: 128 MiB.

    A number's three highest bits say which bit of a byte is its own, the others which byte. So a sorted
    batch falls into eight parts in each of which no byte occurs twice, and can be marked at once.
    """

    BYTES = blocks.ALL_KEYS // 8

    def __init__(self) -> None:
        self._bits = np.zeros(self.BYTES, np.uint8)

    def add(self, numbers: NDArray[np.uint32]) -> NDArray[np.bool_]:
        """Mark keys as seen; which of them were seen before, or occur twice among themselves."""
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
    """Read the whole table and check each block: there, five letters a key, in its place, seen once.

    Blocks never change once they are filled, so the table is read in many short statements: one long one
    would keep the database from cleaning up behind the leases that go on meanwhile.

    Args:
        url: libpq URL of the key-db.

    Yields:
        How many blocks have been checked, and the damage found since the last time: first (0, what lies
        beyond the last block), then after each piece.

    Raises:
        psycopg2.Error: the key-db cannot be reached, or cannot read its own files.
    """
    with contextlib.closing(key_db.connect(url)) as connection:
        seeded = key_db.cursor_of(connection).seeded
        order = seeding.order_of(connection)
        yield 0, _beyond(connection)
        if order is None:
            return
        seen = Seen()
        pieces = [range(first, min(first + PIECE, seeded)) for first in range(0, seeded, PIECE)]
        for ids, (keys, places) in prepared(
            lambda ids: (_read(connection, ids), _places(order, ids)), pieces
        ):
            yield ids.stop, list(_damage(ids, keys, places, seen))


# The limit makes sure that the index is used, not the whole table read.
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


READ = """
SELECT id, keys
FROM key_block
WHERE id BETWEEN %s AND %s
"""


def _read(connection: Connection, ids: range) -> dict[int, str]:
    with connection.cursor() as cursor:
        cursor.execute(READ, (ids[0], ids[-1]))
        return dict(cursor.fetchall())


def _places(order: Order, ids: range) -> NDArray[np.uint32]:
    """The numbers of the keys that should be there, with a row for each block."""
    numbers = order.numbers(ids.start * KEYS_PER_BLOCK, ids.stop * KEYS_PER_BLOCK)
    return numbers.reshape(-1, KEYS_PER_BLOCK)


def _damage(ids: range, keys: dict[int, str], places: NDArray[np.uint32], seen: Seen) -> Iterator[Damage]:
    """What is wrong with these blocks, each named once, with the first thing that is wrong with it."""
    for id_ in ids:
        if id_ not in keys:
            yield Damage(id_, "is missing")
        elif len(keys[id_]) != blocks.BLOCK_LENGTH:
            yield Damage(id_, f"has {len(keys[id_])} letters, not {blocks.BLOCK_LENGTH}")
    whole = [id_ for id_ in ids if len(keys.get(id_, "")) == blocks.BLOCK_LENGTH]
    numbers, strange = blocks.numbers("".join(keys[id_] for id_ in whole).encode("ascii", "replace"))
    misplaced = numbers != places[np.array(whole, np.intp) - ids.start]
    repeated = np.zeros_like(strange)
    repeated[~strange] = seen.add(numbers[~strange])
    for at in np.flatnonzero((strange | misplaced | repeated).any(axis=1)):
        if strange[at].any():
            yield Damage(whole[at], "has letters outside of the alphabet")
        elif misplaced[at].any():
            yield Damage(whole[at], "does not hold the keys of its place in the order")
        else:
            yield Damage(whole[at], "repeats keys of another block")
