"""A database as the server uses it: a pool of connections with deadlines, bounds and prepared statements.

Momoko 2.2.5.1 polls psycopg2's asynchronous connections from Tornado's loop, and keeps a pool of
them. Six things about it are not obvious (docs/decisions/0002-momoko-on-tornado-6.md); this package
is the one place that knows them.
"""

from server.database.connection import Connection, Prepared, Row, Unavailable, first_line
from server.database.pool import Database

__all__ = ["Connection", "Database", "Prepared", "Row", "Unavailable", "first_line"]
