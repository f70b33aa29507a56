"""The KGS's connection to the key-db, the positions of its cursor, and database errors as one line."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

import psycopg2
from psycopg2 import errorcodes
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from server.database import first_line
from server.keys import KEYS_LEFT


class Refusal(RuntimeError):
    """The KGS will not do what was asked; the message says why, and what to do."""


# The database then notices within half a minute, not two hours, that a KGS has vanished, and releases its
# lock. On a Unix socket these settings have no effect.
KEEPALIVES = """
SET tcp_keepalives_idle = 10;
SET tcp_keepalives_interval = 5;
SET tcp_keepalives_count = 3
"""


def connect(url: str) -> Connection:
    """Open a connection on which each statement is a transaction, unless `transaction` groups them.

    Raises:
        psycopg2.Error: the key-db cannot be reached.
    """
    connection = psycopg2.connect(
        url, application_name="note-whisperer KGS", connect_timeout=10, keepalives_idle=10
    )
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(KEEPALIVES)
    return connection


@contextlib.contextmanager
def transaction(connection: Connection) -> Iterator[Cursor]:
    """Group statements into one transaction.

    Raises:
        Refusal: it was committed, but the key-db did not wait for its standby, and says so in a warning only. If
            the standby is promoted, the change may be gone, and servers would lease keys that a fence skipped.
    """
    connection.notices.clear()
    with connection, connection.cursor() as cursor:
        yield cursor
    if connection.notices:
        warning = connection.notices[0].splitlines()[0]
        raise Refusal(f"the key-db may have lost its standby: run this again when it is there ({warning})")


class Positions(NamedTuple):
    """Ids of blocks; see `key_cursor` in server/schema/key_db."""

    next: int  # the first block that was never leased
    again: int  # the block to be leased again first
    seeded: int  # the first block that is not filled


POSITIONS = """
SELECT next, again, seeded
FROM key_cursor
"""


def positions(connection: Connection) -> Positions:
    """Read how far the key table is leased and filled."""
    with connection.cursor() as cursor:
        cursor.execute(POSITIONS)
        (row,) = cursor.fetchall()
        return Positions(*row)


def blocks_left(connection: Connection) -> int:
    """Count the blocks that can be leased now."""
    with connection.cursor() as cursor:
        cursor.execute(KEYS_LEFT)
        ((count,),) = cursor.fetchall()
        return int(count)


ADVICE = {
    errorcodes.DISK_FULL: "free some disk space and run it again; it continues where it stopped",
    errorcodes.INSUFFICIENT_PRIVILEGE: (
        "`python -m server migrate` grants what the role of KGS_KEY_DB_URL needs"
    ),
}


def explain(error: psycopg2.Error) -> str:
    """Describe a database error in one line: what the database said and, if known, what to do."""
    advice = ADVICE.get(error.pgcode or "")
    if advice is None and isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError):
        advice = "what was committed is kept; check KEY_DB_URL and the database, and run it again"
    return f"the key-db: {first_line(error)}" + (f" ({advice})" if advice else "")
