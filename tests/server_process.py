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
    """A port that nobody listens on, and that no other program gets before this process ends."""
    return _reserve(0)


def two_free_ports() -> int:
    """The first of two such ports in a row."""
    while True:
        port = free_port()
        with contextlib.suppress(OSError, OverflowError):  # the second is taken, or does not exist
            _reserve(port + 1)
            return port


def _reserve(port: int) -> int:
    """Keep a port (0: any) for a server that will listen on it, now or after a restart.

    Otherwise the kernel can give the port to another socket before the server listens, even to a client that
    connects to this very port. On Linux, a socket that is bound and does not listen keeps all others away,
    but lets a server listen that sets SO_REUSEADDR, which ours, nginx and PostgreSQL do.

    Raises:
        OSError: the port is taken.
    """
    with socket.socket() as reserving:
        reserving.bind(("127.0.0.1", port))
        port = int(reserving.getsockname()[1])
        if sys.platform == "linux":
            reserving.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            reserving.detach()  # the descriptor stays open until this process ends
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
