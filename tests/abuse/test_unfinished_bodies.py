"""Bodies that never end cost a bounded amount of memory, and the process gives it back."""

import contextlib
import socket
import time
import urllib.request

import psutil
import pytest

from server import schema
from tests.conftest import fresh_database
from tests.server_process import serving

CLIENTS = 900  # within the limit of open files that many machines have by default
BODY = 400_000  # bytes, just within what a legal message may need
MIB = 1 << 20


@pytest.fixture
def server(postgres, seeded_key_db_url):
    """A server process for this test: its port and its process."""
    databases = {"KEY_DB_URL": seeded_key_db_url, "MSG_DB_URL": fresh_database(postgres, schema.MSG_DB)}
    with serving(databases) as (url, process):
        yield int(url.rpartition(":")[2]), psutil.Process(process.pid)


def test_unfinished_bodies_take_little_memory_and_return_it(server):
    """900 clients each leave out the last byte of 400 kB: 360 MB if all were kept."""
    port, process = server
    before = process.memory_info().rss
    head = f"POST /post HTTP/1.1\r\nHost: localhost\r\nContent-Length: {BODY}\r\n\r\n".encode()
    with contextlib.ExitStack() as stack:
        for _ in range(CLIENTS):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port), 60))
            with contextlib.suppress(ConnectionError):  # refused with 503 while it sends
                client.sendall(head + bytes(BODY - 1))
        peak = process.memory_info().rss
        answer = urllib.request.urlopen(
            urllib.request.Request(
                f"http://localhost:{port}/post", b"message=short", {"Accept": "text/plain"}
            ),
            timeout=60,
        )
        assert answer.status == 201

    assert (peak - before) // MIB < 150
    deadline = time.monotonic() + 120
    while process.memory_info().rss - before > 30 * MIB:
        assert time.monotonic() < deadline, "the memory was not given back"
        time.sleep(0.5)
