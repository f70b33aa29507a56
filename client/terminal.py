"""Standard output, standard error and the terminal: what is written where, and what is asked.

Results go to standard output, and all else to standard error. Questions go to the terminal itself, so that
standard input and output may be pipes.
"""

from __future__ import annotations

import getpass
import json
import os
import select
import sys
import unicodedata
from datetime import datetime
from typing import Any

from client.failures import Exit, Failure, UsageError

TERMINAL = "/dev/tty"


def shown(text: str) -> str:
    """The text with its control characters made visible: they could rewrite the screen or the title.

    Line ends and tabs stay. Other control characters become, for example, <U+001B>.
    """
    text = text.replace("\r\n", "\n")
    return "".join(
        (
            f"<U+{ord(character):04X}>"
            if unicodedata.category(character) in ("Cc", "Cs") and character not in "\n\t"
            else character
        )
        for character in text
    )


def write_result(data: bytes) -> None:
    """Write to standard output, at once and whole. Raises Failure if nobody reads it or there is no room."""
    if sys.stdout is None:
        raise Failure(Exit.FAILED, "Standard output is closed.")
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except OSError as error:
        # What is in the buffer cannot be written at the end of the process either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise Failure(Exit.FAILED, f"Standard output could not be written: {error.strerror}.") from None


def write_line(text: str) -> None:
    """Write a line to standard output."""
    write_result((text + "\n").encode("utf-8", "backslashreplace"))


def write_json(members: dict[str, Any]) -> None:
    """Write a JSON object to standard output, on a line of its own. It is ASCII: nothing controls a terminal."""
    write_line(json.dumps(members))


def notice(text: str) -> None:
    """Tell the person something on standard error."""
    if sys.stderr is not None:
        print(shown(text), file=sys.stderr, flush=True)


def refuse_lost_output() -> None:
    """Raise Failure if it is already known that nobody reads standard output."""
    if sys.stdout is None:
        raise Failure(Exit.FAILED, "Standard output is closed. Nothing was sent.")
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    if any(events & (select.POLLERR | select.POLLNVAL) for _, events in poll.poll(0)):
        raise Failure(Exit.FAILED, "Nobody reads standard output any more. Nothing was sent.")


def output_is_terminal() -> bool:
    return sys.stdout is not None and sys.stdout.isatty()


def is_there() -> bool:
    """Whether there is a terminal that can be asked."""
    try:
        os.close(os.open(TERMINAL, os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def confirm(question: str) -> bool:
    """Ask a question on the terminal; only y and yes agree."""
    with open(TERMINAL, "w") as screen, open(TERMINAL) as keyboard:
        screen.write(f"{shown(question)} [y/N] ")
        screen.flush()
        return keyboard.readline().strip().lower() in ("y", "yes")


def ask_secret(prompt: str) -> str:
    """Ask for a line on the terminal without showing it."""
    try:
        return getpass.getpass(shown(prompt))
    except EOFError:
        raise UsageError("No passphrase was given.") from None


def moment(text: str) -> str:
    """A time of the service, such as 2026-11-25T14:05:00Z, as the clock on the wall shows it."""
    try:
        return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d, %H:%M %Z")
    except (ValueError, OverflowError):
        return shown(text)
