"""What Linux does for a process: end it with its parent, forbid core dumps, take back free memory."""

from __future__ import annotations

import ctypes
import resource
import sys

# Options of prctl(2).
PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4

_LIBC = ctypes.CDLL(None)


def die_with_parent(signal_number: int) -> None:
    """Have the kernel send this process a signal when its parent dies, however the parent dies.

    A child calls it before it runs its program. On other systems it does nothing.
    """
    _prctl(PR_SET_PDEATHSIG, signal_number)


def forbid_core_dumps() -> None:
    """Keep messages and tokens, which are in memory during a request, off the disk after a crash."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _prctl(PR_SET_DUMPABLE, 0)  # a core_pattern with a pipe ignores the limit


def return_free_memory() -> None:
    """Give the C library's free memory back to the system, which glibc otherwise keeps after a peak."""
    if hasattr(_LIBC, "malloc_trim"):
        _LIBC.malloc_trim(0)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        _LIBC.prctl(option, value)
