"""Static files, for a laptop and for servers without nginx."""

from __future__ import annotations

import http
from pathlib import Path
from typing import Any

import tornado.web

from server import pages
from server.handlers.base import SECURITY_HEADERS, BaseHandler

FOR_EVER = "public, max-age=31536000, immutable"
FOR_A_WHILE = "public, max-age=3600"
NOT_AT_ALL = "no-store"


class StaticHandler(tornado.web.StaticFileHandler):
    """GET /static/PATH : a file, cached for ever if ?v= is its fingerprint.

    If ?v= is the fingerprint of another version, the page's integrity attribute refuses the file, and a reload
    has to fetch it again.
    """

    route = "/static"
    allow = ("GET", "HEAD")

    def set_default_headers(self) -> None:
        for name, value in SECURITY_HEADERS.items():
            self.set_header(name, value)
        self.clear_header("Server")

    def options(self, *_: str) -> None:
        self.set_status(204)
        self.set_header("Allow", ", ".join((*self.allow, "OPTIONS")))

    def validate_absolute_path(self, root: str, absolute_path: str) -> str | None:
        if "\0" in absolute_path:
            raise tornado.web.HTTPError(404)  # the file system would raise an error
        return super().validate_absolute_path(root, absolute_path)

    def set_extra_headers(self, path: str) -> None:
        # By the file's own path: a URL can repeat a/../, and each fingerprint is remembered.
        assert self.absolute_path
        own_path = str(Path(self.absolute_path).relative_to(pages.STATIC.resolve()))
        wanted = self.get_query_argument("v", "")
        fits = wanted == pages.fingerprint(own_path)
        self.set_header("Cache-Control", FOR_EVER if fits else NOT_AT_ALL if wanted else FOR_A_WHILE)

    def get_cache_time(self, *_: Any) -> int:
        return 0  # set_extra_headers sets Cache-Control

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        if status_code == 405:
            self.set_header("Allow", ", ".join((*self.allow, "OPTIONS")))
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(http.HTTPStatus(status_code).phrase + "\n")

    log_exception = BaseHandler.log_exception
