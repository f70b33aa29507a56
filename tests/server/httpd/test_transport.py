"""What both HTTP transports promise: the application gets the same requests, and clients the same answers."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.request

import psycopg2
import pytest
from tornado.web import RequestHandler

from server.httpd.handler import Application
from server.httpd.transport import Limits, Server
from tests.server.httpd.oracle import TornadoServer
from tests.server_process import free_port

TRANSPORTS = {"httptools": Server, "tornado": TornadoServer}
MAX_BODY = 1000
DROPPED = 1 << 20
PATIENCE = 10  # seconds; a test that waits for longer has failed


class Echo(RequestHandler):
    """Answers with the body it got."""

    def prepare(self):
        self.application.seen.append(f"{self.request.method} {self.request.uri}")

    def post(self):
        if len(self.request.body) > MAX_BODY:
            self.set_status(413)
            self.finish("too long")
        else:
            self.finish(self.request.body)

    def get(self):
        self.finish(b"x" * int(self.get_query_argument("size", "2")))

    head = get


class Slow(RequestHandler):
    """Answers when the test says so."""

    async def get(self):
        self.application.entered.set()
        await asyncio.to_thread(self.application.release.wait, PATIENCE)
        self.finish("at last")

    def on_connection_close(self):
        self.application.left.set()


class Nothing(RequestHandler):
    """Answers without a body."""

    def get(self):
        self.set_status(204)


class Wrong(RequestHandler):
    """Writes less than it has promised."""

    def get(self):
        self.set_header("Content-Length", "100")
        self.finish("short")


class Split(RequestHandler):
    """Lets what it was sent end a line of its head."""

    def get(self):
        self._headers["X-Echo"] = "a\r\nSet-Cookie: a=b"  # set_header would not let it pass
        self.finish("split")


class Site:
    """A transport with an application, in its own thread."""

    def __init__(self, transport, **limits):
        self.transport = transport
        self.limits = Limits(MAX_BODY, **{"dropped_body": DROPPED} | limits)

    def __enter__(self):
        self.started, self.stopped = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self.thread.start()
        assert self.started.wait(PATIENCE)
        return self

    def __exit__(self, *_):
        self.app.release.set()
        self.loop.call_soon_threadsafe(self.end.set)
        self.thread.join(PATIENCE)

    async def _serve(self):
        handlers = [("/", Echo), ("/slow", Slow), ("/nothing", Nothing), ("/wrong", Wrong), ("/split", Split)]
        self.app = Application(handlers, log_function=lambda handler: None)
        self.app.seen = []
        self.app.entered, self.app.release, self.app.left = (threading.Event() for _ in range(3))
        self.loop, self.end = asyncio.get_running_loop(), asyncio.Event()
        self.server = self.transport(self.app, self.limits)
        self.port = free_port()
        await self.server.listen(self.port, "127.0.0.1")
        self.started.set()
        await self.end.wait()
        self.server.stop()
        await self.server.close()
        while len(asyncio.all_tasks()) > 1:
            await asyncio.sleep(0)

    @contextlib.contextmanager
    def connection(self):
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with client.makefile("rb") as file:
                yield Connection(client, file)

    def ask(self, request):
        """Send this; returns everything until the server hangs up."""
        with self.connection() as connection:
            connection.send(request)
            return connection.rest()

    def do(self, work):
        """Run this in the server's loop."""
        done = threading.Event()
        self.loop.call_soon_threadsafe(lambda: (work(), done.set()))
        assert done.wait(PATIENCE)


class Connection:
    def __init__(self, client, file):
        self.client, self.file = client, file

    def send(self, data):
        with contextlib.suppress(ConnectionError):  # the server may have hung up already
            self.client.sendall(data)

    def answer(self, head=False):
        """The next answer as (status, headers, body)."""
        status = int(self.file.readline().split()[1])
        headers = {}
        while (line := self.file.readline().strip()) != b"":
            name, value = line.decode().split(": ", 1)
            headers[name.lower()] = value
        length = 0 if head or status in (100, 204) else int(headers["content-length"])
        return status, headers, self.file.read(length)

    def rest(self):
        try:
            return self.file.read()
        except ConnectionResetError:
            return b""


@pytest.fixture(params=TRANSPORTS)
def transport(request):
    return TRANSPORTS[request.param]


@pytest.fixture
def site(transport):
    with Site(transport) as site:
        yield site


def get(path="/", *fields):
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: here", *fields, "\r\n"]).encode()


def post(body, *fields):
    fields = fields or (f"Content-Length: {len(body)}",)
    return "\r\n".join(["POST / HTTP/1.1", "Host: here", *fields, "\r\n"]).encode() + body


def chunked(*chunks, end=b"0\r\n\r\n"):
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return post(body + end, "Transfer-Encoding: chunked")


def test_a_connection_serves_one_request_after_another(site):
    """HTTP/1.1 keeps a connection unless somebody says otherwise."""
    with site.connection() as connection:
        for text in (b"one", b"two", b""):
            connection.send(post(text))
            status, headers, body = connection.answer()
            assert (status, body) == (200, text)
            assert "connection" not in headers


def test_a_client_may_ask_for_the_end(site):
    """After `Connection: close` the answer comes, and the end."""
    answer = site.ask(get("/", "Connection: close"))
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nConnection: close\r\n" in answer
    assert answer.endswith(b"\r\n\r\nxx")


def test_nothing_is_answered_after_the_end_a_client_has_asked_for(site):
    """A request pipelined after `Connection: close` gets no answer."""
    answer = site.ask(get("/?size=1", "Connection: close") + get("/?size=2"))
    assert answer.count(b"HTTP/1.1 ") == 1


def test_http_1_0_ends_unless_it_asks_to_keep_the_connection(site):
    """In the older version, the default is the opposite."""
    assert site.ask(b"GET / HTTP/1.0\r\n\r\n").endswith(b"xx")
    with site.connection() as connection:
        for _ in range(2):
            connection.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            status, headers, body = connection.answer()
            assert (status, headers["connection"].lower(), body) == (200, "keep-alive", b"xx")


def test_pipelined_requests_are_answered_in_order_one_at_a_time(site):
    """The second one waits for the first one's answer."""
    with site.connection() as connection:
        connection.send(get("/slow") + post(b"second") + get("/?size=3"))
        assert site.app.entered.wait(PATIENCE)
        site.do(lambda: None)
        assert site.app.seen == []
        site.app.release.set()
        assert [connection.answer()[2] for _ in range(3)] == [b"at last", b"second", b"xxx"]
        connection.send(post(b"after"))
        assert connection.answer()[2] == b"after"


def test_many_pipelined_requests_are_all_answered(site):
    """However many arrive at once."""
    with site.connection() as connection:
        connection.send(get("/?size=1") * 1500)
        assert [connection.answer()[0] for _ in range(1500)] == [200] * 1500


def test_a_request_may_come_in_any_pieces(site):
    """What the application gets does not depend on how the bytes were split on their way."""
    requests = post(b"hello") + chunked(b"a", b"bc" * 20) + get("/?size=7", "X-Long: " + "v" * 50)
    for size in (1, 2, 3, 7, 50, 111):
        with site.connection() as connection:
            for start in range(0, len(requests), size):
                connection.send(requests[start : start + size])
            assert [connection.answer()[2] for _ in range(3)] == [b"hello", b"a" + b"bc" * 20, b"x" * 7]
    assert site.app.seen == ["POST /", "POST /", "GET /?size=7"] * 6


HOST = b"Host: here\r\n"
MALFORMED = {
    "no HTTP at all": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "no version": b"GET /\r\nHost: here\r\n\r\n",
    "version 0.9": b"GET / HTTP/0.9\r\n" + HOST + b"\r\n",
    "version 2.0": b"GET / HTTP/2.0\r\n" + HOST + b"\r\n",
    "preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "method with a space": b"GE T / HTTP/1.1\r\n" + HOST + b"\r\n",
    "space in the address": b"GET /a b HTTP/1.1\r\n" + HOST + b"\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "host with a path": b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "header without a colon": b"GET / HTTP/1.1\r\n" + HOST + b"nonsense\r\n\r\n",
    "space before the colon": b"GET / HTTP/1.1\r\nHost : here\r\n\r\n",
    "space in a name": b"GET / HTTP/1.1\r\n" + HOST + b"a b: c\r\n\r\n",
    "folded header": b"GET / HTTP/1.1\r\n" + HOST + b"a: b\r\n c: d\r\n\r\n",
    "NUL in a value": b"GET / HTTP/1.1\r\n" + HOST + b"a: \x00\r\n\r\n",
    "carriage return in a value": b"GET / HTTP/1.1\r\n" + HOST + b"a: b\rc: d\r\n\r\n",
    "two lengths": post(b"abc", "Content-Length: 3", "Content-Length: 0"),
    "list of two lengths": post(b"abc", "Content-Length: 3, 0"),
    "negative length": post(b"abc", "Content-Length: -3"),
    "length with a sign": post(b"abc", "Content-Length: +3"),
    "hexadecimal length": post(b"abc", "Content-Length: 0x3"),
    "empty length": post(b"abc", "Content-Length:"),
    "endless length": post(b"abc", "Content-Length: " + "9" * 30),
    "length and chunks": post(b"0\r\n\r\n", "Content-Length: 5", "Transfer-Encoding: chunked"),
    "chunks and length": post(b"0\r\n\r\n", "Transfer-Encoding: chunked", "Content-Length: 5"),
    "unknown coding": post(b"abc", "Transfer-Encoding: gzip"),
    "two codings": post(b"0\r\n\r\n", "Transfer-Encoding: gzip, chunked"),
    "chunks twice": post(b"0\r\n\r\n", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
    "coding with something before": post(b"0\r\n\r\n", "Transfer-Encoding: xchunked"),
    "no size of a chunk": post(b"\r\nabc\r\n0\r\n\r\n", "Transfer-Encoding: chunked"),
    "bad size of a chunk": post(b"zz\r\nabc\r\n0\r\n\r\n", "Transfer-Encoding: chunked"),
    "negative size of a chunk": post(b"-3\r\nabc\r\n0\r\n\r\n", "Transfer-Encoding: chunked"),
    "chunk longer than its size": post(b"3\r\nabcd\r\n0\r\n\r\n", "Transfer-Encoding: chunked"),
    "trailer": chunked(b"abc", end=b"0\r\nX-Real-IP: 6.6.6.6\r\n\r\n"),
    "long name": b"GET / HTTP/1.1\r\n" + HOST + b"a" * 70_000 + b": b\r\n\r\n",
    "endless address": b"GET /" + b"a" * 70_000,
    "endless head": b"GET / HTTP/1.1\r\n" + HOST + b"a: b\r\n" * 20_000,
    "endless extension of a chunk": post(b"3;" + b"x" * 70_000, "Transfer-Encoding: chunked"),
    "endless empty lines": b"\r\n" * 50_000,
}


@pytest.mark.parametrize("request_", MALFORMED.values(), ids=MALFORMED)
def test_malformed_requests_never_reach_the_application(site, request_):
    """They are refused or dropped, the connection ends, and what follows on it is not read as a request."""
    answer = site.ask(request_ + get("/?smuggled"))
    assert answer == b"" or answer.split()[1] in (b"400", b"413", b"431", b"408")
    assert site.app.seen == []


LAST_REQUESTS = {
    "asks for it": get("/", "Connection: close"),
    "body": post(b"abc", "Content-Length: 3", "Connection: close"),
    "HTTP/1.0": b"GET / HTTP/1.0\r\n\r\n",
    "chunks in HTTP/1.0": b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("request_", LAST_REQUESTS.values(), ids=LAST_REQUESTS)
def test_nothing_is_read_after_the_last_request(site, request_):
    """If the connection ends with an answer, nothing after that is read as a request."""
    site.ask(request_ + 2 * get("/?smuggled"))
    assert "GET /?smuggled" not in site.app.seen


def test_what_came_before_a_malformed_request_is_answered(site):
    """An error ends the connection only after the requests that arrived before it."""
    answer = site.ask(post(b"fine") + b"nonsense\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\n\r\nfine" in answer
    assert answer.count(b"HTTP/1.1 ") == 1 + answer.count(b"HTTP/1.1 400")


@pytest.mark.parametrize("size", [0, 1, MAX_BODY])
def test_a_body_may_be_as_long_as_allowed(site, size):
    """With its length at the start, or in chunks."""
    with site.connection() as connection:
        for request in (post(b"b" * size), chunked(*[b"b"] * size)):
            connection.send(request)
            status, _, body = connection.answer()
            assert (status, len(body)) == (200, size)


@pytest.mark.parametrize("size", [MAX_BODY + 1, 300_000, MAX_BODY + DROPPED])
def test_a_longer_body_gets_the_applications_own_answer(site, size):
    """A client that reads only after it has sent everything sees it, and may keep the connection."""
    with site.connection() as connection:
        for request in (
            post(b"b" * size),
            chunked(*[b"b" * 1000] * (size // 1000), b"b" * (size % 1000 or 1)),
        ):
            if size == MAX_BODY + DROPPED and b"chunked" in request:
                break
            connection.send(request)
            assert connection.answer()[::2] == (413, b"too long")
        connection.send(post(b"next"))
        assert connection.answer()[2] == b"next"


@pytest.mark.parametrize("request_", [post(b"", "Content-Length: 9999999999"), chunked(b"b" * (DROPPED * 3))])
def test_a_much_longer_body_is_refused_without_asking_the_application(site, request_):
    """Nobody can make the server read for ever."""
    answer = site.ask(request_)
    assert answer == b"" or answer.split()[1] in (b"400", b"413")
    assert site.app.seen == []


FIELD = b"a: b\r\n"
HEADS = {
    "as many fields as allowed": (FIELD * 98, b"200"),  # with Host and Connection
    "a field too many": (FIELD * 99, b"431"),
    "a long field": (b"a: " + b"b" * 16_000 + b"\r\n", b"200"),
    "a field that is too long": (b"a: " + b"b" * 16_384 + b"\r\n", b"431"),
    "fields that are too long together": ((b"a: " + b"b" * 3_000 + b"\r\n") * 6, b"431"),
}


@pytest.mark.parametrize(("fields", "status"), HEADS.values(), ids=HEADS)
@pytest.mark.parametrize("before", [0, 10_000])
def test_a_head_is_limited_by_its_own_bytes_and_its_fields(fields, status, before):
    """16 KiB and 100 fields, wherever it begins in the received bytes."""
    with Site(Server) as site:
        request = b"GET / HTTP/1.1\r\nHost: here\r\n" + fields + b"Connection: close\r\n\r\n"
        answer = site.ask(post(b"b" * before) + request)
        assert answer.split(b"HTTP/1.1 ")[-1].split()[0] == status


def test_unfinished_bodies_are_bounded_together():
    """Beyond the bound a long body is refused with 503 and a short one is taken; then there is room again."""
    with (
        Site(Server, unfinished_bodies=3 * MAX_BODY, small_body=100) as site,
        contextlib.ExitStack() as stack,
    ):
        waiting = [stack.enter_context(site.connection()) for _ in range(3)]
        for connection in waiting:
            connection.send(post(b"b" * MAX_BODY)[:-1])
        while site.server.unfinished_bytes < 3 * (MAX_BODY - 1):
            site.do(lambda: None)
        answer = site.ask(post(b"b" * MAX_BODY))
        assert answer.startswith(b"HTTP/1.1 503 ") and b"\r\nRetry-After: " in answer
        with site.connection() as connection:
            connection.send(post(b"b" * 100))
            assert connection.answer()[0] == 200
        for connection in waiting:
            connection.send(b"b")
            assert connection.answer()[0] == 200
        assert site.server.unfinished_bytes == 0


def test_a_body_that_is_given_up_makes_room():
    """When its client leaves, or it is malformed."""
    with Site(Server) as site:
        with site.connection() as connection:
            connection.send(post(b"b" * MAX_BODY)[:-1])
            while not site.server.unfinished_bytes:
                site.do(lambda: None)
        site.ask(chunked(b"b" * MAX_BODY, end=b"nonsense\r\n"))
        while site.server.connections:
            site.do(lambda: None)
        assert site.server.unfinished_bytes == 0


def test_http_1_0_does_not_know_100_continue():
    """Its client would take an interim answer for the answer, as Tornado's server gives it."""
    with Site(Server) as site:
        answer = site.ask(b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nbody")
        assert answer.startswith(b"HTTP/1.1 200 ")


def test_a_client_that_asks_whether_to_send_is_told_to(site):
    """`Expect: 100-continue`, which curl sends with longer bodies."""
    with site.connection() as connection:
        connection.send(post(b"", "Content-Length: 4", "Expect: 100-continue"))
        assert connection.answer()[0] == 100
        connection.send(b"body")
        assert connection.answer()[::2] == (200, b"body")


def test_an_offer_to_upgrade_is_ignored(site):
    """`curl --http2` gets HTTP/1.1, and nothing that follows is taken for a request of another protocol."""
    with site.connection() as connection:
        connection.send(
            get("/", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMA")
        )
        assert connection.answer()[::2] == (200, b"xx")


def test_an_upgrade_does_not_lose_a_body(site):
    """It reaches the application, or the request is refused."""
    with site.connection() as connection:
        connection.send(post(b"body", "Connection: Upgrade", "Upgrade: h2c", "Content-Length: 4"))
        assert connection.answer()[::2] in ((200, b"body"), (400, b""))


def test_a_refusal_arrives_while_the_client_is_still_sending():
    """Tornado's server closes at once; the kernel then sends RST, which can discard the refusal."""
    with Site(Server) as site:
        for request, status in ((chunked(b"b" * (DROPPED * 4)), b"413"), (b"nonsense" * 1_000_000, b"400")):
            assert site.ask(request).startswith(b"HTTP/1.1 " + status)


def test_answers_without_a_body_do_not_have_one(site):
    """To HEAD, and with status 204."""
    with site.connection() as connection:
        connection.send(b"HEAD /?size=5 HTTP/1.1\r\nHost: here\r\n\r\n")
        status, headers, _ = connection.answer(head=True)
        assert (status, headers["content-length"]) == (200, "5")
        connection.send(get("/nothing"))
        status, headers, _ = connection.answer()
        assert (status, "content-length" in headers, "transfer-encoding" in headers) == (204, False, False)
        connection.send(post(b"next"))
        assert connection.answer()[2] == b"next"


def test_an_answer_shorter_than_promised_ends_the_connection(site):
    """Otherwise the client would take the next answer for the rest of this one."""
    answer = site.ask(get("/wrong") + post(b"next"))
    assert b"next" not in answer


def test_a_header_cannot_end_its_line(site):
    """Nothing is sent of an answer whose head would have other lines than were meant."""
    assert b"Set-Cookie" not in site.ask(get("/split"))


def test_a_long_answer_arrives_whole_at_a_slow_reader(site):
    """Also when more is unsent than the kernel takes at once."""
    size = 20 << 20
    with site.connection() as connection:
        connection.send(get(f"/?size={size}") + get("/?size=1"))
        while not site.app.seen:  # reading nothing
            site.do(lambda: None)
        assert len(connection.answer()[2]) == size
        assert connection.answer()[2] == b"x"


@pytest.mark.parametrize("part", [b"GE", get()[:-2], post(b"abc")[:-1], chunked(b"abc")[:-3]])
def test_a_client_that_leaves_in_the_middle_is_forgotten(site, part):
    """The application never hears of half a request."""
    with site.connection() as connection:
        connection.send(part)
    assert site.ask(get("/", "Connection: close")).endswith(b"xx")
    assert site.app.seen == ["GET /"]


def test_the_application_learns_that_a_client_has_left(site):
    """While it still works on the answer, which then goes nowhere and breaks nothing."""
    with site.connection() as connection:
        connection.send(get("/slow"))
        assert site.app.entered.wait(PATIENCE)
    assert site.app.left.wait(PATIENCE)
    site.app.release.set()
    assert site.ask(get("/", "Connection: close")).endswith(b"xx")


@pytest.mark.parametrize("part", [b"", b"GET / HT", get()[:-2], post(b"abc")[:-1]])
def test_a_client_that_is_too_slow_is_hung_up_on(transport, part):
    """Whether it says nothing, or does not come to the end of a head or a body."""
    with Site(transport, idle_seconds=0.05, head_seconds=0.05, body_seconds=0.05) as site:
        answer = site.ask(part)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 408 ")
        assert site.app.seen == []


def test_a_stopping_server_ends_each_connection_with_its_answer(site):
    """Requests in progress are answered, and new connections are refused."""
    with site.connection() as idle, site.connection() as connection:
        connection.send(get("/slow"))
        assert site.app.entered.wait(PATIENCE)
        site.do(site.server.stop)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", site.port), PATIENCE)
        site.app.release.set()
        assert connection.answer()[::2] == (200, b"at last")
        idle.send(get())
        status, headers, body = idle.answer()
        assert (status, headers["connection"], body) == (200, "close", b"xx")
        assert idle.rest() == b""
        assert not site.server.sending


def test_a_server_that_is_told_to_stop_answers_requests_in_progress(key_db_url, msg_db_url):
    """SIGTERM while a reveal waits for its row: the reader gets the message, and the process ends well."""
    port = free_port()
    _give_keys(key_db_url)
    environment = {
        "KEY_DB_URL": key_db_url,
        "MSG_DB_URL": msg_db_url,
        "PORT": str(port),
        "PATH": os.environ["PATH"],
    }
    server = subprocess.Popen(
        [sys.executable, "-m", "server"], env=environment, stderr=subprocess.PIPE, text=True
    )
    try:
        assert any("serving" in line for line in server.stderr)
        link = _post(f"http://127.0.0.1:{port}/post", b"hello").strip()
        holder = psycopg2.connect(msg_db_url)
        holder.cursor().execute("SELECT FROM note FOR UPDATE")
        answers = []
        reader = threading.Thread(target=lambda: answers.append(_read(link)))
        reader.start()
        _until_somebody_waits(holder)
        server.send_signal(signal.SIGTERM)
        assert any("stopping: 1 requests are in progress" in line for line in server.stderr)
        holder.close()
        reader.join(PATIENCE)
        assert answers == [b"hello"]
        assert server.wait(PATIENCE) == 0
    finally:
        server.kill()
        server.communicate()


def _give_keys(key_db_url):
    with (
        contextlib.closing(psycopg2.connect(key_db_url)) as connection,
        connection,
        connection.cursor() as cursor,
    ):
        for block in range(4):
            keys = "".join(f"k{number:04}" for number in range(block * 256, block * 256 + 256))
            cursor.execute("INSERT INTO key_block (id, keys) VALUES (%s, %s)", (block, keys))
        cursor.execute("UPDATE key_cursor SET seeded = 4")


def _post(url, message):
    request = urllib.request.Request(url, b"message=" + message, {"Accept": "text/plain"})
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return answer.read().decode()


def _read(link):
    request = urllib.request.Request(link, headers={"Accept": "text/plain"})
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return answer.read()


def _until_somebody_waits(connection):
    with connection.cursor() as cursor:
        for _ in range(10_000):
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            if cursor.fetchone() != (0,):
                return
    raise AssertionError("nobody waits")
