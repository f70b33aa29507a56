"""A database as the server uses it: pools of connections with deadlines, bounds, prepared statements and COPY."""

from server.database.connection import (
    Connection,
    PreparedStatement,
    Row,
    Unavailable,
    base64_of,
    first_line,
)
from server.database.copies import Cursor, copy_in, copy_out
from server.database.pool import Database

__all__ = [
    "Connection",
    "Cursor",
    "Database",
    "PreparedStatement",
    "Row",
    "Unavailable",
    "base64_of",
    "copy_in",
    "copy_out",
    "first_line",
]
