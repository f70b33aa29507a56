"""A request that has arrived completely, as Tornado's handlers expect it."""

from __future__ import annotations

import functools
import time
from typing import Any

from tornado.httputil import HTTPConnection, HTTPHeaders, HTTPServerRequest, RequestStartLine


class Request(HTTPServerRequest):
    """Tornado's request, with a fast path for the common case: a Host, and no query.

    Tornado parses the Host and the query of every request again, which takes longer than everything else here.
    This class sets the same attributes, and a test compares them.
    """

    def __init__(
        self, start_line: RequestStartLine, headers: HTTPHeaders, body: bytes, connection: HTTPConnection
    ) -> None:
        """Raises HTTPInputError if the Host is missing or malformed."""
        host = headers.get("Host")
        if host is None or "?" in start_line.path:
            return super().__init__(start_line=start_line, headers=headers, body=body, connection=connection)
        self.method, self.uri, self.version = start_line
        self.headers, self.body, self.connection = headers, body, connection
        context: Any = connection.context  # type: ignore[attr-defined]  # Tornado's interface leaves it out
        self.remote_ip, self.protocol = context.remote_ip, context.protocol
        self.host, self.host_name = host, _host_name(host)
        self.path, self.query = start_line.path, ""
        self.arguments, self.query_arguments, self.body_arguments, self.files = {}, {}, {}, {}
        self.server_connection = self._finish_time = None
        self._start_time = time.time()


@functools.lru_cache(128)
def _host_name(host: str) -> str:
    """The name in a Host header. Raises HTTPInputError, as Tornado does, if it is malformed."""
    line = RequestStartLine("GET", "/", "HTTP/1.1")
    return HTTPServerRequest(start_line=line, headers=HTTPHeaders({"Host": host})).host_name
