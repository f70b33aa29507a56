"""`status`: tell what became of a message, without opening it."""

from __future__ import annotations

import argparse
from typing import Any

from client import terminal
from client.failures import Exit
from client.http import Connection
from client.links import Link, Receipt, link_or_receipt
from client.opening import ENDED
from client.service import Service, Status
from client.settings import Settings
from client.terminal import moment
from server import sealing

HELP = "tell whether a message was read"
DESCRIPTION = """\
Tell what became of a message. This opens nothing. With the receipt, the command also checks whether the
reader's own program has confirmed that the message was opened, which the service cannot forge.

The exit code is 0 whatever became of the message, and 3 if the service knows no such message: use --json
in scripts, or note-whisperer wait."""
EPILOG = "example:\n  note-whisperer status 'https://notes.example.org/Ab3_x/receipt#6d…'"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "link",
        metavar="LINK-or-RECEIPT",
        help="the link or the receipt; @FILE or - (standard input) to take it from there",
    )


def run(options: argparse.Namespace, settings: Settings) -> Exit:
    """Print the status. Raises Failure."""
    link = link_or_receipt(options.link)
    service = Service(Connection(link.origin, options.insecure_http))
    status = service.status(link.key, link.link_proof)
    if options.json:
        terminal.write_json(as_json(link, status))
    else:
        terminal.write_line(in_words(link, status))
    return Exit.DONE


def is_confirmed(receipt: Receipt, status: Status) -> bool:
    """Whether the reader's mark proves that the message was opened."""
    return status.mark is not None and sealing.verifier_of(status.mark) == receipt.mark_verifier


def as_json(link: Link | Receipt, status: Status) -> dict[str, Any]:
    """The members that programs get."""
    if status.state == "unread":
        return {
            "status": "unread",
            "expires_at": status.at,
            "has_passphrase": status.has_passphrase,
            "wrong_passphrases": status.wrong_passphrases,
        }
    members: dict[str, Any] = {"status": status.state, "at": status.at}
    if status.state == "read" and isinstance(link, Receipt):
        members["confirmed"] = is_confirmed(link, status)
    return members


def in_words(link: Link | Receipt, status: Status) -> str:
    """The same, for people."""
    if status.state == "unread":
        wrong = {0: "", 1: " One wrong passphrase was tried."}.get(
            status.wrong_passphrases, f" {status.wrong_passphrases} wrong passphrases were tried."
        )
        needs = " It needs a passphrase." if status.has_passphrase else ""
        return f"The message is unread, until {moment(status.at)}.{needs}{wrong}"
    if status.state != "read" or isinstance(link, Link):
        return ENDED[status.state].format(at=moment(status.at))
    if is_confirmed(link, status):
        return f"The message was read on {moment(status.at)}. The reader's program has confirmed it."
    words = f"The message was read on {moment(status.at)}. So says the service;"
    return f"{words} the reader's program has not confirmed it."
