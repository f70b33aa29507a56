"""The parent of server processes: starts them, restarts any that dies, forwards SIGTERM and waits.

It runs if there are several server processes, or an embedded PostgreSQL beside them.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial

from server import linux
from server.settings import Settings

log = logging.getLogger(__name__)

TICK = 0.1
RESTART_AFTER = (
    1.0  # seconds after the last start, so that one that dies at once does not restart without pause
)
STOP_MARGIN = 5.0  # seconds that a process gets to stop, beyond those for the requests in progress

DONE = 0
FAILED = 1
REFUSED = 78  # EX_CONFIG of sysexits.h: starting again would not help


def supervise(
    settings: Settings, environment: Mapping[str, str], tick: Callable[[], None] = lambda: None
) -> int:
    """Keep one server process running for each port until SIGTERM or SIGINT.

    Args:
        environment: of the processes, except for their number and their port. If a file holds a database
            URL, the environment names the file, and each process reads it.
        tick: called about ten times a second; if it raises, everything stops.

    Returns:
        The exit code: DONE, or FAILED if a process refused to start.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    processes = [_Process(_environment(settings, environment, port)) for port in settings.ports]
    try:
        while not stop.wait(TICK):
            tick()
            for process in processes:
                if process.refused:
                    return FAILED
                process.restart_if_dead()
        return DONE
    finally:
        for process in processes:
            process.terminate()
        deadline = time.monotonic() + settings.drain_seconds + STOP_MARGIN
        for process in processes:
            process.wait_or_kill(deadline)


def _environment(settings: Settings, environment: Mapping[str, str], port: int) -> dict[str, str]:
    assert settings.public_url
    return {**environment, "PROCESSES": "1", "PORT": str(port), "PUBLIC_URL": settings.public_url}


class _Process:
    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._restarts = 0
        self._start()

    def _start(self) -> None:
        self._started = time.monotonic()
        self._popen = subprocess.Popen(
            [sys.executable, "-m", "server"],
            env=self._environment,
            preexec_fn=partial(linux.die_with_parent, signal.SIGKILL),  # killing the parent kills them all
        )

    @property
    def refused(self) -> bool:
        """Whether its first start was refused, because a setting is wrong or a schema has another version.

        A later refusal, in the middle of an upgrade, must not stop the other processes.
        """
        return not self._restarts and self._popen.poll() == REFUSED

    def restart_if_dead(self) -> None:
        code = self._popen.poll()
        if code is not None and time.monotonic() - self._started > RESTART_AFTER:
            log.error("a server process ended with code %d: starting another", code)
            self._restarts += 1
            self._start()

    def terminate(self) -> None:
        self._popen.terminate()

    def wait_or_kill(self, deadline: float) -> None:
        """Wait until it has stopped, and kill it at the deadline."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(max(0.0, deadline - time.monotonic()))
        self._popen.kill()
        self._popen.wait()
