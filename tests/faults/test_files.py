"""Files lose nothing when the server or the database is killed at any of their requests, or an answer is lost."""

import secrets
import threading

import psycopg2
import pytest

from client import files
from client.http import Connection, Lost
from client.service import Service
from server import sealed_files, sealing
from tests.faults import stack


@pytest.fixture
def mortal(seeded_key_db_url, cluster, tmp_path):
    """A server process that may be killed, in front of a PostgreSQL that may be killed."""
    environment = {"KEY_DB_URL": seeded_key_db_url, "MSG_DB_URL": cluster.url("msg_db"), "LOG_LEVEL": "error"}
    with stack.servers(1, environment, tmp_path) as (server,):
        yield server


class Unlucky(Connection):
    """The first try of each request kills the server before it is sent, and the database after it was answered.

    That answer is lost.
    """

    def __init__(self, server, cluster):
        super().__init__(server.url)
        self._server, self._cluster = server, cluster
        self._lock = threading.Lock()
        self.tried = set()

    def _exchange(self, method, path, headers, content=None):
        with self._lock:
            if (path, content) in self.tried:
                return super()._exchange(method, path, headers, content)
            self.tried.add((path, content))
            self._server.kill()
            self._server.start()
            self._server.wait_until_ready()
            super()._exchange(method, path, headers, content)
            self._cluster.kill()
            self._cluster.start()
            raise Lost("killed")


def test_files_survive_kills_at_every_request(mortal, cluster, tmp_path):
    """Upload, put, reveal, fetch and acknowledge: each is repeated, nothing is lost, doubled or left behind."""
    content = secrets.token_bytes(2_200_000)
    (tmp_path / "sent").write_bytes(content)
    connection = Unlucky(mortal, cluster)
    service = Service(connection)
    keys, reader, thief = sealing.derive_keys(sealing.new_token()), b"r" * 32, b"t" * 32

    with files.sources([str(tmp_path / "sent")]) as sources:
        upload = files.Upload(service, keys, "hello", sources)
        key = upload.put(has_passphrase=False).key
    sealed = service.reveal(key, keys, reader, lambda: None)
    assert sealed == upload.sealed
    message, index = sealed_files.open_note(keys, sealed)
    file_key = sealing.file_key_of(keys, sealed)
    (saved,) = files.save(service, key, reader, file_key, index, tmp_path)

    assert (message, saved.read_bytes()) == ("hello", content)
    with pytest.raises(files.Failure):
        Service(Connection(mortal.url)).chunks(key, thief, 0)
    with psycopg2.connect(cluster.url("msg_db")) as database, database.cursor() as cursor:
        cursor.execute(
            "SELECT (SELECT count(*) FROM note WHERE files IS NOT NULL), (SELECT count(*) FROM upload)"
        )
        assert cursor.fetchall() == [(0, 0)]
    database.close()
    service.received(key, reader, keys.mark, files=True)
    assert service.status(key, keys.link_proof).mark == keys.mark
    with psycopg2.connect(cluster.url("msg_db")) as database, database.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM chunk")
        assert cursor.fetchall() == [(0,)]
    database.close()
    assert len(connection.tried) >= 1 + 3 + 1 + 1 + 3 + 1 + 1  # chunks that a kill took are sent again
