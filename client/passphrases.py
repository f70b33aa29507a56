"""Passphrases: from a file, from a descriptor or typed at the terminal, and never from an argument."""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path

from client import terminal
from client.failures import Exit, Failure, UsageError
from server import sealing

HOW = "use --passphrase-file FILE or --passphrase-fd N"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    sources = parser.add_mutually_exclusive_group()
    sources.add_argument(
        "--passphrase-file",
        metavar="FILE",
        help="take the passphrase from this file, without white space at its ends",
    )
    sources.add_argument(
        "--passphrase-fd",
        metavar="N",
        type=descriptor,
        help="take the passphrase from this open file descriptor",
    )


def descriptor(text: str) -> int:
    """The number of a file descriptor."""
    if not re.fullmatch("[0-9]{1,9}", text):
        raise argparse.ArgumentTypeError("takes the number of an open file descriptor")
    return int(text)


def given(options: argparse.Namespace) -> str | None:
    """The passphrase of the file or the descriptor; None if neither is named. Raises UsageError."""
    source: int | Path | None = options.passphrase_fd
    if options.passphrase_file is not None:
        source = Path(options.passphrase_file)
    if source is None:
        return None
    try:
        with open(source, "rb") as file:
            # White space at its ends does not count, such as the line end of a file.
            data = file.read(2 * sealing.MAX_PASSPHRASE_BYTES)
        return _checked(data.decode("utf-8"))
    except UnicodeDecodeError:
        raise UsageError("The passphrase is not text in UTF-8.") from None
    except OSError as error:
        raise UsageError(f"The passphrase could not be read: {os.strerror(error.errno or 0)}.") from None


def ask_new() -> str:
    """A new passphrase, typed twice. Raises UsageError."""
    if not terminal.is_there():
        raise UsageError(f"There is no terminal to ask for the passphrase: {HOW}.")
    passphrase = _checked(terminal.ask_secret("Passphrase: "))
    if sealing.strip_passphrase(terminal.ask_secret("The same passphrase again: ")) != passphrase:
        raise UsageError("The two passphrases differ. Nothing was sent.")
    return passphrase


def ask(prompt: str) -> str:
    """The passphrase of a message, typed once and not empty. Raises Failure if there is no terminal."""
    if not terminal.is_there():
        raise Failure(
            Exit.PASSPHRASE,
            f"This message needs a passphrase, and there is no terminal to ask for it: {HOW}. It is untouched.",
        )
    while not (words := sealing.strip_passphrase(terminal.ask_secret(prompt))):
        pass
    return _checked(words)


def _checked(text: str) -> str:
    passphrase = sealing.strip_passphrase(text)
    if not passphrase:
        raise UsageError("The passphrase is empty.")
    try:
        length = len(passphrase.encode("utf-8"))
    except UnicodeEncodeError:
        raise UsageError("The passphrase is not text in UTF-8.") from None
    if length > sealing.MAX_PASSPHRASE_BYTES:
        raise UsageError(f"The passphrase may have at most {sealing.MAX_PASSPHRASE_BYTES} bytes.")
    return passphrase
