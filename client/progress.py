"""How far something long has come, for a person at a terminal: in percent, amounts, rate and time left."""

from __future__ import annotations

import time
from collections.abc import Callable

from client import terminal

LONGEST_BAR = 30  # characters


class Progress:
    """The progress of one thing, on a line that the next output replaces."""

    def __init__(self, doing: str, everything: int, amount: Callable[[float], str]) -> None:
        """
        Args:
            doing: one word, such as Sending.
            everything: how much there is to do, more than 0.
            amount: says a number of bytes, or whatever it is, in words.
        """
        self._doing, self._all, self._amount = doing, everything, amount
        self._done = 0
        self._start = time.monotonic()

    def add(self, amount: int) -> None:
        """Count what was just done."""
        self._done += amount
        rate = self._done / max(time.monotonic() - self._start, 0.001)
        bar = "#" * (LONGEST_BAR * self._done // self._all)
        terminal.show_passing(
            [
                f"{self._doing}: {100 * self._done // self._all} %",
                f", {in_time((self._all - self._done) / rate)} left",
                f", {self._amount(self._done)} of {self._amount(self._all)}",
                f", {self._amount(rate)}/s",
                f" [{bar:.<{LONGEST_BAR}}]",
            ]
        )


def in_bytes(count: float) -> str:
    """A number of bytes for a person: 3.4 MB."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit != "MB" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def in_time(seconds: float) -> str:
    """A time to wait for a person: 2 min 5 s."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
