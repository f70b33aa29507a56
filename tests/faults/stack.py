"""What faults are done to: a PostgreSQL of their own, and server processes that can be killed."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2.extensions import parse_dsn

from server import embedded, schema
from tests.server_process import ROOT, free_port

FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")


def name_of(url: str) -> str:
    """The name of the database that a URL means."""
    return str(parse_dsn(url)["dbname"])


class Cluster:
    """A PostgreSQL on a TCP port that may be killed, frozen and started again.

    Args:
        folder: an empty folder for its files, which it makes its user's.
        programs: where `postgres` and `initdb` lie.
        clock: whether its clock can be set (needs libfaketime).
    """

    def __init__(self, folder: Path, programs: Path, clock: bool = False, **configuration: str) -> None:
        folder.mkdir(exist_ok=True)
        self.folder, self.programs = folder, programs
        self.owner = embedded._unprivileged_user()
        self.port = free_port()
        self.data = folder / "data"
        self.log = folder / "postgres.log"
        self.configuration = {
            "listen_addresses": "127.0.0.1",
            "max_connections": "100",
            "shared_buffers": "16MB",
            "max_wal_size": "64MB",
            "restart_after_crash": "on",
            **configuration,
        }
        self.environment = {"PATH": os.environ["PATH"], "LC_ALL": "C"}
        self.clock_file = folder / "clock"
        if clock:
            self.clock_file.write_text("+0")
            self.environment |= {
                "LD_PRELOAD": str(FAKETIME),
                "FAKETIME_TIMESTAMP_FILE": str(self.clock_file),
                "FAKETIME_NO_CACHE": "1",
                "DONT_FAKE_MONOTONIC": "1",
                "FAKETIME_DONT_RESET": "1",
            }
        self.process: subprocess.Popen[bytes] | None = None
        if self.owner:
            shutil.chown(folder, self.owner.pw_uid, self.owner.pw_gid)

    def create(self) -> None:
        """Make the database files."""
        self.run(
            "initdb", f"--pgdata={self.data}", f"--username={embedded.SUPERUSER}", "--auth=trust", "--no-sync"
        )

    def run(self, program: str, *arguments: str) -> str:
        """Run one of PostgreSQL's programs as its user."""
        done: subprocess.CompletedProcess[str] = subprocess.run(
            [self.programs / program, *arguments],
            capture_output=True,
            text=True,
            cwd="/",
            env=self.environment,
            **embedded._as_user(self.owner),
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self, wait: float = 30.0) -> None:
        options = [f"-c{name}={value}" for name, value in self.configuration.items()]
        folders = [f"-D{self.data}", f"-k{self.folder}"]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [self.programs / "postgres", *folders, "-p", str(self.port), *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=self.environment,
                start_new_session=True,
                **embedded._as_user(self.owner),
            )
        self.wait_until_up(wait)

    def wait_until_up(self, seconds: float = 30.0) -> None:
        deadline = time.monotonic() + seconds
        while True:
            try:
                return psycopg2.connect(self.url("postgres"), connect_timeout=2).close()
            except psycopg2.OperationalError:
                assert time.monotonic() < deadline, self.log.read_text()[-2000:]
                time.sleep(0.05)

    def url(self, database: str) -> str:
        return f"postgresql://{embedded.SUPERUSER}@127.0.0.1:{self.port}/{database}?sslmode=disable"

    def execute(self, sql: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        with contextlib.closing(psycopg2.connect(self.url(database))) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(sql)
                return cursor.fetchall() if cursor.description else []

    def create_msg_db(self) -> None:
        self.execute("CREATE DATABASE msg_db")
        schema.migrate(self.url("msg_db"), schema.MSG_DB)

    def set_clock(self, seconds: int) -> None:
        """Let its clock jump to so many seconds off the machine's."""
        self.clock_file.write_text(f"{seconds:+d}")

    # Faults

    def processes(self) -> list[int]:
        """The postmaster and its children."""
        assert self.process
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [self.process.pid, *map(int, children.read_text().split())]

    def backends(self) -> list[int]:
        """Those that serve clients of the msg-db; waits until there are some."""
        pids: list[int] = []
        deadline = time.monotonic() + 30
        while not pids and time.monotonic() < deadline:
            with contextlib.suppress(psycopg2.OperationalError):  # it may be recovering
                pids = [
                    pid for pid, in self.execute("SELECT pid FROM pg_stat_activity WHERE datname = 'msg_db'")
                ]
        return pids

    def signal_all(self, number: int) -> None:
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def freeze(self) -> None:
        self.signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        self.signal_all(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL to everything at once, as when the machine dies."""
        assert self.process
        self.process.send_signal(
            signal.SIGSTOP
        )  # a process that it forks from here on would outlive the others
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        pids = self.processes()
        self.signal_all(signal.SIGKILL)
        self.process.wait()
        _wait_for_the_end_of(pids)

    def stop(self, number: int = signal.SIGINT) -> None:
        """Fast by default; SIGQUIT is an immediate shutdown, which does not even say goodbye."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(60)

    def end(self) -> None:
        """Stop for good, and leave nothing behind."""
        with contextlib.suppress(OSError):
            self.thaw()
        if self.process and self.process.poll() == -signal.SIGKILL:
            self.start()  # this removes the shared memory of the one that was killed
        self.stop(signal.SIGQUIT)


def _wait_for_the_end_of(pids: list[int]) -> None:
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}/status").exists() and not _is_zombie(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _is_zombie(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
    return True


@contextlib.contextmanager
def cluster(folder: Path, programs: Path, clock: bool = False, **configuration: str) -> Iterator[Cluster]:
    """A running cluster with an empty msg-db."""
    cluster = Cluster(folder, programs, clock, **configuration)
    cluster.create()
    try:
        cluster.start()
        cluster.create_msg_db()
        yield cluster
    finally:
        cluster.end()


class ServerProcess:
    """One `python -m server` on a port that stays its own."""

    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = log
        self.environment = {"PATH": os.environ["PATH"], "PORT": str(self.port), **environment}

    def start(self) -> None:
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "server"],
                env=self.environment,
                cwd=ROOT,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait_until_ready(self, seconds: float = 60.0) -> None:
        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(OSError):
                if urllib.request.urlopen(f"{self.url}/readyz", timeout=5).status == 200:
                    return
            assert self.process.poll() is None, f"the server ended with code {self.process.returncode}"
            assert time.monotonic() < deadline, "the server was not ready in time"
            time.sleep(0.05)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def terminate(self) -> int:
        self.process.terminate()
        return self.process.wait(60)


@contextlib.contextmanager
def servers(count: int, environment: Mapping[str, str], folder: Path) -> Iterator[list[ServerProcess]]:
    """Server processes that share two databases."""
    started = [ServerProcess(environment, folder / f"server{n}.log") for n in range(count)]
    try:
        for server in started:
            server.start()
        for server in started:
            server.wait_until_ready()
        yield started
    finally:
        for server in started:
            if server.process.poll() is None:
                server.process.terminate()
        for server in started:
            server.process.wait(60)
