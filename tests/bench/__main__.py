"""`python -m tests.bench`: measures, and writes docs/benchmarks.json, .md and .svg."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime
from typing import Any

from tests.bench import files, growth, load, plot, report, several, startup, throughput, wal


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    measured = commands.add_parser(
        "throughput", help="notes a second, waits, CPU and memory, with the references"
    )
    measured.add_argument("--quick", action="store_true", help="a few cases only, and write nothing")
    measured.add_argument("--rounds", type=int, default=5)
    measured.add_argument("--seconds", type=int, default=3, help="of each run of each case in each round")
    grown = commands.add_parser("growth", help="the same beside millions of notes, and during a large purge")
    grown.add_argument("--notes", type=int, default=10_000_000)
    grown.add_argument("--expired", type=int, default=1_000_000)
    grown.add_argument("--minutes", type=float, default=30, help="fewer notes, if they take longer")
    grown.add_argument("--rounds", type=int, default=3)
    grown.add_argument("--seconds", type=int, default=5)
    started = commands.add_parser("startup", help="how soon the service answers")
    started.add_argument("--rounds", type=int, default=5)
    sent = commands.add_parser("files", help="a file up and down, beside a plain COPY; writes nothing")
    sent.add_argument("--megabytes", type=int, default=100)
    sent.add_argument("--rounds", type=int, default=5)
    left = commands.add_parser("bloat", help="what notes of 1 MB leave in the database; writes nothing")
    left.add_argument("--notes", type=int, default=10_000)
    spread = commands.add_parser("several", help="two msg-dbs chosen by key beside one; writes nothing")
    spread.add_argument("--rounds", type=int, default=3)
    spread.add_argument("--seconds", type=int, default=5)
    logged = commands.add_parser("wal", help="write-ahead log for each note")
    logged.add_argument("--notes", type=int, default=1_000_000, help="others that lie there")
    logged.add_argument("--seconds", type=int, default=20)
    commands.add_parser("plot", help="draw docs/benchmarks.svg from the JSON")
    commands.add_parser("report", help="write docs/benchmarks.md again from the JSON")
    arguments = parser.parse_args()
    if arguments.command == "plot":
        plot.draw()
        return 0
    if arguments.command == "report":
        report.write()
        return 0
    missing = load.missing_programs()
    if missing:
        print(f"make bench needs {', '.join(missing)}: apt-get install {' '.join(missing)}", file=sys.stderr)
        return 1
    began = datetime.now(UTC)
    results: Any
    match arguments.command:
        case "throughput":
            results = throughput.measure(
                throughput.cases(arguments.quick), arguments.rounds, arguments.seconds, _say
            )
            print(report.throughput_tables(results))
            if arguments.quick:
                return 0
        case "growth":
            sizes = (arguments.notes, arguments.expired, arguments.minutes)
            results = growth.measure(*sizes, arguments.rounds, arguments.seconds, _say)
        case "wal":
            results = wal.measure(arguments.notes, arguments.seconds, _say)
        case "files":
            results = files.measure(arguments.megabytes, arguments.rounds, _say)
            print(json.dumps(results, indent=1))
            return 0
        case "bloat":
            print(json.dumps(files.grow(arguments.notes, _say), indent=1))
            return 0
        case "several":
            print(json.dumps(several.measure(arguments.rounds, arguments.seconds, _say), indent=1))
            return 0
        case _:
            results = startup.measure(arguments.rounds)
    report.keep(arguments.command, began, results)
    report.write()
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
