"""Standard output, standard error and the terminal: what is written where, and what is asked.

Results go to standard output, everything else to standard error. Questions go to the terminal itself, so that
standard input and output may be pipes.
"""

from __future__ import annotations

import getpass
import json
import os
import select
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TextIO

from client.failures import Exit, Failure, UsageError

TERMINAL = "/dev/tty"

# Legible on a dark and on a light screen.
BOLD, WARNING, ERROR = "1", "35", "1;31"

_LINE_START = "\r\x1b[K"  # of the current line, which it empties


class _Style:
    """How to write to standard error, and whether a passing line is there."""

    says_errors_only = False
    has_colours = False
    can_replace_lines = False
    has_passing_line = False


def set_style(environment: Mapping[str, str], as_json: bool) -> None:
    """With JSON, only errors are said. Otherwise, people at a terminal get colours and passing lines.

    NO_COLOR turns colours off, and TERM=dumb both.
    """
    is_able = (environment.get("TERM") or "dumb") != "dumb"
    _Style.says_errors_only = as_json
    _Style.can_replace_lines = is_able and not as_json
    _Style.has_colours = is_able and not as_json and not environment.get("NO_COLOR")


def coloured(text: str, colour: str, stream: TextIO | None) -> str:
    """The text as this stream shows it."""
    if stream is None or not _Style.has_colours or not stream.isatty():
        return text
    return f"\x1b[{colour}m{text}\x1b[0m"


def show_passing(parts: Sequence[str]) -> None:
    """Show a line that the next output replaces: as many of its parts as fit, for a person at a terminal."""
    if sys.stderr is None or not _Style.can_replace_lines:
        return
    try:
        columns = os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except OSError:  # it is no terminal
        return
    line = ""
    for part in parts:
        if len(line) + len(part) >= columns:  # a full line would wrap
            break
        line += part
    _print(_LINE_START + line)
    _Style.has_passing_line = True


def _end_passing() -> None:
    if _Style.has_passing_line:
        _Style.has_passing_line = False
        _print(_LINE_START)


def _print(text: str) -> None:
    """Write to standard error. If nobody reads it, the command continues."""
    if sys.stderr is None:
        return
    try:
        print(text, end="", file=sys.stderr, flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


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
    _end_passing()
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
    """Write a JSON object to standard output, on its own line. It is ASCII: nothing controls a terminal."""
    write_line(json.dumps(members))


def write_link(link: str) -> None:
    """Write a link to standard output, on its own line."""
    write_line(coloured(link, BOLD, sys.stdout))


def notice(text: str) -> None:
    """Tell the person something on standard error. Programs that want JSON do not get it."""
    if not _Style.says_errors_only:
        say(text)


def warn(text: str) -> None:
    """Tell the person that something is not as they expect. The same for programs."""
    if not _Style.says_errors_only:
        _write_error(coloured(shown(text), WARNING, sys.stderr))


def say(text: str) -> None:
    """Write lines to standard error, for a person or a program."""
    _write_error(shown(text))


def say_error(program: str, text: str) -> None:
    """Tell the person why the command ends."""
    _write_error(f"{coloured(f'{program}:', ERROR, sys.stderr)} {shown(text)}")


def _write_error(text: str) -> None:
    _end_passing()
    _print(text + "\n")


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
    """A time of the service, such as 2026-11-25T14:05:00Z, in local time."""
    try:
        return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d, %H:%M %Z")
    except (ValueError, OverflowError):
        return shown(text)
