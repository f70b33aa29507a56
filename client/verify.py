"""`verify`: compare what a running service answers with the manifest of its release."""

from __future__ import annotations

import argparse
import re
import secrets
import string
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from client import terminal
from client.comparison import CLIENTS, Comparison, answers_of_a_round, fetches_of_a_round, get
from client.failures import Exit, Failure
from client.http import Connection
from client.links import origin_of
from client.manifest import Manifest
from client.progress import Progress
from client.service import Service
from client.settings import Settings
from server import sealing

HELP = "check that a service sends browsers the code of a release"
DESCRIPTION = """\
Fetch the form, a confirm page, the other pages that are the same for everybody, and every script, style
and image of a service, several times, as different browsers and over new connections, and compare each
byte and each policy header with a manifest. For the confirm page, the command puts a message of random
characters, which it destroys afterwards. With the limits of a release, a round takes about a minute.

This shows what the service sends to this computer. It does not show what it sends to others.
Exit code 0: nothing differs. 11: something differs; each difference is a line on standard output."""
EPILOG = """\
examples:
  note-whisperer verify https://notes.example.org
  note-whisperer verify --manifest MANIFEST.json --json https://notes.example.org

Without --manifest, the command takes the manifest of the release that it was installed from, which holds
for default settings. A release makes the manifest of other settings: python -m server manifest"""

NOTE_LIFETIME = 600  # seconds: longer than a round, and short if the note cannot be destroyed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("service", metavar="URL", help="the address of the service")
    parser.add_argument(
        "--manifest", metavar="FILE", type=Path, help="compare with this manifest, not with the installed one"
    )
    parser.add_argument(
        "--rounds",
        metavar="N",
        type=_rounds,
        default=1,
        help="how many rounds, from 1 to 1000 (default: 1); three have each page in each language as each client",
    )


def _rounds(text: str) -> int:
    if not re.fullmatch("[0-9]{1,4}", text) or not 1 <= int(text) <= 1000:
        raise argparse.ArgumentTypeError("takes a whole number from 1 to 1000")
    return int(text)


def run(options: argparse.Namespace, settings: Settings) -> Exit:
    """Compare, and print what differs. Raises Failure."""
    manifest = Manifest.read(options.manifest)
    origin = origin_of(options.service)
    token = settings.token if origin == settings.url else None
    connection = Connection(origin, options.insecure_http)
    service = Service(connection, token)
    comparison = Comparison(manifest)
    first = secrets.randbelow(len(CLIENTS))  # so that nobody can foresee which client fetches what
    progress = Progress("Comparing", options.rounds * answers_of_a_round(manifest), "{:.0f} answers".format)
    for number in range(options.rounds):
        with _an_unread_note(service) as key:
            keys = {"unread": key, "absent": _absent(connection)}
            for fetch in fetches_of_a_round(manifest, keys, first + number):
                comparison.add(connection, fetch)
                progress.add(1)
    _report(origin, comparison, options.json)
    return Exit.DIFFERS if comparison.differences else Exit.DONE


@contextmanager
def _an_unread_note(service: Service) -> Iterator[str]:
    """The key of a note whose confirm page can be looked at; it is destroyed at the end."""
    token = sealing.new_token()
    keys = sealing.derive_keys(token, b"")
    message = "".join(secrets.choice(string.ascii_letters) for _ in range(200))
    key = service.put(keys, sealing.seal(keys, message), False, NOTE_LIFETIME).key
    try:
        yield key
    finally:
        try:
            service.destroy(key, keys.link_proof)
        except Failure as failure:
            terminal.warn(f"{failure.detail} The message of this command remains, for ten minutes at most.")


def _absent(connection: Connection) -> str:
    """A key without an unread note. Nearly every key is."""
    while True:
        key = "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(5))
        if get(connection, f"/{key}", CLIENTS["a plain client"][0]).status == 404:
            return key


def _report(origin: str, comparison: Comparison, as_json: bool) -> None:
    version, fetched = comparison.manifest.version, comparison.fetched
    differences = [
        {"what": name, "difference": what, "answers": count, "of": fetched[name]}
        for (name, what), count in sorted(comparison.differences.items())
    ]
    if as_json:
        members: dict[str, Any] = {"version": version, "fetched": fetched.total(), "differences": differences}
        return terminal.write_json(members)
    for difference in differences:
        line = "{what}: {difference} (in {answers} of {of} answers).".format_map(difference)
        terminal.write_line(terminal.shown(line))
    if not differences:
        terminal.write_line(
            f"{origin} sends release {version} unchanged: {len(fetched)} pages and files, {fetched.total()} answers."
        )
