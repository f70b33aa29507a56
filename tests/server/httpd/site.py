"""A transport with a small application, on a thread of its own, and requests for it."""

import asyncio
import contextlib
import socket
import threading

from tornado.web import RequestHandler

from server.httpd.handler import Application
from server.httpd.transport import Limits
from tests.server_process import free_port

MAX_BODY = 1000
DROPPED = 1 << 20
PATIENCE = 60  # seconds for what has to come


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


def get(path="/", *fields):
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: here", *fields, "\r\n"]).encode()


def post(body, *fields):
    fields = fields or (f"Content-Length: {len(body)}",)
    return "\r\n".join(["POST / HTTP/1.1", "Host: here", *fields, "\r\n"]).encode() + body


def chunked(*chunks, end=b"0\r\n\r\n"):
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return post(body + end, "Transfer-Encoding: chunked")
