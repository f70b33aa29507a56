"""docs/operating.md, "Several PostgreSQL": statements name their keys, so tables can be split by them."""

import http.client
import json

import psycopg2
import pytest

from kgs import seeding
from server import schema
from tests.conftest import fresh_database
from tests.deploy.nginx.conftest import ServerProcess, free_ports

PARTS = 4
NOTES = 40

SPLIT = """
ALTER TABLE {table} RENAME TO whole;
ALTER INDEX {table}_pkey RENAME TO whole_pkey;
CREATE TABLE {table} (LIKE whole INCLUDING ALL EXCLUDING INDEXES, PRIMARY KEY ({column}))
    PARTITION BY HASH ({column});
DROP TABLE whole;
"""
PART = (
    "CREATE TABLE {table}_{number} PARTITION OF {table} FOR VALUES WITH (MODULUS {parts}, REMAINDER {number})"
)


def execute(url, statement, parameters=()):
    connection = psycopg2.connect(url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def split(url, table, column):
    """Make a table of parts, by hash of a column, out of a whole one that is empty."""
    execute(url, SPLIT.format(table=table, column=column))
    for number in range(PARTS):
        execute(url, PART.format(table=table, number=number, parts=PARTS))


def rows_by_part(url, table):
    return [execute(url, f"SELECT count(*) FROM {table}_{number}")[0][0] for number in range(PARTS)]


@pytest.fixture
def server(key_db_url, msg_db_url, tmp_path):
    """A server process on databases whose large tables are split."""
    split(key_db_url, "key_block", "id")
    split(msg_db_url, "note", "key")
    seeding.ensure_ahead(key_db_url, 100_000)
    (port,) = free_ports(1)
    server = ServerProcess(port, key_db_url, msg_db_url, tmp_path / "server.log")
    try:
        server.wait_until_ready()
        yield server
    finally:
        server.kill()


def ask(connection, method, path, body=None):
    connection.request(method, path, body, {"Content-Type": "application/json", "Accept": "application/json"})
    response = connection.getresponse()
    return response.status, json.loads(response.read())


def test_split_tables_work_unchanged(server, key_db_url, msg_db_url):
    """On tables that are split by key, notes are put, looked at and revealed once, and lie in all parts."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    paths = []
    for number in range(NOTES):
        status, members = ask(connection, "POST", "/post", json.dumps({"message": f"note {number}"}))
        assert status == 201
        paths.append("/" + "/".join(members["url"].split("/")[-2:]))
    assert min(rows_by_part(msg_db_url, "note")) > 0
    assert min(rows_by_part(key_db_url, "key_block")) > 0
    assert [ask(connection, "GET", path)[1].get("message") for path in paths] == [
        f"note {number}" for number in range(NOTES)
    ]
    assert {ask(connection, "GET", path)[0] for path in paths} == {404}
    assert sum(rows_by_part(msg_db_url, "note")) == 0
    connection.close()


def test_a_look_asks_one_part(msg_db_url):
    """The statement that looks at a note reads the part that its key belongs to, and no other."""
    split(msg_db_url, "note", "key")
    plan = execute(
        msg_db_url,
        "EXPLAIN SELECT has_passphrase FROM note WHERE key = %s::char(5) AND expires_at > now()",
        ("Ab3_x",),
    )
    text = "\n".join(line for (line,) in plan)
    assert sum(f"note_{number}" in text for number in range(PARTS)) == 1


def test_two_msg_dbs_may_share_a_key_db(postgres, key_db_url, tmp_path):
    """Servers of two host names, each with its own msg-db, never hand out the same key."""
    seeding.ensure_ahead(key_db_url, 100_000)
    servers = [
        ServerProcess(port, key_db_url, fresh_database(postgres, schema.MSG_DB), tmp_path / f"{port}.log")
        for port in free_ports(2)
    ]
    try:
        for server in servers:
            server.wait_until_ready()
        one, other = [http.client.HTTPConnection("127.0.0.1", server.port) for server in servers]
        put = json.dumps({"message": "hello"})
        keys = [ask(each, "POST", "/post", put)[1]["key"] for _ in range(NOTES) for each in (one, other)]
        assert len(set(keys)) == 2 * NOTES
        assert [ask(each, "GET", f"/{keys[0]}")[0] for each in (one, other)] == [200, 404]
        one.close()
        other.close()
    finally:
        for server in servers:
            server.kill()
