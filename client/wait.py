"""`wait`: wait until a message was read. The exit code tells how it ended."""

from __future__ import annotations

import argparse
import time

from client import terminal
from client.failures import Exit, Failure
from client.http import Connection
from client.links import Receipt
from client.links import receipt as receipt_in
from client.progress import in_time
from client.send import lifetime
from client.service import DELIVERY_SECONDS, Service, Status
from client.settings import Settings
from client.status import as_json, in_words, is_confirmed

HELP = "wait until a message was read"
DESCRIPTION = """\
Wait until a message was read, destroyed or expired. The exit code tells which:

   0   read, and the reader's program has confirmed it, which the service cannot forge
   7   read, says the service, but nobody has confirmed it within a minute
   8   destroyed unread
   9   expired unread
  10   still unread after --timeout"""
EPILOG = """\
example:
  note-whisperer wait --timeout 1h @receipt.txt && echo 'The new password has arrived.'"""

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0  # seconds between two requests

ENDINGS = {"destroyed": Exit.DESTROYED, "expired": Exit.EXPIRED}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "receipt", metavar="RECEIPT", help="the receipt; @FILE or - (standard input) to take it from there"
    )
    parser.add_argument(
        "--timeout",
        metavar="TIME",
        type=lifetime,
        help="give up after 30m, 12h or so (default: wait until the message ends)",
    )


def run(options: argparse.Namespace, settings: Settings) -> Exit:
    """Wait for the end of one message. Raises Failure."""
    receipt = receipt_in(options.receipt)
    service = Service(Connection(receipt.origin, options.insecure_http))
    deadline = time.monotonic() + options.timeout if options.timeout is not None else None
    status = service.status(receipt.key, receipt.link_proof)
    pause = FIRST_PAUSE
    while (end := _end(receipt, status)) is None:
        left = deadline - time.monotonic() if deadline is not None else pause
        if left <= 0:
            end = Exit.UNREAD if status.state == "unread" else Exit.UNCONFIRMED
            break
        # The confirmation follows soon after the reading.
        seconds = min(pause if status.state == "unread" else FIRST_PAUSE, left)
        terminal.show_passing(_waiting_line(status, seconds))
        time.sleep(seconds)
        pause = min(2 * pause, LONGEST_PAUSE)
        status = _next_status(service, receipt, status)
    if options.json:
        terminal.write_json(as_json(receipt, status))
    else:
        terminal.write_line(in_words(receipt, status))
    return end


def _waiting_line(status: Status, seconds: float) -> list[str]:
    """What a person sees meanwhile."""
    said = "Unread" if status.state == "unread" else "Read, and not yet confirmed"
    return [
        f"{said} at {time.strftime('%H:%M:%S')}.",
        f" Asking again after {in_time(seconds)}.",
        " Ctrl+C changes nothing.",
    ]


def _end(receipt: Receipt, status: Status) -> Exit | None:
    """How the message ended; None while that can still change."""
    if status.state != "read":
        return ENDINGS.get(status.state)
    if is_confirmed(receipt, status):
        return Exit.DONE
    return Exit.UNCONFIRMED if status.seconds_ago > DELIVERY_SECONDS else None


def _next_status(service: Service, receipt: Receipt, status: Status) -> Status:
    """The status now, or the last known one if the service is unavailable or limits requests."""
    try:
        return service.status(receipt.key, receipt.link_proof)
    except Failure as failure:
        if failure.code is Exit.UNREACHABLE or failure.members.get("status") == 429:
            terminal.warn(f"{failure.detail} Still waiting.")
            return status
        raise
