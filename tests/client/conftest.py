"""The command as people and scripts start it, a real service, and a way to it that can be cut."""

import contextlib
import fcntl
import http.server
import json
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import termios
import threading
import time
import urllib.parse

import pytest

from server import schema
from tests.browser.conftest import Recorder
from tests.conftest import fresh_database, statements
from tests.server_process import ROOT, serving

PATIENCE = 60  # seconds for what has to come
COMMAND = [sys.executable, "-W", "error", "-m", "client"]


class Way(Recorder):
    """A recorder that can break off the answer to a request, which it knows by words of it."""

    def __init__(self):
        super().__init__()
        self.cuts = {}  # words of a request that was sent, and after how many bytes its answer breaks off

    def _pump(self, source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                due = [self.cuts.pop(words) for words in list(self.cuts) if words in self.sent]
                sink.sendall(data[: due[0]] if due else data)
                if due:
                    break
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)


@pytest.fixture(scope="package")
def _service(postgres, seeded_key_db_url):
    msg_db_url = fresh_database(postgres, schema.MSG_DB)
    settings = {
        "KEY_DB_URL": seeded_key_db_url,
        "MSG_DB_URL": msg_db_url,
        "DB_TIMEOUT": str(PATIENCE),
        "LOG_LEVEL": "warning",
    }
    way = Way()
    with serving({**settings, "PUBLIC_URL": way.url}) as (url, _):
        way.upstream = urllib.parse.urlsplit(url).port
        yield way, msg_db_url
    way.close()


@pytest.fixture
def way(_service):
    """The way to the service: keeps what is sent, and can cut an answer."""
    way, _ = _service
    way.sent.clear()
    way.cuts = {}
    return way


@pytest.fixture
def url(way):
    """The origin of the service."""
    return way.url


@pytest.fixture
def msg_db(_service):
    """Runs a statement in the service's msg-db."""
    with statements(_service[1]) as run:
        yield run


@pytest.fixture
def environment(url, tmp_path):
    """The variables that the command gets; tests add others."""
    return {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TZ": "UTC", "NOTE_WHISPERER_URL": url}


@pytest.fixture
def nw(environment):
    """Runs the command without a terminal: `nw("read", link, data=b"", pass_fds=())`."""

    def run(*arguments, data=b"", **options):
        return subprocess.run(
            [*COMMAND, *arguments],
            input=None if "stdin" in options else data,
            stdout=options.pop("stdout", subprocess.PIPE),
            stderr=options.pop("stderr", subprocess.PIPE),
            env=environment,
            cwd=ROOT,
            start_new_session=True,  # without the terminal of the person who runs the tests
            timeout=PATIENCE,
            **options,
        )

    return run


@pytest.fixture
def sent(nw):
    """Sends a message; returns its link and its receipt: `sent("hello", "--lifetime", "5m")`."""

    def send(message="hello", *arguments):
        done = nw("send", "--json", *arguments, data=message.encode())
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        return answer["link"], answer["receipt"]

    return send


class Terminal:
    """A person at a terminal that runs the command."""

    def __init__(self, arguments, environment, stdin=None, stdout=None, stderr=None, columns=80):
        self._master, self._slave = pty.openpty()
        termios.tcsetwinsize(self._slave, (24, columns))
        self.screen = b""
        self._process = subprocess.Popen(
            [*COMMAND, *arguments],
            stdin=self._slave if stdin is None else stdin,
            stdout=self._slave if stdout is None else stdout,
            stderr=self._slave if stderr is None else stderr,
            env={"TERM": "xterm", **environment},
            cwd=ROOT,
            start_new_session=True,
            preexec_fn=self._log_in,
        )
        os.close(self._slave)

    def _log_in(self):
        """Take the terminal, and listen to Ctrl+C: a shell lets its background jobs ignore it."""
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        fcntl.ioctl(self._slave, termios.TIOCSCTTY, 0)

    def wait_for(self, text):
        """Until the text is on the screen, behind what was waited for before."""
        deadline = time.monotonic() + PATIENCE
        start = getattr(self, "_seen", 0)
        while text.encode() not in self.screen[start:]:
            assert self._read(deadline), f"{text!r} did not come: {self.screen!r}"
        self._seen = self.screen.index(text.encode(), start) + len(text.encode())

    def type(self, text):
        os.write(self._master, text.encode())

    def end(self):
        """Wait until the command ends; returns its exit code."""
        deadline = time.monotonic() + PATIENCE
        while self._read(deadline):
            pass
        return self._process.wait(PATIENCE)

    def echoes(self):
        """Whether the terminal shows what is typed."""
        return bool(termios.tcgetattr(self._master)[3] & termios.ECHO)

    def _read(self, deadline):
        ready, _, _ = select.select([self._master], [], [], max(0, deadline - time.monotonic()))
        assert ready, f"nothing more came: {self.screen!r}"
        with contextlib.suppress(OSError):  # the other end is closed
            data = os.read(self._master, 65536)
            self.screen += data
            return bool(data)
        return False

    def close(self):
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        os.close(self._master)


@pytest.fixture
def terminal(environment):
    """Starts the command at a terminal: `terminal("read", link)`."""
    started = []

    def start(*arguments, **streams):
        started.append(Terminal(arguments, environment, **streams))
        return started[-1]

    yield start
    for one in started:
        one.close()


class Stranger:
    """An HTTP server that is not note-whisperer: gives one answer to everything, and keeps what it was sent."""

    def __init__(self, status, headers, body, tls=None):
        self.requests = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                outer.requests.append((self.path, dict(self.headers)))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if tls:
            self._server.socket = tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port = self._server.server_address[1]
        self.url = f"{'https' if tls else 'http'}://localhost:{self.port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def stranger():
    """Starts such a server: `stranger(302, {"Location": "…"}, b"")`."""
    started = []

    def start(status, headers, body=b"", tls=None):
        started.append(Stranger(status, headers, body, tls))
        return started[-1]

    yield start
    for one in started:
        one.close()
