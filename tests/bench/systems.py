"""The systems to measure: processes that are started, used, measured and stopped."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import psutil

from server import embedded, schema
from tests.server_process import free_port

ROOT = Path(__file__).resolve().parents[2]
KEYS = 20_000_000  # enough for all rounds, which takes a second to make
START_SECONDS = 20


class System:
    """Server processes that answer on `servers`, and the processes that work for them: process ids by role."""

    def __init__(
        self, name: str, servers: Sequence[tuple[str, int]], roles: Mapping[str, Sequence[int]]
    ) -> None:
        self.name, self.servers, self.roles = name, servers, roles
        self.tls = False

    def cpu_seconds(self) -> dict[str, float]:
        """CPU time so far by role, children included."""
        return {role: sum(map(_cpu_seconds, pids)) for role, pids in self.roles.items()}

    def resident_mib(self) -> float:
        """Memory of the largest server process."""
        return max(psutil.Process(pid).memory_info().rss for pid in self.roles["server"]) / 2**20


def _cpu_seconds(pid: int) -> float:
    process = psutil.Process(pid)
    total = 0.0
    for one in [process, *process.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            times = one.cpu_times()
            total += times.user + times.system
    times = process.cpu_times()
    return total + times.children_user + times.children_system


@contextlib.contextmanager
def process(
    command: Sequence[str],
    environment: Mapping[str, str] | None = None,
    stdout: int | None = None,
    stderr: int | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is ended when it is no longer needed."""
    running = subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | (environment or {}),
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
    )
    try:
        yield running
    finally:
        running.terminate()
        try:
            running.wait(30)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


@contextlib.contextmanager
def database() -> Iterator[embedded.Postgres]:
    """A PostgreSQL as `make run` has it, with its defaults: what is committed is on the disk."""
    with tempfile.TemporaryDirectory(prefix="nw-bench-", dir="/var/tmp") as folder:
        Path(folder).chmod(0o755)  # as root, PostgreSQL's own user has to pass
        with embedded.running(Path(folder, "data")) as postgres:
            for name in (schema.KEY_DB, schema.MSG_DB):
                schema.migrate(postgres.url(name), name)
            yield postgres


@contextlib.contextmanager
def server(
    name: str,
    postgres: embedded.Postgres,
    processes: int = 1,
    module: Sequence[str] = ("server",),
) -> Iterator[System]:
    """Server processes, each on its own port, of the server or of a reference built from it."""
    assert postgres.process
    with contextlib.ExitStack() as stack:
        ports = [free_port() for _ in range(processes)]
        started = [
            stack.enter_context(
                process(
                    [sys.executable, "-m", *module],
                    {
                        "PORT": str(port),
                        "KEY_DB_URL": postgres.url(schema.KEY_DB),
                        "MSG_DB_URL": postgres.url(schema.MSG_DB),
                        "LOG_LEVEL": "error",
                    },
                )
            )
            for port in ports
        ]
        for port in ports:
            wait_for(f"http://127.0.0.1:{port}/" + ("" if "constant" in module else "readyz"))
        roles = {"server": [one.pid for one in started], "PostgreSQL": [postgres.process.pid]}
        yield System(name, [("127.0.0.1", port) for port in ports], roles)


@contextlib.contextmanager
def behind_nginx(name: str, behind: System, folder: Path) -> Iterator[System]:
    """The same processes behind nginx as the project configures it, but for the limits of one address."""
    folder.mkdir()
    https_port = free_port()
    settings = {
        "UPSTREAMS": " ".join(f"{host}:{port}" for host, port in behind.servers),
        "HTTP_PORT": str(free_port()),
        "HTTPS_PORT": str(https_port),
        "PUBLIC_URL": f"https://localhost:{https_port}",
        "OPERATIONS_LISTEN": f"127.0.0.1:{free_port()}",
        "ACCESS_LOG": str(folder / "access.log"),
        "TEMP_DIR": str(folder),
        "TLS_CERTIFICATE": str(folder / "certificate.pem"),
        "TLS_CERTIFICATE_KEY": str(folder / "key.pem"),
        "MEMORY": "4096",  # enough for wrk's connections
    }
    site = {f"SITE_{name}": text for name, text in settings.items()} | {"SITE_MODE": "tls"}
    for script, environment in (("self-signed.sh", site), ("render", settings)):
        arguments = [str(folder)] if script == "render" else []
        subprocess.run(
            [ROOT / "nginx" / script, *arguments],
            env=os.environ | environment,
            check=True,
            stdout=subprocess.DEVNULL,
        )
    for limits in (*(folder / "conf.d" / "limits").iterdir(), folder / "conf.d" / "front" / "stream.conf"):
        lines = limits.read_text().splitlines(keepends=True)
        unlimited = [line for line in lines if not line.lstrip().startswith(("limit_req ", "limit_conn "))]
        limits.write_text("".join(unlimited))
    user = "user nobody nogroup;" if os.geteuid() == 0 else ""
    nginx = ["nginx", "-c", str(folder / "nginx.conf"), "-g", f"daemon off; pid {folder}/nginx.pid; {user}"]
    with process(nginx, stderr=subprocess.DEVNULL) as running:
        _wait_for_port(https_port)
        system = System(name, [("127.0.0.1", https_port)], dict(behind.roles) | {"nginx": [running.pid]})
        system.tls = True
        yield system


def _wait_for_port(port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def wait_for(url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            urllib.request.urlopen(url, timeout=1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
