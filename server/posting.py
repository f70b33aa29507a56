"""Who may put notes, and how many: the operator's rules, which are checked first for each put.

Reading is open to everybody who has a link. Each process counts for itself.
"""

from __future__ import annotations

import collections
import hashlib
import hmac
import ipaddress
import time
from collections.abc import Callable, Mapping

from tornado.httputil import HTTPServerRequest

from server.clients import address_of, is_in, is_trusted
from server.languages import text
from server.problems import Problem
from server.settings import Settings

HOUR = 3600
MAX_COUNTED = 100_000  # networks
MAX_USER_LENGTH = 128  # of a user's name in the audit lines

# One client may have a whole IPv6 network of any of these lengths; a larger network has a larger share.
SHARES = ((64, 1), (56, 4), (48, 16))


class Posting:
    """The rules of one server process, and what clients have put in this hour."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._clock = clock
        self._hour = 0
        self._puts = 0
        self._bytes: collections.OrderedDict[str, int] = collections.OrderedDict()  # by network
        self.stored_bytes = 0  # of the msg-db on its disk, as last measured

    def may_post(self, request: HTTPServerRequest) -> bool:
        """Whether the operator's rules let this client put notes; without rules, every client may."""
        return self.poster_of(request) is not None

    def poster_of(self, request: HTTPServerRequest) -> str | None:
        """As whom the client may put notes: "token:NAME", "user:NAME", "network", "anybody", or None."""
        settings = self._settings
        if not (settings.post_networks or settings.post_tokens_file or settings.post_user_header):
            return "anybody"
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            name = _name_of(token.strip(), settings.post_tokens_file or {})
            if name is not None:
                return f"token:{name}"
        if settings.post_user_header and is_trusted(request.remote_ip or "", settings.trusted_proxies):
            user = request.headers.get(settings.post_user_header)
            if user:
                return f"user:{user[:MAX_USER_LENGTH]}"
        if is_in(address_of(request, settings.trusted_proxies), settings.post_networks):
            return "network"
        return None

    def admit(self, request: HTTPServerRequest) -> None:
        """Count a put, or refuse it.

        Raises:
            Problem: 401, 429, 503 or 507.
        """
        self._check(request, len(request.body), counted=True)
        self._puts += 1

    def admit_upload(self, request: HTTPServerRequest, file_bytes: int) -> None:
        """Refuse an upload whose chunks would be refused later. Raises the same problems as `admit`."""
        self._check(request, file_bytes, counted=False)

    def admit_chunks(self, request: HTTPServerRequest) -> None:
        """Count the bytes of chunks, or refuse them. Raises the same problems as `admit`."""
        self._check(request, len(request.body), counted=True)

    def _check(self, request: HTTPServerRequest, size: int, counted: bool) -> None:
        settings = self._settings
        if settings.read_only:
            raise Problem(503, "This service takes no new messages at the moment. Unread ones can be read.")
        if not self.may_post(request):
            raise not_allowed()
        if settings.max_stored_bytes and self.stored_bytes >= settings.max_stored_bytes:
            raise Problem(507, "The service is full. Try again when some messages were read or expired.")
        hour, seconds = divmod(int(self._clock()), HOUR)
        if hour != self._hour:
            self._hour, self._puts = hour, 0
            self._bytes.clear()
        if settings.puts_per_hour and self._puts >= settings.puts_per_hour:
            later = {"Retry-After": str(HOUR - seconds)}
            raise Problem(503, "The service has taken as many messages as it may in an hour.", headers=later)
        if settings.put_bytes_per_hour:
            self._check_bytes(request, size, counted, HOUR - seconds)

    def _check_bytes(self, request: HTTPServerRequest, size: int, counted: bool, seconds_left: int) -> None:
        limit = self._settings.put_bytes_per_hour
        networks = networks_of(address_of(request, self._settings.trusted_proxies))
        if any(self._bytes.get(network, 0) + size > limit * share for network, share in networks):
            later = {"Retry-After": str(seconds_left)}
            raise Problem(
                429,
                text("You may put %(limit)s bytes in an hour. Try again later.", limit=limit),
                headers=later,
            )
        for network, _ in networks if counted else ():
            self._bytes[network] = self._bytes.pop(network, 0) + size
            if len(self._bytes) > MAX_COUNTED:
                self._bytes.popitem(last=False)


def networks_of(client: str) -> list[tuple[str, int]]:
    """The networks whose budgets a client uses, each with its share.

    Args:
        client: as `clients.address_of` gives it: an IPv4 address, an IPv6 /64, or "".
    """
    if ":" not in client:
        return [(client, 1)]
    network = ipaddress.IPv6Network(client)
    return [(str(network.supernet(new_prefix=length)), share) for length, share in SHARES]


def not_allowed() -> Problem:
    """The client may not put notes here (RFC 6750, section 3)."""
    return Problem(
        401,
        "Only some people may leave messages here. Ask whoever runs this service for an access token"
        " (Authorization: Bearer …), or use the network that it is for. Reading a message needs none of this.",
        headers={"WWW-Authenticate": 'Bearer realm="note-whisperer"'},
    )


def _name_of(token: str, hashes: Mapping[str, str]) -> str | None:
    """The name of an access token, or None. Compares it with all of them, so that the time tells nothing."""
    digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
    names = [name for name, known in hashes.items() if hmac.compare_digest(digest, known)]
    return names[0] if names else None
