"""Bounds on memory and processes, as a container engine sets them: the kernel's control groups, version 1 or 2."""

import os
import re
import time
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
SECOND = (ROOT / "cgroup.controllers").exists()


def missing():
    """Why no group can be made here, or None."""
    for controller, folder in _folders().items():
        if not os.access(folder / "cgroup.procs", os.W_OK):
            return f"this user may make no control group for {controller} in {folder}"
    return None


def _folders():
    """Where a group of each controller is made: in version 1 within this process's own, so that its bounds hold."""
    if SECOND:
        return dict.fromkeys(("memory", "pids"), ROOT)
    own = dict(re.findall(r"^\d+:(.*):/(.*)$", Path("/proc/self/cgroup").read_text(), re.M))
    return {controller: ROOT / controller / own.get(controller, "") for controller in ("memory", "pids")}


class Group:
    """A group with a bound on memory, in MiB without swap, and on processes and threads."""

    def __init__(self, name, memory, processes):
        self._memory, self._pids = (folder / name for folder in _folders().values())
        for folder in {self._memory, self._pids}:
            folder.mkdir()
        (self._pids / "pids.max").write_text(str(processes))
        if SECOND:
            bounds = {"memory.max": memory << 20, "memory.swap.max": 0}
        else:
            bounds = {"memory.limit_in_bytes": memory << 20, "memory.memsw.limit_in_bytes": memory << 20}
        for file, bound in bounds.items():
            (self._memory / file).write_text(str(bound))

    def add(self, pid):
        """Move a process into the group; what it starts is born there."""
        for folder in {self._memory, self._pids}:
            (folder / "cgroup.procs").write_text(str(pid))

    def most_memory(self):
        """The most MiB that it had at once, the kernel's cache of its files included."""
        file = "memory.peak" if SECOND else "memory.max_usage_in_bytes"
        return int((self._memory / file).read_text()) / 2**20

    def killed(self):
        """How many of its processes the kernel has killed because the memory was used up."""
        file = "memory.events" if SECOND else "memory.oom_control"
        return int(re.search(r"^oom_kill (\d+)$", (self._memory / file).read_text(), re.M)[1])

    def remove(self):
        """When all its processes have ended."""
        deadline = time.monotonic() + 30
        for folder in {self._memory, self._pids}:
            while (folder / "cgroup.procs").read_text() and time.monotonic() < deadline:
                time.sleep(0.05)
            folder.rmdir()
