"""How much write-ahead log a note costs, with and without many others in the tables.

Each run starts with a checkpoint: the first change of a page after that writes the whole page, so that keys in
random order cost most, beside other notes, while a checkpoint is young.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import psycopg2

from kgs import seeding
from server import schema
from tests.bench import systems, workload
from tests.bench.growth import A_WEEK, ASLEEP, FIRST_ASLEEP
from tests.bench.load import drive

KINDS = (workload.KINDS[0], workload.KINDS[1], workload.ACKNOWLEDGED)
CONNECTIONS = 64
MOST = 12_000  # reveals a second
ENDINGS = "INSERT INTO ending (key, link_verifier, how) SELECT key, link_verifier, 'read' FROM note"


def measure(notes: int, seconds: int, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Bytes of log for each note of each kind, alone, and beside this many other notes and endings."""
    results = []
    with systems.database() as postgres:
        url = postgres.url(schema.MSG_DB)
        seeding.ensure_ahead(postgres.url(schema.KEY_DB), systems.KEYS)
        with (
            systems.server("note-whisperer", postgres) as server,
            contextlib.closing(psycopg2.connect(url)) as connection,
            connection.cursor() as cursor,
        ):
            connection.autocommit = True

            def position() -> int:
                cursor.execute("SELECT pg_current_wal_lsn() - '0/0'")
                return int((cursor.fetchone() or (0,))[0])

            first = 0
            for others in (0, notes):
                if others:
                    cursor.execute(ASLEEP, (A_WEEK, FIRST_ASLEEP, FIRST_ASLEEP + others - 1))
                    cursor.execute(ENDINGS)
                for kind in KINDS:
                    job = workload.job_of(kind)
                    if kind.startswith("reveal"):
                        end = first + MOST * seconds
                        workload.fill(url, kind, first, end)
                        job = workload.job_of(kind, range(first, end))
                        first = end
                    workload.settle(url)
                    before = position()
                    run = drive(job, server.servers, CONNECTIONS, seconds)
                    workload.wait_until_idle(url)
                    written = (position() - before) / run.requests
                    results.append({"kind": kind, "others": others, "notes": run.requests, "bytes": written})
                    say(f"{run.requests} times {kind}, {others} other notes: {written:.0f} bytes")
    return results
