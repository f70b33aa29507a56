"""Numbered, forward-only migrations of the two databases; the roles that use them are `roles.py`'s."""

from __future__ import annotations

from pathlib import Path

import psycopg2

KEY_DB = "key_db"
MSG_DB = "msg_db"

# Any number will do, as long as nobody else in the database uses it: "nwsc" in ASCII.
MIGRATION_LOCK = 0x6E777363

VERSION_TABLE = """
CREATE TABLE IF NOT EXISTS schema_version (
    version    integer PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""
VERSION_TABLE_IS_THERE = "SELECT to_regclass('schema_version') IS NOT NULL"
CURRENT_VERSION = "SELECT coalesce(max(version), 0) FROM schema_version"


class SchemaError(RuntimeError):
    """The database's schema is not the one that this program needs; the message says what to run."""


def migrations(database: str) -> list[tuple[int, Path]]:
    """The migrations of `database` (KEY_DB or MSG_DB), as (version, file), in order."""
    files = sorted((Path(__file__).parent / database).glob("*.sql"))
    return [(int(file.name[:4]), file) for file in files]


def migrate(url: str, database: str) -> list[str]:
    """Apply what is missing, each migration in a transaction of its own.

    Several may start at once: one applies, the others wait for it and find nothing to do.

    Args:
        url: libpq URL of the database, as its owner.
        database: KEY_DB or MSG_DB.

    Returns:
        The names of the migrations applied.

    Raises:
        psycopg2.Error: the database cannot be reached or refuses; nothing half-done is left.
    """
    applied = []
    connection = psycopg2.connect(url)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", (MIGRATION_LOCK,))
            cursor.execute(VERSION_TABLE)
            cursor.execute(CURRENT_VERSION)
            current = _only_value(cursor)
            for version, file in migrations(database):
                if version > current:
                    cursor.execute(
                        f"BEGIN;\n{file.read_text()}\n"  # nosec B608 # a file of ours, and its number
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
            cursor.execute(VERSION_TABLE_IS_THERE)
            current = 0
            if _only_value(cursor):
                cursor.execute(CURRENT_VERSION)
                current = _only_value(cursor)
    finally:
        connection.close()
    compare(database, current)


def compare(database: str, current: int) -> None:
    """Make sure that `current` is the version that this program was written for. Raises SchemaError."""
    needed = migrations(database)[-1][0]
    name = database.replace("_", "-")
    if current < needed:
        raise SchemaError(f"the {name} is at version {current}, not {needed}: run `python -m server migrate`")
    if current > needed:
        raise SchemaError(
            f"the {name} is at version {current}, newer than this program's {needed}: upgrade it"
        )


def _only_value(cursor: psycopg2.extensions.cursor) -> int:
    row = cursor.fetchone()
    assert row is not None
    return int(row[0])
