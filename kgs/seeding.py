"""Fills the key-db with blocks, in chunks that are there whole or not at all."""

from __future__ import annotations

import contextlib
import io
import secrets
from collections.abc import Iterator

from psycopg2.extensions import connection as Connection

from kgs import blocks, key_db
from kgs.ahead import prepared
from kgs.permutation import SEED_BYTES, Order
from server.keys import KEYS_PER_BLOCK

CHUNK = 4096  # blocks in a transaction: 2^20 keys, 5 MiB
PIECE = 256  # blocks computed at once: their arrays fit into the processor's cache

# Any number will do, as long as nobody else in the database uses it: "nwks" in ASCII.
SEEDING_LOCK = 0x6E776B73


class AlreadySeeding(key_db.Refusal):
    """Another KGS fills this key-db; there must be one at a time."""


class Disordered(key_db.Refusal):
    """The key-db has blocks but not the seed of their order."""


def blocks_for(keys: int) -> int:
    """How many blocks it takes to hold `keys` keys."""
    return -(-keys // KEYS_PER_BLOCK)


def seed(url: str, target: int) -> Iterator[int]:
    """Fill blocks until there are `target` of them, from wherever an earlier run has stopped.

    Servers may lease meanwhile. Whatever ends a run, what it has committed stays and can be used.

    Args:
        url: libpq URL of the key-db.
        target: number of blocks, at most ALL_BLOCKS.

    Yields:
        How many blocks are filled: before anything is done, then after each chunk.

    Raises:
        AlreadySeeding: another KGS is at it.
        Disordered: see there.
        psycopg2.Error: the key-db cannot be reached, or refuses.
    """
    with contextlib.closing(key_db.connect(url)) as connection:
        _lock(connection)
        seeded = key_db.cursor_of(connection).seeded
        yield seeded
        if seeded < target:
            order = _order(connection, seeded)
            starts = range(seeded, target, CHUNK)
            chunks = [(first, min(first + CHUNK, target)) for first in starts]
            for (_, last), rows in prepared(lambda chunk: _rows(order, *chunk), chunks):
                _store(connection, rows, last)
                yield last


def ensure_ahead(url: str, keys: int) -> int:
    """Fill blocks until at least `keys` keys, or all there are, can still be leased.

    Does nothing while another KGS is at it.

    Returns:
        How many keys were added.

    Raises:
        Disordered, psycopg2.Error: as `seed`.
    """
    with contextlib.closing(key_db.connect(url)) as connection:
        cursor = key_db.cursor_of(connection)
    target = min(cursor.next + blocks_for(keys), blocks.ALL_BLOCKS)
    if cursor.seeded >= target:
        return 0
    try:
        *_, seeded = seed(url, target)
    except AlreadySeeding:
        return 0
    return (seeded - cursor.seeded) * KEYS_PER_BLOCK


def _lock(connection: Connection) -> None:
    """Keep every other KGS out until the connection ends, however it ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", (SEEDING_LOCK,))
        if cursor.fetchone() != (True,):
            raise AlreadySeeding("another KGS is filling this key-db: leaving it to that one")


SEED = """
SELECT seed
FROM key_order
"""

NEW_SEED = """
INSERT INTO key_order (seed)
VALUES (%s)
"""


def order_of(connection: Connection) -> Order | None:
    """The order of the keys in this key-db; None before the first block."""
    with connection.cursor() as cursor:
        cursor.execute(SEED)
        row = cursor.fetchone()
        return Order(bytes(row[0])) if row else None


def _order(connection: Connection, seeded: int) -> Order:
    order = order_of(connection)
    if order is None:
        if seeded:  # another order would bring the same keys again
            raise Disordered("the key-db has blocks, but key_order is empty: restore it from a back-up")
        with connection.cursor() as cursor:
            cursor.execute(NEW_SEED, (secrets.token_bytes(SEED_BYTES),))
        order = order_of(connection)
        assert order is not None
    return order


def _rows(order: Order, first: int, last: int) -> bytes:
    """The blocks from `first` up to `last` as a file for COPY."""
    pieces = [blocks.COPY_HEADER]
    for start in range(first, last, PIECE):
        end = min(start + PIECE, last)
        pieces.append(blocks.rows(start, order.numbers(start * KEYS_PER_BLOCK, end * KEYS_PER_BLOCK)))
    return b"".join([*pieces, blocks.COPY_TRAILER])


# Binary, because its rows have a fixed length, and because the database takes it in half the time of text.
COPY = "COPY key_block (id, keys) FROM STDIN (FORMAT binary)"

ADVANCE = """
UPDATE key_cursor
SET seeded = %s
"""


def _store(connection: Connection, rows: bytes, seeded: int) -> None:
    """Write a chunk and move the mark, in one transaction.

    The mark comes last: from then to the end of the transaction, leases wait.
    """
    with connection, connection.cursor() as cursor:
        # In one piece: for each further one it would have to get Python's lock back from the other thread.
        cursor.copy_expert(COPY, io.BytesIO(rows), size=len(rows))
        cursor.execute(ADVANCE, (seeded,))
