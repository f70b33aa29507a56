"""`verify`: compare what a running service answers with the manifest of its release."""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import secrets
import string
import time
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from client import terminal
from client.failures import Exit, Failure, UsageError
from client.http import Connection, Raw
from client.links import origin_of
from client.service import Service
from client.settings import Settings
from server import sealing

HELP = "check that a service sends browsers the code of a release"
DESCRIPTION = """\
Fetch the form, a confirm page, the other pages that are the same for everybody, and every script, style
and image of a service, several times, as different browsers and over new connections, and compare each
byte and each policy header with a manifest. For the confirm page, the command puts a message of random
characters, which it destroys afterwards.

This shows what the service sends to this computer. It does not show what it sends to others.
Exit code 0: nothing differs. 11: something differs; each difference is a line on standard output."""
EPILOG = """\
examples:
  note-whisperer verify https://notes.example.org
  note-whisperer verify --manifest MANIFEST.json --json https://notes.example.org

Without --manifest, the command takes the manifest of the release that it was installed from, which holds
for default settings. A release makes the manifest of other settings: python -m server manifest"""

INSTALLED = Path(__file__).with_name("MANIFEST.json")
FORMAT = 1
LARGEST_MANIFEST = 4 << 20  # bytes
LARGEST_FILE = 16 << 20  # bytes, decompressed
NOTE_LIFETIME = 600  # seconds, if destroying the note fails
BUSY_TRIES = 5  # until a limit lets a request pass
LONGEST_PAUSE = 60  # seconds

# What each kind of client sends, in this order. A file is asked for with the second part.
_COMPRESSED = {"Accept-Encoding": "gzip, deflate, br, zstd"}
_CHROME = {
    "sec-ch-ua": '"Chromium";v="142", "Google Chrome";v="142", "Not_A Brand";v="99"',
    "sec-ch-ua-mobile": "?0",
    "sec-ch-ua-platform": '"Windows"',
    "User-Agent": "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko)"
    " Chrome/142.0.0.0 Safari/537.36",
}
_FIREFOX = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"}
_PAGE = {
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Sec-Fetch-Site": "none",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-User": "?1",
    "Sec-Fetch-Dest": "document",
    "Upgrade-Insecure-Requests": "1",
}
_FILE = {"Accept": "*/*", "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}
CLIENTS: Mapping[str, tuple[dict[str, str], dict[str, str]]] = {
    "Chrome": ({**_CHROME, **_PAGE, **_COMPRESSED}, {**_CHROME, **_FILE, **_COMPRESSED}),
    "Firefox": ({**_FIREFOX, **_PAGE, **_COMPRESSED}, {**_FIREFOX, **_FILE, **_COMPRESSED}),
    "a plain client": ({"Accept": "text/html"}, {"Accept": "*/*"}),
}

# Headers that say how an answer travels, and nothing to the page in it.
_TRANSPORT = {
    *("age", "alt-svc", "connection", "content-encoding", "content-length", "date", "keep-alive", "server"),
    *("strict-transport-security", "transfer-encoding", "vary", "via"),
}
# And those that a file may have besides a page's.
_OF_FILES = {"accept-ranges", "etag", "expires", "last-modified"}


class Page(NamedTuple):
    """A page of the manifest."""

    name: str
    path: str
    status: int
    sha256: dict[str, str]  # by language


class Manifest(NamedTuple):
    """What an unchanged service answers; `server/manifest.py` makes it."""

    version: str
    headers: dict[str, str]
    pages: list[Page]
    files: dict[str, str]

    @classmethod
    def read(cls, path: Path | None) -> Manifest:
        """The manifest in a file, or the installed one. Raises UsageError."""
        try:
            with (path or INSTALLED).open("rb") as file:
                content = json.loads(file.read(LARGEST_MANIFEST))
            if content["format"] != FORMAT:
                raise UsageError("This manifest is for another version of note-whisperer verify.")
            return cls(
                str(content["version"]),
                {str(name).lower(): str(value) for name, value in content["headers"].items()},
                [
                    Page(page["name"], page["path"], page["status"], page["sha256"])
                    for page in content["pages"]
                ],
                {str(name): str(digest) for name, digest in content["files"].items()},
            )
        except FileNotFoundError:
            if path is not None:
                raise UsageError(f"{path} does not exist.") from None
            raise UsageError(
                "This command was not installed from a release, so it has no manifest. Name one with --manifest: it is"
                " a part of each release, and python -m server manifest makes it from the source."
            ) from None
        except OSError as error:
            raise UsageError(f"The manifest could not be read: {error.strerror}.") from None
        except (ValueError, KeyError, TypeError, AttributeError):
            raise UsageError(f"{path or INSTALLED} is no manifest of note-whisperer.") from None


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
        help="fetch everything N times as each kind of client, in each language (1 to 1000; 1 if you do not say)",
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
    comparison = Comparison(manifest)
    with _an_unread_note(Service(connection, token)) as key:
        keys = {"unread": key, "absent": _absent(connection)}
        for _ in range(options.rounds):
            for client in CLIENTS:
                comparison.add(Connection(origin, options.insecure_http), client, keys)
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
        service.destroy(key, keys.link_proof)


def _absent(connection: Connection) -> str:
    """A key without an unread note. Nearly every key is."""
    while True:
        key = "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(5))
        if _get(connection, f"/{key}", CLIENTS["a plain client"][0]).status == 404:
            return key


class Comparison:
    """What was fetched, and how often it differed from the manifest."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.fetched: Counter[str] = Counter()  # by the name of the page or file
        self.differences: Counter[tuple[str, str]] = Counter()  # by the name and what differs

    def add(self, connection: Connection, client: str, keys: Mapping[str, str]) -> None:
        """Fetch everything once, as this kind of client."""
        for_page, for_file = CLIENTS[client]
        for page in self.manifest.pages:
            for language, digest in page.sha256.items():
                headers = {**for_page, "Accept-Language": language}
                answer = _get(connection, page.path.format_map(keys), headers)
                connection.close()  # the next one may reach another process
                self._compare(page.name, answer, page.status, digest, language)
        for path, digest in self.manifest.files.items():
            answer = _get(connection, f"{path}?v={digest[:16]}", for_file | _destination(path, for_file))
            self._compare(path, answer, 200, digest)
        connection.close()

    def _compare(self, name: str, answer: Raw, status: int, digest: str, language: str | None = None) -> None:
        """Count what differs; `language` is a page's, and None for a file."""
        self.fetched[name] += 1
        if answer.status != status:
            self.differences[name, f"its status is {answer.status}, not {status}"] += 1
            return
        content = _decoded(answer)
        if content is None:
            self.differences[name, "its bytes cannot be decompressed as gzip"] += 1
        elif hashlib.sha256(content).hexdigest() != digest:
            self.differences[name, "its bytes differ"] += 1
        for what in self._of_headers(answer, language):
            self.differences[name, what] += 1

    def _of_headers(self, answer: Raw, language: str | None) -> Iterator[str]:
        sent: dict[str, list[str]] = {}
        for field, value in answer.headers.items():
            sent.setdefault(field.lower(), []).append(value)
        expected = self.manifest.headers if language is None else _headers_in(language, self.manifest)
        if language is not None:
            for field, value in expected.items():
                if sent.get(field) != [value]:
                    yield f"its header {field} differs" if field in sent else f"its header {field} is missing"
        elif charset := re.search(r"charset=([^;]*)", sent.get("content-type", [""])[0], re.IGNORECASE):
            if charset[1].strip(' "').lower() != "utf-8":
                yield "its character set is not UTF-8"
        for field in sent.keys() - expected.keys() - _TRANSPORT - (_OF_FILES if language is None else set()):
            yield f"it has the header {field}, which no release sends"


def _headers_in(language: str, manifest: Manifest) -> dict[str, str]:
    return manifest.headers | {"content-language": language}


def _destination(path: str, headers: Mapping[str, str]) -> dict[str, str]:
    """What a browser says it needs this file for."""
    if "Sec-Fetch-Mode" not in headers:
        return {}
    kind = path.rpartition(".")[2]
    return {"Sec-Fetch-Dest": {"js": "script", "css": "style", "txt": "empty"}.get(kind, "image")}


def _get(connection: Connection, path: str, headers: Mapping[str, str]) -> Raw:
    """The answer; if the service is busy or limits requests, after a while."""
    for _ in range(BUSY_TRIES):
        answer = connection.get(path, headers)
        if answer.status not in (429, 502, 503, 504):
            return answer
        wanted = answer.headers.get("Retry-After", "")
        time.sleep(min(int(wanted), LONGEST_PAUSE) if re.fullmatch("[0-9]{1,4}", wanted) else 1)
    raise Failure(Exit.UNREACHABLE, f"{connection.origin} refuses further requests (status {answer.status}).")


def _decoded(answer: Raw) -> bytes | None:
    """The content; None if it is not what its encoding says, or too long. A release compresses with gzip only."""
    encoding = answer.headers.get("Content-Encoding", "identity").lower()
    if encoding == "identity":
        return answer.body
    if encoding != "gzip":
        return None
    try:
        gunzip = zlib.decompressobj(wbits=31)
        content = gunzip.decompress(answer.body, LARGEST_FILE)
        return content if gunzip.eof and not gunzip.unused_data else None
    except zlib.error:
        return None


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
