"""The memory that a browser's tabs have for themselves, as its own task manager counts it."""

import contextlib
import re
import threading
from pathlib import Path

INTERVAL = 0.02  # seconds between two looks


class Peak:
    """The most memory of its own that a process of tabs has during a `with`, in bytes.

    Args:
        pid: of a process above the browser's.
        tabs: a pattern of the command lines of processes that have tabs.
    """

    def __init__(self, pid, tabs):
        self.bytes = 0
        self._pid, self._tabs = pid, tabs
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()

    def _watch(self):
        while not self._over.wait(INTERVAL):
            self.bytes = max([self.bytes, *map(_own_memory, self._processes())])

    def _processes(self):
        parents = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it has ended
                parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        for pid in parents:
            above = pid
            while above in parents and above != self._pid:
                above = parents[above]
            with contextlib.suppress(OSError):
                if above == self._pid and re.search(self._tabs, Path(f"/proc/{pid}/cmdline").read_text()):
                    yield pid


def _own_memory(pid):
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) << 10
    return 0
