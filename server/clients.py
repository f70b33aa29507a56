"""Where a request comes from: the client's address, trusted proxies, and the site that sent it."""

from __future__ import annotations

import functools
import ipaddress
from urllib.parse import urlsplit

from tornado.httputil import HTTPServerRequest, split_host_and_port

from server.problems import Problem
from server.setting_values import Network, is_loopback


def address_of(request: HTTPServerRequest, proxies: tuple[Network, ...]) -> str:
    """The client's address as limits count it: an IPv4 address, or an IPv6 /64; "" if it is neither.

    A proxy in `proxies` names it in X-Real-IP.
    """
    peer = request.remote_ip or ""
    if is_trusted(peer, proxies):
        peer = request.headers.get("X-Real-IP", peer)
    return network_of(peer)


@functools.lru_cache(1024)
def is_in(address: str, networks: tuple[Network, ...]) -> bool:
    """Whether an address, or the /64 that stands for one, is in one of the networks; False for any other text."""
    try:
        inner = ipaddress.ip_network(address)
    except ValueError:
        return False
    return any(
        inner.subnet_of(outer)  # type: ignore[arg-type]  # of the same version
        for outer in networks
        if inner.version == outer.version
    )


def is_trusted(peer: str, proxies: tuple[Network, ...]) -> bool:
    """Whether the peer is a proxy whose X-Real-IP is believed."""
    return is_in(peer, proxies)


@functools.lru_cache(1024)
def network_of(peer: str) -> str:
    """The network that limits count: an IPv4 address, or the /64 of an IPv6 address; "" for any other text."""
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


def refuse_other_host(request: HTTPServerRequest, public_url: str) -> None:
    """Refuse a Host that is neither the service's own nor a loopback name: 421 (RFC 9110, section 15.5.20).

    Otherwise the pages would also work under any name that somebody points at this server, and "same site"
    would mean that name. The port does not matter, because proxies change it.

    Raises:
        Problem: 421.
    """
    if request.host_name != _host_of(public_url) and not is_loopback(request.host_name):
        raise Problem(421, "This service does not answer for that host name.")


def refuse_cross_site(request: HTTPServerRequest, public_url: str) -> None:
    """Refuse a request that another site made the browser send (docs/decisions/0006-cross-site-requests.md).

    Raises:
        Problem: 403.
    """
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        own = site in ("same-origin", "none")
    else:
        origin = request.headers.get("Origin", "null")
        own = origin in ("null", public_url)
        own = own or is_loopback(request.host_name) and origin.lower() == f"http://{request.host.lower()}"
    if not own:
        raise Problem(403, "This request came from another site, so it was refused.")


@functools.lru_cache(1)
def _host_of(public_url: str) -> str:
    return split_host_and_port(urlsplit(public_url).netloc.lower())[0]
