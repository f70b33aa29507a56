"""nginx/site.envsh, MEMORY: what nginx takes while clients hold all that they may hold."""

import contextlib
import http.client
import itertools
import json
import socket
import struct

import pytest

from tests.deploy.nginx.conftest import REPOSITORY, UNLIMITED, PatientNginx, wait_for

MIB = 1 << 20
KIB = {"connections": 128, "reads": 512, "puts": 224}  # as site.envsh counts
ADDRESSES = 16  # each may have a sixteenth
LONGEST = "\x01" * 65536  # six times as long in JSON
LONGEST_FILE = (
    "/static/"
    + max(
        (path for path in (REPOSITORY / "static").rglob("*") if path.is_file()),
        key=lambda path: path.stat().st_size,
    )
    .relative_to(REPOSITORY / "static")
    .as_posix()
)
JSON = {"Content-Type": "application/json", "Accept": "application/json"}
BODY_BYTES = 401_000

# HTTP/2, RFC 9113 and 7541: as much of it as takes to ask for much and read nothing.
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS = 0, 1, 4
END_STREAM, END_HEADERS = 1, 4
INITIAL_WINDOW_SIZE = 4
METHODS = {"GET": b"\x82", "POST": b"\x83"}
HTTPS = b"\x87"
AUTHORITY, PATH, ACCEPT, COOKIE = b"\x01", b"\x04", b"\x0f\x04", b"\x0f\x11"
CONTENT_LENGTH, CONTENT_TYPE, REFERER = b"\x0f\x0d", b"\x0f\x10", b"\x0f\x24"


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def field(name, value):
    """A header field that is neither compressed nor remembered."""
    length = struct.pack("B", len(value)) if len(value) < 127 else b"\x7f" + varint(len(value) - 127)
    return name + length + value


def varint(number):
    octets = b""
    while number >= 128:
        octets += bytes([number % 128 | 128])
        number //= 128
    return octets + bytes([number])


# Two fields of almost 8 KiB: nginx takes no more.
LONGEST_HEAD = (field(COOKIE, b"x" * 7900), field(REFERER, b"x" * 7900))


class Stranger:
    """One connection over HTTP/2 whose client lets no byte of any answer through."""

    def __init__(self, nginx, source, stack):
        context = nginx.tls_context()
        context.set_alpn_protocols(["h2"])
        plain = socket.create_connection(("127.0.0.1", nginx.https_port), source_address=(source, 0))
        self._socket = stack.enter_context(context.wrap_socket(plain, server_hostname="localhost"))
        self._streams = itertools.count(1, 2)
        self._socket.sendall(PREFACE + frame(SETTINGS, 0, 0, struct.pack(">HI", INITIAL_WINDOW_SIZE, 0)))

    def get(self, path, *more_fields):
        fields = METHODS["GET"] + HTTPS + field(PATH, path.encode()) + field(AUTHORITY, b"localhost")
        fields += field(ACCEPT, b"application/json") + b"".join(more_fields)
        self._socket.sendall(frame(HEADERS, END_HEADERS | END_STREAM, next(self._streams), fields))

    def put(self):
        """Begin the longest body, as far as nginx lets it come at once."""
        fields = METHODS["POST"] + HTTPS + field(PATH, b"/post") + field(AUTHORITY, b"localhost")
        fields += field(CONTENT_LENGTH, b"%d" % BODY_BYTES) + field(CONTENT_TYPE, b"application/json")
        stream = next(self._streams)
        self._socket.sendall(frame(HEADERS, END_HEADERS, stream, fields))
        for _ in range(4):
            self._socket.sendall(frame(DATA, 0, stream, b"x" * 16000))


def memory(nginx):
    """Bytes that nginx's processes take; pages that they share are counted once."""
    total = 0
    for process in nginx.processes():
        with open(f"/proc/{process}/smaps_rollup") as sizes:
            (line,) = [line for line in sizes if line.startswith("Pss:")]
            total += int(line.split()[1]) * 1024
    return total


def links(server, count):
    """Paths of this many notes whose answers have the longest possible length."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port)) as connection:
        for _ in range(count):
            connection.request("POST", "/post", json.dumps({"message": LONGEST}), JSON)
            answer = json.load(connection.getresponse())
            yield "/" + "/".join(answer["url"].split("/")[-2:])


@pytest.mark.parametrize(("size", "workers"), [("112", "1"), ("128", "2")])
def test_nginx_stays_within_its_memory_whatever_clients_hold(servers, start_nginx, size, workers):
    """Sixteen addresses whose clients read nothing take all that they may have; each part fits what it has."""
    settings = {"MEMORY": size, "WORKERS": workers, "READ_TIMEOUT": "600"}
    nginx = start_nginx(servers, PatientNginx, **UNLIMITED | settings)
    share = nginx.limits()
    paths = iter([*links(servers[0], ADDRESSES * share["reads"])])
    before = memory(nginx)
    with contextlib.ExitStack() as stack:
        strangers = {address: [] for address in range(ADDRESSES)}

        def connect(address, _):
            stranger = Stranger(nginx, f"127.0.0.{address + 2}", stack)
            stranger.get(LONGEST_FILE, *LONGEST_HEAD)
            strangers[address].append(stranger)

        hold = {
            "connections": connect,
            "reads": lambda address, number: strangers[address][number].get(next(paths)),
            "puts": lambda address, number: strangers[address][number].put(),
        }
        held, taken = 0, [before]
        for name, one_more in hold.items():
            for address, number in itertools.product(range(ADDRESSES), range(share[name])):
                one_more(address, number)
            held += ADDRESSES * share[name]
            wait_for(lambda: nginx.reading() >= held, f"nginx does not hold all {name}")
            asked = ADDRESSES * share["puts"] if name == "puts" else 0
            wait_for(lambda: nginx.connections_to_servers() == asked, "nginx has not taken all answers over")
            taken.append(memory(nginx))
            assert taken[-1] - taken[-2] < ADDRESSES * share[name] * KIB[name] * 1024, name
    assert taken[-1] < int(size) * MIB
