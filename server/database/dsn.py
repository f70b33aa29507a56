"""libpq URLs: replaces host names by addresses, and adds settings that end dead sessions."""

from __future__ import annotations

import asyncio
import ipaddress
import socket

from psycopg2.extensions import make_dsn, parse_dsn


async def resolved(dsn: str) -> str:
    """The DSN with the addresses of its hosts. libpq would look the names up itself, and block the loop.

    Raises:
        OSError: a name is unknown, or the name service does not answer.
    """
    parts = parse_dsn(dsn)
    hosts = parts.get("host", "").split(",")
    if "hostaddr" in parts or not any(map(_is_name, hosts)):
        return dsn
    ports = parts.get("port", "5432").split(",")
    found = []
    for host, port in zip(hosts, ports if len(ports) > 1 else ports * len(hosts), strict=True):
        addresses = [""]
        if _is_name(host):
            loop = asyncio.get_running_loop()
            answers = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            addresses = [str(address[0]) for *_, address in answers]
        found += [(host, address, port) for address in addresses]
    host_list, address_list, port_list = (",".join(column) for column in zip(*found))
    return make_dsn(dsn, host=host_list, hostaddr=address_list, port=port_list)


def _is_name(host: str) -> bool:
    """Whether a host of a DSN is a name: neither an address nor the folder of a socket."""
    if not host or host.startswith(("/", "@")):
        return False
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return True
    return False


def with_session_settings(url: str, timeout: float) -> str:
    """The URL with settings that end a dead session, both here and at the database."""
    options = [
        parse_dsn(url).get("options", ""),
        f"-c statement_timeout={timeout * 1000:.0f}",
        f"-c idle_in_transaction_session_timeout={timeout * 1000:.0f}",
        "-c client_connection_check_interval=1000",
        # A prepared statement keeps its plan. A plan for an empty table would scan all of a full one.
        "-c plan_cache_mode=force_generic_plan -c enable_seqscan=off",
        # No timeout above ends a backend that is stuck sending rows to a client that is gone.
        "-c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3",
        "-c tcp_user_timeout=10000",
    ]
    return make_dsn(
        url,
        application_name="note-whisperer",
        keepalives_idle=5,
        keepalives_interval=2,
        keepalives_count=3,
        tcp_user_timeout=10_000,
        options=" ".join(filter(None, options)),
    )
