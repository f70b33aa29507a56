"""Files from disk to disk: sealed, by the command's code, through nginx, beside a plain COPY of as many bytes.

The COPY writes rows of 64 KiB in the binary format into a table like `chunk`, on the same PostgreSQL, and reads
them back: what a database does with so many bytes at its best. All of it runs on one machine.
"""

from __future__ import annotations

import contextlib
import io
import secrets
import ssl
import statistics
import struct
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import psycopg2
import urllib3

from client import files
from client.http import REQUESTS_AT_ONCE, Connection
from client.service import Service
from kgs import seeding
from server import schema, sealed_files, sealing
from tests.bench import systems

MB = 1_000_000


def measure(megabytes: int, rounds: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Megabytes a second of each way, as medians over the rounds; each round has all of them."""
    rates: dict[str, list[float]] = {}
    with (
        tempfile.TemporaryDirectory(prefix="nw-bench-", dir="/var/tmp") as name,
        systems.database() as postgres,
    ):
        folder = Path(name)
        folder.chmod(0o755)
        seeding.ensure_ahead(postgres.url(schema.KEY_DB), 100_000)
        content = folder / "content"
        content.write_bytes(secrets.token_bytes(megabytes * MB))
        with (
            systems.server("one process", postgres) as server,
            systems.behind_nginx("nginx", server, folder / "nginx") as nginx,
        ):
            cpu = nginx.cpu_seconds()
            service = _service(nginx.servers[0][1], folder / "nginx" / "certificate.pem")
            for number in range(rounds):
                ways: dict[str, Callable[[Path, str], dict[str, float]]] = {
                    "COPY": _copied,
                    "files": partial(_sent, service, folder / "saved"),
                }
                for way, run in ways.items():
                    for direction, seconds in run(content, postgres.url(schema.MSG_DB)).items():
                        rates.setdefault(f"{way} {direction}", []).append(megabytes / seconds)
                        say(f"round {number + 1}: {way} {direction}: {megabytes / seconds:.0f} MB/s")
            spent = {role: (seconds - cpu[role]) / rounds for role, seconds in nginx.cpu_seconds().items()}
            resident = server.resident_mib()
    medians = {name: statistics.median(values) for name, values in rates.items()}
    ratios = {
        direction: statistics.median(
            mine / plain
            for mine, plain in zip(rates[f"files {direction}"], rates[f"COPY {direction}"], strict=True)
        )
        for direction in ("up", "down")
    }
    return {
        "megabytes": megabytes,
        "MB/s": medians,
        "of COPY": ratios,
        "server MiB": resident,
        "CPU seconds a round": spent,
    }


def _service(port: int, certificate: Path) -> Service:
    """The service behind an nginx that has signed its certificate itself."""
    connection = Connection(f"https://localhost:{port}")
    tls = ssl.create_default_context(cafile=str(certificate))
    connection._pool = urllib3.PoolManager(ssl_context=tls, maxsize=REQUESTS_AT_ONCE)
    return Service(connection)


def _sent(service: Service, folder: Path, path: Path, _: str) -> dict[str, float]:
    """Seconds of an upload until the note is put, and of a reveal until the file is saved."""
    keys, reader = sealing.derive_keys(sealing.new_token()), secrets.token_bytes(32)
    began = time.perf_counter()
    with files.sources([str(path)]) as sources:
        key = files.Upload(service, keys, "", sources).put(has_passphrase=False).key
    put = time.perf_counter()
    sealed = service.reveal(key, keys, reader, lambda: None)
    _, index = sealed_files.open_note(keys, sealed)
    folder.mkdir(exist_ok=True)
    (saved,) = files.save(service, key, reader, sealing.file_key_of(keys, sealed), index, folder)
    done = time.perf_counter()
    service.received(key, reader, keys.mark, files=True)
    if saved.read_bytes() != path.read_bytes():
        raise AssertionError("the file is not what it was")
    saved.unlink()
    return {"up": put - began, "down": done - put}


def _copied(path: Path, url: str) -> dict[str, float]:
    """Seconds of a COPY from a file into a table, and of one from the table into a file."""
    connection = psycopg2.connect(url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("CREATE TABLE IF NOT EXISTS copied (number integer PRIMARY KEY, data bytea)")
            cursor.execute("ALTER TABLE copied ALTER COLUMN data SET STORAGE EXTERNAL")
        began = time.perf_counter()
        with connection, connection.cursor() as cursor:
            cursor.copy_expert(
                "COPY copied FROM STDIN (FORMAT binary)", io.BufferedReader(_Rows(path)), 1 << 20
            )
        put = time.perf_counter()
        with connection, connection.cursor() as cursor, path.with_name("copied").open("wb") as disk:
            cursor.copy_expert("COPY copied TO STDOUT (FORMAT binary)", disk, 1 << 20)
        done = time.perf_counter()
        with connection, connection.cursor() as cursor:
            cursor.execute("DROP TABLE copied")
        return {"up": put - began, "down": done - put}
    finally:
        connection.close()


class _Rows(io.RawIOBase):
    """A file as rows of COPY's binary format: a number and 64 KiB each."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._left = b"PGCOPY\n\xff\r\n\0" + bytes(8)
        self._number = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._left and self._number >= 0:
            with self._path.open("rb") as file:
                file.seek(self._number * 65536)
                data = file.read(65536)
            if data:
                self._left = struct.pack("!hiiI", 2, 4, self._number, len(data)) + data
                self._number += 1
            else:
                self._left, self._number = struct.pack("!h", -1), -1
        part = self._left[: len(buffer)]
        buffer[: len(part)] = part
        self._left = self._left[len(part) :]
        return len(part)


def grow(notes: int, say: Callable[[str], None]) -> dict[str, float]:
    """What notes of 1 MB that were put and read leave behind: MB of tables and of the write-ahead log.

    While the second half is put, the first half is read, so that the free space is between rows. Autovacuum is
    as the embedded PostgreSQL has it.
    """
    found: dict[str, float] = {}
    with (
        systems.database() as postgres,
        tempfile.TemporaryDirectory(prefix="nw-bench-", dir="/var/tmp") as name,
    ):
        seeding.ensure_ahead(postgres.url(schema.KEY_DB), 100_000)
        folder = Path(name)
        (folder / "content").write_bytes(secrets.token_bytes(MB - 1000))
        with (
            systems.server("one process", postgres) as server,
            contextlib.closing(psycopg2.connect(postgres.url(schema.MSG_DB))) as connection,
            ThreadPoolExecutor(CLIENTS) as threads,
        ):
            connection.autocommit = True
            began = time.monotonic()

            def look(when: str) -> float:
                with connection.cursor() as cursor:
                    cursor.execute(STATE)
                    ((data, log, dead, vacuums),) = cursor.fetchall()
                seconds = time.monotonic() - began
                values = {"database MB": data / MB, "log MB": log / MB, "dead rows": dead, "vacuums": vacuums}
                for what, value in (values | {"seconds": seconds}).items():
                    found[f"{when}: {what}"] = round(float(value), 1)
                say(
                    f"after {seconds:.0f} s, {when}: "
                    + ", ".join(f"{what} {v}" for what, v in values.items())
                )
                return float(dead)

            def exchange(read: Callable[[], None]) -> Callable[[], None]:
                read()
                return put()

            service = Service(Connection(f"http://127.0.0.1:{server.servers[0][1]}"))
            put = partial(_put, service, folder)
            look("empty")
            unread = list(threads.map(lambda _: put(), range(notes // 2)))
            look("half put")
            unread = list(threads.map(exchange, unread))
            look("all put, half read")
            list(threads.map(lambda read: read(), unread))
            look("all read")
            for _ in range(20):
                time.sleep(15)  # autovacuum looks once a minute
                if not look("after autovacuum"):
                    break
    return found


CLIENTS = 4
# Of the chunks and of the table that PostgreSQL keeps their bytes in.
STATE = """
SELECT pg_database_size(current_database()), pg_current_wal_lsn() - '0/0', sum(n_dead_tup), sum(autovacuum_count)
FROM pg_stat_all_tables
WHERE relid IN ('chunk'::regclass, (SELECT reltoastrelid FROM pg_class WHERE oid = 'chunk'::regclass))
"""


def _put(service: Service, folder: Path) -> Callable[[], None]:
    """Put a note with a file; what is returned reads it."""
    keys, reader = sealing.derive_keys(sealing.new_token()), secrets.token_bytes(32)
    with files.sources([str(folder / "content")]) as sources:
        upload = files.Upload(service, keys, "", sources)
        key, sealed = upload.put(has_passphrase=False).key, upload.sealed

    def read() -> None:
        service.reveal(key, keys, reader, lambda: None)
        _, index = sealed_files.open_note(keys, sealed)
        with tempfile.TemporaryDirectory(dir=folder) as saved:
            files.save(service, key, reader, sealing.file_key_of(keys, sealed), index, Path(saved))
        service.received(key, reader, keys.mark, files=True)

    return read
