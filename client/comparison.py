"""Fetch what a service sends to browsers, as each kind of client, and compare it with a manifest."""

from __future__ import annotations

import hashlib
import re
import time
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from client import terminal
from client.failures import Exit, Failure
from client.http import Connection, Raw
from client.manifest import Manifest, Page

LARGEST_FILE = 16 << 20  # bytes, decompressed
BUSY_TRIES = 5  # until a limit lets a request pass
LONGEST_PAUSE = 60  # seconds

# The headers of each kind of client, in this order: first for a page, then for a file.
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

# Headers about the transport of an answer, which do not affect its page.
_TRANSPORT_HEADERS = {
    *("age", "alt-svc", "connection", "content-encoding", "content-length", "date", "keep-alive", "server"),
    *("strict-transport-security", "transfer-encoding", "vary", "via"),
}
# Further headers that a file may have.
_FILE_HEADERS = {"accept-ranges", "etag", "expires", "last-modified"}


class Fetch(NamedTuple):
    """What to fetch, as which client, and the expected answer."""

    name: str
    path: str
    client: str
    status: int
    sha256: str
    language: str | None = None  # of a page


def fetches_of_a_round(manifest: Manifest, keys: Mapping[str, str], first: int) -> Iterator[Fetch]:
    """Each page once in each language, as the next kind of client each time, and each file once as each.

    Three rounds that begin with different clients have every page in every language as every client.
    """
    clients = list(CLIENTS)
    for page in manifest.pages:
        path = page.path.replace("{unread}", keys["unread"]).replace("{absent}", keys["absent"])
        languages = list(page.sha256.items())
        for turn in range(_times(page)):
            language, digest = languages[turn % len(languages)]
            yield Fetch(
                page.name, path, clients[(first + turn) % len(clients)], page.status, digest, language
            )
    for client in clients:
        for path, digest in manifest.files.items():
            yield Fetch(path, f"{path}?v={digest[:16]}", client, 200, digest)


def answers_of_a_round(manifest: Manifest) -> int:
    """How many answers a round has."""
    return sum(map(_times, manifest.pages)) + len(CLIENTS) * len(manifest.files)


def _times(page: Page) -> int:
    return max(len(page.sha256), len(CLIENTS))


class Comparison:
    """What was fetched, and how often it differed from the manifest."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self._client: str | None = None  # of the last fetch
        self.fetched: Counter[str] = Counter()  # by the name of the page or file
        self.differences: Counter[tuple[str, str]] = Counter()  # by the name and what differs

    def add(self, connection: Connection, fetch: Fetch) -> None:
        """Fetch something, and compare it."""
        for_page, for_file = CLIENTS[fetch.client]
        if fetch.language is not None or fetch.client != self._client:
            connection.close()  # the next one may reach another process
        self._client = fetch.client
        if fetch.language is not None:
            headers = {**for_page, "Accept-Language": fetch.language}
        else:
            headers = for_file | _destination(fetch.path, for_file)
        self._compare(fetch, get(connection, fetch.path, headers))

    def _compare(self, fetch: Fetch, answer: Raw) -> None:
        self.fetched[fetch.name] += 1
        if answer.status != fetch.status:
            self.differences[fetch.name, f"its status is {answer.status}, not {fetch.status}"] += 1
            return
        content = _decoded(answer)
        if content is None:
            self.differences[fetch.name, "its bytes cannot be decompressed as gzip"] += 1
        elif hashlib.sha256(content).hexdigest() != fetch.sha256:
            self.differences[fetch.name, "its bytes differ"] += 1
        for what in self._header_differences(answer, fetch.language):
            self.differences[fetch.name, what] += 1

    def _header_differences(self, answer: Raw, language: str | None) -> Iterator[str]:
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
        allowed = _TRANSPORT_HEADERS | (_FILE_HEADERS if language is None else set())
        for field in sent.keys() - expected.keys() - allowed:
            yield f"it has the header {field}, which no release sends"


def _headers_in(language: str, manifest: Manifest) -> dict[str, str]:
    return manifest.headers | {"content-language": language}


def _destination(path: str, headers: Mapping[str, str]) -> dict[str, str]:
    """What a browser says it needs this file for."""
    if "Sec-Fetch-Mode" not in headers:
        return {}
    kind = path.partition("?")[0].rpartition(".")[2]
    return {"Sec-Fetch-Dest": {"js": "script", "css": "style", "txt": "empty"}.get(kind, "image")}


def get(connection: Connection, path: str, headers: Mapping[str, str]) -> Raw:
    """Fetch a path. If the service is busy or limits requests, wait and try again. Raises Failure."""
    for _ in range(BUSY_TRIES):
        answer = connection.get(path, headers)
        if answer.status not in (429, 502, 503, 504):
            return answer
        wanted = answer.headers.get("Retry-After", "")
        seconds = int(wanted) if re.fullmatch("[0-9]{1,9}", wanted) else 1
        if seconds > LONGEST_PAUSE:
            break
        terminal.show_passing([f"The service takes no more requests for {seconds} s.", " Waiting."])
        time.sleep(seconds)
    raise Failure(
        Exit.REFUSED if answer.status == 429 else Exit.UNREACHABLE,
        f"{connection.origin} refuses further requests (status {answer.status}).",
        status=answer.status,
        **({"retry_after": seconds} if wanted else {}),
    )


def _decoded(answer: Raw) -> bytes | None:
    """The content; None if it does not match its encoding or is too long. A release compresses with gzip only."""
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
