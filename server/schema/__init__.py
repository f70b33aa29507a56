"""Numbered, forward-only migrations of the two databases; `roles.py` creates the roles that use them.

During an upgrade, and after a rollback, programs of the previous version work with the new schema
(docs/decisions/0026-a-schema-serves-two-versions.md).
"""

from __future__ import annotations

import re
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


# A migration has this line if programs of older versions work with its schema.
WORKS_WITH = re.compile(r"^-- Programs from version (\d+) on work with this schema\.$", re.MULTILINE)


def oldest_program(file: Path) -> int | None:
    """The oldest version whose programs work with the schema after this migration; None if only this version's do."""
    found = WORKS_WITH.search(file.read_text())
    return int(found[1]) if found else None


# Any number that nothing else in the database uses: "nwsc" in ASCII.
LOCK = "SELECT pg_advisory_lock(1853322083)"

VERSION_TABLE = """
CREATE TABLE IF NOT EXISTS schema_version (
    version    integer PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT now()
);
-- The oldest version whose programs also work with this schema; NULL if only programs of this version do.
ALTER TABLE schema_version ADD COLUMN IF NOT EXISTS oldest_program integer
"""


def migrate(url: str, database: str) -> list[str]:
    """Apply the missing migrations, each in a separate transaction.

    Several processes may start at once: one applies the migrations, the others wait and find nothing to do.

    Args:
        url: libpq URL of the database, as its owner.
        database: KEY_DB or MSG_DB.

    Returns:
        The names of the migrations that were applied.

    Raises:
        psycopg2.Error: the database cannot be reached or refuses. No migration is half applied.
    """
    applied = []
    connection = psycopg2.connect(url)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(LOCK)
            cursor.execute(VERSION_TABLE)
            current, _ = _current_version(cursor)
            for version, file in migrations(database):
                if version > current:
                    works_with = oldest_program(file) or "NULL"
                    cursor.execute(
                        f"BEGIN;\n{file.read_text()}\n"  # nosec B608 # a file of this package, and its numbers
                        "INSERT INTO schema_version (version, oldest_program)"
                        f" VALUES ({version}, {works_with});\nCOMMIT"
                    )
                    applied.append(file.stem)
    finally:
        connection.close()
    return applied


CURRENT_VERSION = """
SELECT version, coalesce(oldest_program, version)
FROM schema_version
ORDER BY version DESC
LIMIT 1
"""
NO_VERSION = (0, 0)
NOT_MIGRATED = (psycopg2.errors.UndefinedTable, psycopg2.errors.UndefinedColumn)


def check(url: str, database: str) -> None:
    """Check that this program works with the database's schema.

    Raises:
        SchemaError: the schema is too old or too new; the message says what to run.
        psycopg2.Error: the database cannot be reached.
    """
    connection = psycopg2.connect(url)
    try:
        with connection.cursor() as cursor:
            _compare(database, *_current_version(cursor))
    finally:
        connection.close()


async def check_pool(pool: Database, database: str) -> None:
    """Do the same as `check`, on a connection of the pool.

    Raises:
        SchemaError: the schema is too old or too new; the message says what to run.
        Unavailable: the database cannot be reached.
    """
    try:
        rows = await pool.execute(CURRENT_VERSION)
    except NOT_MIGRATED:
        rows = []
    _compare(database, *(rows[0] if rows else NO_VERSION))


def _current_version(cursor: psycopg2.extensions.cursor) -> tuple[int, int]:
    try:
        cursor.execute(CURRENT_VERSION)
    except NOT_MIGRATED:
        return NO_VERSION
    current, oldest = cursor.fetchone() or NO_VERSION
    return int(current), int(oldest)


def _compare(database: str, current: int, oldest: int) -> None:
    needed = migrations(database)[-1][0]
    name = database.replace("_", "-")
    if current < needed:
        raise SchemaError(f"the {name} is at version {current}, not {needed}: run `python -m server migrate`")
    if oldest > needed:
        raise SchemaError(
            f"the {name} is at version {current}, newer than this program's {needed}: upgrade the program"
        )
