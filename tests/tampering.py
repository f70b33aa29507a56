"""A front between a client and a server, which changes what the server answers."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import http.server
import threading

SKIPPED = {"connection", "keep-alive", "transfer-encoding", "date", "server"}


class Front:
    """Passes requests on to the server at `upstream`, a port; `change(request, answer)` may change each answer."""

    def __init__(self, upstream=None, change=None):
        self.upstream, self.change = upstream, change
        self.asked = []  # (method, path)
        front = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_request(self):
                front.pass_on(self)

            do_GET = do_HEAD = do_POST = do_DELETE = handle_request

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.url = f"http://localhost:{self.port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def pass_on(self, request):
        """Ask the server what the client asks, and answer with what `change` makes of it."""
        self.asked.append((request.command, request.path))
        body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        upstream = http.client.HTTPConnection("127.0.0.1", self.upstream, timeout=60)
        upstream.putrequest(request.command, request.path, skip_host=True, skip_accept_encoding=True)
        for name, value in request.headers.items():
            if name.lower() not in SKIPPED:
                upstream.putheader(name, value)
        upstream.endheaders(body)
        got = upstream.getresponse()
        answer = Answer(got.status, got.getheaders(), got.read())
        upstream.close()
        if self.change:
            self.change(request, answer)
        request.send_response_only(answer.status)
        for name, value in answer.headers:
            if name.lower() not in SKIPPED | {"content-length"}:
                request.send_header(name, value)
        if answer.status != 204:
            request.send_header("Content-Length", str(len(answer.body)))
        request.end_headers()
        with contextlib.suppress(OSError):  # the client has left
            if request.command != "HEAD":
                request.wfile.write(answer.body)

    def close(self):
        self._server.shutdown()
        self._server.server_close()


class Answer:
    """A server's answer, to be changed."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def set_header(self, name, value):
        """Replace a header, or remove it with None."""
        self.headers = [(other, old) for other, old in self.headers if other.lower() != name.lower()]
        if value is not None:
            self.headers.append((name, value))

    def edit(self, edited):
        """Replace the content by what `edited` makes of it, before it is compressed again."""
        compressed = ("content-encoding", "gzip") in [(name.lower(), value) for name, value in self.headers]
        content = edited(gzip.decompress(self.body) if compressed else self.body)
        self.body = gzip.compress(content) if compressed else content


def changing_byte(path, at=-1):
    """A change of one byte of what is at this path, whatever its query."""

    def edited(content):
        content = bytearray(content)
        content[at] ^= 1
        return bytes(content)

    def change(request, answer):
        if request.path.split("?")[0] == path and answer.body:
            answer.edit(edited)

    return change
