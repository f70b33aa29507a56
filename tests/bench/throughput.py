"""How many notes a second, how long a wait, how much CPU: interleaved rounds over all systems."""

from __future__ import annotations

import contextlib
import dataclasses
import random
import statistics
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from kgs import seeding
from server import embedded, schema
from tests.bench import pgbench, snappass, systems, workload
from tests.bench.load import Exhausted, Job, Run, Unanswered, Void, drive
from tests.bench.systems import System

CONNECTIONS = (1, 16, 64, 256)
KINDS = workload.KINDS
CLIENT_KINDS = KINDS[:2]
TRIES = 3

# Names of systems: what the tables show.
OURS, OURS_2 = "note-whisperer", "note-whisperer, 2 processes"
NGINX, NGINX_2 = "note-whisperer behind nginx", "note-whisperer behind nginx, 2 processes"
EMPTY = "(a) empty store"
PGBENCH = "(b) pgbench"
CONSTANT = "(c) constant"
SNAPPASS = "(d) SnapPass"
ON_TORNADO = " on Tornado's server"


@dataclasses.dataclass(frozen=True)
class Case:
    """One line of a table."""

    system: str
    kind: str
    connections: int


def cases(quick: bool) -> list[Case]:
    """What is measured in each round."""
    if quick:
        kinds = (*CLIENT_KINDS, workload.ACKNOWLEDGED)
        ours = [Case(name, kind, 64) for name in (OURS, EMPTY) for kind in kinds]
        return ours + [Case(PGBENCH, kind, 1) for kind in CLIENT_KINDS]
    found = [Case(OURS, kind, connections) for kind in KINDS for connections in CONNECTIONS]
    found += [Case(OURS_2, kind, connections) for kind in KINDS for connections in CONNECTIONS[1:]]
    found += [Case(EMPTY, kind, connections) for kind in KINDS for connections in (1, 64)]
    found += [Case(name, workload.ACKNOWLEDGED, 64) for name in (OURS, OURS_2, EMPTY)]
    found += [
        Case(name, kind, connections)
        for name in (NGINX, NGINX_2)
        for kind in KINDS
        for connections in CONNECTIONS
    ]
    found += [Case(name + ON_TORNADO, kind, 64) for name in (OURS, EMPTY) for kind in CLIENT_KINDS]
    found += [Case(CONSTANT, "constant", 64), Case(CONSTANT + ON_TORNADO, "constant", 64)]
    found += [Case(PGBENCH, kind, connections) for kind in CLIENT_KINDS for connections in (1, 16)]
    found += [Case(SNAPPASS, kind, connections) for kind in ("put", "reveal") for connections in (16, 64)]
    return found


def measure(plan: list[Case], rounds: int, seconds: int, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Every case in every round, what is compared with each other together, else in an order of chance;
    medians, with the rates of all rounds.
    """
    seen: dict[Case, list[dict[str, Any]]] = {case: [] for case in plan}
    with _bench({case.system for case in plan}) as bench:
        for number in range(1, rounds + 1):
            for case in _in_turn(plan):
                seen[case].append(bench.measure(case, seconds))
                say(f"round {number} of {rounds}: {_line(case, seen[case][-1])}")
    return [dataclasses.asdict(case) | _summary(results) for case, results in seen.items()]


def _in_turn(plan: list[Case]) -> list[Case]:
    """By chance, but puts together with puts on as many connections: a shared machine changes its speed by the
    minute, and a ratio of two runs means something only if they were close to each other.
    """
    groups: dict[tuple[str, int], list[Case]] = {}
    for case in random.sample(plan, len(plan)):
        groups.setdefault((case.kind.split()[0].rstrip(","), case.connections), []).append(case)
    return [case for group in groups.values() for case in group]


def _line(case: Case, result: dict[str, Any]) -> str:
    return f"{case.system}, {case.kind}, {case.connections} connections: {result['rate']:.0f} a second"


def _summary(results: list[dict[str, Any]]) -> dict[str, Any]:
    summary: dict[str, Any] = {"rates": [round(result["rate"], 1) for result in results]}
    for name in results[0]:
        summary[name] = statistics.median(result[name] for result in results)
    return summary


@contextlib.contextmanager
def _bench(names: set[str]) -> Iterator[_Bench]:
    """Everything that is needed for these systems, running."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nw-bench-", dir="/var/tmp")))
        folder.chmod(0o755)
        postgres = stack.enter_context(systems.database())
        seeding.ensure_ahead(postgres.url(schema.KEY_DB), systems.KEYS)
        reference = "tests.bench.reference"
        running: dict[str, System] = {}
        for name, behind, processes, module in (
            (OURS, NGINX, 1, ("server",)),
            (OURS_2, NGINX_2, 2, ("server",)),
            (OURS + ON_TORNADO, None, 1, (reference, "full", "tornado")),
            (EMPTY, None, 1, (reference, "empty")),
            (EMPTY + ON_TORNADO, None, 1, (reference, "empty", "tornado")),
            (CONSTANT, None, 1, (reference, "constant")),
            (CONSTANT + ON_TORNADO, None, 1, (reference, "constant", "tornado")),
        ):
            if name in names or behind in names:
                running[name] = stack.enter_context(systems.server(name, postgres, processes, module))
            if behind in names:
                assert behind
                www = folder / f"nginx-{processes}"
                running[behind] = stack.enter_context(systems.behind_nginx(behind, running[name], www))
        if SNAPPASS in names:
            running[SNAPPASS] = stack.enter_context(snappass.running(folder))
        yield _Bench(postgres, running)


class _Bench:
    def __init__(self, postgres: embedded.Postgres, running: dict[str, System]) -> None:
        self._url = postgres.url(schema.MSG_DB)
        self._running = running
        self._guess: dict[Case, float] = {}

    def measure(self, case: Case, seconds: int) -> dict[str, Any]:
        share = 1.5  # notes for each one that is revealed at the expected rate
        for _ in range(TRIES):
            notes = int(self._guess.get(case, 6000) * seconds * share) + 1000
            try:
                result = self._measure(case, seconds, notes)
            except Exhausted:
                share *= 2
            except Unanswered:
                seconds *= 4
            else:
                self._guess[case] = result["rate"]
                return result
        raise Void(f"{case}: there are never enough notes to reveal, or nothing is answered")

    def _measure(self, case: Case, seconds: int, notes: int) -> dict[str, Any]:
        workload.empty(self._url)
        stores = case.kind != "constant" and not case.system.startswith((EMPTY, SNAPPASS))
        reveals = case.kind.startswith("reveal")
        if reveals and stores:
            workload.fill(self._url, case.kind, 0, notes)
        workload.settle(self._url)
        if case.system == PGBENCH:
            run = pgbench.run(self._url, case.kind, case.connections, seconds, 0)
            return dataclasses.asdict(run)
        system = self._running[case.system]
        if isinstance(system, snappass.SnapPass):
            job = system.job_of(case.kind, notes)
        else:
            job = _CONSTANT_JOB if case.kind == "constant" else workload.job_of(case.kind, range(notes))
        before = system.cpu_seconds()
        run = drive(job, system.servers, case.connections, seconds, system.tls)
        after = system.cpu_seconds()
        workload.wait_until_idle(self._url)
        if stores:
            _check(run, case, notes, workload.count(self._url))
        result = dataclasses.asdict(run) | {"resident_mib": system.resident_mib()}
        for role in after:
            result[f"{role} CPU µs"] = (after[role] - before[role]) / run.requests * 1e6
        return result


def _check(run: Run, case: Case, notes: int, left: int) -> None:
    """Whether the table holds what the answers say; at the end of a run each connection may have one more."""
    expected = notes - run.requests if case.kind.startswith("reveal") else run.requests
    more = expected - left if case.kind.startswith("reveal") else left - expected
    if not 0 <= more <= case.connections:
        raise Void(f"{case}: {run.requests} answers, but {left} notes are in the table")


_CONSTANT_JOB = Job("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "", 200, "constant")
