"""What runs out first as the service grows, computed from the figures of `make bench` (docs/growth.md).

`python -m tests.bench.capacity` prints the table. It is arithmetic, not a measurement.
"""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.json"
SYSTEM, CONNECTIONS = "note-whisperer behind nginx", 64
# Decision 20: since the benchmark, a put reaches 0.9 of the rate and a reveal 0.8.
SLOWER = {"put, sealed by the client": 1 / 0.9, "reveal, sealed by the client": 1 / 0.8}

LOGGED = ("put, sealed by the client", "reveal and acknowledge, sealed by the client")

FIRST_LOAD = 10  # notes a second that are put, and each is revealed once
TIMES = (1, 10, 100, 1000)
MEAN_LIFE = 3600  # seconds until a note is revealed or expires
SEALED_BYTES = 1053 + 256  # of a message of 1,000 bytes, at most
ENDING_BYTES, ENDING_SECONDS = 100, 7 * 86400

KEYS, KEY_SECONDS = 64**5, 61 * 86400  # a key comes back 60 days after its lease, within a day
FULL = 0.7  # share of a core that a process uses at most on average, so that peaks find room
POOL = 8 + 2  # connections of one process to both databases
MAX_CONNECTIONS = 100  # PostgreSQL's default


@dataclasses.dataclass(frozen=True)
class Need:
    """What a load needs."""

    notes_a_second: float
    server_processes: int
    cores: float  # of servers, PostgreSQL and nginx together
    database_cores: float
    connections: int
    stored_gib: float
    log_gib_a_day: float
    days_of_keys: float  # infinite if keys come back as fast as they are used

    @property
    def first(self) -> str:
        """What one machine of each kind lacks first."""
        if math.isfinite(self.days_of_keys):
            return "keys"
        if self.server_processes > 1:
            return "the core of the server process"
        return "nothing"


def need(notes_a_second: float, results: list[dict[str, Any]]) -> Need:
    """
    Args:
        results: of `make bench`, as docs/benchmarks.json has them.
    """
    seconds = {
        part: sum(
            factor * _result(results, kind)[f"{part} CPU µs"] * 1e-6 * notes_a_second
            for kind, factor in SLOWER.items()
        )
        for part in ("server", "PostgreSQL", "nginx")
    }
    processes = max(1, math.ceil(seconds["server"] / FULL))
    sustained = KEYS / KEY_SECONDS
    stored = notes_a_second * (MEAN_LIFE * (SEALED_BYTES + _overhead()) + ENDING_SECONDS * ENDING_BYTES)
    return Need(
        notes_a_second,
        processes,
        sum(seconds.values()),
        seconds["PostgreSQL"],
        processes * POOL,
        stored / 2**30,
        notes_a_second * _log_bytes() * 86400 / 2**30,
        math.inf if notes_a_second <= sustained else KEYS / notes_a_second / 86400,
    )


def _result(results: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    (found,) = [
        result
        for result in results
        if (result["system"], result["kind"], result["connections"]) == (SYSTEM, kind, CONNECTIONS)
    ]
    return found


def _overhead() -> float:
    """Bytes of a row and its indexes beyond its sealed bytes, as `make bench-growth` has found them."""
    growth = json.loads(RESULTS.read_text())["growth"]["results"]
    return float(growth["bytes"]) / float(growth["stored"]) - 541  # a message of 512 bytes is 541 sealed


def _log_bytes() -> float:
    """Bytes of write-ahead log of a note that is put, revealed and acknowledged, beside many others."""
    results = json.loads(RESULTS.read_text())["wal"]["results"]
    return sum(float(found["bytes"]) for found in results if found["others"] and found["kind"] in LOGGED)


def table() -> str:
    """The table of docs/growth.md."""
    results = json.loads(RESULTS.read_text())["throughput"]["results"]
    lines = [
        "| notes a second | a day | server processes | cores in all | of them PostgreSQL | connections"
        " | on the disk | log a day | keys last | runs out first |",
        "|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|",
    ]
    for times in TIMES:
        each = need(FIRST_LOAD * times, results)
        keys = "for ever" if math.isinf(each.days_of_keys) else f"{each.days_of_keys:.1f} days"
        lines.append(
            f"| {each.notes_a_second:,.0f} | {each.notes_a_second * 86400:,.0f} | {each.server_processes}"
            f" | {each.cores:.2f} | {each.database_cores:.2f} | {each.connections}"
            f" | {each.stored_gib:,.1f} GiB | {each.log_gib_a_day:,.0f} GiB | {keys} | {each.first} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(table(), end="")
