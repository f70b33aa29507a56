"""HTTP/1.1 connections, on asyncio and the C parser of httptools.

The application is a callable that takes each request once all of it has arrived, and answers it
through Tornado's documented interfaces. Why this is not Tornado's own server:
docs/decisions/0012-an-http-transport-on-httptools.md.

Two state machines describe a connection. `receiving` says how far the parser is:

    IDLE      nothing of the next request has arrived           -> HEAD
    HEAD      its head has begun                                -> BODY
    BODY      its head is complete, its body is not             -> IDLE, or ENDED after the last request
    ENDED     nothing more is parsed: the client asked for the end, closed its side of the connection, or sent
              something that is not HTTP

`phase` is the state of the connection:

    OPEN      requests are received, and answered one at a time -> LINGERING, or CLOSED if the client leaves
    LINGERING the last answer is sent; what arrives is dropped  -> CLOSED
    CLOSED    the socket is gone

Requests that arrive early wait in `requests`. While a complete one waits, the connection does not read.

A client that closes its side of the connection still gets the answer to each complete request, unless it has
left: docs/decisions/0030-a-half-closed-connection-is-answered.md.
"""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import http
import logging
import math
import socket
from collections import deque
from collections.abc import Callable
from typing import cast

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from tornado import httputil
from tornado.httputil import HTTPServerRequest, RequestStartLine, ResponseStartLine
from tornado.iostream import StreamClosedError

from server.httpd.headers import Headers, header_lines
from server.httpd.request import Request

log = logging.getLogger(__name__)

# Bytes received at a time, which bounds what a connection keeps and how long others wait for it.
TURN = 64 << 10
SLICE = 16 << 10  # bytes of a body parsed at a time
UNSENT = 16 << 10  # bytes of answers; beyond them, the next request waits until the client has taken some
AHEAD = 2 << 10  # bytes of heads parsed at a time, which bounds how many requests a client can send ahead
WRITE_SECONDS = 30  # for a client to take another byte of its answer
LINGER_SECONDS = 2  # for a client to see that the connection has ended
MAX_LINGER_BYTES = 16 << 20
DEADLINE_CHECK_SECONDS = 1
FIRST_CHECK_SECONDS = 0.1  # after a client has closed its side; most answers take less time
BACKLOG = 512
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@dataclasses.dataclass(frozen=True)
class Limits:
    """How much clients may use."""

    body: int  # bytes; of a longer body, the application gets one byte more and refuses it
    dropped_body: int = 64 << 20  # bytes beyond `body`, read and dropped so that the client sees the answer
    unfinished_bodies: int = 64 << 20  # bytes of all requests that wait or are incomplete
    small_body: int = 16 << 10  # bytes; a body within this is taken even when `unfinished_bodies` is used up
    head: int = 16 << 10  # bytes
    fields: int = 100
    connections: int = 2000
    idle_seconds: float = 75  # between requests; longer than nginx keeps an idle connection
    head_seconds: float = 10
    body_seconds: float = 60

    @property
    def longest_body(self) -> int:
        """Bytes; a request with a longer body is refused before it reaches the application."""
        return self.body + self.dropped_body


class Receiving(enum.Enum):
    IDLE = enum.auto()
    HEAD = enum.auto()
    BODY = enum.auto()
    ENDED = enum.auto()


class Phase(enum.Enum):
    OPEN = enum.auto()
    LINGERING = enum.auto()
    CLOSED = enum.auto()


# Names in the module: looking up a member in its class takes several times as long.
IDLE, HEAD, BODY, ENDED = Receiving
OPEN, LINGERING, CLOSED = Phase


class RequestResponse(httputil.HTTPConnection):
    """A request and its answer: what Tornado calls `request.connection`."""

    body: bytes | bytearray = b""
    received_bytes = 0  # of the body, kept or dropped
    unwritten_bytes: float | None = None  # None before the answer's head, infinite without a Content-Length
    close_callback: Callable[[], None] | None = None

    def __init__(
        self, connection: Connection, line: RequestStartLine, headers: Headers, keep_alive: bool
    ) -> None:
        self.connection = self.context = connection  # Tornado reads remote_ip and protocol of the context
        self.line, self.headers, self.keep_alive = line, headers, keep_alive

    def receive(self, data: bytes) -> None:
        """Keep another piece of the body. Most bodies arrive in one, which needs no copy."""
        if not self.body:
            self.body = data
        else:
            if isinstance(self.body, bytes):
                self.body = bytearray(self.body)
            self.body += data

    def set_close_callback(self, callback: Callable[[], None] | None) -> None:
        self.close_callback = callback

    def write_headers(
        self,
        start_line: RequestStartLine | ResponseStartLine,
        headers: httputil.HTTPHeaders,
        chunk: bytes | None = None,
    ) -> asyncio.Future[None]:
        _, code, reason = cast(ResponseStartLine, start_line)
        if self.line.method == "HEAD" or code in (204, 304):
            self.unwritten_bytes = 0
        elif (length := headers.get("Content-Length")) is not None:
            self.unwritten_bytes = int(length)
        else:
            self.unwritten_bytes, self.keep_alive = math.inf, False
        if self.connection.server.stopping:
            self.keep_alive = False
        if self.keep_alive != (self.line.version == "HTTP/1.1"):  # otherwise the version says it
            headers["Connection"] = "keep-alive" if self.keep_alive else "close"
        lines = [f"HTTP/1.1 {code} {reason}", *header_lines(headers), "\r\n"]
        head = "\r\n".join(lines)
        if not head.count("\r") == head.count("\n") == len(lines):
            raise ValueError("a header of the answer contains the end of a line")
        return self._send(head.encode("latin1"), chunk or b"")

    def write(self, chunk: bytes) -> asyncio.Future[None]:
        return self._send(b"", chunk)

    def _send(self, head: bytes, chunk: bytes) -> asyncio.Future[None]:
        if self.unwritten_bytes is not None:
            self.unwritten_bytes -= len(chunk)
            if self.unwritten_bytes < 0:
                self.connection.transport.abort()
                raise httputil.HTTPOutputError("more was written than Content-Length says")
        return self.connection.send(head + chunk)

    def finish(self) -> None:
        if self.unwritten_bytes and self.unwritten_bytes != math.inf:
            self.connection.transport.abort()
            raise httputil.HTTPOutputError("less was written than Content-Length says")
        self.connection.answered(self)


class Connection(asyncio.BufferedProtocol):
    """Parses what a client sends, and lets the application answer one request at a time."""

    # Of the connection
    phase: Phase = OPEN
    remote_ip, protocol = "", "http"
    deadline = math.inf  # on the loop's clock: when `expire` is due
    reading = True  # False while the transport is paused
    refusal = 0  # status of the last answer, if the client's input ended with an error
    unsent_bytes = 0  # when the deadline was last checked
    lingering_bytes = 0  # received and dropped
    half_closed = False  # by the client, which may still wait for its answer
    # Of the request that is being received
    receiving: Receiving = IDLE
    head_bytes = 0
    overhead_bytes = 0  # received in a row without any use, such as an endless head or trailer
    # Of the request that is being answered
    answering: RequestResponse | None = None

    def __init__(self, server: Server) -> None:
        self.server, self.loop, self.writable = server, server.loop, server.writable
        self.parser = HttpRequestParser(self)
        self.unparsed: bytes | memoryview = b""
        self.requests: deque[RequestResponse] = deque()  # in the state BODY, the last one is incomplete

    # Called by asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(UNSENT)
        self.remote_ip = self.transport.get_extra_info("peername")[0]
        self.server.connections.add(self)
        self._expire_in(self.server.limits.idle_seconds)
        if len(self.server.connections) > self.server.limits.connections:
            self._refuse(503)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.server.buffer

    def buffer_updated(self, nbytes: int) -> None:
        data = bytes(self.server.buffer[:nbytes])
        if self.phase is OPEN:
            # Reading is paused while some is left. A memoryview saves copying each slice.
            self.unparsed = memoryview(data) if len(data) > AHEAD else data
            return self._advance()
        self.lingering_bytes += len(data)
        if self.lingering_bytes > MAX_LINGER_BYTES:
            self.transport.abort()

    def eof_received(self) -> bool:
        """The client sends nothing more: drop what is incomplete, and answer what is complete.

        Returns:
            Whether there is something to answer; otherwise asyncio closes the connection.
        """
        if self.phase is not OPEN:
            return False
        if self.receiving is BODY:
            self._forget(self.requests.pop())
        if self.answering is not None and self.receiving is not ENDED:  # then no complete request waits
            self.answering.keep_alive = False
        self.receiving, self.half_closed = ENDED, self.answering is not None or bool(self.requests)
        if self.half_closed:
            self.loop.call_later(FIRST_CHECK_SECONDS, self._check_client, FIRST_CHECK_SECONDS)
        return self.half_closed

    def pause_writing(self) -> None:
        self.writable = self.loop.create_future()
        self._expire_in(WRITE_SECONDS)

    def resume_writing(self) -> None:
        self.writable.set_result(None)
        self.writable = self.server.writable
        lingering = self.phase is LINGERING
        self._expire_in(LINGER_SECONDS if lingering else self.server.limits.idle_seconds)
        if self.answering:
            self.deadline = math.inf
        self._advance()

    def connection_lost(self, error: Exception | None) -> None:
        self.server.connections.discard(self)
        self.phase, self.unparsed = CLOSED, b""
        self._forget_requests()
        del self.parser  # it refers to this connection, and so does the request
        answering, self.answering = self.answering, None
        if not self.writable.done():
            _fail(self.writable)
        if answering is not None and answering.close_callback is not None:
            answering.close_callback()

    # Called by the server

    def expire(self) -> None:
        """The deadline has passed: end the connection, unless the client slowly takes its answer."""
        before, self.unsent_bytes = self.unsent_bytes, self.transport.get_write_buffer_size()
        if self.unsent_bytes not in (0, before):
            self._expire_in(WRITE_SECONDS)
        elif self.phase is not OPEN or self.answering or self.unsent_bytes:
            self.transport.abort()
        elif self.receiving is HEAD or self.requests:
            self._refuse(408)
        else:
            self._linger()

    # Receiving

    def _advance(self) -> None:
        """Parse until a request is complete, and hand it over once the one before it is answered."""
        complete = False
        while self.phase is OPEN:
            complete = len(self.requests) > (self.receiving is BODY)
            if complete and self.answering is None and self.writable.done():
                self._hand_over(self.requests.popleft())
            elif self.unparsed and not complete and self.receiving is not ENDED:
                self._parse()
            else:
                break
        if self.refusal and not self.answering and not self.requests:
            self._refuse(self.refusal)
        may_read = self.phase is not OPEN or self.receiving is ENDED
        may_read = may_read or not (self.unparsed or complete)
        if may_read != self.reading:
            self.reading = may_read
            (self.transport.resume_reading if may_read else self.transport.pause_reading)()

    def _parse(self) -> None:
        limits, before = self.server.limits, self.receiving
        size = SLICE if before is BODY else AHEAD
        data, self.unparsed = self.unparsed[:size], self.unparsed[size:]
        self.overhead_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except HttpParserUpgrade:
            pass  # its request is not kept alive, so it is the last one
        except HttpParserError:
            self._end_with(400)
        if self.overhead_bytes > limits.head:
            self._end_with(431 if self.receiving is HEAD else 400)
        if self.receiving is HEAD and self._head_is_too_large():
            self._end_with(431)
        # Not for states that came and went within this slice: most requests arrive in one.
        if self.receiving is not before and self.answering is None and self.receiving in (HEAD, BODY):
            self._expire_in(limits.head_seconds if self.receiving is HEAD else limits.body_seconds)

    def _head_is_too_large(self) -> bool:
        limits = self.server.limits
        return self.head_bytes > limits.head or len(self.fields) > limits.fields

    def _end_with(self, status: int) -> HttpParserError:
        """Receive nothing more, and end with `status`. A parser callback raises the result to stop the parser."""
        if self.receiving is not ENDED:
            if self.receiving is BODY:
                self._forget(self.requests.pop())
            self.receiving, self.refusal = ENDED, status
        return HttpParserError()

    def _forget(self, request: RequestResponse) -> None:
        self.server.unfinished_bytes -= len(request.body)

    def _forget_requests(self) -> None:
        while self.requests:
            self._forget(self.requests.pop())

    # Called by the parser

    def on_message_begin(self) -> None:
        self.receiving, self.head_bytes, self.overhead_bytes, self.url = HEAD, 0, 0, b""
        self.fields: list[tuple[bytes, bytes]] = []

    def on_url(self, url: bytes) -> None:
        self.url += url
        self.head_bytes += len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.receiving is not HEAD:
            raise self._end_with(400)  # a trailer, which Tornado's server refuses as well
        self.fields.append((name, value))
        self.head_bytes += len(name) + len(value) + 4  # a colon, a space and the end of the line

    def on_headers_complete(self) -> None:
        if self._head_is_too_large():
            raise self._end_with(431)
        self.overhead_bytes = 0
        parser, headers = self.parser, Headers.received(self.fields)
        version, upgrade = parser.get_http_version(), parser.should_upgrade()
        length, coding = int(headers.get("Content-Length", 0)), headers.get("Transfer-Encoding")
        if version not in ("1.0", "1.1") or coding is not None and coding.lower() != "chunked":
            raise self._end_with(400)
        if coding is not None and version == "1.0" or upgrade and (coding is not None or length):
            raise self._end_with(400)  # the parser would take the body of an upgrade for what follows it
        if length > self.server.limits.longest_body:
            raise self._end_with(413)
        line = RequestStartLine(parser.get_method().decode(), self.url.decode("latin1"), f"HTTP/{version}")
        keep_alive = parser.should_keep_alive() and not upgrade
        self.requests.append(RequestResponse(self, line, headers, keep_alive))
        self.receiving = BODY
        if (
            self.answering is None
            and version == "1.1"
            and headers.get("Expect", "").lower() == "100-continue"
        ):
            self.send(CONTINUE)

    def on_body(self, data: bytes) -> None:
        self.overhead_bytes, limits, request = 0, self.server.limits, self.requests[-1]
        request.received_bytes += len(data)
        if request.received_bytes > limits.longest_body:
            raise self._end_with(413)
        kept = data[: limits.body + 1 - len(request.body)]
        request.receive(kept)
        self.server.unfinished_bytes += len(kept)
        if self.server.unfinished_bytes > limits.unfinished_bodies and len(request.body) > limits.small_body:
            raise self._end_with(503)

    def on_message_complete(self) -> None:
        self.overhead_bytes = 0
        self.receiving = IDLE if self.requests[-1].keep_alive else ENDED

    # Answering

    def _hand_over(self, request: RequestResponse) -> None:
        self._forget(request)
        self.answering, self.deadline = request, math.inf
        try:
            self.server.application(Request(request.line, request.headers, bytes(request.body), request))
        except httputil.HTTPInputError:  # a missing Host, for one
            self._refuse(400)
        except Exception as error:
            log.error("the application cannot take a request", exc_info=error)
            self.transport.abort()
        request.body = b""

    def send(self, data: bytes) -> asyncio.Future[None]:
        """The returned future is done at once, unless so much is unsent that the application should wait."""
        if self.phase is OPEN:
            self.transport.write(data)
            return self.writable
        return _fail(self.loop.create_future())

    def answered(self, request: RequestResponse) -> None:
        if self.phase is not OPEN:
            return
        self.answering = None
        if not request.keep_alive:
            return self._linger()
        limits = self.server.limits
        self._expire_in(limits.body_seconds if self.receiving is BODY else limits.idle_seconds)
        if self.unparsed or self.requests or self.refusal:
            self.loop.call_soon(self._advance)

    # Ending

    def _check_client(self, seconds: float) -> None:
        """Abort the connection if the client has left; check again after `seconds`.

        Only sending something shows that: the system of a client that has left answers with RST. Clients of
        HTTP/1.1 skip any number of interim answers, and all of them know 100.
        """
        if self.phase is not OPEN:
            return
        if self.transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            return self.transport.abort()
        request = self.answering
        if request and request.line.version == "HTTP/1.1" and request.unwritten_bytes is None:
            self.send(CONTINUE)
        self.loop.call_later(seconds, self._check_client, min(2 * seconds, DEADLINE_CHECK_SECONDS))

    def _expire_in(self, seconds: float) -> None:
        self.deadline = self.loop.time() + seconds

    def _refuse(self, status: int) -> None:
        head = f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}\r\nConnection: close\r\nContent-Length: 0"
        self.send((head + ("\r\nRetry-After: 2" if status == 503 else "") + "\r\n\r\n").encode())
        self._linger()

    def _linger(self) -> None:
        """Send no more, but keep reading: closing with unread bytes makes the kernel send RST, which can
        discard the answer."""
        self.phase, self.reading, self.unparsed = LINGERING, True, b""
        self._forget_requests()
        self.transport.resume_reading()
        self._expire_in(LINGER_SECONDS)
        try:
            if self.half_closed:  # nothing more can arrive
                return self.transport.close()
            self.transport.write_eof()
        except OSError:  # the client has left
            self.transport.abort()


def _fail(future: asyncio.Future[None]) -> asyncio.Future[None]:
    """Fail with the error that Tornado expects of a closed connection. Nobody need await the future."""
    future.set_exception(StreamClosedError())
    future.exception()
    return future


class Server:
    """Listens on a port, and keeps the deadlines of all connections."""

    def __init__(self, application: Callable[[HTTPServerRequest], object], limits: Limits) -> None:
        """
        Args:
            application: called with each complete request; it answers through `request.connection`.
        """
        self.application, self.limits = application, limits
        self.connections: set[Connection] = set()
        # For all connections: each takes out at once what it received.
        self.buffer = memoryview(bytearray(TURN))
        self.unfinished_bytes = 0  # of bodies that are incomplete or wait for the application
        self.stopping = False

    async def listen(self, port: int, host: str) -> None:
        """Accept connections. Raises OSError if it cannot listen on the port."""
        self.loop = asyncio.get_running_loop()
        self.writable: asyncio.Future[None] = self.loop.create_future()
        self.writable.set_result(None)
        self._listener = await self.loop.create_server(lambda: Connection(self), host, port, backlog=BACKLOG)
        self._check_deadlines()

    def _check_deadlines(self) -> None:
        """One timer, while Tornado's server needs several for each request."""
        now = self.loop.time()
        for connection in [connection for connection in self.connections if connection.deadline < now]:
            connection.expire()
        self._timer = self.loop.call_later(DEADLINE_CHECK_SECONDS, self._check_deadlines)

    def stop(self) -> None:
        """Accept no more connections, and end each one with its next answer."""
        self.stopping = True
        self._listener.close()

    @property
    def sending(self) -> bool:
        """Whether part of an answer has not been sent yet."""
        return any(connection.transport.get_write_buffer_size() for connection in self.connections)

    @property
    def addresses(self) -> list[str]:
        """The address of each connected client."""
        return [connection.remote_ip for connection in self.connections]

    async def close(self) -> None:
        """End all connections at once."""
        self._timer.cancel()
        for connection in list(self.connections):
            connection.transport.abort()
