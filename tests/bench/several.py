"""An experiment: one server process that spreads its notes over two msg-dbs by key, beside the same with one.

`python -m tests.bench several` measures both in each round, with PostgreSQL as it is and with commits that wait, as
on a disk that is too slow. Files are left out: an upload is stored before its note has a key.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import statistics
import sys
import zlib
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import psycopg2

from kgs import seeding
from server import embedded, logs, process, schema
from server.database import Database
from server.keys import KeyLeaser
from server.notes import Ending, Note, Notes, Placed, Unread
from server.purge import Purge
from server.settings import Settings
from tests.bench import systems, workload
from tests.bench.load import drive

CONNECTIONS = 256
SLOW_COMMIT = 50_000  # microseconds; two groups of 64 notes commit at the same time
DISKS = {"as it is": 0, "slow commits": SLOW_COMMIT}
SYSTEMS = ("one msg-db", "two msg-dbs")
KINDS = workload.KINDS[:2]
NOTES = 20_000  # a second that can be revealed


def part_of(key: str, parts: int) -> int:
    """The number of the msg-db in which the note under `key` lies."""
    return zlib.crc32(key.encode()) % parts


class Share:
    """The keys of one msg-db, out of those that the process leases for all of them. Stands in for a KeyLeaser."""

    def __init__(self, keys: KeyLeaser, shares: Sequence[Share]) -> None:
        """
        Args:
            shares: of all msg-dbs, this one included.
        """
        self._leased, self._shares = keys, shares
        self._keys: deque[str] = deque()

    async def take(self) -> str:
        while not self._keys:
            self.give_back(await self._leased.take())
        return self._keys.popleft()

    def give_back(self, key: str) -> None:
        self._shares[part_of(key, len(self._shares))]._keys.append(key)


class SpreadNotes:
    """The notes of several msg-dbs. A put goes to each in turn, with a key of that msg-db; the rest follows the key."""

    def __init__(self, databases: Sequence[Database], keys: KeyLeaser, max_sealed_bytes: int) -> None:
        shares: list[Share] = []
        shares.extend(Share(keys, shares) for _ in databases)
        self.parts = [
            Notes(database, share, max_sealed_bytes)  # type: ignore[arg-type]  # stands in for a KeyLeaser
            for database, share in zip(databases, shares, strict=True)
        ]
        self._turns = itertools.cycle(self.parts)

    def _at(self, key: str) -> Notes:
        return self.parts[part_of(key, len(self.parts))]

    async def put(self, note: Note) -> Placed:
        return await next(self._turns).put(note)

    async def peek(self, key: str) -> bool:
        return await self._at(key).peek(key)

    async def status(self, key: str, link_verifier: bytes) -> Unread | Ending | None:
        return await self._at(key).status(key, link_verifier)

    async def reveal(self, key: str, *claim: Any, **how: Any) -> bytes | None:
        return await self._at(key).reveal(key, *claim, **how)

    async def destroy(self, key: str, link_verifier: bytes) -> bool:
        return await self._at(key).destroy(key, link_verifier)

    async def received(self, key: str, reader: bytes, mark: bytes | None) -> bool:
        return await self._at(key).received(key, reader, mark)

    @property
    def purge(self) -> SpreadPurge:
        return SpreadPurge([part.purge for part in self.parts])


class SpreadPurge:
    """The purge of several msg-dbs."""

    def __init__(self, parts: Sequence[Purge]) -> None:
        self._parts = parts

    async def notes(self) -> tuple[int, bool]:
        counts, more = zip(*[await part.notes() for part in self._parts])
        return sum(counts), any(more)

    async def deliveries(self) -> None:
        for part in self._parts:
            await part.deliveries()

    async def files(self) -> int:
        return sum([await part.files() for part in self._parts])


def serve(further_urls: Sequence[str]) -> None:
    """The server as it is, but for its notes: they lie in the msg-db of its settings and in further ones."""
    settings = Settings.from_env(os.environ)

    def spread(database: Database, keys: KeyLeaser, max_sealed_bytes: int) -> SpreadNotes:
        further = [Database(url, settings.db_connections, settings.db_timeout) for url in further_urls]
        return SpreadNotes([database, *further], keys, max_sealed_bytes)

    logs.set_up(settings.log_format, settings.log_level)
    process.Notes = spread  # type: ignore[attr-defined, assignment]  # takes the place of the class
    asyncio.run(process.serve(settings))


def measure(rounds: int, seconds: int, say: Callable[[str], None]) -> dict[str, Any]:
    """By disk and kind: notes a second and CPU a note of each system, and two to one, as medians over the rounds."""
    results: dict[str, Any] = {}
    first = 0
    with systems.database() as one, systems.database() as other:
        seeding.ensure_ahead(one.url(schema.KEY_DB), systems.KEYS)
        for disk, delay in DISKS.items():
            for postgres in (one, other):
                _delay_commits(postgres, delay)
            runs: dict[str, dict[str, list[dict[str, float]]]] = {}
            for number, kind, name in itertools.product(range(rounds), KINDS, SYSTEMS):
                first += NOTES * seconds
                figures = _run(kind, name, (one, other), first, seconds)
                runs.setdefault(kind, {}).setdefault(name, []).append(figures)
                say(f"round {number + 1}: {disk}: {kind}: {name}: {figures}")
            results[disk] = {kind: _medians(runs[kind]) for kind in KINDS}
    return results


def _medians(runs: dict[str, list[dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Of each system, and of what two msg-dbs have to one in the same round."""
    one, two = (runs[name] for name in SYSTEMS)
    ratios = [{figure: b[figure] / a[figure] for figure in a} for a, b in zip(one, two, strict=True)]
    return {
        name: {figure: statistics.median(run[figure] for run in measured) for figure in measured[0]}
        for name, measured in [*runs.items(), ("two to one", ratios)]
    }


def _delay_commits(postgres: embedded.Postgres, delay: int) -> None:
    with contextlib.closing(psycopg2.connect(postgres.url(schema.MSG_DB))) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            for name, value in (("commit_siblings", 0), ("commit_delay", delay)):
                cursor.execute(f"ALTER DATABASE {connection.info.dbname} SET {name} = {value}")


def _run(
    kind: str, name: str, databases: Sequence[embedded.Postgres], first: int, seconds: int
) -> dict[str, float]:
    urls = [postgres.url(schema.MSG_DB) for postgres in databases]
    job = workload.job_of(kind)
    for url in urls:
        workload.empty(url)
        if kind.startswith("reveal"):  # each finds in its msg-db what it needs
            workload.fill(url, kind, first, first + NOTES * seconds)
            job = workload.job_of(kind, range(first, first + NOTES * seconds))
        workload.settle(url)
    further = urls[1:] if name == SYSTEMS[1] else []
    with systems.server(name, databases[0], module=("tests.bench.several", *further)) as server:
        server.roles = dict(server.roles) | {
            "PostgreSQL": [each.process.pid for each in databases if each.process]
        }
        before = server.cpu_seconds()
        run = drive(job, server.servers, CONNECTIONS, seconds)
        for url in urls:
            workload.wait_until_idle(url)
        spent = {role: used - before[role] for role, used in server.cpu_seconds().items()}
    return {"rate": run.rate} | {f"{role} CPU µs": used / run.requests * 1e6 for role, used in spent.items()}


if __name__ == "__main__":
    serve(sys.argv[1:])
