"""A Tornado handler for a request that is there whole and an answer that is ready whole.

Tornado's can also take a body in pieces, parse forms, run transforms, set cookies, compute ETags and render
templates of its own, and looks at each request for whether it does: that costs more than all that we do.
This is the one place that knows a handler's private parts; the lock pins Tornado.
"""

from __future__ import annotations

import asyncio
import functools
import time
from typing import Any, cast

import tornado.web
from tornado.escape import utf8
from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPServerRequest,
    RequestStartLine,
    ResponseStartLine,
    format_timestamp,
)
from tornado.web import RequestHandler

from server.httpd.headers import Headers

LEFT = 499  # nginx's number for a client that did not wait; nobody is ever sent it


class WholeRequest(HTTPServerRequest):
    """As Tornado's, which is left all but the plainest case: a Host, and no query."""

    def __init__(
        self, start_line: RequestStartLine, headers: HTTPHeaders, body: bytes, connection: HTTPConnection
    ) -> None:
        host = headers.get("Host")
        if host is None or "?" in start_line.path:
            return super().__init__(
                start_line=start_line, headers=headers, body=body, connection=connection
            )
        self.method, self.uri, self.version = start_line
        self.headers, self.body, self.connection = headers, body, connection
        context: Any = connection.context  # type: ignore[attr-defined]  # each transport's has one
        self.remote_ip, self.protocol = context.remote_ip, context.protocol
        self.host, self.host_name = host, _host_name(host)
        self.path, self.query = start_line.path, ""
        self.arguments, self.query_arguments, self.body_arguments, self.files = {}, {}, {}, {}
        self.server_connection = self._finish_time = None
        self._start_time = time.time()


@functools.lru_cache(128)
def _host_name(host: str) -> str:
    """The name in a Host header. Raises HTTPInputError, as Tornado does, of what may not stand there."""
    line = RequestStartLine("GET", "/", "HTTP/1.1")
    return HTTPServerRequest(start_line=line, headers=HTTPHeaders({"Host": host})).host_name


class WholeHandler(RequestHandler):
    """As Tornado's, but `prepare` is a plain function, and there is nothing that Tornado's templates need."""

    first_headers: Headers  # what each answer begins with, but for its date
    under_way: set[RequestHandler]  # draining waits for them; `initialize` says where they are counted

    # What Tornado sets for each handler anew.
    _headers_written = _finished = False
    _prepared_future = None
    _transforms = []
    _task: asyncio.Task[None] | None = None

    def __init__(
        self, application: tornado.web.Application, request: HTTPServerRequest, **arguments: Any
    ) -> None:
        self.application, self.request = application, request
        self.clear()
        request.connection.set_close_callback(self.on_connection_close)  # type: ignore[union-attr]  # as above
        self.initialize(**arguments)

    def clear(self) -> None:
        """As Tornado's, which sets one header after another."""
        self._headers = self.first_headers.copy()
        self._headers["Date"] = _date(int(time.time()))
        self._write_buffer = []
        self._status_code, self._reason = 200, "OK"

    def begin(self, *path_args: bytes) -> None:
        """Answer in a task; being counted keeps it from being collected."""
        self._task = asyncio.create_task(self._execute([], *path_args))

    async def _execute(self, transforms: Any, *path_args: bytes, **_: bytes) -> None:
        """As Tornado's, counted: draining waits for what is under way, whether it ends well or not."""
        self._task = task = self._task or cast("asyncio.Task[None]", asyncio.current_task())
        self.under_way.add(self)
        try:
            if self.request.method not in self.SUPPORTED_METHODS:
                raise tornado.web.HTTPError(405)
            arguments = [self.decode_argument(argument) for argument in path_args]
            self.prepare()
            answered = getattr(self, self.request.method.lower())(*arguments)
            if answered is not None:
                await answered
            if not self._finished:
                self.finish()
        except (Exception, asyncio.CancelledError) as error:
            if not (isinstance(error, asyncio.CancelledError) and task.cancelling()):
                self._handle_request_exception(error)
            elif not self._finished:  # the loop ends
                self.send_error(500)
        finally:
            self.under_way.discard(self)

    def finish(self, chunk: str | bytes | dict[str, Any] | None = None) -> asyncio.Future[None]:
        """As Tornado's, which is left all but the plainest case: a body, at once."""
        connection = self.request.connection
        if chunk is None or connection is None or self.request.method == "HEAD":
            return super().finish(chunk)
        if self._finished or self._headers_written or self._write_buffer or isinstance(chunk, dict):
            return super().finish(chunk)
        body = utf8(chunk)
        self._headers["Content-Length"] = str(len(body))
        self._headers_written = True
        connection.set_close_callback(None)  # type: ignore[attr-defined]  # as above
        sent = connection.write_headers(
            ResponseStartLine("", self._status_code, self._reason), self._headers, body
        )
        connection.finish()
        self._log()
        self._finished = True
        return sent

    def on_connection_close(self) -> None:
        """Whoever leaves early takes nothing along: a note whose COMMIT was not sent yet stays readable."""
        if self._task is not None and not self._finished:
            self._finished = True  # or Tornado would answer nobody with a 500, and count it
            self.set_status(LEFT, "Client Left")
            self._log()
            self._task.cancel()


@functools.lru_cache(1)
def _date(second: int) -> str:
    return format_timestamp(second)
