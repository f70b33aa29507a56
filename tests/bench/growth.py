"""Whether cost grows with the work: beside millions of notes, during a large purge, with few keys left."""

from __future__ import annotations

import contextlib
import shutil
import statistics
import time
from collections.abc import Callable
from typing import Any

import psycopg2

from kgs import seeding
from server import schema
from tests.bench import systems, workload
from tests.bench.load import Run, drive
from tests.bench.systems import System

CONNECTIONS = 64
CHUNK = 250_000
SPARE_DISK = 10 << 30  # bytes that are left free
PER_NOTE = 1000  # bytes on the disk for a note of 512 with its indexes and its share of the log, at most

# Notes that only lie there: 512 bytes of padded message. Their numbers lie above those that are revealed.
FIRST_ASLEEP = 100_000_000
ASLEEP = f"""
INSERT INTO note (key, link_verifier, reveal_verifier, sealed, has_passphrase, expires_at)
SELECT key, sha256(key::bytea), sha256(key::bytea),
    decode(repeat(md5(key), 33), 'hex') || substr(sha256(key::bytea), 1, 13), false, now() + %s * interval '1 second'
FROM generate_series(%s, %s) AS number, LATERAL (SELECT {workload.KEY_OF}) AS named (key)
ON CONFLICT (key) DO NOTHING
"""
A_WEEK = 7 * 86400


def measure(
    notes: int, expired: int, minutes: float, rounds: int, seconds: int, say: Callable[[str], None]
) -> dict[str, Any]:
    """Measure everything within about this many minutes, with fewer notes if time or disk run out."""
    give_up = time.monotonic() + minutes * 60
    with systems.database() as postgres, contextlib.ExitStack() as stack:
        key_db, url = postgres.url(schema.KEY_DB), postgres.url(schema.MSG_DB)
        seeding.ensure_ahead(key_db, systems.KEYS)
        server = stack.enter_context(systems.server("note-whisperer", postgres))
        bench = _Bench(server, url, rounds, seconds)
        results: dict[str, Any] = {"connections": CONNECTIONS, "empty": bench.rates()}
        say(f"with no other notes: {results['empty']}")
        results["stored"] = _fill(url, notes, give_up - 0.4 * minutes * 60, say)
        results["bytes"] = _bytes(url)
        results["full"] = bench.rates()
        say(f"with {results['stored']} other notes: {results['full']}")
        results["purge"] = bench.purge(expired, give_up - 0.2 * minutes * 60, say)
        results["puts in all"] = bench.put_until(1_000_000, give_up)
        results["resident_mib"] = server.resident_mib()
        say(f"after {results['puts in all']} puts: {results['resident_mib']:.0f} MiB")
        workload.purge(url)  # what the server has not come to yet would be measured along with the rest
        workload.settle(url)
        _leave_keys(key_db, 200_000)
        results["few keys"] = bench.rates()
        say(f"with few keys left: {results['few keys']}")
    return results


def _fill(url: str, notes: int, give_up: float, say: Callable[[str], None]) -> int:
    stored = 0
    with contextlib.closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        while stored < notes and time.monotonic() < give_up:
            if shutil.disk_usage("/var/tmp").free < SPARE_DISK + CHUNK * PER_NOTE:
                break
            first = FIRST_ASLEEP + stored
            cursor.execute(ASLEEP, (A_WEEK, first, first + CHUNK - 1))
            stored += CHUNK
            if stored % 1_000_000 == 0:
                say(f"{stored} notes are stored")
    workload.settle(url)
    return stored


def _bytes(url: str) -> int:
    with contextlib.closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_total_relation_size('note')")
        return int(cursor.fetchone()[0])  # type: ignore[index]  # always one row


def _leave_keys(url: str, keys: int) -> None:
    """As if all blocks but these had been handed out."""
    with contextlib.closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("UPDATE key_cursor SET next = greatest(next, seeded - %s)", (keys // 256,))


class _Bench:
    def __init__(self, server: System, url: str, rounds: int, seconds: int) -> None:
        self._server, self._url, self._rounds, self._seconds = server, url, rounds, seconds
        self._next = 0  # number of the next note to be revealed
        self._puts = 0

    def rates(self) -> dict[str, Any]:
        """Medians over the rounds, of puts and of reveals."""
        found: dict[str, Any] = {}
        for kind in workload.KINDS[:2]:
            runs = [self._run(kind, self._seconds) for _ in range(self._rounds)]
            found[kind] = {
                "rate": statistics.median(run.rate for run in runs),
                "p99_ms": statistics.median(run.p99_ms for run in runs),
            }
        return found

    def _run(self, kind: str, seconds: int) -> Run:
        job = workload.job_of(kind)
        if kind.startswith("reveal"):
            first, self._next = self._next, self._next + 20_000 * seconds
            workload.fill(self._url, kind, first, self._next)
            job = workload.job_of(kind, range(first, self._next))
        run = drive(job, self._server.servers, CONNECTIONS, seconds)
        workload.wait_until_idle(self._url)
        if kind.startswith("put"):
            self._puts += run.requests
        return run

    def purge(self, expired: int, give_up: float, say: Callable[[str], None]) -> dict[str, Any]:
        """Puts while nothing has expired, and while the server removes what has."""
        kind = workload.KINDS[0]
        before = [self._run(kind, self._seconds) for _ in range(self._rounds)]
        with contextlib.closing(psycopg2.connect(self._url)) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            first = 2 * FIRST_ASLEEP
            cursor.execute(ASLEEP, (-1, first, first + expired - 1))
            cursor.execute("CHECKPOINT")
            began, during, left = time.monotonic(), [], expired
            while left and time.monotonic() < give_up:
                run = self._run(kind, self._seconds)
                earlier, left = left, self._expired(cursor)
                if left < earlier:
                    during.append(run)
                say(f"{left} expired notes are left, puts wait {run.p99_ms:.1f} ms at p99")
        return {
            "expired": expired,
            "left": left,
            "seconds": time.monotonic() - began,
            "before_p99_ms": statistics.median(run.p99_ms for run in before),
            "during_p99_ms": statistics.median(run.p99_ms for run in during) if during else None,
        }

    @staticmethod
    def _expired(cursor: Any) -> int:
        cursor.execute("SELECT count(*) FROM note WHERE expires_at <= now()")
        return int(cursor.fetchone()[0])

    def put_until(self, puts: int, give_up: float) -> int:
        while self._puts < puts and time.monotonic() < give_up:
            self._run(workload.KINDS[0], 10)
        return self._puts
