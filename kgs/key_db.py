"""The KGS's connection to the key-db, what the cursor there says, and the database's errors in a line."""

from __future__ import annotations

from typing import NamedTuple

import psycopg2
from psycopg2 import errorcodes
from psycopg2.extensions import connection as Connection

from server.database import first_line


class Refusal(RuntimeError):
    """The KGS will not do what was asked; the message says why, and what to do."""


class Cursor(NamedTuple):
    """The ids of the first block that is not leased and of the first that is not filled."""

    next: int
    seeded: int


# So that the database finds out within half a minute, not two hours, that a KGS has vanished, and lets go
# of its lock. On a socket in the file system they mean nothing, and do no harm.
KEEPALIVES = """
SET tcp_keepalives_idle = 10;
SET tcp_keepalives_interval = 5;
SET tcp_keepalives_count = 3
"""


def connect(url: str) -> Connection:
    """Open a connection on which each statement is a transaction, unless `with connection` groups them.

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


CURSOR = """
SELECT next, seeded
FROM key_cursor
"""


def cursor_of(connection: Connection) -> Cursor:
    """How far the key table is leased and filled."""
    with connection.cursor() as cursor:
        cursor.execute(CURSOR)
        (row,) = cursor.fetchall()
        return Cursor(*row)


ADVICE = {
    errorcodes.DISK_FULL: "make room and run it again; it goes on where it stopped",
    errorcodes.INSUFFICIENT_PRIVILEGE: (
        "`python -m server migrate` grants what the role of KGS_KEY_DB_URL needs"
    ),
}


def explain(error: psycopg2.Error) -> str:
    """One line for the operator: what the database said, and what to do about it if we know."""
    advice = ADVICE.get(error.pgcode or "")
    if advice is None and isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError):
        advice = "what was committed is kept; check KEY_DB_URL and the database, and run it again"
    return f"the key-db: {first_line(error)}" + (f" ({advice})" if advice else "")
