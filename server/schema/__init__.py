"""Numbered, forward-only migrations of the two databases; `roles.py` makes the roles that use them."""

from __future__ import annotations

from pathlib import Path

import psycopg2

from server.database import Database

KEY_DB = "key_db"
MSG_DB = "msg_db"


class SchemaError(RuntimeError):
    """The database's schema is not the version that this program needs; the message says what to run."""


def migrations(database: str) -> list[tuple[int, Path]]:
    """The migrations of `database` (KEY_DB or MSG_DB), as (version, file), in order."""
    files = sorted((Path(__file__).parent / database).glob("*.sql"))
    return [(int(file.name[:4]), file) for file in files]


# Any number that nothing else in the database uses: "nwsc" in ASCII.
LOCK = "SELECT pg_advisory_lock(1853322083)"

VERSION_TABLE = """
CREATE TABLE IF NOT EXISTS schema_version (
    version    integer PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""


def migrate(url: str, database: str) -> list[str]:
    """Apply the missing migrations, each in a transaction of its own.

    Several processes may start at once: one applies the migrations, the others wait and find nothing to do.

    Args:
        url: libpq URL of the database, as its owner.
        database: KEY_DB or MSG_DB.

    Returns:
        The names of the migrations that were applied.

    Raises:
        psycopg2.Error: the database cannot be reached or refuses; nothing half-done is left.
    """
    applied = []
    connection = psycopg2.connect(url)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(LOCK)
            cursor.execute(VERSION_TABLE)
            current = _current_version(cursor)
            for version, file in migrations(database):
                if version > current:
                    cursor.execute(
                        f"BEGIN;\n{file.read_text()}\n"  # nosec B608 # a file of this package, and its number
                        f"INSERT INTO schema_version (version) VALUES ({version});\nCOMMIT"
                    )
                    applied.append(file.stem)
    finally:
        connection.close()
    return applied


def check(url: str, database: str) -> None:
    """Make sure that the database is at the version that this program was written for.

    Raises:
        SchemaError: it is older or newer; the message says what to run.
        psycopg2.Error: the database cannot be reached.
    """
    connection = psycopg2.connect(url)
    try:
        with connection.cursor() as cursor:
            _compare(database, _current_version(cursor))
    finally:
        connection.close()


async def check_pool(pool: Database, database: str) -> None:
    """Do the same as `check`, on a connection of the pool.

    Raises:
        SchemaError: the version is older or newer; the message says what to run.
        Unavailable: the database cannot be reached.
    """
    try:
        ((current,),) = await pool.execute(CURRENT_VERSION)
    except psycopg2.errors.UndefinedTable:
        current = 0
    _compare(database, current)


CURRENT_VERSION = """
SELECT coalesce(max(version), 0)
FROM schema_version
"""


def _current_version(cursor: psycopg2.extensions.cursor) -> int:
    try:
        cursor.execute(CURRENT_VERSION)
    except psycopg2.errors.UndefinedTable:
        return 0
    ((current,),) = cursor.fetchall()
    return int(current)


def _compare(database: str, current: int) -> None:
    needed = migrations(database)[-1][0]
    name = database.replace("_", "-")
    if current < needed:
        raise SchemaError(f"the {name} is at version {current}, not {needed}: run `python -m server migrate`")
    if current > needed:
        raise SchemaError(
            f"the {name} is at version {current}, newer than this program's {needed}: upgrade the program"
        )
