"""The long forms, by hand: `python -m tests.faults faults|failover|soak`; each ends by itself.

They write their counts into docs/reliability.md, between the comments that carry their names, and end
with an exit code of 1 if the checker found anything.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import platform
import random
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

from server import embedded, schema
from tests.faults import failover, history, stack
from tests.faults import test_conversation as conversation
from tests.faults import tmpfs
from tests.faults.faults import Faults
from tests.faults.files import left_behind
from tests.faults.history import Verdict
from tests.faults.load import Load, under_load
from tests.faults.proxy import Break, Moment, Proxy, socket_of
from tests.faults.soak import Footprint, mixed_requests
from tests.faults.test_faults import BOUND, FILES, KINDS, TIMEOUT, UNKNOWN_AFTER
from tests.server_process import ROOT

DOCUMENT = ROOT / "docs" / "reliability.md"
ROUNDS = 20
RIVALS = list(conversation.RIVALS.values())
TOGETHER = 32  # conversations, each with connections of its own
DETECTIONS = (3, 3, 10, 30, 60)  # seconds until a primary's death is noticed; RDS takes about a minute
REQUESTS = 1_200_000  # memory has stopped growing by then
WARM_UP = 50_000
KEYS = 2_000_000

NAMES = {
    "kill_a_backend": "SIGKILL of a database backend",
    "kill_the_database": "SIGKILL of the whole database, and a restart",
    "restart_the_database_at_once": "immediate shutdown of the database, and a restart",
    "freeze_the_database": "SIGSTOP of the whole database for up to a second",
    "freeze_a_backend": "SIGSTOP of one backend for up to a second",
    "break_conversations": "conversations broken at random for a second",
    "cut_all_connections": "all connections to the database cut at once",
    "silence_the_network": "all connections to the database black-holed for up to a second",
    "kill_a_server": "SIGKILL of a server process",
    "terminate_a_server": "SIGTERM of a server process",
    "jump_the_clock": "the database's clock jumps by an hour, and back",
    "fill_the_disk": "the database's disk is full for a second (a tmpfs of 320 MB)",
}


class Base:
    """A key-db for all servers, and where PostgreSQL's programs lie."""

    def __init__(self, folder: Path, postgres: embedded.Postgres) -> None:
        self.folder = folder
        self.postgres = postgres
        assert postgres.process
        self.programs = Path(str(postgres.process.args[0])).parent  # type: ignore[index]
        self.environment = {"KEY_DB_URL": postgres.url(schema.KEY_DB), "DB_TIMEOUT": str(TIMEOUT)}


@contextlib.contextmanager
def base() -> Iterator[Base]:
    from kgs import seeding

    with tempfile.TemporaryDirectory(prefix="nw-faults-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with embedded.running(folder / "base") as postgres:
            for database in (schema.KEY_DB, schema.MSG_DB):
                schema.migrate(postgres.url(database), database)
            seeding.ensure_ahead(postgres.url(schema.KEY_DB), KEYS)
            yield Base(folder, postgres)


# Faults


async def faults(base: Base, rounds: int) -> tuple[str, bool]:
    """Every kind of fault, `rounds` times each."""
    start = time.monotonic()
    broken = await break_every_point(base, rounds)
    done: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    sprung: Counter[str] = Counter()
    violations = list(broken.violations)
    slowest = 0.0
    async for kind, verdict, times, traps in all_processes(base, rounds):
        done.update(times)
        counts.update(verdict.counts)
        sprung.update(traps)
        violations += [f"{kind}: {violation}" for violation in verdict.violations]
        slowest = max(slowest, verdict.slowest)
    lines = [
        f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, {rounds} rounds in"
        f" {(time.monotonic() - start) / 60:.0f} minutes, DB_TIMEOUT={TIMEOUT:g}."
        f" **Violations of the promise: {len(violations)}.**",
        "",
        *(f"- {violation}" for violation in violations[:20]),
        "",
        "| fault, under load from 16 clients against two server processes | times |",
        "|---|---|",
        *sorted(f"| {NAMES[kind]} | {times} |" for kind, times in done.items()),
        f"| a conversation broken at random during these faults | {sprung.total()} |",
        f"| a client that disconnects before its answer | {counts['requests that the client left']} |",
        "",
        "| result | count |",
        "|---|---|",
        f"| notes whose link was handed out | {counts['notes']} |",
        "| of these shown to exactly one reader, with the right content"
        f" | {counts['note shown to one reader']} |",
        f"| of these destroyed unread by their sender | {counts['note destroyed']} |",
        f"| of these unread, and locked by wrong proofs | {counts['note unread, and locked by wrong proofs']} |",
        "| of these taken by a reveal whose answer reached nobody (its client disconnected, or its server died) |"
        f" {counts['note taken by a reveal whose answer nobody got']} |",
        "| of these taken by a reveal that was refused after nine timeouts |"
        f" {counts['note taken by a reveal that never learned of it']} |",
        f"| of these lost | {counts['note lost']} |",
        f"| puts refused with 503 | {counts['put refused']} |",
        f"| reveals refused with 503; the note is untouched or counted above | {counts['reveal refused']} |",
        f"| reveals without any answer | {counts['reveal unknown']} |",
        "| reveals answered with the note's ending, each after another reader's reveal"
        f" | {counts['reveal ended']} |",
        "| reveals with a wrong token, all answered with a 404 that tells nothing"
        f" | {counts['guess gone']} |",
        "| wrong proofs, of which at most ten were tried for each note"
        f" | {counts['try tried'] + counts['try locked']} |",
        f"| acknowledgements | {counts['received done']} |",
        f"| statuses asked for in the end, each right | {counts['status ended'] + counts['status unread']} |",
        f"| notes with files, of those above | {counts['note with files']} |",
        f"| of these whose files reached their reader, all bytes right | {counts['note whose files were fetched']} |",
        f"| fetches of chunks, each with the right bytes | {counts['fetch shown']} |",
        "| fetches by other clients, before the reveal, or after the acknowledgement, all answered with 404"
        f" | {counts['fetch gone']} |",
        f"| fetches repeated because they were refused or not answered | {repeated(counts, 'fetch')} |",
        f"| requests with chunks | {counts['chunks done']} |",
        f"| of these repeated because they were refused or not answered | {repeated(counts, 'chunks')} |",
        "| puts of notes with files that told their writer of missing chunks, which it then sent"
        f" | {counts['put incomplete']} |",
        f"| acknowledgements of files | {counts['received files done']} |",
        f"| uploads that their writer cancelled | {counts['cancel done']} |",
        "| files lost to a reader because the database's clock was an hour back when it revealed them"
        f" | {counts['files lost to a jump of the clock']} |",
        f"| loads after which something of files was left behind | {counts['left behind']} |",
        f"| slowest answer | {slowest:.1f} s |",
        "",
        *points_table(broken.counts),
    ]
    return "\n".join(lines), not violations


def repeated(counts: Counter[str], kind: str) -> int:
    return counts[f"{kind} refused"] + counts[f"{kind} unknown"] + counts[f"unasked {kind} unknown"]


async def break_every_point(base: Base, rounds: int) -> Verdict:
    """Each point of the conversation, each way, with and without a rival for the note."""
    url = base.postgres.url(schema.MSG_DB)
    counts: Counter[str] = Counter()
    violations: list[str] = []
    with Proxy(socket_of(url), late=0.4 * TIMEOUT) as proxy:
        through = proxy.url(schema.MSG_DB)
        cases = conversation.FIRST_TRY + conversation.SECOND_TRY + conversation.SILENT_SECOND_TRY
        points = {trap.name for traps in cases for trap in traps}
        for number in itertools.count():
            # A rival may be quicker than the second try: some rounds more, until each point was met so often.
            if number == 3 * rounds or number >= rounds and min(counts[name] for name in points) >= rounds:
                break
            async with conversation.opened(url, 1_000_000 + 1000 * number, 5.0) as steady:
                placed = [await steady.put(conversation.a_note("")) for _ in cases]
                await conversation.set_verifiers(url)
                outcomes = []
                for first in range(0, len(cases), TOGETHER):
                    outcomes += await asyncio.gather(
                        *(
                            conversation.reveal_through(
                                proxy, through, steady, traps, place.key, RIVALS[number % 3]
                            )
                            for traps, place in list(zip(cases, placed))[first : first + TOGETHER]
                        )
                    )
            for traps, (got, unsprung) in zip(cases, outcomes):
                wrong = conversation.verdict(got)
                if wrong:
                    violations.append(f"{' then '.join(trap.name for trap in traps)}: {wrong}")
                counts.update(trap.name for trap in traps if trap.name not in unsprung)
            wrong_puts = await conversation.put_wrongly(url, through, proxy, 3_000_000 + 100_000 * number)
            counts.update(trap.name for trap in conversation.PUTS)
            violations += [f"{name}: a put went wrong" for name in wrong_puts]
            proxy.heal()  # those who were silenced keep their backends else
            print(f"conversations, round {number + 1}", flush=True)
    return Verdict(violations, counts, 0.0)


def points_table(counts: Counter[str]) -> Iterator[str]:
    yield "| where the conversation with the database breaks | cut | black-holed | delivered late |"
    yield "|---|---|---|---|"
    for statement, moment in itertools.product(("put", "reveal", "commit", "past", "receipts"), Moment):
        by_way = [counts[f"{statement}-{moment.name.lower()}-{how.name.lower()}"] for how in Break]
        yield f"| {statement}: {moment.value} | " + " | ".join(map(str, by_way)) + " |"


async def all_processes(
    base: Base, rounds: int
) -> AsyncIterator[tuple[str, Verdict, Counter[str], Counter[str]]]:
    """Loads during which processes, networks, disks and clocks fail."""
    luck = random.Random(1)
    with stack.cluster(base.folder / "cluster", base.programs) as cluster:
        for number in range(rounds):
            kinds = luck.sample(KINDS, len(KINDS))
            yield "processes", *await round_of(base, cluster, kinds, number)
            print(f"processes and networks, round {number + 1} of {rounds}", flush=True)
        ((deadlocks,),) = cluster.execute("SELECT sum(deadlocks) FROM pg_stat_database")
        assert deadlocks == 0, deadlocks
    if stack.FAKETIME.exists():
        with stack.cluster(base.folder / "clock", base.programs, clock=True) as cluster:
            for number in range(0, rounds, 5):
                yield "clock", *await round_of(base, cluster, ["jump_the_clock"] * 5, 1000 + number)
                print(f"clock, {number + 5} of {rounds}", flush=True)
    else:
        print("the clock does not jump: libfaketime is not installed")
    if tmpfs.can_mount():
        with tmpfs.mounted(base.folder / "small-disk", 320) as disk:
            with stack.cluster(disk / "cluster", base.programs) as cluster:
                for number in range(0, rounds, 5):
                    yield "disk", *await round_of(base, cluster, ["fill_the_disk"] * 5, 2000 + number)
                    print(f"disk, {number + 5} of {rounds}", flush=True)
    else:
        print("the disk does not fill up: mounting a small one needs root")


async def round_of(
    base: Base, cluster: stack.Cluster, kinds: list[str], seed: int
) -> tuple[Verdict, Counter[str], Counter[str]]:
    """One load, these faults, and what the checker says."""
    with Proxy(("127.0.0.1", cluster.port)) as proxy:
        environment = base.environment | {"MSG_DB_URL": proxy.url("msg_db")}
        with stack.servers(2, environment, base.folder) as servers:
            load = Load([server.port for server in servers], seed, leavers=0.03, files=FILES)
            doing = Faults(cluster, proxy, servers, load.history, seed, frozen_seconds=TIMEOUT)
            async with under_load(load, clients=16):
                for kind in kinds:
                    await doing.do(kind)
                    await asyncio.sleep(0.2)
    verdict = history.check(load.history, BOUND, UNKNOWN_AFTER)
    left = await left_behind(cluster.url("msg_db"))
    verdict.violations += left
    verdict.counts["left behind"] = len(left)
    verdict.counts["requests that the client left"] = sum(call.has_left for call in load.history.calls)
    return verdict, doing.done, proxy.sprung


# Failover


async def drill(base: Base) -> tuple[str, bool]:
    """The failover drills, each with a fresh primary and standby."""
    rows, violations, story = [], [], None
    for number, detection in enumerate(DETECTIONS):
        with failover.pair(base.folder / f"pair{number}", base.programs) as pair:
            with Proxy(("127.0.0.1", pair.primary.port)) as proxy:
                environment = base.environment | {"MSG_DB_URL": proxy.url("msg_db"), "DB_TIMEOUT": "5"}
                with stack.servers(2, environment, base.folder) as servers:
                    load = Load([server.port for server in servers], number, files=FILES)
                    async with under_load(load, clients=16):
                        await asyncio.sleep(3)
                        story = await failover.fail_over(pair, proxy, servers[0], load, detection)
                        await asyncio.sleep(3)
            violations += await left_behind(pair.standby.url("msg_db"))
        verdict = history.check(load.history, 76, 44)
        violations += verdict.violations
        counts = verdict.counts
        rows.append(
            f"| {detection} s | {story.promoted:.1f} s | {story.first_put:.1f} s | {len(load.history.notes)} |"
            f" {counts['note whose files were fetched']} |"
            f" {counts['note shown to one reader']} | {counts['note taken by a reveal whose answer nobody got']} |"
            f" {counts['note taken by a reveal that never learned of it']} | {counts['put refused']} |"
            f" {verdict.slowest:.1f} s |"
        )
        print(rows[-1], flush=True)
    assert story
    lines = [
        f"{datetime.now(UTC):%Y-%m-%d}, DB_TIMEOUT=5, 16 clients against two server processes."
        f" **Violations of the promise: {len(violations)}.**",
        "",
        *(f"- {violation}" for violation in violations[:20]),
        "",
        "| failure detected after | standby promoted after | first put after | notes put | files fetched |"
        " shown once | answer lost | refused and gone | puts refused | slowest answer |",
        "|---|---|---|---|---|---|---|---|---|---|",
        *rows,
        "",
        "What `/readyz` answered in the last drill, in seconds since the primary's death:",
        "",
        "```",
        *story.detail,
        "```",
    ]
    return "\n".join(lines), not violations


# Soak


async def soak(base: Base, requests: int) -> tuple[str, bool]:
    """Requests of mixed kinds, more than a million, to one server process."""
    with stack.servers(
        1, base.environment | {"MSG_DB_URL": base.postgres.url("msg_db"), "DB_TIMEOUT": "5"}, base.folder
    ) as (server,):
        start = time.monotonic()
        failed = 0
        footprints: list[tuple[int, Footprint]] = []
        for sent in range(0, requests, WARM_UP):
            failed += await mixed_requests(server, WARM_UP, clients=32, seed=sent)
            footprints.append((sent + WARM_UP, await Footprint.of(server)))
            print(*footprints[-1], f"{time.monotonic() - start:.0f} s", flush=True)
    before, after = footprints[0][1], footprints[-1][1]
    grown = after.resident_bytes / before.resident_bytes - 1
    lines = [
        f"{datetime.now(UTC):%Y-%m-%d}, {requests} requests in {(time.monotonic() - start) / 60:.0f} minutes,"
        f" {failed} answered with 5xx. After the first {WARM_UP} requests, resident memory grew by"
        f" {100 * grown:.1f} %.",
        "",
        "| requests | resident memory | file descriptors | database connections |",
        "|---|---|---|---|",
        *(
            f"| {sent} | {held.resident_bytes / 1e6:.1f} MB | {held.descriptors} | {held.connections} |"
            for sent, held in footprints
        ),
    ]
    ok = grown < 0.1 and after.descriptors <= before.descriptors + 2 and not failed
    return "\n".join(lines), ok


def write_down(name: str, text: str) -> None:
    """Put a part between its comments in the document."""
    document = DOCUMENT.read_text()
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    text = re.sub(r"\n{3,}", "\n\n", text)
    document, replaced = re.subn(
        f"{re.escape(begin)}.*?{re.escape(end)}", lambda _: f"{begin}\n{text}\n{end}", document, flags=re.S
    )
    assert replaced == 1
    DOCUMENT.write_text(document)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("what", choices=("faults", "failover", "soak"))
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of each kind of fault")
    parser.add_argument("--requests", type=int, default=REQUESTS, help="of the soak")
    arguments = parser.parse_args()
    with base() as made:
        match arguments.what:
            case "faults":
                text, ok = asyncio.run(faults(made, arguments.rounds))
            case "failover":
                text, ok = asyncio.run(drill(made))
            case _:
                text, ok = asyncio.run(soak(made, arguments.requests))
    print(text)
    write_down(arguments.what, text)
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
