"""`read`: open a message once, and print it."""

from __future__ import annotations

import argparse

from client import opening, passphrases, terminal
from client.failures import Exit, Failure, UsageError
from client.http import Connection
from client.links import link as link_in
from client.service import Service
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
    status = opening.look(service, link)
    if not options.yes:
        until = terminal.moment(status.at)
        if not terminal.confirm(f"This message is unread, until {until}. It opens once. Open it now?"):
            raise Failure(Exit.FAILED, "Not opened. The message is still unread.")
    opened = opening.open_note(service, link, status, passphrase)
    try:
        _show(opened.message, options)
    except Failure as failure:
        failure.detail += " The message was opened, and is now gone."
        raise
    opening.acknowledge(service, opened)
    return Exit.DONE


def _show(message: str, options: argparse.Namespace) -> None:
    if options.json:
        return terminal.write_json({"message": message})
    if terminal.output_is_terminal():
        message = message if options.raw else terminal.shown(message)
        message += "" if message.endswith("\n") else "\n"
    terminal.write_result(message.encode("utf-8"))
