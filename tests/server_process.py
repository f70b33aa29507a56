"""A real server process for tests: started on a free port, told to stop, and waited for."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parent.parent


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def two_free_ports() -> int:
    """The first of two in a row that nobody listens on now."""
    while True:
        with contextlib.suppress(OSError):  # the second is taken, or there is none
            port = free_port()
            socket.create_server(("127.0.0.1", port + 1)).close()
            return port


@contextlib.contextmanager
def serving(
    environment: Mapping[str, str], log: Path | None = None
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """`python -m server` with these settings, ready to serve: its address and its process."""
    port = int(environment.get("PORT") or free_port())
    with contextlib.ExitStack() as stack:
        output = stack.enter_context(open(log, "wb")) if log else None
        process = subprocess.Popen(
            [sys.executable, "-m", "server"],
            env={"PATH": os.environ["PATH"], **environment, "PORT": str(port)},
            cwd=ROOT,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            url = f"http://localhost:{port}"
            wait_until_ready(url, process)
            yield url, process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.wait(60)


def wait_until_ready(url: str, process: subprocess.Popen[bytes], seconds: float = 60) -> None:
    """Ask /readyz until it says so."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise AssertionError(f"the server ended with code {process.returncode}")
        with contextlib.suppress(OSError):
            if urllib.request.urlopen(f"{url}/readyz", timeout=5).status == 200:
                return
        time.sleep(0.05)
    raise AssertionError("the server was not ready in time")
