"""Files lose nothing when the server or the database is killed at any of their requests, or when any request or
answer breaks off at any byte."""

import collections
import os
import random
import secrets
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import psycopg2
import pytest

from client import files
from client.http import Connection, Lost
from client.service import Service
from server import sealed_files, sealing
from tests.faults import stack

ROUNDS = range(20 if "FAULTS" in os.environ else 1)  # `make faults`


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


@pytest.mark.parametrize("_", ROUNDS)
def test_files_survive_kills_at_every_request(mortal, cluster, tmp_path, _):
    """Upload, put, reveal, fetch and acknowledge: each is repeated, nothing is lost, doubled or left behind."""
    content = secrets.token_bytes(2_200_000)
    (tmp_path / "sent").write_bytes(content)
    connection = Unlucky(mortal, cluster)
    service = Service(connection)
    keys, reader, thief = sealing.derive_keys(sealing.new_token()), b"r" * 32, b"t" * 32

    with files.sources([str(tmp_path / "sent")]) as sources:
        sealed, upload = files.upload(service, keys, "hello", sources)
    key = service.put(keys, sealed, False, None, upload).key
    assert service.reveal(key, keys, reader, lambda: None) == sealed
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
    assert len(connection.tried) == 1 + 3 + 1 + 1 + 3 + 1 + 1


class Cut(Connection):
    """The first try of each request breaks off at a random byte of the request or of its answer."""

    def __init__(self, server, chance):
        super().__init__(server.url)
        self._address = ("127.0.0.1", server.port)
        self._chance, self._lock = chance, threading.Lock()
        self._tried = set()
        self.cuts = collections.Counter()

    def _exchange(self, method, path, headers, content=None):
        with self._lock:
            first = (path, content) not in self._tried
            self._tried.add((path, content))
            way = self._chance.choice(("request", "answer"))
            share = self._chance.random()
        if not first:
            return super()._exchange(method, path, headers, content)
        lines = {**headers, "Host": "localhost", "Content-Length": len(content), "Connection": "close"}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        request = f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + content
        with socket.create_connection(self._address) as connection:
            if way == "request":
                connection.sendall(request[: int(share * len(request))])
            else:
                connection.sendall(request)
                connection.recv(int(LONGEST_ANSWER**share), socket.MSG_WAITALL)
        name = path if path in ("/upload", "/upload/chunks", "/post") else "/KEY" + path[6:]
        self.cuts[f"{name}: {way}"] += 1
        raise Lost("cut")


LONGEST_ANSWER = 16 * sealed_files.SEALED_CHUNK_BYTES


@pytest.mark.parametrize("seed", ROUNDS)
def test_files_survive_cuts_at_any_byte(mortal, cluster, tmp_path, seed):
    """Two readers at the same time: one gets every byte, the other learns that it was read; nothing is left behind."""
    chance = random.Random(seed)
    content = chance.randbytes(chance.randrange(1, 3_000_000))
    (tmp_path / "sent").write_bytes(content)
    connection = Cut(mortal, chance)
    service = Service(connection)
    keys = sealing.derive_keys(sealing.new_token())
    with files.sources([str(tmp_path / "sent")]) as sources:
        sealed, upload = files.upload(service, keys, "hello", sources)
    key = service.put(keys, sealed, False, None, upload).key
    connections = [Cut(mortal, chance), Cut(mortal, chance)]

    def read(number):
        service, reader, folder = Service(connections[number]), bytes([number]) * 32, tmp_path / str(number)
        folder.mkdir()
        try:
            sealed = service.reveal(key, keys, reader, lambda: None)
        except files.Failure:
            with pytest.raises(files.Failure):
                service.chunks(key, reader, 0)
            return None
        _, index = sealed_files.open_note(keys, sealed)
        (saved,) = files.save(service, key, reader, sealing.file_key_of(keys, sealed), index, folder)
        service.received(key, reader, keys.mark, files=True)
        with pytest.raises(files.Failure):
            service.chunks(key, reader, 0)
        return saved.read_bytes()

    with ThreadPoolExecutor(2) as threads:
        got = list(threads.map(read, range(2)))

    assert sorted(got, key=lambda each: each is None) == [content, None]
    for table in ("note WHERE files IS NOT NULL", "upload", "chunk"):
        assert cluster.execute(f"SELECT count(*) FROM {table}", "msg_db") == [(0,)]
    print(dict(sum((each.cuts for each in (connection, *connections)), collections.Counter())))
