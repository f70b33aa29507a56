"""`destroy`: destroy a message unread."""

from __future__ import annotations

import argparse

from client import terminal
from client.failures import Exit
from client.http import Connection
from client.links import link_or_receipt
from client.service import Service
from client.settings import Settings

HELP = "destroy a message that nobody has read yet"
DESCRIPTION = """\
Destroy a message, so that nobody can read it any more. This takes the receipt or the link, and no
passphrase. If it is too late, the command says what became of the message, and its exit code is 3."""
EPILOG = "example:\n  note-whisperer destroy 'https://notes.example.org/Ab3_x/receipt#6d…'"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "link",
        metavar="LINK-or-RECEIPT",
        help="the link or the receipt; @FILE or - (standard input) to take it from there",
    )


def run(options: argparse.Namespace, settings: Settings) -> Exit:
    """Destroy one message. Raises Failure."""
    link = link_or_receipt(options.link)
    Service(Connection(link.origin, options.insecure_http)).destroy(link.key, link.link_proof)
    if options.json:
        terminal.write_json({"status": "destroyed"})
    else:
        terminal.write_line("The message is destroyed. Nobody can read it any more.")
    return Exit.DONE
