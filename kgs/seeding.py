"""Fills the key-db with blocks, chunk by chunk; each chunk is one transaction."""

from __future__ import annotations

import contextlib
import io
import secrets
from collections.abc import Iterator

from psycopg2.extensions import connection as Connection

from kgs import blocks, key_db
from kgs.permutation import SEED_BYTES, Order
from kgs.prefetch import prefetch
from server.keys import KEYS_PER_BLOCK

CHUNK = 4096  # blocks in a transaction: 2^20 keys, 5 MiB
PIECE = 256  # blocks computed at once, so that their arrays fit into the processor's cache

# Any number that nothing else in the database uses: "nwks" in ASCII.
SEEDING_LOCK = 0x6E776B73


class AlreadySeeding(key_db.Refusal):
    """Another KGS is filling this key-db; only one may at a time."""


class SeedMissing(key_db.Refusal):
    """The key-db has blocks, but the seed of their order is missing."""


def blocks_for(keys: int) -> int:
    """How many blocks it takes to hold `keys` keys."""
    return -(-keys // KEYS_PER_BLOCK)


def ensure_ahead(url: str, keys: int) -> int:
    """Fill blocks until at least `keys` keys can be leased, or all blocks are filled.

    Does nothing while another KGS is filling the key-db.

    Returns:
        The number of keys that were added.

    Raises:
        SeedMissing, psycopg2.Error: as `seed`.
    """
    with contextlib.closing(key_db.connect(url)) as connection:
        positions = key_db.positions(connection)
        short_of = blocks_for(keys) - key_db.blocks_left(connection)
    if short_of <= 0:
        return 0
    target = min(max(positions.seeded, positions.next) + short_of, blocks.ALL_BLOCKS)
    try:
        *_, seeded = seed(url, target)
    except AlreadySeeding:
        return 0
    return (seeded - positions.seeded) * KEYS_PER_BLOCK


def seed(url: str, target: int) -> Iterator[int]:
    """Fill blocks until there are `target` of them, starting where an earlier run stopped.

    Servers may lease meanwhile. However a run ends, the blocks that it has committed stay and can be leased.

    Args:
        url: libpq URL of the key-db.
        target: number of blocks, at most ALL_BLOCKS.

    Yields:
        The number of filled blocks: at the start, then after each chunk.

    Raises:
        AlreadySeeding, SeedMissing: see there.
        Refusal: the key-db did not wait for its standby (`key_db.transaction`).
        psycopg2.Error: the key-db cannot be reached, or refuses.
    """
    with contextlib.closing(key_db.connect(url)) as connection:
        _lock(connection)
        seeded = key_db.positions(connection).seeded
        yield seeded
        if seeded < target:
            order = order_of(connection) or _new_order(connection, seeded)
            starts = range(seeded, target, CHUNK)
            chunks = [(first, min(first + CHUNK, target)) for first in starts]
            for (_, end), rows in prefetch(lambda chunk: _rows(order, *chunk), chunks):
                _store(connection, rows, end)
                yield end


LOCK = """
SELECT pg_try_advisory_lock(%s)
"""


def _lock(connection: Connection) -> None:
    """Keep every other KGS out until the connection ends."""
    with connection.cursor() as cursor:
        cursor.execute(LOCK, (SEEDING_LOCK,))
        if cursor.fetchone() != (True,):
            raise AlreadySeeding("another KGS is filling this key-db: leaving it to that one")


ORDER_OF = """
SELECT seed
FROM key_order
"""


def order_of(connection: Connection) -> Order | None:
    """Return the order of the keys in this key-db, or None before the first block."""
    with connection.cursor() as cursor:
        cursor.execute(ORDER_OF)
        row = cursor.fetchone()
        return Order(bytes(row[0])) if row else None


NEW_ORDER = """
INSERT INTO key_order (seed)
VALUES (%s)
"""


def _new_order(connection: Connection, seeded: int) -> Order:
    if seeded:  # a second order would repeat keys of the first
        raise SeedMissing("the key-db has blocks, but key_order is empty: restore it from a backup")
    new_seed = secrets.token_bytes(SEED_BYTES)
    with key_db.transaction(connection) as cursor:
        cursor.execute(NEW_ORDER, (new_seed,))
    return Order(new_seed)


def _rows(order: Order, first: int, end: int) -> bytes:
    """Make the blocks from `first` up to `end`, not included, a file for COPY."""
    pieces = [blocks.COPY_HEADER]
    for start in range(first, end, PIECE):
        stop = min(start + PIECE, end)
        pieces.append(blocks.rows(start, order.numbers(start * KEYS_PER_BLOCK, stop * KEYS_PER_BLOCK)))
    return b"".join([*pieces, blocks.COPY_TRAILER])


# Binary rows have a fixed length, and the database reads them twice as fast as text.
COPY = "COPY key_block (id, keys) FROM STDIN (FORMAT binary)"

STORE = """
UPDATE key_cursor
SET seeded = %s
"""


def _store(connection: Connection, rows: bytes, seeded: int) -> None:
    """Write a chunk and record that it is there, in one transaction.

    The cursor is updated last: from then to the end of the transaction, leases wait.
    """
    with key_db.transaction(connection) as cursor:
        # In one piece: between pieces this thread would wait for Python's lock.
        cursor.copy_expert(COPY, io.BytesIO(rows), size=len(rows))
        cursor.execute(STORE, (seeded,))
