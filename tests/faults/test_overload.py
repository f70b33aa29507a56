"""Too much at once: what is accepted is served, memory stays bounded, and afterwards all is well."""

import asyncio
import resource
import time

import psutil
import pytest

from server.httpd.transport import Limits
from server.notes import MAX_COMMIT_WAIT
from tests.faults import history
from tests.faults.asking import Client, fetch
from tests.faults.conftest import PATIENT, TIMEOUT
from tests.faults.load import Load, under_load
from tests.faults.soak import Footprint, mixed_requests

pytestmark = pytest.mark.gen_test(timeout=120)

MEGABYTE = 1 << 20


@pytest.fixture
def many_descriptors():
    """As many open files as this process may have."""
    before, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most < 2 * Limits(0).connections + 200:
        pytest.skip(f"{Limits(0).connections} clients need more open files than {most}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (before, most))


async def test_ten_times_the_load_is_served_or_refused(server, many_descriptors):
    """Thirty-two clients without a pause use this machine up; ten times as many do no harm."""
    await mixed_requests(server, 500)
    before = await Footprint.of(server)
    load = Load([server.port], seed=1, think=0)

    async with under_load(load, clients=320):
        await asyncio.sleep(2)

    status, seconds = 0, 1.0
    while status != 200 or seconds > 0.5:  # soon all is well again
        asked = time.monotonic()
        status, _ = await fetch(server.port, "GET", "/readyz")
        seconds = time.monotonic() - asked
    after = await Footprint.of(server)
    verdict = history.check(load.history, 7 * TIMEOUT + 1, min(MAX_COMMIT_WAIT, 9 * TIMEOUT))
    print(dict(verdict.counts), f"slowest {verdict.slowest:.1f} s", before, after)
    assert verdict.violations == []
    assert after.resident_bytes - before.resident_bytes < 64 * MEGABYTE


async def test_more_clients_than_a_process_takes_are_told_to_come_again(server, many_descriptors):
    """The first two thousand are served; one more gets 503 at once, without being read."""
    most = Limits(0).connections
    clients = [Client(server.port) for _ in range(most)]
    statuses = [(await client.ask("GET", "/healthz"))[0] for client in clients]

    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    refusal = await reader.read()
    writer.close()
    again = (await clients[0].ask("GET", "/healthz"))[0]
    size = psutil.Process(server.process.pid).memory_info().rss
    for client in clients:
        client.leave()
    await asyncio.sleep(0)

    assert set(statuses) == {200}
    assert refusal.startswith(b"HTTP/1.1 503 ") and b"Retry-After" in refusal
    assert again == 200
    assert size < 256 * MEGABYTE
    assert (await fetch(server.port, "GET", "/healthz"))[0] == 200


@pytest.mark.parametrize("server", [PATIENT], indirect=True)
async def test_memory_descriptors_and_connections_are_given_back(server):
    """After more requests of mixed kinds a process holds what it held after the first thousand; `make soak`
    sends more than a million."""
    await mixed_requests(server, 800)
    before = await Footprint.of(server)
    failed = await mixed_requests(server, 1000, seed=2)
    after = await Footprint.of(server)

    print(before, after)
    assert failed == 0
    assert after.resident_bytes < 1.1 * before.resident_bytes
    # A connection to a database takes one, and how many there are depends on who meets whom.
    assert after.descriptors - after.connections <= before.descriptors - before.connections + 2
    assert after.connections <= 10
