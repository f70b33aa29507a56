"""HTTP/1.1 for a Tornado application, on asyncio and the C parser of httptools instead of Tornado's server.

The application gets each request whole and answers it through Tornado's documented interfaces; what a
request means is its business. Why: docs/decisions/0012-a-transport-of-our-own.md.
"""

from __future__ import annotations

import asyncio
import dataclasses
import http
import logging
import math
from collections import deque
from collections.abc import Callable
from typing import cast

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from tornado import httputil
from tornado.httputil import HTTPHeaders, RequestStartLine, ResponseStartLine
from tornado.iostream import StreamClosedError

from server.httpd.headers import Headers, lines_of

log = logging.getLogger(__name__)

SLICE = 16 << 10  # bytes parsed at a time, which bounds how many requests a client can be ahead
WRITE_SECONDS = 30  # for a client to take another byte of its answer
LINGER_SECONDS = 2  # for a client to see that we are done with it
MAX_LINGER_BYTES = 16 << 20
SWEEP_SECONDS = 1
BACKLOG = 512


@dataclasses.dataclass(frozen=True)
class Limits:
    """What one client may take; of either transport."""

    body: int  # bytes; of a longer one the application gets one byte more, and says no
    surplus: int = 64 << 20  # bytes of such a body that are read and dropped: who still sends sees no answer
    head: int = 16 << 10  # bytes, to within a SLICE
    clients: int = 2000  # connections; who comes on top of them is told to come again
    idle_seconds: float = 75  # until a head is complete; longer than nginx keeps an idle connection
    body_seconds: float = 60

    @property
    def longest(self) -> int:
        """Bytes of a body; a longer one is refused without asking the application."""
        return self.body + self.surplus


class _Exchange(httputil.HTTPConnection):
    """One request and its answer: what Tornado knows as `request.connection`."""

    complete = False  # all of the request is there
    received = 0  # bytes of its body, kept or dropped
    promised: int | None = None  # bytes of the answer's Content-Length that are still to come
    close_callback: Callable[[], None] | None = None

    def __init__(
        self, client: _Client, line: RequestStartLine, headers: HTTPHeaders, keep_alive: bool
    ) -> None:
        self.client = self.context = client  # of the context, Tornado reads remote_ip and protocol
        self.line, self.headers, self.keep_alive = line, headers, keep_alive
        self.body = bytearray()

    def set_close_callback(self, callback: Callable[[], None] | None) -> None:
        self.close_callback = callback

    def write_headers(
        self,
        start_line: RequestStartLine | ResponseStartLine,
        headers: HTTPHeaders,
        chunk: bytes | None = None,
    ) -> asyncio.Future[None]:
        _, code, reason = cast(ResponseStartLine, start_line)
        if self.line.method == "HEAD" or code in (204, 304):
            self.promised = 0
        elif (length := headers.get("Content-Length")) is not None:
            self.promised = int(length)
        if self.promised is None or self.client.server.stopping:
            self.keep_alive = False
        if self.keep_alive != (self.line.version == "HTTP/1.1"):  # else the version says it
            headers["Connection"] = "keep-alive" if self.keep_alive else "close"
        lines = [f"HTTP/1.1 {code} {reason}", *lines_of(headers), "\r\n"]
        head = "\r\n".join(lines)
        if not head.count("\r") == head.count("\n") == len(lines):
            raise ValueError("a header of the answer contains the end of a line")
        return self._send(head.encode("latin1"), chunk or b"")

    def write(self, chunk: bytes) -> asyncio.Future[None]:
        return self._send(b"", chunk)

    def _send(self, head: bytes, chunk: bytes) -> asyncio.Future[None]:
        if self.promised is not None:
            self.promised -= len(chunk)
            if self.promised < 0:
                self.client.transport.abort()
                raise httputil.HTTPOutputError("more was written than Content-Length says")
        return self.client.send(head + chunk)

    def finish(self) -> None:
        if self.promised:
            self.client.transport.abort()
            raise httputil.HTTPOutputError("less was written than Content-Length says")
        self.client.answered(self)


class _Client(asyncio.Protocol):
    """One connection: parses what arrives, and lets the application see one request at a time."""

    remote_ip, protocol = "", "http"
    deadline = math.inf  # on the loop's clock: when `expire` is due
    reading = True
    in_head = False  # a request has begun, and its head is not complete
    last = False  # nothing more is parsed: the client, or what it sent, asks for the end
    refusal = 0  # the status to end with, once what came before is answered
    idle_bytes = 0  # parsed in a row without any use: heads, trailers and the like that do not end
    closing = False  # nothing more is sent, and what arrives is dropped
    dropped = 0
    unsent = 0  # bytes, at the last look

    def __init__(self, server: Server) -> None:
        self.server, self.loop, self.writable = server, server.loop, server.writable
        self.parser = HttpRequestParser(self)
        self.unparsed: bytes | memoryview = b""
        self.requests: deque[_Exchange] = deque()  # not yet with the application; the last may be incomplete
        self.under_way: _Exchange | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.remote_ip = self.transport.get_extra_info("peername")[0]
        self.server.clients.add(self)
        self._expire_in(self.server.limits.idle_seconds)
        if len(self.server.clients) > self.server.limits.clients:
            self._refuse(503)

    def data_received(self, data: bytes) -> None:
        if not self.closing:
            # While some is left, reading is paused. A view, lest each slice be copied.
            self.unparsed = memoryview(data) if len(data) > SLICE else data
            return self._go_on()
        self.dropped += len(data)
        if self.dropped > MAX_LINGER_BYTES:
            self.transport.abort()

    def _go_on(self) -> None:
        """Parse until a request is complete, and hand it over once the one before it is answered."""
        while not self.closing:
            waiting = bool(self.requests) and self.requests[0].complete
            if waiting and self.under_way is None and self.writable.done():
                self._hand_over(self.requests.popleft())
            elif self.unparsed and not waiting and not self.last:
                self._parse()
            else:
                break
        if self.refusal and not self.under_way and not self.requests:
            self._refuse(self.refusal)
        may_read = self.closing or self.last or not (self.unparsed or waiting)
        if may_read != self.reading:
            self.reading = may_read
            (self.transport.resume_reading if may_read else self.transport.pause_reading)()

    # What the parser finds

    def _parse(self) -> None:
        data, self.unparsed = self.unparsed[:SLICE], self.unparsed[SLICE:]
        self.idle_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except HttpParserUpgrade:
            pass  # its request was not kept alive, so it is the last
        except HttpParserError:
            self._end_with(400)
        if self.idle_bytes > self.server.limits.head:
            self._end_with(431 if self.in_head else 400)

    def _end_with(self, status: int) -> HttpParserError:
        """Let this be the end of what arrives; a callback raises the result, which stops the parser."""
        if not self.last:
            self.last, self.refusal = True, status
            if self.requests and not self.requests[-1].complete:
                self.requests.pop()
        return HttpParserError()

    def on_message_begin(self) -> None:
        self.in_head, self.idle_bytes, self.url = True, 0, b""
        self.fields: list[tuple[bytes, bytes]] = []

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.in_head:
            raise self._end_with(400)  # a trailer, which Tornado's server does not take either
        self.fields.append((name, value))

    def on_headers_complete(self) -> None:
        self.in_head, self.idle_bytes = False, 0
        parser, headers = self.parser, Headers.received(self.fields)
        version, upgrade = parser.get_http_version(), parser.should_upgrade()
        length, coding = int(headers.get("Content-Length", 0)), headers.get("Transfer-Encoding")
        if version not in ("1.0", "1.1") or coding is not None and coding.lower() != "chunked":
            raise self._end_with(400)
        if coding is not None and version == "1.0" or upgrade and (coding is not None or length):
            raise self._end_with(400)  # of an upgrade, the parser would take the body for what follows
        if length > self.server.limits.longest:
            raise self._end_with(413)
        line = RequestStartLine(parser.get_method().decode(), self.url.decode("latin1"), f"HTTP/{version}")
        self.requests.append(_Exchange(self, line, headers, parser.should_keep_alive() and not upgrade))
        if self.under_way is None:
            self._expire_in(self.server.limits.body_seconds)
            if headers.get("Expect", "").lower() == "100-continue":
                self.send(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, data: bytes) -> None:
        self.idle_bytes, exchange = 0, self.requests[-1]
        exchange.body += data[: self.server.limits.body + 1 - len(exchange.body)]
        exchange.received += len(data)
        if exchange.received > self.server.limits.longest:
            raise self._end_with(413)

    def on_message_complete(self) -> None:
        self.idle_bytes, exchange = 0, self.requests[-1]
        exchange.complete, self.last = True, not exchange.keep_alive

    # What the application does

    def _hand_over(self, exchange: _Exchange) -> None:
        self.under_way, self.deadline = exchange, math.inf
        try:
            delegate = self.server.application.start_request(self, exchange)
            delegate.headers_received(exchange.line, exchange.headers)
            if exchange.body:
                delegate.data_received(bytes(exchange.body))
            delegate.finish()
        except httputil.HTTPInputError:  # a missing Host, for one
            self._refuse(400)
        except Exception as error:
            log.error("the application cannot take a request", exc_info=error)
            self.transport.abort()

    def send(self, data: bytes) -> asyncio.Future[None]:
        """Done already, unless more is unsent than the application should go on writing to."""
        if not self.closing:
            self.transport.write(data)
            return self.writable
        lost: asyncio.Future[None] = self.loop.create_future()
        lost.set_exception(StreamClosedError())
        lost.exception()  # nobody has to ask for it
        return lost

    def answered(self, exchange: _Exchange) -> None:
        if self.closing:
            return
        self.under_way = None
        if not exchange.keep_alive:
            return self._close()
        self._expire_in(self.server.limits.idle_seconds)
        if self.unparsed or self.requests or self.refusal:
            self.loop.call_soon(self._go_on)

    def pause_writing(self) -> None:
        self.writable = self.loop.create_future()
        self._expire_in(WRITE_SECONDS)

    def resume_writing(self) -> None:
        self.writable.set_result(None)
        self.writable = self.server.writable
        self._expire_in(LINGER_SECONDS if self.closing else self.server.limits.idle_seconds)
        if self.under_way:
            self.deadline = math.inf
        self._go_on()

    # Ends

    def _expire_in(self, seconds: float) -> None:
        self.deadline = self.loop.time() + seconds

    def expire(self) -> None:
        before, self.unsent = self.unsent, self.transport.get_write_buffer_size()
        if self.unsent not in (0, before):
            self._expire_in(WRITE_SECONDS)  # the client is slow, but takes something
        elif self.closing or self.under_way or self.unsent:
            self.transport.abort()
        elif self.in_head or self.requests:
            self._refuse(408)
        else:
            self._close()

    def _refuse(self, status: int) -> None:
        head = f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}\r\nConnection: close\r\nContent-Length: 0"
        self.send((head + ("\r\nRetry-After: 2" if status == 503 else "") + "\r\n\r\n").encode())
        self._close()

    def _close(self) -> None:
        """Hang up, but go on reading: unread bytes would make the kernel take the answer back."""
        self.closing = self.reading = True
        self.transport.resume_reading()
        self._expire_in(LINGER_SECONDS)
        try:
            self.transport.write_eof()
        except OSError:  # the client is gone
            self.transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self.server.clients.discard(self)
        self.closing = True
        del self.parser  # which refers to us
        if not self.writable.done():
            self.writable.set_exception(StreamClosedError())
            self.writable.exception()
        if self.under_way is not None and self.under_way.close_callback is not None:
            self.under_way.close_callback()


class Server:
    """Listens, and keeps the time for all connections."""

    def __init__(self, application: httputil.HTTPServerConnectionDelegate, limits: Limits) -> None:
        self.application, self.limits = application, limits
        self.clients: set[_Client] = set()
        self.stopping = False

    async def listen(self, port: int, host: str) -> None:
        self.loop = asyncio.get_running_loop()
        self.writable: asyncio.Future[None] = self.loop.create_future()
        self.writable.set_result(None)
        self._listener = await self.loop.create_server(lambda: _Client(self), host, port, backlog=BACKLOG)
        self._sweep()

    def _sweep(self) -> None:
        """One timer, where Tornado's server needs several for each request."""
        now = self.loop.time()
        for client in [client for client in self.clients if client.deadline < now]:
            client.expire()
        self._timer = self.loop.call_later(SWEEP_SECONDS, self._sweep)

    def stop(self) -> None:
        """Accept no more connections, and end each with the next answer."""
        self.stopping = True
        self._listener.close()

    @property
    def sending(self) -> bool:
        """Whether some of an answer has not left yet."""
        return any(client.transport.get_write_buffer_size() for client in self.clients)

    @property
    def peers(self) -> list[str]:
        """The addresses of who is connected."""
        return [client.remote_ip for client in self.clients]

    async def close(self) -> None:
        """Hang up on everybody, at once."""
        self._timer.cancel()
        for client in list(self.clients):
            client.transport.abort()
