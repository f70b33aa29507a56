"""The whole route table, and how a request gets to its handler: whole, or cut where it is too long anyway.

No route may have five letters: it would shadow a key.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, cast
from urllib.parse import unquote_to_bytes

import tornado.web
from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerRequest,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.routing import PathMatches

from server import logs, pages
from server.handlers.base import NotFoundHandler, Service
from server.handlers.notes import (
    ConfirmHandler,
    DestroyHandler,
    EncodedLinkHandler,
    FormHandler,
    PostHandler,
    RevealHandler,
    TokenHandler,
)
from server.handlers.operations import HealthHandler, MetricsHandler, OpenApiHandler, ReadyHandler
from server.handlers.static import StaticHandler
from server.httpd.handler import WholeHandler, WholeRequest
from server.keys import KEY_PATTERN


class Application(tornado.web.Application):
    """Tornado's, whose handlers begin when all of the body is there: an answer that is given before may
    never be seen, since most clients read only once they have sent everything."""

    def __init__(self, routes: list[Any], **settings: Any) -> None:
        super().__init__(routes, **settings)
        rules = [(cast(PathMatches, rule.matcher).regex.match, rule) for rule in self.wildcard_router.rules]
        self._ours = [(match, rule) for match, rule in rules if issubclass(rule.target, WholeHandler)]

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        return _Whole(self, request_conn)

    def __call__(self, request: HTTPServerRequest) -> Awaitable[None] | None:
        """Let the handler of the request begin; Tornado finds those of files and of what has no route."""
        for match, rule in self._ours:
            found = match(request.path)
            if found is not None:
                handler = rule.target(self, request, **rule.target_kwargs)
                handler.begin(*map(unquote_to_bytes, found.groups()))
                return None
        return super().__call__(request)


class _Whole(HTTPMessageDelegate):
    def __init__(self, application: Application, connection: HTTPConnection) -> None:
        self._application, self._connection = application, connection
        self._kept_bytes = application.settings["max_body_bytes"] + 1  # so that a handler sees the surplus
        self._body = bytearray()

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        self._start_line, self._headers = cast(RequestStartLine, start_line), headers
        return None

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        self._body += chunk[: self._kept_bytes - len(self._body)]
        return None

    def finish(self) -> None:
        body = bytes(self._body)
        self._application(WholeRequest(self._start_line, self._headers, body, self._connection))


def make_app(service: Service) -> tornado.web.Application:
    """The application; `service` is what its handlers work with."""
    with_service = {"service": service}
    return Application(
        [
            (r"/", FormHandler, with_service),
            (r"/post", PostHandler, with_service),
            (rf"/({KEY_PATTERN})", ConfirmHandler, with_service),
            (rf"/({KEY_PATTERN})/reveal", RevealHandler, with_service),
            (rf"/({KEY_PATTERN})/destroy", DestroyHandler, with_service),
            (rf"/({KEY_PATTERN})/([^/]+)", TokenHandler, with_service),
            (rf"/({KEY_PATTERN})%23([0-9A-Za-z]*)", EncodedLinkHandler, with_service),
            (r"/healthz", HealthHandler, with_service),
            (r"/readyz", ReadyHandler, with_service),
            (r"/metrics", MetricsHandler, with_service),
            (r"/openapi\.json", OpenApiHandler, with_service),
            (r"/static/(.*)", StaticHandler, {"path": pages.STATIC}),
            (r"/(robots\.txt)", StaticHandler, {"path": pages.STATIC}),
        ],
        default_handler_class=NotFoundHandler,
        default_handler_args=with_service,
        log_function=logs.log_request,
        max_body_bytes=service.settings.max_body_bytes,
    )
