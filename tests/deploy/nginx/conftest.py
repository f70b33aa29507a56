"""The real nginx, rendered as on a plain host, in front of two real server processes."""

import grp
import http.client
import itertools
import json
import os
import pwd
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import urlencode

import pytest

from kgs import seeding
from server import schema
from tests.conftest import fresh_database
from tests.server_process import free_port

REPOSITORY = Path(__file__).resolve().parents[3]
NGINX = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
START_SECONDS = 120  # patience with a busy machine
KEYS = 200_000
ESTABLISHED = "01"  # in /proc/net/tcp

_names = itertools.count()


def pytest_collection_modifyitems(items):
    """Without nginx nothing here can run: say so by name."""
    if NGINX is None:
        for item in items:
            if REPOSITORY / "tests/deploy/nginx" in item.path.parents:
                item.add_marker(
                    pytest.mark.skip(
                        reason="nginx is not installed (apt-get install nginx-light libnginx-mod-stream)"
                    )
                )


def free_ports(count):
    """Ports of 127.0.0.1 that nobody uses."""
    return [free_port() for _ in range(count)]


def wait_for(condition, what, seconds=START_SECONDS):
    """Ask until it is so."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, f"waited {seconds} s in vain: {what}"
        threading.Event().wait(0.02)
    return result


class ServerProcess:
    """One `python -m server`, and what it logs."""

    def __init__(self, port, key_db_url, msg_db_url, log, program=REPOSITORY, **settings):
        """`program` is a folder with the server's code, of this version or another."""
        self.port = port
        self.log = log
        self.program = program
        self._environment = dict(
            PATH=os.environ["PATH"],
            PORT=str(port),
            KEY_DB_URL=key_db_url,
            MSG_DB_URL=msg_db_url,
            PUBLIC_URL="https://localhost",
            TRUSTED_PROXIES="127.0.0.1",
            LOG_LEVEL="debug",
            **settings,
        )
        self.start()

    def start(self):
        with open(self.log, "ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "server"], cwd=self.program, env=self._environment, stderr=output
            )

    def change(self, **settings):
        """Settings from its next start on."""
        self._environment.update(settings)

    def wait_until_ready(self):
        wait_for(self._is_ready, f"{self.log.read_text()}: the server process does not get ready")

    def _is_ready(self):
        assert self.process.poll() is None, self.log.read_text()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def revive(self):
        """Make it ready again, whatever was done to it."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
        else:
            self.start()
        self.wait_until_ready()

    def pause(self):
        """Neither read nor answer, like a process that is stuck."""
        self.process.send_signal(signal.SIGSTOP)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        """Stop it as an operator does: it completes the requests in progress."""
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        self.process.wait(30)


class Nginx:
    """An nginx with an operator's settings."""

    def __init__(self, folder, servers, **settings):
        self.folder = folder
        self._servers = servers
        self.http_port, self.https_port, self.operations_port = free_ports(3)
        self.settings = dict(
            UPSTREAMS=" ".join(f"127.0.0.1:{server.port}" for server in servers),
            HTTP_PORT=str(self.http_port),
            HTTPS_PORT=str(self.https_port),
            PUBLIC_URL=f"https://localhost:{self.https_port}",
            OPERATIONS_LISTEN=f"127.0.0.1:{self.operations_port}",
            ACCESS_LOG=str(folder / "access.log"),
            TEMP_DIR=str(folder),
            **settings,
        )
        self.render()
        with open(folder / "stderr.log", "wb") as output:
            self._process = subprocess.Popen(self.command("daemon off;"), stderr=output)
        wait_for(self._answers, "nginx does not start")

    def render(self):
        _run([REPOSITORY / "nginx/render", self.folder], {"PATH": _path(), **self.settings})

    def command(self, *directives):
        return [NGINX, "-c", str(self.folder / "nginx.conf"), "-g", " ".join([self._globals(), *directives])]

    def _globals(self):
        user = ""
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            user = f"user nobody {grp.getgrgid(nobody.pw_gid).gr_name};"
        return f"pid {self.folder}/nginx.pid; {user}"

    def _answers(self):
        assert self._process.poll() is None, (self.folder / "stderr.log").read_text()
        try:
            socket.create_connection(("127.0.0.1", self.operations_port)).close()
        except OSError:
            return False
        return True

    def connect(self, tls=None, timeout=30, source="127.0.0.1"):
        """A new connection to the port for the world, with TLS unless there is none, from this address."""
        options = {"timeout": timeout, "source_address": (source, 0)}
        if tls if tls is not None else self.settings.get("TLS") != "off":
            return http.client.HTTPSConnection(
                "localhost", self.https_port, context=self.tls_context(), **options
            )
        return http.client.HTTPConnection("127.0.0.1", self.http_port, **options)

    def tls_context(self):
        return ssl.create_default_context(cafile=self.settings["TLS_CERTIFICATE"])

    def ask(self, method, path, body=None, headers=None, connection=None, tls=None):
        """One request, on a new connection if none is given: (status, headers, body)."""
        own = connection is None
        connection = connection or self.connect(tls)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            if own:
                connection.close()

    def post_note(self, message="hello", **fields):
        """Put a note as curl does; returns its key and token."""
        status, _, body = self.ask(
            "POST",
            "/post",
            urlencode({"message": message, **fields}),
            {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"},
        )
        assert status == 201, body
        return json.loads(body)["url"].split("/")[-2:]

    def limits(self):
        """How many connections, reads and puts one client (and all) may have at once, by name."""
        rendered = "".join(path.read_text() for path in (self.folder / "conf.d").rglob("*.conf"))
        return {name: int(count) for name, count in re.findall(r"limit_conn (\w+) +(\d+);", rendered)}

    def processes(self):
        """The master's process id, and those of its workers."""
        master = self._process.pid
        with open(f"/proc/{master}/task/{master}/children") as children:
            return [master, *map(int, children.read().split())]

    def access_log(self):
        # The last line may be half written: a file grows by pages, whatever the size of a write.
        lines = (self.folder / "access.log").read_text().rpartition("\n")[0].splitlines()
        return [json.loads(line) for line in lines]

    def ask_and_log(self, *arguments, **options):
        """One request while there are no others: its status, and its line of the access log."""
        before = len(self.access_log())
        status = self.ask(*arguments, **options)[0]
        # nginx writes it after the answer.
        wait_for(lambda: len(self.access_log()) > before, "nothing is logged")
        (line,) = self.access_log()[before:]
        return status, line

    def logs(self):
        """Everything that nginx has written, except to its clients."""
        return "".join(path.read_text() for path in self.folder.glob("*.log"))

    def reading(self):
        """How many connections have a request that has begun and not been answered."""
        connection = http.client.HTTPConnection("127.0.0.1", self.operations_port)
        connection.request("GET", "/nginx_status")
        text = connection.getresponse().read().decode()
        connection.close()
        return sum(int(re.search(rf"{name}: (\d+)", text)[1]) for name in ("Reading", "Writing")) - 1

    def failures(self):
        """What the logs say of requests that failed, for a failing test's message."""
        lines = [line for line in self.access_log() if line["status"] >= 500]
        return "\n".join(
            [*map(str, lines[-10:]), *(server.log.read_text()[-2000:] for server in self._servers)]
        )

    def asked_lately(self):
        """The server processes that got the last requests."""
        return {line["upstream"] for line in self.access_log()[-50:]}

    def connections_to_servers(self):
        """How many connections nginx has to server processes."""
        ports = {f"{server.port:04X}" for server in self._servers}
        with open("/proc/net/tcp") as table:
            lines = [line.split() for line in table][1:]
        return sum(line[2].split(":")[1] in ports and line[3] == ESTABLISHED for line in lines)

    def signal(self, number):
        self._process.send_signal(number)

    def stop(self):
        self._process.terminate()
        self._process.wait()


class PatientNginx(Nginx):
    """An nginx that waits ten minutes for a client: a test on a busy machine may be slower than nginx allows."""

    def render(self):
        super().render()
        timeouts = self.folder / "snippets/timeouts.conf"
        timeouts.write_text(re.sub(r"\b\d+s;", "600s;", timeouts.read_text()))


def _path():
    return f"{os.environ.get('PATH', '')}:/usr/sbin"


def _run(command, environment=None):
    done = subprocess.run([str(part) for part in command], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def folders():
    """Makes folders that nginx's and PostgreSQL's unprivileged users may enter."""
    with tempfile.TemporaryDirectory(prefix="nw-deploy-") as root:
        Path(root).chmod(0o755)

        def make():
            folder = Path(root, str(next(_names)))
            folder.mkdir()
            return folder

        yield make


@pytest.fixture(scope="session")
def databases(postgres):
    """URLs of a key-db with keys and a msg-db, for server processes that outlive a test."""
    key_db_url, msg_db_url = (fresh_database(postgres, name) for name in (schema.KEY_DB, schema.MSG_DB))
    seeding.ensure_ahead(key_db_url, KEYS)
    return key_db_url, msg_db_url


@pytest.fixture(scope="session")
def start_servers(databases, folders):
    """Starts server processes, and stops them in the end."""
    started = []

    def start(count, **settings):
        folder = folders()
        servers = [
            ServerProcess(port, *databases, folder / f"server-{port}.log", **settings)
            for port in free_ports(count)
        ]
        started.extend(servers)
        for server in servers:
            server.wait_until_ready()
        return servers

    yield start
    for server in started:
        server.kill()


def self_signed(folder):
    """The settings of a certificate as nginx's image makes it at the first start, in a folder."""
    settings = {
        "TLS_CERTIFICATE": str(folder / "certificate.pem"),
        "TLS_CERTIFICATE_KEY": str(folder / "key.pem"),
    }
    site = {f"SITE_{name}": value for name, value in settings.items()}
    _run([REPOSITORY / "nginx/self-signed.sh"], {"PATH": _path(), "SITE_MODE": "tls", **site})
    return settings


@pytest.fixture(scope="session")
def certificate(folders):
    """One for all tests."""
    return self_signed(folders())


@pytest.fixture(scope="session")
def start_nginx(folders, certificate):
    """Starts nginx with further settings, and stops it in the end."""
    started = []

    def start(servers, kind=Nginx, **settings):
        started.append(kind(folders(), servers, **certificate, **settings))
        return started[-1]

    yield start
    for nginx in started:
        nginx.stop()


@pytest.fixture(scope="session")
def servers(start_servers):
    """Two server processes that no test stops."""
    return start_servers(2)


@pytest.fixture(scope="session")
def _mortal_servers(start_servers):
    return start_servers(2, DRAIN_SECONDS="20")


@pytest.fixture
def mortal_servers(_mortal_servers):
    """Two server processes that a test may stop or kill; both run when it begins."""
    for server in _mortal_servers:
        server.revive()
    return _mortal_servers


RATES = ("PEEK_RATE", "POST_RATE", "REVEAL_RATE", "CHUNK_RATE", "STATIC_RATE")
UNLIMITED = {"MEMORY": "4096", **dict.fromkeys(RATES, "9999r/s")}


@pytest.fixture(scope="session")
def site(servers, start_nginx):
    """nginx that ends TLS, with rates that no test reaches."""
    return start_nginx(servers, **UNLIMITED)


@pytest.fixture
def impatient(mortal_servers, start_nginx):
    """A new nginx, which has seen no server fail yet, and waits two seconds for an answer."""
    return start_nginx(mortal_servers, READ_TIMEOUT="2", **UNLIMITED)


@pytest.fixture(scope="session")
def balanced(servers, start_nginx):
    """nginx behind a balancer that ends TLS, with the limits of production."""
    return start_nginx(servers, TLS="off", BALANCERS="127.0.0.1/32")
