"""The roles that servers and the KGS use in production: none owns a table, and each may do only its work.

`python -m server migrate` runs as the owner and calls this module. On a laptop, one role does everything.
"""

from __future__ import annotations

import logging

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor
from psycopg2.extensions import encrypt_password, parse_dsn

log = logging.getLogger(__name__)

WEB_ON_KEY_DB = """
GRANT SELECT ON schema_version, key_cursor, key_lease TO {role};
GRANT EXECUTE ON FUNCTION lease_blocks TO {role}
"""

WEB_ON_MSG_DB = """
GRANT SELECT ON schema_version TO {role};
GRANT SELECT, INSERT, UPDATE (key, tries, next_try_at), DELETE ON note TO {role};
GRANT SELECT, INSERT, UPDATE (mark), DELETE ON ending TO {role};
GRANT SELECT, INSERT, UPDATE (sealed), DELETE ON delivery TO {role};
GRANT SELECT, INSERT, UPDATE (at), DELETE ON upload TO {role};
GRANT SELECT, INSERT, DELETE ON chunk TO {role};
GRANT EXECUTE ON FUNCTION pg_try_advisory_xact_lock(bigint) TO {role}
"""

KGS_ON_KEY_DB = """
GRANT SELECT ON schema_version TO {role};
GRANT SELECT, INSERT ON key_block, key_order TO {role};
GRANT SELECT, UPDATE ON key_cursor TO {role};
GRANT SELECT, INSERT, UPDATE ON key_lease TO {role};
GRANT EXECUTE ON FUNCTION pg_try_advisory_lock(bigint) TO {role}
"""

# The variable that holds the role's URL: the database it is for, and what it may do there.
ROLES = {
    "WEB_KEY_DB_URL": ("KEY_DB_URL", WEB_ON_KEY_DB),
    "WEB_MSG_DB_URL": ("MSG_DB_URL", WEB_ON_MSG_DB),
    "KGS_KEY_DB_URL": ("KEY_DB_URL", KGS_ON_KEY_DB),
}


def provide(owner_url: str, role_url: str, grants: str) -> str:
    """Create the role that `role_url` logs in as, with that password, and grant it what it needs and no more.

    Call it again to change the password. Every role loses what `RESTRICT_PUBLIC` takes away.

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
            _restrict_public(cursor)
            _grant(cursor, role, grants)
    finally:
        connection.close()
    return str(name)


# PostgreSQL lets every role do things that can fill the disk (temporary tables, large objects, messages in the
# write-ahead log) or stop the purge and the KGS (advisory locks). The functions belong to a superuser. If the
# owner of the tables is not a superuser, as on Amazon RDS, they stay as they are.
RESTRICT_PUBLIC = """
DO $$
DECLARE
    function regprocedure;
BEGIN
    EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
    FOR function IN
        SELECT oid
        FROM pg_proc
        WHERE pronamespace = 'pg_catalog'::regnamespace
            AND proname ~ '^(lo_|loread$|lowrite$|pg_(try_)?advisory_|pg_logical_emit_message$)'
            AND pg_has_role(proowner, 'USAGE')
    LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', function);
    END LOOP;
    IF NOT FOUND THEN
        RAISE WARNING 'only a superuser can forbid large objects and advisory locks: they stay allowed';
    END IF;
END
$$
"""


def _restrict_public(cursor: Cursor) -> None:
    cursor.connection.notices.clear()
    cursor.execute(RESTRICT_PUBLIC)
    for notice in cursor.connection.notices:
        log.warning("%s", notice.removeprefix("WARNING:").strip())


# Revokes first what an earlier version may have granted.
GRANT = """
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {role};
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA public FROM {role};
"""


def _grant(cursor: Cursor, role: sql.Identifier, grants: str) -> None:
    cursor.execute(sql.SQL(GRANT + grants).format(role=role))
