"""Who may put notes, and how many: the operator's rules, checked before anything else is done with a put.

Reading is open to everybody who has a link. The counts are of this process.
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
from server.problems import Problem
from server.settings import Settings

HOUR = 3600
MAX_COUNTED = 100_000  # networks

# Of IPv6, one client may have any of these; each larger network gets a larger share.
SHARES = ((64, 1), (56, 4), (48, 16))


class Posting:
    """The rules of one server process, and what clients have put in this hour."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._clock = clock
        self._hour = 0
        self._puts = 0
        self._bytes: collections.OrderedDict[str, int] = collections.OrderedDict()  # by network
        self.stored_bytes = 0  # of the msg-db on its disk, as it was last measured

    def may_post(self, request: HTTPServerRequest) -> bool:
        """Whether the operator's rules let this client put notes; without rules, every client may."""
        settings = self._settings
        if not (settings.post_networks or settings.post_tokens_file or settings.post_user_header):
            return True
        if is_in(address_of(request, settings.trusted_proxies), settings.post_networks):
            return True
        if settings.post_user_header and is_trusted(request.remote_ip or "", settings.trusted_proxies):
            if request.headers.get(settings.post_user_header):
                return True
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        return scheme.lower() == "bearer" and _is_known(token.strip(), settings.post_tokens_file or {})

    def admit(self, request: HTTPServerRequest) -> None:
        """Count a put, or refuse it.

        Raises:
            Problem: 401, 429, 503 or 507.
        """
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
            self._count_bytes(request, HOUR - seconds)
        self._puts += 1

    def _count_bytes(self, request: HTTPServerRequest, seconds_left: int) -> None:
        size, limit = len(request.body), self._settings.put_bytes_per_hour
        networks = networks_of(address_of(request, self._settings.trusted_proxies))
        if any(self._bytes.get(network, 0) + size > limit * share for network, share in networks):
            later = {"Retry-After": str(seconds_left)}
            raise Problem(429, f"You may put {limit} bytes in an hour. Try again later.", headers=later)
        for network, _ in networks:
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


def _is_known(token: str, hashes: Mapping[str, str]) -> bool:
    digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
    return any([hmac.compare_digest(digest, known) for known in hashes.values()])
