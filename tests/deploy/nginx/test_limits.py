"""nginx/templates/front, limits: how many connections and requests a client may have, and how often."""

import contextlib
import itertools
import json
import socket
import ssl

import pytest

from tests.deploy.nginx.conftest import UNLIMITED, wait_for

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
BURST = 20
BURST_OF_FILES = 100

_sites = itertools.count(0x100)
_addresses = (f"198.51.100.{number}" for number in itertools.count(1))


@pytest.fixture
def address():
    """An address that no other test has used."""
    return next(_addresses)


def statuses(nginx, count, method, path, addresses, headers=None):
    """The statuses of `count` requests in a row, from each address in turn."""
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
    "putting": ("POST", "/post"),
    "uploading": ("POST", "/upload"),
    "peeking": ("GET", "/AAAAA"),
    "revealing by a link": ("GET", "/AAAAA/0123456789abcdefghijkl00"),
    "revealing by a form": ("POST", "/AAAAA/reveal"),
    "destroying": ("POST", "/AAAAA/destroy"),
}


@pytest.mark.parametrize(("method", "path"), KINDS.values(), ids=KINDS)
def test_a_burst_passes_and_a_flood_does_not(balanced, address, method, path):
    """Twenty requests at once pass. nginx refuses any more with 429 and a time to wait."""
    got = statuses(balanced, BURST + 10, method, path, [address])
    assert 429 not in got[: BURST + 1]
    assert got.count(429) >= 7  # one or two a second are let in again meanwhile
    status, headers, body = balanced.ask(
        method, path, "", {**FORM, "X-Forwarded-For": address, "Accept": "application/json"}
    )
    assert (status, headers["Retry-After"], json.loads(body)["status"]) == (429, "5", 429)
    assert headers["Cache-Control"] == "no-store"


def test_each_kind_of_request_has_its_own_limit(balanced, address):
    """A client that has peeked too often may still put and reveal."""
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


@pytest.fixture(scope="module")
def slow(servers, start_nginx):
    """nginx behind a balancer, where a rate lets nothing through beyond its burst while a test runs."""
    rates = dict.fromkeys(("PEEK_RATE", "POST_RATE", "REVEAL_RATE", "CHUNK_RATE", "STATIC_RATE"), "1r/m")
    return start_nginx(servers, TLS="off", BALANCERS="127.0.0.1/32", **rates)


@pytest.mark.parametrize(("method", "path"), KINDS.values(), ids=KINDS)
@pytest.mark.parametrize(("width", "factor"), [(64, 1), (56, 2), (48, 4)])
def test_a_network_has_a_budget_however_many_addresses_it_has(slow, method, path, width, factor):
    """Addresses of one /64 share a budget, those of a /56 share twice as much, those of a /48 four times."""
    site = f"2001:db8:{next(_sites):x}"
    addresses = {
        64: (f"{site}:0:{number:x}::" for number in itertools.count()),
        56: (f"{site}:{number:x}::1" for number in range(256)),
        48: (f"{site}:{256 * number + number:x}::1" for number in range(256)),
    }[width]
    got = statuses(slow, factor * BURST + 1, method, path, itertools.islice(addresses, 256))
    assert 429 not in got
    assert 429 in statuses(slow, factor * 5, method, path, itertools.islice(addresses, 9))
    assert 429 not in statuses(slow, 1, method, path, [f"2001:db8:{next(_sites):x}::1"])


def test_a_page_and_its_files_pass_and_a_flood_of_files_does_not(slow, address):
    """A hundred static files at once pass; of more, nginx refuses the rest."""
    file = "/static/favicon.svg"
    assert set(statuses(slow, BURST_OF_FILES + 1, "GET", file, [address])) == {200}
    assert 429 in statuses(slow, 5, "GET", file, [address])
    assert statuses(slow, 1, "GET", "/AAAAA", [address]) == [404]
    assert statuses(slow, 1, "GET", file, [next(_addresses)]) == [200]


@pytest.mark.parametrize(
    ("path", "other", "name"), [("/post", "/", "puts"), ("/AAAAA/reveal", "/post", "reads")]
)
def test_requests_in_progress_are_counted_by_client(servers, start_nginx, address, path, other, name):
    """A client may have a share of puts and a share of reads. Neither limits the other, or another client."""
    nginx = start_nginx(servers, TLS="off", BALANCERS="127.0.0.1", **UNLIMITED | {"MEMORY": "128"})
    share = nginx.limits()[name]
    half = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: {address}\r\nContent-Length: 9\r\n\r\nhalf"
    with contextlib.ExitStack() as stack:
        for _ in range(share):
            connection = socket.create_connection(("127.0.0.1", nginx.http_port))
            stack.enter_context(connection).sendall(half.encode())
        wait_for(lambda: nginx.reading() >= share, "nginx does not wait for them")
        assert statuses(nginx, 1, "POST", path, [address]) == [429]
        assert statuses(nginx, 1, "POST", path, [next(_addresses)]) == [400]
        assert statuses(nginx, 1, "GET", other, [address]) != [429]


def half_open(nginx, source):
    """A TLS connection from this address whose client never finishes the handshake."""
    server_says, client_says = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = nginx.tls_context().wrap_bio(server_says, client_says, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    plain = socket.create_connection(("127.0.0.1", nginx.https_port), source_address=(source, 0))
    with contextlib.suppress(ConnectionError):  # refused, and closed at once
        plain.sendall(client_says.read())
    return plain


def test_half_open_connections_are_counted_by_client(servers, start_nginx):
    """One address that opens more connections than nginx has gets its share, and no other address notices."""
    nginx = start_nginx(servers, **UNLIMITED | {"MEMORY": "112", "WORKERS": "1"})
    everybodys = nginx.limits()["connections_in_all"]
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            for _ in range(everybodys):
                stack.enter_context(half_open(nginx, "127.0.0.2"))
            for _ in range(20):
                connection = nginx.connect(source="127.0.0.3")
                assert nginx.ask("GET", "/", connection=connection)[0] == 200
                connection.close()
    refused = [line for line in nginx.access_log() if line["route"] == "connection"]
    assert {(line["network"], line["connections"]) for line in refused} == {("127.0.0.0/24", "REJECTED")}


def test_a_client_that_says_nothing_loses_its_connection(site):
    """nginx closes a connection whose TLS handshake does not end, and one whose head does not."""
    with half_open(site, "127.0.0.2") as silent, contextlib.closing(site.connect()) as slow:
        slow.connect()
        slow.sock.sendall(b"GET / HTTP/1.1\r\nX-")
        silent.settimeout(30)
        while silent.recv(65536):
            pass
        assert slow.sock.recv(65536) == b""


def test_a_client_cannot_name_its_own_address(site):
    """What a client writes in the form of the PROXY protocol is no valid request, and nginx logs the real address."""
    before = len(site.access_log())
    with socket.create_connection(("127.0.0.1", site.http_port)) as connection:
        connection.sendall(
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 80\r\nGET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
        )
        assert b"400 Bad Request" in connection.recv(65536)
    wait_for(lambda: len(site.access_log()) > before, "nothing is logged")
    assert site.access_log()[-1]["network"] == "127.0.0.0/24"


def test_a_large_upload_passes_and_a_flood_of_chunks_does_not(slow, address):
    """A hundred requests with chunks at once pass, as many as 100 MB take; puts and fetches count together."""
    assert 429 not in statuses(slow, 60, "POST", "/upload/chunks", [address])
    assert 429 not in statuses(slow, 41, "POST", "/AAAAA/chunks", [address])
    assert 429 in statuses(slow, 5, "POST", "/upload/chunks", [address])
    assert 429 in statuses(slow, 5, "POST", "/AAAAA/chunks", [address])
    assert statuses(slow, 1, "POST", "/post", [address]) == [400]
