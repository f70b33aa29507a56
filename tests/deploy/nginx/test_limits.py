"""nginx/snippets/limits.conf: who may ask how often."""

import contextlib
import itertools
import json
import socket

import pytest

from tests.deploy.nginx.conftest import UNLIMITED, wait_for

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
BURST = 20
UNDER_WAY = 100

_addresses = (f"198.51.100.{number}" for number in itertools.count(1))


@pytest.fixture
def address():
    """An address that no other test has used."""
    return next(_addresses)


def statuses(nginx, count, method, path, addresses, headers=None):
    """What `count` requests in a row get, from each address in turn."""
    connection = nginx.connect()
    try:
        return [
            nginx.ask(method, path, "", {**FORM, **(headers or {}), "X-Forwarded-For": address}, connection)[
                0
            ]
            for address in itertools.islice(itertools.cycle(addresses), count)
        ]
    finally:
        connection.close()


KINDS = {
    "posting": ("POST", "/post"),
    "looking": ("GET", "/AAAAA"),
    "looking with a token": ("GET", "/AAAAA/0123456789abcdefghijkl00"),
    "revealing": ("POST", "/AAAAA/reveal"),
    "destroying": ("POST", "/AAAAA/destroy"),
}


@pytest.mark.parametrize(("method", "path"), KINDS.values(), ids=KINDS)
def test_a_burst_passes_and_a_flood_does_not(balanced, address, method, path):
    """Twenty at once bother nobody; of more, the rest is refused with 429 and a time to wait."""
    got = statuses(balanced, BURST + 10, method, path, [address])
    assert 429 not in got[: BURST + 1]
    assert got.count(429) >= 7  # one or two a second are let in again meanwhile
    status, headers, body = balanced.ask(
        method, path, "", {**FORM, "X-Forwarded-For": address, "Accept": "application/json"}
    )
    assert (status, headers["Retry-After"], json.loads(body)["status"]) == (429, "5", 429)
    assert headers["Cache-Control"] == "no-store"


def test_what_is_done_is_limited_by_its_kind(balanced, address):
    """Who has looked too often may still post and reveal."""
    assert statuses(balanced, BURST + 5, "GET", "/AAAAA", [address])[-1] == 429
    assert statuses(balanced, 1, "POST", "/post", [address]) == [400]
    assert statuses(balanced, 1, "POST", "/AAAAA/reveal", [address]) == [400]


def test_others_are_not_held_up(balanced, address):
    """One address's flood does not touch its neighbour."""
    assert statuses(balanced, BURST + 5, "GET", "/AAAAA", [address])[-1] == 429
    assert statuses(balanced, 1, "GET", "/AAAAA", [next(_addresses)]) == [404]


def test_guessing_more_keys_does_not_help(balanced, address):
    """The limit is for all keys together, however they are written."""
    connection = balanced.connect()
    got = [
        balanced.ask("GET", path, None, {"X-Forwarded-For": address}, connection)[0]
        for number in range(BURST + 10)
        for path in [(f"/AAA{number:02d}", f"//AAA{number:02d}", f"/%41AA{number:02d}")[number % 3]]
    ]
    connection.close()
    assert got.count(429) >= 7


def test_an_ipv6_client_is_its_64_bits(balanced):
    """All addresses of one /64 share a limit, however their text is shortened; the next /64 has its own."""
    same = [
        "2001:db8:0:1::1",
        "2001:db8:0:1:ffff:ffff:ffff:ffff",
        "2001:db8::1:0:0:0:7",
        "2001:db8:0:1:0:a0d::",
    ]
    assert statuses(balanced, BURST + 10, "GET", "/AAAAA", same).count(429) >= 7
    assert statuses(balanced, 1, "GET", "/AAAAA", ["2001:db8:0:2::1"]) == [404]
    assert statuses(balanced, 1, "GET", "/AAAAA", ["2001:db8:1:1::1"]) == [404]


def test_an_ipv4_address_in_ipv6_is_that_address(balanced, address):
    """A balancer may write IPv4 addresses as IPv6: they are counted apart, and as what they are."""
    assert statuses(balanced, BURST + 10, "GET", "/AAAAA", [f"::ffff:{address}", address]).count(429) >= 7
    assert statuses(balanced, 1, "GET", "/AAAAA", [f"::ffff:{next(_addresses)}"]) == [404]


def test_static_files_are_not_counted(balanced, address):
    """A page brings a dozen files along: they are not what a guesser asks for."""
    assert set(statuses(balanced, 60, "GET", "/static/favicon.svg", [address])) == {200}


def test_requests_under_way_are_counted_by_address(servers, start_nginx, address):
    """A hundred requests under way are as many as one address may have; its neighbour has its own hundred."""
    nginx = start_nginx(servers, TLS="off", BALANCERS="127.0.0.1", **UNLIMITED)
    half = f"POST /post HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: {address}\r\nContent-Length: 9\r\n\r\nhalf"
    with contextlib.ExitStack() as stack:
        for _ in range(UNDER_WAY):
            connection = socket.create_connection(("127.0.0.1", nginx.http_port))
            stack.enter_context(connection).sendall(half.encode())
        wait_for(lambda: nginx.reading() >= UNDER_WAY, "nginx does not wait for them")
        assert nginx.ask("GET", "/", None, {"X-Forwarded-For": address})[0] == 429
        assert nginx.ask("GET", "/", None, {"X-Forwarded-For": next(_addresses)})[0] == 200
