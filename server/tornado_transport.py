"""Tornado's own HTTP server with the interface of `transport.py`: the other choice of HTTP_TRANSPORT."""

from __future__ import annotations

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPConnection, HTTPMessageDelegate, HTTPServerConnectionDelegate

from server.httpd.transport import Limits


class TornadoServer:
    """What `transport.Server` is, at more than twice the cost of a request."""

    def __init__(self, application: HTTPServerConnectionDelegate, limits: Limits) -> None:
        self._server = _HTTPServer(
            application,
            max_header_size=limits.head,
            max_body_size=limits.longest,
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
        """Whether some of an answer has not left yet; Tornado has no other way to ask."""
        return any(connection.stream.writing() for connection in self._server._connections)

    @property
    def peers(self) -> list[str]:
        """The addresses of who is connected."""
        return [getattr(connection.context, "remote_ip") for connection in self._server._connections]

    async def close(self) -> None:
        """Hang up on everybody, at once."""
        await self._server.close_all_connections()


class _HTTPServer(HTTPServer):
    """Tornado's, which reads no further where it has hung up.

    Tornado closes a connection after the answer that ends it, and then goes on with what it already holds of
    it: a request sent behind `Connection: close` would be carried out, and a note revealed to nobody.
    """

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        if getattr(request_conn, "stream").closed():
            return HTTPMessageDelegate()
        return super().start_request(server_conn, request_conn)
