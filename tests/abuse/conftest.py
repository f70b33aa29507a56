"""A real server process, and nginx in front of one: the same abuse for each."""

import asyncio
import json
import os
import re
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import pytest

from server import schema
from tests.abuse.wire import PATIENCE
from tests.conftest import fresh_database
from tests.deploy.nginx.conftest import NGINX, UNLIMITED, Nginx
from tests.server_process import serving

# The number of requests of each test that can generate any number.
HOSTILE_REQUESTS = int(os.environ.get("HOSTILE_REQUESTS", "600"))

FRONTS = ("server", "nginx")
MARKER = "hidden-words"  # in requests, but never in logs


class Front:
    """A server to send bytes to, and its logs."""

    def __init__(self, name, address, server_url, folder):
        self.name, self.address, self.server_url = name, address, server_url
        self.url = f"http://{address[0]}:{address[1]}"
        self._folder = folder
        self._secrets = {MARKER}
        self._failed_at_first = self._failed()  # /readyz answers 503 until the server is ready

    def log(self):
        """All that the server and nginx have logged so far."""
        return "".join(path.read_text(errors="replace") for path in self._folder.glob("*.log"))

    def assert_unmoved(self):
        """The server lives and serves, nothing failed, and nothing that was sent is in a log."""
        assert urllib.request.urlopen(f"{self.server_url}/readyz", timeout=PATIENCE).status == 200
        log = self.log()
        assert [secret for secret in self._secrets if secret in log] == []
        assert "Traceback" not in log
        assert [line for line in log.splitlines() if re.search(r" (ERROR|CRITICAL) ", line)] == []
        assert self._failed() == self._failed_at_first

    def _failed(self):
        return {status: count for status, count in self.statuses().items() if status >= 500}

    def statuses(self):
        """How often the server has answered with each status."""
        text = urllib.request.urlopen(f"{self.server_url}/metrics", timeout=PATIENCE).read().decode()
        counts = {}
        for status, count in re.findall(r'_seconds_count\{[^}]*status="(\d+)"\} ([\d.e+]+)', text):
            counts[int(status)] = counts.get(int(status), 0) + int(float(count))
        return counts

    def put(self, message="hello", **fields):
        """Put a message; returns its key and token."""
        request = urllib.request.Request(
            f"{self.server_url}/post",
            json.dumps({"message": message, **fields}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            key, token = json.load(answer)["url"].split("/")[-2:]
        self._secrets.update([f"/{key}", token])
        return key, token

    def holds(self, key):
        """Whether a note exists, unread."""
        try:
            return urllib.request.urlopen(f"{self.server_url}/{key}", timeout=PATIENCE).status == 200
        except urllib.error.HTTPError as error:
            error.close()
            return False


@pytest.fixture(scope="session", params=FRONTS)
def front(request, postgres, seeded_key_db_url):
    """A server process, by itself or behind nginx."""
    behind_nginx = request.param == "nginx"
    if behind_nginx and NGINX is None:
        pytest.skip("nginx is not installed (apt-get install nginx-light)")
    environment = {
        "KEY_DB_URL": seeded_key_db_url,
        "MSG_DB_URL": fresh_database(postgres, schema.MSG_DB),
        "LOG_LEVEL": "debug",
        "DB_TIMEOUT": str(PATIENCE),
    }
    with tempfile.TemporaryDirectory(prefix="nw-abuse-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # if root runs the tests, nginx's user needs access
        with serving(environment, folder / "server.log") as (url, _):
            port = int(url.rpartition(":")[2])
            if not behind_nginx:
                yield Front(request.param, ("127.0.0.1", port), url, folder)
                return
            nginx = Nginx(folder, [SimpleNamespace(port=port)], TLS="off", **UNLIMITED)
            yield Front("nginx", ("127.0.0.1", nginx.http_port), url, folder)
            nginx.stop()


@pytest.fixture
def run():
    """Runs a coroutine until it ends."""
    return asyncio.run
