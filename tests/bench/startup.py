"""How soon the service is ready: after its databases are, and from nothing with `make run`."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from kgs import seeding
from server import embedded, schema
from tests.bench import systems
from tests.server_process import free_port

PATIENCE = 60


def measure(rounds: int) -> dict[str, Any]:
    """Seconds, as medians over the rounds."""
    with tempfile.TemporaryDirectory(prefix="nw-bench-", dir="/var/tmp") as folder:
        Path(folder).chmod(0o755)
        data = Path(folder, "data")
        with embedded.running(data) as postgres:
            for name in (schema.KEY_DB, schema.MSG_DB):
                schema.migrate(postgres.url(name), name)
            seeding.ensure_ahead(postgres.url(schema.KEY_DB), 100_000)
            started = [_after_start(postgres) for _ in range(rounds)]
        waited = [_after_databases(data) for _ in range(rounds)]
        first = [_make_run(Path(folder, f"run-{number}")) for number in range(rounds)]
        again = [_make_run(Path(folder, f"run-{number}")) for number in range(rounds)]
    return {
        "server process, databases already running": statistics.median(started),
        "server process, databases started after it": statistics.median(waited),
        "`make run`, first start": statistics.median(first),
        "`make run`, later start": statistics.median(again),
    }


def _server(postgres: embedded.Postgres, port: int) -> Any:
    environment = {
        "PORT": str(port),
        "KEY_DB_URL": postgres.url(schema.KEY_DB),
        "MSG_DB_URL": postgres.url(schema.MSG_DB),
        "LOG_LEVEL": "error",
    }
    return systems.process([sys.executable, "-m", "server"], environment, stderr=subprocess.DEVNULL)


def _after_start(postgres: embedded.Postgres) -> float:
    """From the start of the process until it is ready."""
    port = free_port()
    began = time.monotonic()
    with _server(postgres, port):
        return _until(f"http://127.0.0.1:{port}/readyz") - began


def _after_databases(data: Path) -> float:
    """From the moment at which the databases answer until a process that waits for them is ready."""
    port = free_port()
    with _server(embedded.Postgres(data / "socket"), port):
        _until(f"http://127.0.0.1:{port}/healthz")
        with embedded.running(data):
            began = time.monotonic()
            return _until(f"http://127.0.0.1:{port}/readyz") - began


def _make_run(data: Path) -> float:
    """From the command to the first page."""
    port = free_port()
    began = time.monotonic()
    environment = {"PORT": str(port), "DATA_DIR": str(data), "HOST": "127.0.0.1"}
    with systems.process(["make", "--silent", "run"], environment, stdout=subprocess.DEVNULL):
        return _until(f"http://127.0.0.1:{port}/") - began


def _until(url: str) -> float:
    """When this was answered with 200."""
    give_up = time.monotonic() + PATIENCE
    while time.monotonic() < give_up:
        try:
            urllib.request.urlopen(url, timeout=1).close()
            return time.monotonic()
        except (urllib.error.URLError, OSError):
            time.sleep(0.005)
    raise TimeoutError(url)
