"""Migrations run once each, in order; roles may do what they must and no more."""

import threading

import psycopg2
import pytest

from server import roles, schema
from server.keys import KEYS_LEFT
from server.schema import SchemaError


def _rows(url, query, *parameters):
    connection = psycopg2.connect(url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(query, parameters)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


@pytest.fixture
def empty_db_url(postgres, request):
    """A database without any table."""
    name = f"empty_{abs(hash(request.node.name))}"
    connection = psycopg2.connect(postgres.url("postgres"))
    connection.autocommit = True
    connection.cursor().execute(f"CREATE DATABASE {name}")
    connection.close()
    return postgres.url(name)


@pytest.mark.parametrize("database", [schema.KEY_DB, schema.MSG_DB])
def test_migrating_twice_does_nothing_the_second_time(empty_db_url, database):
    """Each migration is applied once and recorded."""
    names = [file.stem for _, file in schema.migrations(database)]

    assert schema.migrate(empty_db_url, database) == names
    assert schema.migrate(empty_db_url, database) == []
    assert schema.check(empty_db_url, database) is None


def test_several_may_migrate_at_once(empty_db_url):
    """One process applies a migration; the others wait and find nothing to do."""
    applied = []
    start = threading.Barrier(6)

    def run():
        start.wait()
        applied.extend(schema.migrate(empty_db_url, schema.MSG_DB))

    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert applied == [file.stem for _, file in schema.migrations(schema.MSG_DB)]


def test_versions_are_numbered_without_gaps():
    """A file's first four digits are its version."""
    for database in (schema.KEY_DB, schema.MSG_DB):
        versions = [version for version, _ in schema.migrations(database)]
        assert versions == list(range(1, len(versions) + 1))


def test_a_failing_migration_leaves_nothing_half_done(empty_db_url, tmp_path, monkeypatch):
    """Its statements and its record are one transaction."""
    bad = tmp_path / "0001_bad.sql"
    bad.write_text("CREATE TABLE half (n integer); SELECT 1 / 0;")
    monkeypatch.setattr(schema, "migrations", lambda _: [(1, bad)])

    with pytest.raises(psycopg2.errors.DivisionByZero):
        schema.migrate(empty_db_url, schema.MSG_DB)

    assert _rows(empty_db_url, "SELECT to_regclass('half')") == [(None,)]
    assert _rows(empty_db_url, "SELECT count(*) FROM schema_version") == [(0,)]


def test_a_database_without_tables_is_refused(empty_db_url):
    """The error says what to run."""
    with pytest.raises(SchemaError, match="python -m server migrate"):
        schema.check(empty_db_url, schema.KEY_DB)


def test_a_newer_database_that_says_so_is_used(msg_db_url):
    """During an upgrade, servers of the previous version start on the new schema."""
    newest = schema.migrations(schema.MSG_DB)[-1][0]
    row = "INSERT INTO schema_version (version, oldest_program) VALUES (%s, %s)"
    _rows(msg_db_url, row, newest + 1, newest)
    assert schema.check(msg_db_url, schema.MSG_DB) is None

    _rows(msg_db_url, row, newest + 2, newest + 1)
    with pytest.raises(SchemaError, match="newer"):
        schema.check(msg_db_url, schema.MSG_DB)


def test_a_migration_says_which_programs_work_with_it(empty_db_url, tmp_path, monkeypatch):
    """In a line of its file, which is recorded with its version."""
    (tmp_path / "0001_first.sql").write_text("CREATE TABLE first (n integer);")
    second = (
        "-- A column.\n-- Programs from version 1 on work with this schema.\nALTER TABLE first ADD m integer;"
    )
    (tmp_path / "0002_second.sql").write_text(second)
    files = [(1, tmp_path / "0001_first.sql"), (2, tmp_path / "0002_second.sql")]
    monkeypatch.setattr(schema, "migrations", lambda _: files)

    schema.migrate(empty_db_url, schema.MSG_DB)

    recorded = _rows(empty_db_url, "SELECT version, oldest_program FROM schema_version ORDER BY version")
    assert recorded == [(1, None), (2, 1)]


# Of the first release. From then on, the previous version works with each new schema.
FIRST_RELEASE = {schema.KEY_DB: 1, schema.MSG_DB: 3}


def test_each_migration_works_with_the_previous_program():
    """docs/decisions/0026-a-schema-serves-two-versions.md; tests/deploy/nginx/test_upgrade.py tries it."""
    for database, first in FIRST_RELEASE.items():
        for version, file in schema.migrations(database):
            if version > first:
                oldest = schema.oldest_program(file)
                assert (
                    oldest is not None and oldest < version
                ), f"{file.name} says nothing of the version before"


def test_a_newer_database_is_refused(msg_db_url):
    """A program that is older than the schema does not guess its meaning."""
    _rows(msg_db_url, "INSERT INTO schema_version (version) VALUES (1000)")

    with pytest.raises(SchemaError, match="newer"):
        schema.check(msg_db_url, schema.MSG_DB)


RIGHT_NOTE = {
    "key": "Ab3_x",
    "link_verifier": b"l" * 32,
    "reveal_verifier": b"r" * 32,
    "sealed": b"\2" * 285,
    "has_passphrase": False,
    "expires_at": "tomorrow",
}
RIGHT_ENDING = {"key": "Ab3_x", "link_verifier": b"l" * 32, "how": "read", "mark": b"m" * 32}
RIGHT_UPLOAD = {"id": b"u" * 32, "file_bytes": 256}
RIGHT_CHUNK = {"files": b"u" * 32, "number": 0, "sealed": b"c" * 65552}
RIGHT_DELIVERY = {"id": b"d" * 32, "key": "Ab3_x", "link_verifier": b"l" * 32, "sealed": b"\2" * 285}


def _insert(url, table, row):
    names = ", ".join(row)
    _rows(url, f"INSERT INTO {table} ({names}) VALUES ({', '.join(['%s'] * len(row))})", *row.values())


@pytest.mark.parametrize(
    ("table", "right", "wrong"),
    [
        ("note", RIGHT_NOTE, {"key": "Ab3_"}),
        ("note", RIGHT_NOTE, {"key": "Ab3/x"}),
        ("note", RIGHT_NOTE, {"link_verifier": b"l" * 31}),
        ("note", RIGHT_NOTE, {"reveal_verifier": b"r" * 33}),
        ("note", RIGHT_NOTE, {"sealed": b"\2" * 284}),
        ("note", RIGHT_NOTE, {"files": b"f" * 31, "file_bytes": 256}),
        ("note", RIGHT_NOTE, {"files": b"f" * 32}),
        ("note", RIGHT_NOTE, {"file_bytes": 256}),
        ("upload", RIGHT_UPLOAD, {"id": b"u" * 31}),
        ("upload", RIGHT_UPLOAD, {"file_bytes": 0}),
        ("chunk", RIGHT_CHUNK, {"number": -1}),
        ("chunk", RIGHT_CHUNK, {"sealed": b"c" * 16}),
        ("chunk", RIGHT_CHUNK, {"sealed": b"c" * 65553}),
        ("note", RIGHT_NOTE, {"sealed": b"\2" * 29}),
        ("note", RIGHT_NOTE, {"tries": -1}),
        ("ending", RIGHT_ENDING, {"link_verifier": b"l" * 31}),
        ("ending", RIGHT_ENDING, {"how": "lost"}),
        ("ending", RIGHT_ENDING, {"mark": b"m" * 31}),
        ("delivery", RIGHT_DELIVERY, {"id": b"d" * 31}),
    ],
)
def test_the_database_itself_refuses_wrong_rows(msg_db_url, table, right, wrong):
    """Keys, verifiers, sealed bytes, endings and marks have their exact shapes."""
    _insert(msg_db_url, table, right)
    _rows(msg_db_url, f"DELETE FROM {table}")
    with pytest.raises((psycopg2.errors.CheckViolation, psycopg2.errors.InvalidTextRepresentation)):
        _insert(msg_db_url, table, right | wrong)


def _as_role(url, role):
    return url.replace("note_whisperer@", f"{role}:secret@")


WEB_MAY = [
    ("key_db", "SELECT keys FROM lease_blocks(1)"),
    ("key_db", KEYS_LEFT),
    (
        "msg_db",
        "INSERT INTO note (key, link_verifier, reveal_verifier, sealed, has_passphrase, expires_at)"
        " SELECT 'Ab3_x', sha256(''), sha256(''), '\\x02' || sha256('') || sha256(''), false, now()"
        " WHERE false ON CONFLICT (key) DO UPDATE SET key = note.key",
    ),
    ("msg_db", "SELECT key FROM note FOR UPDATE"),
    ("msg_db", "UPDATE note SET tries = tries + 1, next_try_at = now()"),
    ("msg_db", "DELETE FROM note"),
    ("msg_db", "INSERT INTO ending (key, link_verifier, how) VALUES ('Ab3_x', sha256(''), 'read')"),
    ("msg_db", "UPDATE ending SET mark = sha256('')"),
    ("msg_db", "DELETE FROM ending WHERE key IN (SELECT key FROM ending FOR UPDATE SKIP LOCKED)"),
    ("msg_db", "INSERT INTO delivery (id) VALUES (sha256(''))"),
    ("msg_db", "UPDATE delivery SET sealed = NULL"),
    ("msg_db", "DELETE FROM delivery WHERE at < now() - interval '1 day'"),
    ("msg_db", "SELECT pg_try_advisory_xact_lock(1853321319)"),
    ("msg_db", "INSERT INTO upload (id, file_bytes) VALUES (decode(repeat('00', 32), 'hex'), 1)"),
    ("msg_db", "SELECT FROM upload FOR KEY SHARE"),
    ("msg_db", "DELETE FROM upload"),
    ("msg_db", "INSERT INTO chunk VALUES ('x', 0, decode(repeat('00', 17), 'hex'))"),
    ("msg_db", "DELETE FROM chunk"),
]
# PostgreSQL lets every role do these, unless it is told otherwise.
NOBODY_MAY = [
    "CREATE TABLE mine (n integer)",
    "CREATE TEMPORARY TABLE mine (n integer)",
    "CREATE SCHEMA mine",
    "CREATE FUNCTION mine() RETURNS integer LANGUAGE sql RETURN 1",
    "SELECT lo_create(0)",
    "SELECT lo_creat(-1)",
    "SELECT lo_from_bytea(0, 'mine')",
    "SELECT lo_open(1, 131072)",
    "SELECT pg_advisory_lock(1)",
    "SELECT pg_try_advisory_lock_shared(1, 1)",
    "SELECT pg_advisory_xact_lock(1853321319)",
    "SELECT pg_logical_emit_message(false, 'mine', 'mine')",
]
WEB_MAY_NOT = [
    ("key_db", "SELECT keys FROM key_block"),
    ("key_db", "SELECT seed FROM key_order"),
    ("key_db", "UPDATE key_cursor SET next = 0"),
    ("key_db", "UPDATE key_cursor SET again = 0"),
    ("key_db", "UPDATE key_cursor SET seeded = 0"),
    ("key_db", "SELECT FROM key_cursor FOR UPDATE"),
    ("key_db", "INSERT INTO key_block VALUES (1, repeat('x', 1280))"),
    ("key_db", "INSERT INTO key_lease (id) VALUES (1)"),
    ("key_db", "UPDATE key_lease SET at = '-infinity'"),
    ("key_db", "DELETE FROM key_lease"),
    ("key_db", "CREATE OR REPLACE FUNCTION key_rest() RETURNS interval LANGUAGE sql RETURN interval '0'"),
    ("key_db", "ALTER FUNCTION lease_blocks SET search_path = public"),
    ("key_db", "SELECT pg_try_advisory_lock(1853321323)"),  # the KGS's
    ("key_db", "SELECT pg_try_advisory_xact_lock(1)"),
    ("msg_db", "UPDATE note SET expires_at = now()"),
    ("msg_db", "UPDATE note SET reveal_verifier = link_verifier"),
    ("msg_db", "UPDATE ending SET how = 'destroyed'"),
    ("msg_db", "UPDATE delivery SET at = now()"),
    ("msg_db", "UPDATE chunk SET sealed = sealed"),
    ("msg_db", "UPDATE delivery SET files = NULL"),
    ("msg_db", "TRUNCATE note"),
    ("msg_db", "DROP TABLE note"),
    ("msg_db", "SELECT pg_try_advisory_lock(1)"),
    *[(database, statement) for database in ("key_db", "msg_db") for statement in NOBODY_MAY],
]
KGS_MAY_NOT = [
    "SELECT keys FROM lease_blocks(1)",
    "UPDATE key_block SET keys = ''",
    "DELETE FROM key_lease",
    "UPDATE key_order SET seed = ''",
    *NOBODY_MAY,
]


@pytest.fixture
def web_urls(key_db_url, msg_db_url):
    """URLs of both databases for a role that was provided as web."""
    urls = {"key_db": _as_role(key_db_url, "web"), "msg_db": _as_role(msg_db_url, "web")}
    roles.provide(key_db_url, urls["key_db"], roles.WEB_ON_KEY_DB)
    roles.provide(msg_db_url, urls["msg_db"], roles.WEB_ON_MSG_DB)
    return urls


@pytest.mark.parametrize(("database", "statement"), WEB_MAY)
def test_the_web_role_may_lease_keys_and_use_notes(web_urls, database, statement):
    """Each kind of statement that the server runs is granted."""
    _rows(web_urls[database], statement)


@pytest.mark.parametrize("database", ["key_db", "msg_db"])
def test_the_web_role_may_not_do_more(web_urls, database):
    """It owns nothing, cannot move the cursor, and can neither fill the disk nor keep others from their locks."""
    for statement in [statement for each, statement in WEB_MAY_NOT if each == database]:
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            _rows(web_urls[database], statement)
            pytest.fail(statement)


def test_the_kgs_role_may_not_do_more(key_db_url):
    """It leases nothing, and what it has written stays. What it may do: tests/kgs/test_main.py."""
    url = _as_role(key_db_url, "kgs")
    roles.provide(key_db_url, url, roles.KGS_ON_KEY_DB)
    for statement in KGS_MAY_NOT:
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            _rows(url, statement)
            pytest.fail(statement)


def test_what_an_earlier_version_granted_is_revoked(key_db_url):
    """Providing a role again leaves it exactly what this version grants."""
    url = _as_role(key_db_url, "web")
    roles.provide(key_db_url, url, roles.WEB_ON_KEY_DB)
    _rows(key_db_url, "GRANT UPDATE (next) ON key_cursor TO web")

    roles.provide(key_db_url, url, roles.WEB_ON_KEY_DB)

    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        _rows(url, "UPDATE key_cursor SET next = 0")


def test_an_owner_without_superuser_provides_roles_and_is_warned(postgres, caplog):
    """As on Amazon RDS: PostgreSQL's own functions stay as they are, and the log says so."""
    connection = psycopg2.connect(postgres.url("postgres"))
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("CREATE ROLE plain_owner LOGIN CREATEROLE")
        cursor.execute("CREATE DATABASE plainly_owned OWNER plain_owner")
    connection.close()
    owner_url = _as_role(postgres.url("plainly_owned"), "plain_owner")
    schema.migrate(owner_url, schema.KEY_DB)

    web_url = _as_role(postgres.url("plainly_owned"), "plain_web")

    roles.provide(owner_url, web_url, roles.WEB_ON_KEY_DB)

    assert "only a superuser can forbid large objects" in caplog.text
    assert _rows(web_url, "SELECT keys FROM lease_blocks(1)") == []
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        _rows(web_url, "CREATE TEMPORARY TABLE mine (n integer)")


def test_a_password_is_rotated_by_providing_the_role_again(key_db_url):
    """The role stays, its SCRAM verifier changes."""
    stored = "SELECT rolpassword FROM pg_authid WHERE rolname = 'kgs'"
    roles.provide(key_db_url, _as_role(key_db_url, "kgs"), roles.KGS_ON_KEY_DB)
    first = _rows(key_db_url, stored)

    roles.provide(key_db_url, _as_role(key_db_url, "kgs"), roles.KGS_ON_KEY_DB)

    assert first[0][0].startswith("SCRAM-SHA-256$")
    assert _rows(key_db_url, stored) != first


def test_a_role_without_a_password_is_refused(key_db_url):
    """The error says what the URL lacks."""
    with pytest.raises(ValueError, match="password"):
        roles.provide(key_db_url, "postgresql://web@/key_db", roles.WEB_ON_KEY_DB)
