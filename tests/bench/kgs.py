"""`make bench-kgs`: measures the KGS and leases on this machine, for their section of docs/benchmarks.md.

Everything happens in a separate PostgreSQL in a temporary folder. With all keys that takes 15 GB of
disk and about ten minutes; --count is for smaller machines.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import secrets
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import psycopg2

from kgs import blocks, key_db, seeding
from kgs.permutation import SEED_BYTES, Order
from server import embedded, schema
from server.keys import KEYS_PER_BLOCK, KeyLeaser

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "benchmarks.md"
BEGIN, END = "<!-- make bench-kgs: from here -->\n", "<!-- make bench-kgs: to here -->\n"

GIB = 1 << 30
MIB = 1 << 20
TURNS = 4
LESSEES = 8
LEASE_SECONDS = 10.0


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench-kgs", description=__doc__)
    parser.add_argument("--count", type=int, default=blocks.ALL_KEYS, help="keys; the default is all of them")
    parser.add_argument("--output", type=Path, default=DOCUMENT, help="the document with the section")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-kgs-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # as root, PostgreSQL's own user has to pass
        with embedded.running(folder / "data") as postgres:
            url = postgres.url(schema.KEY_DB)
            schema.migrate(url, schema.KEY_DB)
            section = measure(url, seeding.blocks_for(options.count), folder / "prepared")
    replace_section(options.output, section)
    print(section)


def measure(url: str, count: int, prepared: Path) -> str:
    """Measure everything, one after the other, and return a section in Markdown."""
    where = machine()
    with contextlib.closing(key_db.connect(url)) as connection, connection.cursor() as cursor:
        copy, seed = race(url, cursor, count, prepared)
        say("python -m kgs verify")
        verify = run_kgs(url, "verify")
        say("leases")
        first = leases(url)
        lease_until(cursor, count // 2)
        half = leases(url)
        lease_until(cursor, count)
        let_rest(cursor)
        table, index, log = sizes(cursor)
        again = leases(url)
        cursor.execute("SHOW server_version")
        ((version,),) = cursor.fetchall()
    keys = count * KEYS_PER_BLOCK
    return f"""\
## The key table

`make bench-kgs`, {where}, PostgreSQL {version} with its default settings.
The database and the KGS share the cores.

| {keys:,} keys | |
|---|---|
| `python -m kgs seed` | {seed.seconds:.1f} s, {keys / seed.seconds / 1e6:.1f} million keys a second |
| plain `COPY` of the same number of bytes from a file | {copy:.1f} s |
| ratio | {seed.seconds / copy:.2f} |
| peak memory of `seed` | {seed.peak / MIB:.0f} MiB |
| table, index and the log of all leases | {(table + index + log) / GIB:.2f} GiB \
({table / GIB:.2f} + {index / GIB:.2f} + {log / GIB:.2f}) |
| `python -m kgs verify` | {verify.seconds:.1f} s |
| peak memory of `verify` | {verify.peak / MIB:.0f} MiB |

| leases by {LESSEES} clients at the same time, for {LEASE_SECONDS:.0f} s | a second | duration of one |
|---|---|---|
| from the first block | {first.rate:,.0f} | {first.milliseconds:.2f} ms |
| after half of the table was leased | {half.rate:,.0f} | {half.milliseconds:.2f} ms |
| when all blocks are leased again | {again.rate:,.0f} | {again.milliseconds:.2f} ms |

Seeding and `COPY` alternate in {TURNS} turns, because the load from other work changes. In each turn the KGS
starts again and continues where it stopped. One statement leases the first half, and later the rest: it moves
the cursor and fills the log with the same rows, but not in one transaction for each. A lease is 256 keys.
"""


def say(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


class Run(NamedTuple):
    """Finished processes: how long they took, and the most memory one of them had, in bytes."""

    seconds: float
    peak: int


def race(url: str, cursor: psycopg2.extensions.cursor, count: int, prepared: Path) -> tuple[float, Run]:
    """Fill a table by COPY from a file, and the key table by the KGS, in turns; the time each took."""
    order = Order(secrets.token_bytes(SEED_BYTES))
    cursor.execute("CREATE TABLE copied (LIKE key_block INCLUDING ALL)")
    copies, seeds = [], []
    for turn in range(TURNS):
        first, last = count * turn // TURNS, count * (turn + 1) // TURNS
        prepare(prepared, order, first, last)
        cursor.execute("CHECKPOINT")
        copies.append(copy_seconds(cursor, prepared))
        cursor.execute("CHECKPOINT")
        seeds.append(run_kgs(url, "seed", "--count", str(last * KEYS_PER_BLOCK)))
        say(f"up to block {last:,}: COPY {copies[-1]:.1f} s, python -m kgs seed {seeds[-1].seconds:.1f} s")
    cursor.execute("DROP TABLE copied")
    return sum(copies), Run(sum(seed.seconds for seed in seeds), max(seed.peak for seed in seeds))


def prepare(file: Path, order: Order, first: int, last: int) -> None:
    """The bytes that a KGS would send for these blocks, as a file."""
    with open(file, "wb") as output:
        output.write(blocks.COPY_HEADER)
        for start in range(first, last, seeding.PIECE):
            end = min(start + seeding.PIECE, last)
            output.write(blocks.rows(start, order.numbers(start * KEYS_PER_BLOCK, end * KEYS_PER_BLOCK)))
        output.write(blocks.COPY_TRAILER)
        os.fsync(output.fileno())


def copy_seconds(cursor: psycopg2.extensions.cursor, file: Path) -> float:
    """Seconds to copy the file into the table that is like key_block."""
    start = time.monotonic()
    with open(file, "rb") as rows:
        cursor.copy_expert("COPY copied (id, keys) FROM STDIN (FORMAT binary)", rows, size=1 << 20)
    return time.monotonic() - start


def run_kgs(url: str, *words: str) -> Run:
    """Run `python -m kgs`, from the start of its process to its end."""
    start = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "kgs", *words], cwd=ROOT, env={**os.environ, "KEY_DB_URL": url}
    )
    peak = 0
    while process.poll() is None:
        peak = max(peak, peak_memory(process.pid))
        time.sleep(0.01)
    if process.returncode != 0:
        sys.exit(f"python -m kgs {' '.join(words)} failed")
    return Run(time.monotonic() - start, peak)


def peak_memory(pid: int) -> int:
    """The high-water mark of a process's resident memory, in bytes; 0 if it is gone."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def sizes(cursor: psycopg2.extensions.cursor) -> tuple[int, int, int]:
    """Bytes of the table, of its index, and of the log of leases with its index."""
    cursor.execute(
        "SELECT pg_table_size('key_block'), pg_indexes_size('key_block'), pg_total_relation_size('key_lease')"
    )
    ((table, index, log),) = cursor.fetchall()
    return table, index, log


class Leases(NamedTuple):
    """How many a second, and how long one takes its client."""

    rate: float
    milliseconds: float


def leases(url: str) -> Leases:
    """Let LESSEES clients lease as fast as they can."""
    with ThreadPoolExecutor(LESSEES) as threads:
        runs = list(threads.map(lease_on, [url] * LESSEES))
    rate = sum(count / seconds for count, seconds in runs)
    return Leases(rate, 1000 * LESSEES / rate)


def lease_on(url: str) -> tuple[int, float]:
    """Lease for LEASE_SECONDS or until nothing is left; return the number of blocks, and the seconds."""
    count = 0
    with contextlib.closing(key_db.connect(url)) as connection, connection.cursor() as cursor:
        start = time.monotonic()
        while time.monotonic() < start + LEASE_SECONDS:
            cursor.execute(KeyLeaser.LEASE, (1,))
            leased = cursor.fetchall()
            if not leased:
                break
            count += len(leased)
        return count, time.monotonic() - start


def lease_until(cursor: psycopg2.extensions.cursor, block: int) -> None:
    """Lease all blocks below `block` that were never leased, in one statement."""
    cursor.execute(
        "WITH leased AS (UPDATE key_cursor SET next = greatest(next, %(block)s))"
        " INSERT INTO key_lease SELECT generate_series(next, %(block)s - 1) FROM key_cursor",
        {"block": block},
    )


def let_rest(cursor: psycopg2.extensions.cursor) -> None:
    """Make all leases so old that their blocks have rested, in a log as large as if time had passed."""
    cursor.execute("UPDATE key_lease SET at = at - key_rest()")
    cursor.execute("VACUUM FULL ANALYZE key_lease")


def machine() -> str:
    """Describe the machine and the day."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    day = time.strftime("%Y-%m-%d", time.gmtime())
    load = os.getloadavg()[0]
    return (
        f"{day}, {os.cpu_count()} cores, load average {load:.1f} before the start,\n"
        f"{memory / GIB:.0f} GiB, Python {platform.python_version()}"
    )


def replace_section(document: Path, section: str) -> None:
    """Replace the section of the last run, or append it; the rest of the document stays."""
    text = document.read_text() if document.exists() else "# Benchmarks\n"
    if BEGIN not in text:
        text = f"{text.rstrip()}\n\n{BEGIN}{END}"
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    document.write_text(f"{before}{BEGIN}{section}{END}{after}")


if __name__ == "__main__":
    main()
