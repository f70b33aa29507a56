"""Shows progress: a bar on a terminal, otherwise a log line every few seconds."""

from __future__ import annotations

import io
import logging
import sys
from typing import Any

from tqdm import tqdm

log = logging.getLogger(__name__)

LOG_INTERVAL = 5.0  # seconds


class LogLines(tqdm):  # type: ignore[type-arg]  # generic for the type checker only
    """tqdm's progress meter, written to the log."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, mininterval=LOG_INTERVAL, miniters=1, ncols=0, file=io.StringIO())

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        log.info("%s", self)


def meter(title: str, initial: int, total: int) -> tqdm[Any]:
    """Make a progress meter for keys: enter it with `with`, and call `update(keys)` after each step."""
    kind: type[tqdm[Any]] = tqdm if sys.stderr.isatty() else LogLines
    return kind(desc=title, initial=initial, total=total, unit=" keys", unit_scale=True)
