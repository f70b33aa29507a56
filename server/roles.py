"""The roles that use the databases in production: neither owns a schema, each may do what it must.

`python -m server migrate` runs as the owner and calls this; with one role for everything, as on a
laptop, it is not needed.
"""

from __future__ import annotations

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import encrypt_password, parse_dsn

WEB_ON_KEY_DB = """
GRANT SELECT ON schema_version, key_block, key_cursor TO {role};
GRANT UPDATE (next) ON key_cursor TO {role};
GRANT INSERT ON key_lease TO {role}
"""

WEB_ON_MSG_DB = """
GRANT SELECT ON schema_version TO {role};
GRANT SELECT, INSERT, UPDATE (key, tries, next_try_at), DELETE ON note TO {role};
GRANT SELECT, INSERT, UPDATE (mark), DELETE ON ending TO {role};
GRANT SELECT, INSERT, UPDATE (sealed), DELETE ON delivery TO {role}
"""

KGS_ON_KEY_DB = """
GRANT SELECT ON schema_version, key_lease TO {role};
GRANT SELECT, INSERT ON key_block, key_order TO {role};
GRANT SELECT, UPDATE ON key_cursor TO {role}
"""

# The variable that holds the role's URL: the database it is for, and what it may do there.
ROLES = {
    "WEB_KEY_DB_URL": ("KEY_DB_URL", WEB_ON_KEY_DB),
    "WEB_MSG_DB_URL": ("MSG_DB_URL", WEB_ON_MSG_DB),
    "KGS_KEY_DB_URL": ("KEY_DB_URL", KGS_ON_KEY_DB),
}


def provide(owner_url: str, role_url: str, grants: str) -> str:
    """Make the role that `role_url` logs in as, with that password, and grant it what it needs.

    May be repeated, which is how a password is rotated.

    Args:
        owner_url: libpq URL of the database, as the owner of its tables.
        role_url: the same database, with the role's name and password.

    Returns:
        The role's name.

    Raises:
        ValueError: `role_url` names no role or no password.
        psycopg2.Error: the owner may not create roles, or the database cannot be reached.
    """
    asked = parse_dsn(role_url)
    name, password = asked.get("user"), asked.get("password")
    if not name or not password:
        raise ValueError("takes a URL with a user and a password")
    role = sql.Identifier(name)
    connection = psycopg2.connect(owner_url)
    try:
        with connection, connection.cursor() as cursor:
            # The server gets a SCRAM verifier (RFC 7677), and its log never a password.
            verifier = encrypt_password(password, name, connection, "scram-sha-256")
            cursor.execute("SELECT FROM pg_roles WHERE rolname = %s", (name,))
            verb = "ALTER" if cursor.fetchone() is not None else "CREATE"
            cursor.execute(
                sql.SQL(f"{verb} ROLE {{}} LOGIN PASSWORD {{}}").format(role, sql.Literal(verifier))
            )
            cursor.execute(sql.SQL(grants).format(role=role))
    finally:
        connection.close()
    return str(name)
