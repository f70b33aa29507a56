"""The whole route table, and how a request gets to its handler: whole, or cut where it is too long anyway.

No route may have five letters: it would shadow a key.
"""

from __future__ import annotations

from collections.abc import Awaitable

import tornado.web
from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    RequestStartLine,
    ResponseStartLine,
)

from server import logs, pages
from server.handlers.base import NotFoundHandler, Service
from server.handlers.health import HealthHandler, MetricsHandler, ReadyHandler
from server.handlers.notes import (
    ConfirmHandler,
    DestroyHandler,
    EncodedLinkHandler,
    FormHandler,
    PostHandler,
    RevealHandler,
    TokenHandler,
)
from server.handlers.openapi import OpenApiHandler
from server.handlers.static import StaticHandler
from server.keys import KEY_PATTERN


class Application(tornado.web.Application):
    """Tornado's, whose handlers begin when all of the body is there: an answer that is given before may
    never be seen, since most clients read only once they have sent everything."""

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        return _Whole(super().start_request(server_conn, request_conn), self.settings["max_body_bytes"])


class _Whole(HTTPMessageDelegate):
    def __init__(self, handler: HTTPMessageDelegate, max_body_bytes: int) -> None:
        self._handler = handler
        self._kept_bytes = max_body_bytes + 1  # by which the handler sees that there is too much
        self._body = bytearray()

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        self._start_line, self._headers = start_line, headers
        return None

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        self._body += chunk[: self._kept_bytes - len(self._body)]
        return None

    def finish(self) -> None:
        self._handler.headers_received(self._start_line, self._headers)
        self._handler.data_received(bytes(self._body))
        self._handler.finish()


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
