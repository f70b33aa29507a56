"""Requests of mixed kinds, as many as wanted, and what they leave behind in a server process."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import random
import re
import secrets

import psutil

from tests.faults.asking import Client, fetch
from tests.faults.stack import ServerProcess


@dataclasses.dataclass(frozen=True)
class Footprint:
    """What a server process holds."""

    resident_bytes: int
    descriptors: int
    connections: int  # to both databases

    @classmethod
    async def of(cls, server: ServerProcess) -> Footprint:
        _, page = await fetch(server.port, "GET", "/metrics")
        connections = re.findall(rb"^note_whisperer_connections{[^}]*} (\d+)", page, re.MULTILINE)
        process = psutil.Process(server.process.pid)
        return cls(process.memory_info().rss, process.num_fds(), sum(map(int, connections)))


async def mixed_requests(server: ServerProcess, count: int, clients: int = 16, seed: int = 1) -> int:
    """Send `count` requests of all kinds, good and bad; gives how many were answered with 5xx."""
    left = iter(range(count))
    failed = 0

    async def work(client: Client, luck: random.Random) -> None:
        nonlocal failed
        paths: list[str] = []
        for _ in left:
            status, body = await client.ask(*_request(paths, luck))
            failed += status >= 500
            if status == 201:
                paths.append("/" + json.loads(body)["url"].split("/", 3)[3])
        client.leave()

    await asyncio.gather(*(work(Client(server.port), random.Random(seed + n)) for n in range(clients)))
    return failed


def _request(paths: list[str], luck: random.Random) -> tuple[str, str, dict[str, object] | None]:
    kind = luck.random()
    if kind < 0.35 or not paths:
        return "POST", "/post", {"message": secrets.token_hex(luck.choice((5, 50, 5000))), "lifetime": 300}
    if kind < 0.6:
        return "GET", paths.pop(luck.randrange(len(paths))), None
    if kind < 0.65:
        key, token = paths.pop()[1:].split("/")
        return "POST", f"/{key}/destroy", {"token": token}
    if kind < 0.7:
        return "POST", paths[-1][:6] + "/reveal", {"link_proof": "A" * 43, "reveal_proof": "A" * 43}
    if kind < 0.75:
        return "GET", f"/{secrets.token_urlsafe(4)[:5]}", None
    if kind < 0.8:
        return "GET", "/" + secrets.token_hex(20), None
    if kind < 0.85:
        return "POST", "/post", {"message": "", "unknown": "x" * 1000}
    if kind < 0.9:
        return "DELETE", paths[-1][:6], {"token": "wrong"}
    if kind < 0.95:
        return "GET", paths[-1][:6], None
    return "GET", "/", None
