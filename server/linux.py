"""What the kernel does for a process: end it with its parent, and keep its memory out of core dumps."""

from __future__ import annotations

import ctypes
import resource
import sys

# Options of prctl(2).
PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4


def die_with_parent(signal_number: int) -> None:
    """Have the kernel send this process a signal when its parent dies, however the parent dies.

    A child calls it before it runs its program. Elsewhere than on Linux it does nothing.
    """
    _prctl(PR_SET_PDEATHSIG, signal_number)


def forbid_core_dumps() -> None:
    """Keep messages and tokens, which are in memory during a request, off the disk after a crash."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _prctl(PR_SET_DUMPABLE, 0)  # a core_pattern with a pipe ignores the limit


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value)
