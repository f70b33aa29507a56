"""PostgreSQL's own benchmark with the very statements of `server/notes.py`, one note a transaction."""

from __future__ import annotations

import importlib.util
import statistics
import subprocess
import tempfile
from pathlib import Path

from server import embedded, sealing
from server.database import PreparedStatement, base64_of
from server.database.dsn import with_session_settings
from server.notes import Notes
from tests.bench import workload
from tests.bench.load import Run

# Each client prepares the statement before its first transaction, as our connections do.
SCRIPT = """\
\\if :done = 0
PREPARE {name} ({types}) AS {sql};
\\endif
\\set number :first + :client_id + :clients * :done
\\set done :done + 1
{transaction};
"""
KEY = workload.KEY_OF.replace("number", ":number")
VERIFIERS = ", ".join(
    f"'{base64_of(sealing.verifier_of(proof))}'" for proof in (workload.LINK_PROOF, workload.REVEAL_PROOF)
)


def _put() -> str:
    sealed = base64_of(sealing.from_text(workload.sealed_under("abcde")))
    call = f"EXECUTE {Notes.PUT.name} ({KEY}, {VERIFIERS}, '{sealed}', 'False', '3600.0')"
    return _script(Notes.PUT, call)


def _reveal() -> str:
    receipt = "replace(gen_random_uuid()::text, '-', '')"
    call = f"EXECUTE {Notes.REVEAL.name} ({KEY}, {VERIFIERS}, 'False', '', {receipt}, false)"
    return _script(Notes.REVEAL, f"BEGIN \\; {call};\n" + Notes.COMMIT.replace(";", " \\;"))


def _script(statement: PreparedStatement, transaction: str) -> str:
    return SCRIPT.format(**statement._asdict(), transaction=transaction)


def run(url: str, kind: str, clients: int, seconds: int, first: int) -> Run:
    """Put, or reveal notes that `workload.fill` has numbered from `first`."""
    spec = importlib.util.find_spec(embedded.WHEEL)
    assert spec and spec.submodule_search_locations
    program = Path(spec.submodule_search_locations[0]).parent / embedded.PROGRAMS / "pgbench"
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "script.sql")
        script.write_text(_put() if kind.startswith("put") else _reveal())
        defined = {"first": first, "clients": clients, "done": 0}
        subprocess.run(
            [str(program), "--no-vacuum", f"--client={clients}", "--jobs=1", f"--time={seconds}"]
            + [f"--define={name}={value}" for name, value in defined.items()]
            + ["--log", f"--log-prefix={folder}/log", f"--file={script}", with_session_settings(url, 5)],
            check=True,
            capture_output=True,
        )
        lines = [line.split() for log in Path(folder).glob("log.*") for line in log.read_text().splitlines()]
    waits = sorted(int(line[2]) / 1000 for line in lines)
    ends = [int(line[4]) + int(line[5]) / 1e6 for line in lines]
    rate = len(waits) / (max(ends) - min(ends))
    return Run(rate, len(waits), statistics.median(waits), waits[len(waits) * 99 // 100], waits[-1])
