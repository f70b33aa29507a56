"""The parent of server processes: starts them, restarts one that dies, hands SIGTERM on and waits.

It runs where there is more to keep than one process: several processes, or a PostgreSQL of our own.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence

log = logging.getLogger(__name__)

TICK = 0.1
RESTART_AFTER = 1.0  # seconds after the last start; a process that dies at once does not spin
DONE = 0


def supervise(environments: Sequence[Mapping[str, str]], stop_within: float, tick: Callable[[], None]) -> int:
    """Keep one `python -m server` running for each environment until SIGTERM or SIGINT.

    Args:
        environments: what differs from our own environment, for each process.
        stop_within: seconds that the processes get to stop by themselves.
        tick: called about ten times a second; may raise to stop everything.

    Returns:
        The exit code: 0, or 1 if a process refused to start.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    children = [_Child(environment) for environment in environments]
    try:
        while not stop.wait(TICK):
            tick()
            for child in children:
                if child.refused:
                    return 1
                child.keep()
        return DONE
    finally:
        for child in children:
            child.process.terminate()
        deadline = time.monotonic() + stop_within
        for child in children:
            child.end(deadline)


class _Child:
    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = dict(os.environ) | dict(environment)
        self._restarts = 0
        self._start()

    def _start(self) -> None:
        self._started = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "server"],
            env=self._environment,
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,
        )

    @property
    def refused(self) -> bool:
        """Whether its very first start was refused, because settings or the schema do not fit.

        One that is refused later, in the middle of an upgrade, is no reason to stop the others.
        """
        return not self._restarts and self.process.poll() == REFUSED

    def keep(self) -> None:
        """Start it again if it has died."""
        code = self.process.poll()
        if code is not None and time.monotonic() - self._started > RESTART_AFTER:
            log.error("a server process ended with code %d: starting another", code)
            self._restarts += 1
            self._start()

    def end(self, deadline: float) -> None:
        """Wait until it has stopped, and kill it after the deadline."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(max(0.0, deadline - time.monotonic()))
        self.process.kill()
        self.process.wait()


REFUSED = 78  # EX_CONFIG of sysexits.h


def _die_with_parent() -> None:
    """In the child: whoever kills the parent means the whole service."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
