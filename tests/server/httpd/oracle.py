"""Tornado's own HTTP server with the interface of `server/httpd/transport.py`: what that is compared with."""

from __future__ import annotations

from collections.abc import Callable

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPConnection, HTTPMessageDelegate, HTTPServerRequest

from server.httpd.transport import Limits


class TornadoServer:
    """Serves an application as `transport.Server` does, at more than twice the cost of a request."""

    def __init__(self, application: Callable[[HTTPServerRequest], object], limits: Limits) -> None:
        self._server = _HTTPServer(
            lambda request: application(request),
            max_header_size=limits.head,
            max_body_size=limits.longest_body,
            idle_connection_timeout=limits.idle_seconds,
            body_timeout=limits.body_seconds,
        )

    async def listen(self, port: int, host: str) -> None:
        self._server.listen(port, host)

    def stop(self) -> None:
        """Accept no more connections, and end each with the answer to its next request."""
        self._server.stop()
        self._server.conn_params.no_keep_alive = True

    @property
    def sending(self) -> bool:
        """Whether part of an answer has not been sent yet; Tornado has no other way to ask."""
        return any(connection.stream.writing() for connection in self._server._connections)

    @property
    def addresses(self) -> list[str]:
        """The address of each connected client."""
        return [getattr(connection.context, "remote_ip") for connection in self._server._connections]

    async def close(self) -> None:
        """End all connections at once."""
        await self._server.close_all_connections()


class _HTTPServer(HTTPServer):
    """Tornado's server, which reads no further after it has closed a connection.

    Otherwise it handles what it already holds of that connection: a request sent behind `Connection: close`
    would be carried out, and a note revealed to nobody.
    """

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        if getattr(request_conn, "stream").closed():
            return HTTPMessageDelegate()
        return super().start_request(server_conn, request_conn)
