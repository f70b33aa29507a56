"""`send`: seal a message here, put it, and print its link."""

from __future__ import annotations

import argparse
import os
import re
import sys

from client import files, passphrases, terminal
from client.failures import Exit, Failure, UsageError
from client.http import Connection
from client.links import Link, origin_of
from client.service import Placed, Service
from client.settings import TOKEN, URL, Settings
from server import sealing

HELP = "seal a message and print its link"
DESCRIPTION = """\
Take a message from standard input, seal it on this computer, and leave it with the service. The link
goes to standard output and opens the message once. The receipt goes to standard error: it shows
whether the message was read and can destroy it, but cannot open it. Keep it for yourself.

The message is sent exactly as it is, with the line end that echo adds. Use printf %s to send none.

With files, nothing is taken from standard input: --file - sends a text from there as well."""
EPILOG = f"""\
examples:
  printf %s "$password" | note-whisperer send --lifetime 1h
  note-whisperer send --passphrase < letter.txt
  note-whisperer send id_ed25519 scan.pdf
  note-whisperer send                      (type the message, end with Ctrl+D)

settings, from the environment or from lines NAME=VALUE in ~/.config/note-whisperer/settings, mode 0600:
  {URL}      the address of the service, such as https://notes.example.org
  {TOKEN}    the access token, if the service asks for one; sent to that address only"""

MAX_COPIES = 100
LONGEST_LIFETIME = 30 * 86400  # seconds
LARGEST_MESSAGE = 32 << 20  # bytes; the service's own limit is lower

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--file", metavar="FILE", help="take the message from this file, not from standard input (-)"
    )
    parser.add_argument(
        "--lifetime",
        metavar="TIME",
        type=lifetime,
        help="destroy it unread after 30m, 12h, 7d or so; at most 30d",
    )
    parser.add_argument(
        "--passphrase", action="store_true", help="ask for a passphrase that the reader has to know, twice"
    )
    passphrases.add_arguments(parser)
    parser.add_argument(
        "--copies",
        metavar="N",
        type=copies,
        default=1,
        help="make N links, each of which opens once (1 to 100)",
    )
    parser.add_argument("--to", metavar="URL", help=f"the address of the service, instead of {URL}")
    parser.add_argument(
        "attached", metavar="FILE", nargs="*", help="files to send, up to 20, sealed with their names"
    )


def lifetime(text: str) -> int:
    """Seconds in a duration such as 90s, 30m, 12h or 7d."""
    found = re.fullmatch(r"([0-9]{1,7})([smhd])", text)
    seconds = int(found[1]) * _UNITS[found[2]] if found else 0
    if not 1 <= seconds <= LONGEST_LIFETIME:
        raise argparse.ArgumentTypeError("takes a time from 1s to 30d, such as 30m, 12h or 7d")
    return seconds


def copies(text: str) -> int:
    """The number of links to make."""
    if not re.fullmatch("[0-9]{1,3}", text) or not 1 <= int(text) <= MAX_COPIES:
        raise argparse.ArgumentTypeError(f"takes a whole number from 1 to {MAX_COPIES}")
    return int(text)


def run(options: argparse.Namespace, settings: Settings) -> Exit:
    """Put the message once for each copy. Raises Failure."""
    if not all(os.path.exists(path) for path in options.attached):
        raise UsageError(
            "There is no such file. Messages and passphrases do not belong on the command line: other people on this"
            " computer can see them there, and the shell keeps them in its history. Type the message after"
            ' note-whisperer send, or pipe it: printf %s "$secret" | note-whisperer send'
        )
    service = _service(options, settings)
    terminal.refuse_lost_output()
    message = "" if options.attached and options.file is None else _message(options.file)
    passphrase = passphrases.given(options)
    if passphrase is None and options.passphrase:
        passphrase = passphrases.ask_new()
    for number in range(options.copies):
        try:
            _put(service, message, passphrase, options)
        except Failure as failure:
            if number:
                failure.detail = f"Only {number} of {options.copies} links were made. {failure.detail}"
            raise
    return Exit.DONE


def _service(options: argparse.Namespace, settings: Settings) -> Service:
    origin = origin_of(options.to) if options.to is not None else settings.url
    if origin is None:
        raise UsageError(f"Which service? Give its address with --to URL, or set {URL}.")
    token = settings.token if origin == settings.url else None
    return Service(Connection(origin, options.insecure_http), token)


def _message(path: str | None) -> str:
    try:
        if path is not None and path != "-":
            with open(path, "rb") as file:
                data = file.read(LARGEST_MESSAGE + 1)
        else:
            if sys.stdin is None:
                raise UsageError("Standard input is closed: there is no message.")
            if sys.stdin.isatty():
                terminal.say("Type the message. End with Enter, then Ctrl+D.")
            data = sys.stdin.buffer.read(LARGEST_MESSAGE + 1)
    except OSError as error:
        raise UsageError(f"The message could not be read: {error.strerror}.") from None
    if not data:
        raise UsageError("The message is empty. Nothing was sent.")
    if len(data) > LARGEST_MESSAGE:
        raise UsageError("The message is too long. Nothing was sent.")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise UsageError(
            "The message is not text in UTF-8. Nothing was sent. Send other data as a file: note-whisperer send FILE"
        ) from None


def _put(service: Service, message: str, passphrase: str | None, options: argparse.Namespace) -> None:
    token = sealing.new_token()
    stretched = sealing.stretch(token, passphrase) if passphrase is not None else b""
    keys = sealing.derive_keys(token, stretched)
    if options.attached:
        with files.sources(options.attached) as attached:
            upload = files.Upload(service, keys, message, attached)
            placed = upload.put(bool(stretched), options.lifetime)
    else:
        placed = service.put(keys, sealing.seal(keys, message), bool(stretched), options.lifetime)
    link = Link(service.origin, placed.key, token)
    receipt = f"{link.address}/receipt#{keys.receipt}"
    if options.json:
        return terminal.write_json({"link": str(link), "receipt": receipt, "expires_at": placed.expires_at})
    terminal.write_link(str(link))
    terminal.notice(
        f"It opens once, until {terminal.moment(placed.expires_at)}."
        f" Your receipt, which shows whether it was read:\n{receipt}"
    )
    _tell_of_other_name(service, placed)


def _tell_of_other_name(service: Service, placed: Placed) -> None:
    if placed.origin is not None and placed.origin != service.origin:
        terminal.warn(
            f"The service calls itself {placed.origin}. If your reader knows it by that address, put it in place of"
            f" {service.origin} in the link."
        )
