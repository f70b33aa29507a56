"""PostgreSQL's own benchmark with the very statements of `server/notes.py`, one note a transaction."""

from __future__ import annotations

import importlib.util
import statistics
import subprocess
import tempfile
from pathlib import Path

from server import embedded, sealing
from server.notes import Notes
from tests.bench import workload
from tests.bench.load import Run

PROLOGUE = "\\set number :first + :client_id + :clients * :done\n\\set done :done + 1\n"
KEY = f"ARRAY[(SELECT {workload.KEY_OF} FROM (VALUES (:number::bigint)) AS numbered (number))]"


def _put() -> str:
    verifier = sealing.verifier_of(workload.PROOF).hex()
    sealed = sealing.from_text(workload.sealed_under("abcde")).hex()
    literals = [KEY, f"ARRAY['\\x{verifier}']", f"ARRAY['\\x{sealed}']", "ARRAY[false]", "ARRAY[3600]"]
    return _with(Notes.INSERT, literals).strip() + ";\n"


def _reveal() -> str:
    literals = [KEY, f"ARRAY['\\x{sealing.verifier_of(workload.PROOF).hex()}']", "gen_random_uuid()", "false"]
    statements = _with(Notes.DELETE, literals).strip().replace("BEGIN;", "BEGIN \\;")
    commit = Notes.COMMIT.replace(";", " \\;")
    return f"{statements};\n{commit};\n"


def _with(statement: str, literals: list[str]) -> str:
    for literal in literals:
        statement = statement.replace("%s", literal, 1)
    assert "%s" not in statement
    return statement


def run(url: str, kind: str, clients: int, seconds: int, first: int) -> Run:
    """Put, or reveal notes that `workload.fill` has numbered from `first`."""
    spec = importlib.util.find_spec(embedded.WHEEL)
    assert spec and spec.submodule_search_locations
    program = Path(spec.submodule_search_locations[0]).parent / embedded.PROGRAMS / "pgbench"
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "script.sql")
        script.write_text(PROLOGUE + (_put() if kind.startswith("put") else _reveal()))
        defined = {"first": first, "clients": clients, "done": 0}
        subprocess.run(
            [program, "--no-vacuum", f"--client={clients}", "--jobs=1", f"--time={seconds}"]
            + [f"--define={name}={value}" for name, value in defined.items()]
            + ["--log", f"--log-prefix={folder}/log", f"--file={script}", url],
            check=True,
            capture_output=True,
        )
        lines = [line.split() for log in Path(folder).glob("log.*") for line in log.read_text().splitlines()]
    waits = sorted(int(line[2]) / 1000 for line in lines)
    ends = [int(line[4]) + int(line[5]) / 1e6 for line in lines]
    rate = len(waits) / (max(ends) - min(ends))
    return Run(rate, len(waits), statistics.median(waits), waits[len(waits) * 99 // 100], waits[-1])
