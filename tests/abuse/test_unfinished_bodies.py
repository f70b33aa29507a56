"""What clients send ahead, and bodies that they never end, cost a bounded amount of memory."""

import contextlib
import socket
import time
import urllib.request

import psutil
import pytest

from tests.conftest import statements
from tests.server_process import serving

CLIENTS = 900  # within the limit of open files that many machines have by default
BODY = 400_000  # bytes, just within what a legal message may need
MIB = 1 << 20


@pytest.fixture
def server(seeded_key_db_url, msg_db_url):
    """A server process for this test: its port and its process."""
    databases = {"KEY_DB_URL": seeded_key_db_url, "MSG_DB_URL": msg_db_url, "DB_TIMEOUT": "60"}
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


def test_requests_that_are_sent_ahead_take_little_memory(server, msg_db_url):
    """900 clients each send 8,000 requests behind one that the database keeps waiting."""
    port, process = server
    before = process.memory_info().rss
    requests = (
        b"GET /Ab3_x HTTP/1.1\r\nHost: localhost\r\n\r\n" + 8000 * b"GET / HTTP/1.1\r\nHost:localhost\r\n\r\n"
    )
    with statements(msg_db_url) as run, contextlib.ExitStack() as stack:
        run("BEGIN")
        run("LOCK TABLE note")
        for _ in range(CLIENTS):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port), 60))
            client.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                client.sendall(requests)
        for _ in range(3):  # each answer comes after a turn of all connections
            urllib.request.urlopen(f"http://localhost:{port}/healthz", timeout=60)
        peak = process.memory_info().rss

    assert (peak - before) // MIB < 200
