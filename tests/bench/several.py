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
from collections.abc import Callable, Iterator, Sequence
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
from tests.bench.systems import System

CONNECTIONS = 256
SLOW_COMMIT = 50_000  # microseconds; two groups of 64 notes commit at the same time
DISKS = {"as it is": 0, "slow commits": SLOW_COMMIT}
SYSTEMS = ("one msg-db", "two msg-dbs")
KINDS = workload.KINDS[:2]


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
            Notes(database, share, max_sealed_bytes)  # type: ignore[arg-type]
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
    process.Notes = spread  # type: ignore[assignment,attr-defined]  # takes the place of the class
    asyncio.run(process.serve(settings))


def measure(rounds: int, seconds: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Notes a second by disk, kind and system, as medians, and the median over the rounds of two to one."""
    results: dict[str, Any] = {}
    with systems.database() as one, systems.database() as other:
        seeding.ensure_ahead(one.url(schema.KEY_DB), systems.KEYS)
        urls = [postgres.url(schema.MSG_DB) for postgres in (one, other)]
        for disk, delay in DISKS.items():
            for postgres in (one, other):
                _delay_commits(postgres, delay)
            rates: dict[tuple[str, str], list[float]] = {}
            first = 0
            for number, (kind, name) in itertools.product(range(rounds), itertools.product(KINDS, SYSTEMS)):
                with _server(name, one, urls) as server:
                    first += 20_000 * seconds
                    rate = _rate(kind, server, urls, first, seconds)
                rates.setdefault((kind, name), []).append(rate)
                say(f"round {number + 1}: {disk}: {kind}: {name}: {rate:.0f} a second")
            results[disk] = {
                kind: {name: statistics.median(rates[kind, name]) for name in SYSTEMS}
                | {
                    "ratio": statistics.median(
                        b / a for a, b in zip(*(rates[kind, name] for name in SYSTEMS))
                    )
                }
                for kind in KINDS
            }
    return results


def _delay_commits(postgres: embedded.Postgres, delay: int) -> None:
    with contextlib.closing(psycopg2.connect(postgres.url(schema.MSG_DB))) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            for name, value in (("commit_siblings", 0), ("commit_delay", delay)):
                cursor.execute(f"ALTER DATABASE {connection.info.dbname} SET {name} = {value}")


@contextlib.contextmanager
def _server(name: str, postgres: embedded.Postgres, urls: Sequence[str]) -> Iterator[System]:
    further = urls[1:] if name == SYSTEMS[1] else []
    with systems.server(name, postgres, module=("tests.bench.several", *further)) as server:
        yield server


def _rate(kind: str, server: System, urls: Sequence[str], first: int, seconds: int) -> float:
    job = workload.job_of(kind)
    for url in urls:
        workload.empty(url)
        if kind.startswith("reveal"):  # each finds in its msg-db what it needs
            workload.fill(url, kind, first, first + 20_000 * seconds)
            job = workload.job_of(kind, range(first, first + 20_000 * seconds))
        workload.settle(url)
    run = drive(job, server.servers, CONNECTIONS, seconds)
    for url in urls:
        workload.wait_until_idle(url)
    return run.rate


if __name__ == "__main__":
    serve(sys.argv[1:])
