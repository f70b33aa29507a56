"""`read`: open a message once, and print it."""

from __future__ import annotations

import argparse
from pathlib import Path

from client import files, opening, passphrases, terminal
from client.failures import Exit, Failure, UsageError
from client.http import Connection
from client.links import link as link_in
from client.opening import Opened
from client.progress import in_bytes
from client.service import Service, Status
from client.settings import Settings

HELP = "open a message and print it"
DESCRIPTION = """\
Open a message and print it exactly as it was sent. A message can be opened once, so the command asks
first. On a terminal, it shows control characters as <U+001B> and the like, because they could rewrite
the screen, and it ends the last line. In a pipe or a file, the message is exact to the byte."""
EPILOG = """\
examples:
  note-whisperer read 'https://notes.example.org/Ab3_x#4fQm…'
  note-whisperer read --yes @link.txt > message.txt

Put the link between quotes. Others on this computer can see arguments while the command runs: to avoid
that, use - and type or pipe the link, or @FILE."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "link", metavar="LINK", help="the link; @FILE or - (standard input) to take it from there"
    )
    parser.add_argument(
        "--output", metavar="FOLDER", help="save the files of the message in this folder; none is replaced"
    )
    parser.add_argument("--yes", action="store_true", help="open without asking first")
    passphrases.add_arguments(parser)
    parser.add_argument(
        "--raw", action="store_true", help="on a terminal, print control characters as they are"
    )


def run(options: argparse.Namespace, settings: Settings) -> Exit:
    """Show one message. Raises Failure."""
    link = link_in(options.link)
    service = Service(Connection(link.origin, options.insecure_http))
    terminal.refuse_lost_output()
    passphrase = passphrases.given(options)
    if not options.yes and not terminal.is_there():
        raise UsageError(
            "There is no terminal to ask whether to open the message: use --yes. Nothing was sent."
        )
    status = opening.unread_status(service, link)
    folder = _folder(options.output, status)
    if not options.yes:
        until = terminal.moment(status.at)
        if not terminal.confirm(f"This message is unread, until {until}. It opens once. Open it now?"):
            raise Failure(Exit.FAILED, "Not opened. The message is still unread.")
    opened = opening.open_note(service, link, status, passphrase)
    try:
        saved = _save(service, opened, folder)
        _show(opened.message, saved, options)
    except Failure as failure:
        failure.detail += " The message was opened, and is now gone."
        raise
    opening.acknowledge(service, opened)
    return Exit.DONE


def _folder(output: str | None, status: Status) -> Path | None:
    """The folder for the files, if there are any, checked before anything is opened. Raises UsageError."""
    if not status.file_bytes:
        return None
    if output is None:
        raise UsageError(
            f"The message has files ({in_bytes(status.file_bytes)}). Say where to save them: --output FOLDER."
            " It was not opened."
        )
    return files.prepare_folder(output, status.file_bytes)


def _save(service: Service, opened: Opened, folder: Path | None) -> list[Path]:
    if not opened.files or folder is None:
        return []
    return files.save(service, opened.key, opened.reader, opened.file_key, opened.files, folder)


def _show(message: str, saved: list[Path], options: argparse.Namespace) -> None:
    for path in saved:
        terminal.notice(f"Saved: {path}")
    if options.json:
        members = {"files": [str(path) for path in saved]} if saved else {}
        return terminal.write_json({"message": message, **members})
    if not message:
        return
    if terminal.output_is_terminal():
        message = message if options.raw else terminal.shown(message)
        message += "" if message.endswith("\n") else "\n"
    terminal.write_result(message.encode("utf-8"))
