"""HTTP to one service: each request is answered whole, repeated, or a failure that says what is wrong.

It knows JSON, problem details and lost answers, and nothing of notes. It follows no redirect: proofs and
tokens are for the service that the person has named.
"""

from __future__ import annotations

import ipaddress
import itertools
import json
import socket
import ssl
import time
import urllib.request
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import HTTPError, LocationParseError, ProxyError, SSLError, TimeoutError

from client.failures import Exit, Failure, UsageError
from client.terminal import shown

CONNECT_SECONDS = 10.0
STALLED_SECONDS = 15.0  # an answer that stops arriving is as lost as one that breaks off
ANSWER_SECONDS = 120.0  # for the whole of it
LARGEST_ANSWER = 64 << 20  # bytes
PART_BYTES = 256 << 10  # of an answer, at a time
PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 16.0)  # seconds after each lost answer
GETS = 3  # until a whole answer arrives
LONGEST_DETAIL = 1000  # characters of an answer that are shown

BROKEN_OFF = "The answer broke off."
INSECURE = "--insecure-http"
BINARY = "application/octet-stream"
REQUESTS_AT_ONCE = 4  # to one service


class Answer(NamedTuple):
    """A whole answer of the service."""

    status: int
    headers: Mapping[str, str]
    json: Any  # None if the body is not JSON
    content: bytes = b""  # the body if it is bytes

    @property
    def is_problem(self) -> bool:
        """Whether the service itself reports an error (RFC 9457), and not something in front of it."""
        kind = self.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        return kind == "application/problem+json" and isinstance(self.json, dict)

    def member(self, name: str, kind: type) -> Any:
        """A member of its JSON object; None if it is not there or of another type."""
        value = self.json.get(name) if isinstance(self.json, dict) else None
        return value if type(value) is kind else None

    @property
    def detail(self) -> str:
        """What the service says of an error, for a person."""
        said = self.member("detail", str) if self.is_problem else None
        return shown(said)[:LONGEST_DETAIL] if said else f"The service answered with status {self.status}."

    @property
    def retry_after(self) -> int | None:
        """Seconds after which the service wants to be asked again."""
        text = self.headers.get("Retry-After", "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 9 else None

    @property
    def is_passing(self) -> bool:
        """Whether the same request may well be answered soon: the service, or what it needs, is away."""
        soon = self.retry_after is not None and self.retry_after <= 10
        return self.status in (500, 502, 504) or self.status == 503 and (soon or not self.is_problem)


class Raw(NamedTuple):
    """A whole answer of whatever answers at the address, as it is."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Lost(Exception):
    """No whole answer arrived; the service may have done what it was asked for, or not."""


class Connection:
    """Requests to one service."""

    def __init__(self, origin: str, insecure: bool = False) -> None:
        """
        Args:
            origin: as `links.origin_of` makes it.
            insecure: allow plain HTTP to other machines.

        Raises:
            UsageError: plain HTTP to another machine.
        """
        self.origin = origin
        url = urlsplit(origin)
        if url.scheme == "http" and not insecure and not _is_loopback(url.hostname or ""):
            raise UsageError(
                f"{origin} is not encrypted: others on the way could answer in place of the service, and destroy"
                f" messages. Use https, or add {INSECURE} if you trust the network."
            )
        self._pool = _pool(url.scheme, url.hostname or "")

    def get(self, path: str, headers: Mapping[str, str]) -> Raw:
        """Ask for what is at a path, as a browser would: with these headers and no others. Raises Failure."""
        own = {"User-Agent": urllib3.util.SKIP_HEADER, "Accept-Encoding": urllib3.util.SKIP_HEADER}
        for pause in itertools.chain(PAUSES[: GETS - 1], [None]):
            try:
                answer = self._exchange("GET", path, {**own, **headers})
                if not answer.body and "Content-Length" not in answer.headers:
                    raise Lost(BROKEN_OFF)  # headers that break off look like whole ones
                return answer
            except Lost as lost:
                if pause is None:
                    raise Failure(Exit.UNREACHABLE, f"{self.origin} cannot be reached. {lost}") from None
            time.sleep(pause)
        raise AssertionError("the last try returns or raises")

    def close(self) -> None:
        """End the connection; a further request makes another."""
        self._pool.clear()

    def post(
        self,
        path: str,
        fields: Mapping[str, Any] | bytes,
        headers: Mapping[str, str] | None = None,
        patience: float = 4.0,
        on_lost: Callable[[], None] = lambda: None,
    ) -> Answer:
        """Post a JSON object, or bytes. Only for requests that may be repeated.

        Args:
            path: begins with a /.
            patience: seconds for which the request is repeated until it has an answer.
            on_lost: called after each try without one.

        Raises:
            Failure: no answer, or not one of this service.
        """
        start = time.monotonic()
        for pause in itertools.chain(PAUSES, itertools.repeat(PAUSES[-1])):
            last = time.monotonic() - start + pause > patience
            try:
                answer = self._ask(path, fields, headers or {})
                if not answer.is_passing:
                    return answer
                on_lost()
                if last:
                    return answer
            except Lost as lost:
                on_lost()
                if last:
                    raise Failure(Exit.UNREACHABLE, f"{self.origin} cannot be reached. {lost}") from None
            time.sleep(pause)
        raise AssertionError("the last try returns or raises")

    def _ask(self, path: str, fields: Mapping[str, Any] | bytes, headers: Mapping[str, str]) -> Answer:
        if isinstance(fields, bytes):
            body, kind = fields, BINARY
        else:
            body, kind = json.dumps(fields).encode("utf-8"), "application/json"
        headers = {**_HEADERS, "Content-Type": kind, **headers}
        return self._checked(*self._exchange("POST", path, headers, body))

    def _exchange(
        self, method: str, path: str, headers: Mapping[str, str], content: bytes | None = None
    ) -> Raw:
        deadline = time.monotonic() + ANSWER_SECONDS
        try:
            response = self._pool.request(
                method,
                self.origin + path,
                body=content,
                headers=headers,
                timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=STALLED_SECONDS),
                retries=False,
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
            try:
                parts, length = [], 0
                for part in response.stream(PART_BYTES, decode_content=False):
                    parts.append(part)
                    length += len(part)
                    if length > LARGEST_ANSWER:
                        raise Failure(Exit.UNREACHABLE, f"The answer of {self.origin} is too long.")
                    if time.monotonic() > deadline:
                        raise Lost("The answer did not arrive in time.")
            finally:
                response.close()
        except (HTTPError, OSError) as error:
            if isinstance(cause := _cause(error), ssl.SSLCertVerificationError):
                raise Failure(
                    Exit.UNREACHABLE,
                    f"The certificate of {self.origin} is not valid: {cause.verify_message}. Nothing was sent."
                    " If an authority of your own has signed it, name its file in SSL_CERT_FILE.",
                ) from None
            raise Lost(_in_words(error)) from None
        return Raw(response.status, response.headers, b"".join(parts))

    def _checked(self, status: int, headers: Mapping[str, str], body: bytes) -> Answer:
        if 300 <= status < 400 and headers.get("Location"):
            place = shown(headers["Location"])[:LONGEST_DETAIL]
            raise Failure(
                Exit.REFUSED,
                f"{self.origin} redirects to {place}, which is not followed. If that is the service, use its address.",
            )
        if not body and status != 204:
            raise Lost(BROKEN_OFF)  # headers that break off look like whole ones
        content = None
        if "json" in headers.get("Content-Type", "").lower():
            try:
                content = json.loads(body)
            except (ValueError, RecursionError):
                raise Lost(BROKEN_OFF) from None
        is_binary = status == 200 and headers.get("Content-Type") == BINARY
        answer = Answer(status, headers, content, body if is_binary else b"")
        # A portal of a hotel, or another program at this address.
        if content is None and not is_binary and status != 204 and not answer.is_passing:
            raise Failure(
                Exit.UNREACHABLE,
                f"{self.origin} does not answer like a note-whisperer service (status {status})."
                " Is the address right?",
            )
        return answer


def _version() -> str:
    try:
        return version("note-whisperer")
    except PackageNotFoundError:  # run from a checkout
        return "0"


VERSION = _version()
_HEADERS = {
    "Accept": "application/json",
    "User-Agent": f"note-whisperer/{VERSION}",
}


def _pool(scheme: str, host: str) -> urllib3.PoolManager:
    """With the proxy that the environment names for this host, and with the system's authorities."""
    tls = ssl.create_default_context()
    # A proxy must not get what is for this computer: it is allowed to be plain HTTP.
    direct = _is_loopback(host) or urllib.request.proxy_bypass(host)
    proxy = None if direct else urllib.request.getproxies().get(scheme)
    if proxy is None:
        return urllib3.PoolManager(ssl_context=tls, maxsize=REQUESTS_AT_ONCE)
    try:
        url = urllib3.util.parse_url(proxy if "://" in proxy else f"http://{proxy}")
        credentials = urllib3.make_headers(proxy_basic_auth=url.auth) if url.auth else None
        return urllib3.ProxyManager(
            url._replace(auth=None).url, proxy_headers=credentials, ssl_context=tls, proxy_ssl_context=tls
        )
    except (LocationParseError, HTTPError):
        raise UsageError(
            f"The proxy in {scheme}_proxy cannot be used: it takes http://HOST:PORT or https://HOST:PORT."
        ) from None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _cause(error: BaseException) -> BaseException:
    """The innermost error of those that urllib3 has put around it."""
    inner = error.__cause__ or error.__context__ or (error.args[0] if error.args else None)
    return _cause(inner) if isinstance(inner, BaseException) else error


def _in_words(error: Exception) -> str:
    cause = _cause(error)
    if isinstance(error, ProxyError):
        return "The proxy does not let the request through."
    if isinstance(cause, socket.gaierror):
        return "Its name is not known here."
    if isinstance(error, SSLError) or isinstance(cause, ssl.SSLError):
        return "The encrypted connection failed. Does the service use https at this address?"
    if isinstance(cause, OSError) and cause.strerror:
        return f"{cause.strerror}."
    return "There was no answer in time." if isinstance(error, TimeoutError) else "The connection broke off."
