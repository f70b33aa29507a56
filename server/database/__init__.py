"""A database as the server uses it: a pool of connections with deadlines, bounds and prepared statements."""

from server.database.connection import (
    Connection,
    PreparedStatement,
    Row,
    Unavailable,
    base64_of,
    first_line,
)
from server.database.pool import Database

__all__ = ["Connection", "Database", "PreparedStatement", "Row", "Unavailable", "base64_of", "first_line"]
