"""SnapPass in its recommended form: gunicorn with two workers, and Redis."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import venv
from collections.abc import Iterator
from pathlib import Path

from tests.bench import workload
from tests.bench.load import Job, post
from tests.bench.systems import ROOT, System, process, wait_for
from tests.server_process import free_port

REQUIREMENTS = ROOT / "requirements" / "bench.txt"
WORKERS = 2

FILL = """
import sys
from snappass.main import set_password
for _ in range(int(sys.argv[1])):
    print(set_password(sys.argv[2], 3600))
"""


class SnapPass(System):
    """A System that knows how to be filled."""

    python = ""
    redis_port = 0

    def job_of(self, kind: str, notes: int) -> Job:
        form = "application/x-www-form-urlencoded"
        if kind.startswith("put"):
            body = f"password={workload.MESSAGE.replace(' ', '+')}&ttl=hour"
            return Job(*post("/", body, form), 200, '"link"')
        filled = subprocess.run(
            [self.python, "-c", FILL, str(notes), workload.MESSAGE],
            env=os.environ | {"REDIS_PORT": str(self.redis_port)},
            check=True,
            capture_output=True,
            text=True,
        )
        return Job(*post("/*", "", form), 200, workload.MESSAGE, ids=filled.stdout.split())


@contextlib.contextmanager
def running(folder: Path) -> Iterator[SnapPass]:
    """SnapPass in a separate virtual environment below `folder`."""
    environment = folder / "snappass"
    python = str(environment / "bin" / "python")
    venv.create(environment, with_pip=True)
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
    subprocess.run([*install, "-r", str(REQUIREMENTS)], check=True, stderr=subprocess.DEVNULL)
    port, redis_port = free_port(), free_port()
    redis = [
        "redis-server",
        "--port",
        str(redis_port),
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--loglevel",
        "warning",
    ]
    gunicorn = [
        python,
        "-m",
        "gunicorn",
        "-w",
        str(WORKERS),
        "-b",
        f"127.0.0.1:{port}",
        "--log-level",
        "warning",
    ]
    settings = {"REDIS_PORT": str(redis_port), "NO_SSL": "True"}
    with (
        process(redis, stdout=subprocess.DEVNULL) as store,
        process([*gunicorn, "snappass.main:app"], settings) as web,
    ):
        wait_for(f"http://127.0.0.1:{port}/")
        system = SnapPass("SnapPass", [("127.0.0.1", port)], {"server": [web.pid], "Redis": [store.pid]})
        system.python, system.redis_port = python, redis_port
        yield system


def missing() -> bool:
    """Whether this machine has no Redis."""
    return shutil.which("redis-server") is None
