"""A Tornado application and handler with a fast path for complete requests and complete answers.

Tornado's handler can also take a body in pieces, parse forms, run transforms, set cookies, compute ETags
and render templates, and checks for each request whether it must. That costs more than all the work of the
service. Here, Tornado's code still does some of it, off the fast path; the rest raises an error.
Only this module knows private parts of Tornado's handler; the lock pins Tornado.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import time
from collections.abc import Awaitable
from typing import Any, NoReturn, cast
from urllib.parse import unquote_to_bytes

import tornado.web
from tornado.escape import utf8
from tornado.httputil import HTTPServerRequest, ResponseStartLine, format_timestamp
from tornado.routing import PathMatches
from tornado.web import RequestHandler

from server.httpd.headers import Headers

CLIENT_LEFT = 499  # nginx's number for a client that did not wait; it is logged and never sent

UNSUPPORTED_SETTINGS = ("compress_response", "gzip", "xsrf_cookies", "ui_modules", "ui_methods")


class Application(tornado.web.Application):
    """Tornado's application, which finds the handlers of this module without Tornado's router."""

    def __init__(self, routes: list[Any], **settings: Any) -> None:
        """Raises TypeError for a setting that the handlers do not support."""
        for name in UNSUPPORTED_SETTINGS:
            if settings.get(name):
                raise TypeError(f"the setting {name} is not supported")
        super().__init__(routes, **settings)
        rules = [(cast(PathMatches, rule.matcher).regex.match, rule) for rule in self.wildcard_router.rules]
        self._fast_routes = [(match, rule) for match, rule in rules if issubclass(rule.target, Handler)]

    def __call__(self, request: HTTPServerRequest) -> Awaitable[None] | None:
        """Start the handler of the request. Tornado finds the handlers of files and of unknown paths."""
        for match, rule in self._fast_routes:
            found = match(request.path)
            if found is not None:
                handler = rule.target(self, request, **rule.target_kwargs)
                handler.begin(*map(unquote_to_bytes, found.groups()))
                return None
        return super().__call__(request)


class Handler(RequestHandler):
    """Tornado's handler without `prepare` as a coroutine, bodies in pieces, form arguments and cookies."""

    first_headers: Headers  # each answer begins with these, and its date
    in_progress: set[RequestHandler]  # `initialize` sets it; a server that stops waits until it is empty

    # Tornado sets these for each handler.
    _headers_written = _finished = False
    _prepared_future = None
    _transforms = []
    _task: asyncio.Task[None] | None = None

    def __init_subclass__(cls) -> None:
        if inspect.iscoroutinefunction(cls.prepare):
            raise TypeError(f"{cls.__name__}.prepare is a coroutine, which is never awaited")
        for name in ("set_default_headers", "data_received", "check_xsrf_cookie"):
            if getattr(cls, name) is not getattr(RequestHandler, name):
                raise TypeError(f"{cls.__name__}.{name} is never called")

    def __init__(
        self, application: tornado.web.Application, request: HTTPServerRequest, **arguments: Any
    ) -> None:
        self.application, self.request = application, request
        self.clear()
        request.connection.set_close_callback(self.on_connection_close)  # type: ignore[union-attr]  # it has one
        self.initialize(**arguments)

    def clear(self) -> None:
        """Start the answer over, with all its first headers in one step."""
        self._headers = self.first_headers.copy()
        self._headers["Date"] = _date(int(time.time()))
        self._write_buffer = []
        self._status_code, self._reason = 200, "OK"

    def begin(self, *path_args: bytes) -> None:
        """Answer in a task. `in_progress` keeps a reference to it."""
        self._task = asyncio.get_running_loop().create_task(self._execute([], *path_args))

    async def _execute(self, transforms: Any, *path_args: bytes, **_: bytes) -> None:
        """Run the method of the request; an exception becomes an answer, as in Tornado."""
        self._task = task = self._task or cast("asyncio.Task[None]", asyncio.current_task())
        self.in_progress.add(self)
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
            self.in_progress.discard(self)

    def finish(self, chunk: str | bytes | dict[str, Any] | None = None) -> asyncio.Future[None]:
        """End the answer. The fast path takes a complete body; Tornado's code does the rest."""
        connection = self.request.connection
        if chunk is None or connection is None or self.request.method == "HEAD":
            return super().finish(chunk)
        if self._finished or self._headers_written or self._write_buffer or isinstance(chunk, dict):
            return super().finish(chunk)
        body = utf8(chunk)
        self._headers["Content-Length"] = str(len(body))
        self._headers_written = True
        connection.set_close_callback(None)  # type: ignore[attr-defined]  # Tornado's interface leaves it out
        sent = connection.write_headers(
            ResponseStartLine("", self._status_code, self._reason), self._headers, body
        )
        connection.finish()
        self._log()
        self._finished = True
        self.on_finish()
        return sent

    def on_connection_close(self) -> None:
        """The client hung up: stop. A note whose COMMIT has not been sent stays readable."""
        if self._task is not None and not self._finished:
            self._finished = True  # otherwise Tornado would log an answer with status 500
            self.set_status(CLIENT_LEFT, "Client Left")
            self._log()
            self.on_finish()
            self._task.cancel()

    def _unsupported(self, *_: Any, **__: Any) -> NoReturn:
        raise NotImplementedError("handlers here read the body themselves, and set no cookies")

    set_cookie = get_argument = get_arguments = _unsupported
    get_body_argument = get_body_arguments = _unsupported


@functools.lru_cache(1)
def _date(second: int) -> str:
    return format_timestamp(second)
