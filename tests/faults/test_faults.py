"""A load of real requests while databases, networks and servers die: the checker finds nothing.

The short form: each kind of fault once or twice. `make faults` does each at least twenty times.
"""

import asyncio
from datetime import timedelta

import pytest

from server.notes import MAX_COMMIT_WAIT
from tests.faults import history, stack, tmpfs
from tests.faults.conftest import PATIENT, TIMEOUT
from tests.faults.faults import Faults
from tests.faults.files import left_behind
from tests.faults.load import Load, under_load
from tests.faults.proxy import Proxy
from tests.faults.test_conversation import SEALED, a_note, attempt, opened

# 15 timeouts for a reveal whose COMMIT was sent (docs/reliability.md), and a second for a busy machine.
BOUND = 15 * TIMEOUT + 1
# Only after nine timeouts may a refusal be about a note that is gone.
UNKNOWN_AFTER = min(MAX_COMMIT_WAIT, 9 * TIMEOUT) - 1
FILES = 0.15  # of all notes


KINDS = [
    "kill_a_backend",
    "break_conversations",
    "cut_all_connections",
    "freeze_the_database",
    "terminate_a_server",
    "silence_the_network",
    "kill_the_database",
    "kill_a_server",
    "restart_the_database_at_once",
    "freeze_a_backend",
]


async def under_faults(kinds, cluster, key_db_url, folder, seed=1):
    """What the checker says of a load during which these faults are done, one after the other."""
    with Proxy(("127.0.0.1", cluster.port)) as proxy:
        environment = {
            "KEY_DB_URL": key_db_url,
            "MSG_DB_URL": proxy.url("msg_db"),
            "DB_TIMEOUT": str(TIMEOUT),
        }
        with stack.servers(2, environment, folder) as servers:
            load = Load([server.port for server in servers], seed, leavers=0.03, files=FILES)
            faults = Faults(cluster, proxy, servers, load.history, seed, frozen_seconds=TIMEOUT)
            async with under_load(load, clients=16):
                while len(load.history.notes) < 100:
                    await asyncio.sleep(0.01)
                for kind in kinds:
                    await faults.do(kind)
                    await asyncio.sleep(0.2)
    verdict = history.check(load.history, BOUND, UNKNOWN_AFTER)
    verdict.violations += await left_behind(cluster.url("msg_db"))
    print(dict(verdict.counts), f"slowest {verdict.slowest:.1f} s", dict(proxy.sprung))
    return verdict


@pytest.mark.gen_test(timeout=240)
async def test_nothing_is_lost_and_nothing_shown_twice(cluster, seeded_key_db_url, tmp_path):
    """Processes die and networks break: each note is shown once, or its reader's connection died."""
    verdict = await under_faults(KINDS, cluster, seeded_key_db_url, tmp_path)

    assert verdict.violations == []
    assert verdict.counts["note shown to one reader"] > 50
    assert verdict.counts["note whose files were fetched"] > 5
    assert cluster.execute("SELECT sum(deadlocks) FROM pg_stat_database") == [(0,)]


@pytest.mark.gen_test(timeout=120)
@pytest.mark.skipif(not tmpfs.can_mount(), reason="mounting a small disk needs root")
async def test_a_full_disk_costs_no_note(folder, programs, seeded_key_db_url, tmp_path):
    """The msg-db's disk fills up under load, and is emptied: everything that was promised is there."""
    with tmpfs.mounted(folder / "small-disk", 160) as disk:
        with stack.cluster(disk / "cluster", programs) as cluster:
            verdict = await under_faults(["fill_the_disk"], cluster, seeded_key_db_url, tmp_path)

    assert verdict.violations == []
    assert verdict.counts["put refused"] + verdict.counts["chunks refused"] > 0
    assert verdict.counts["note shown to one reader"] > 0


@pytest.mark.gen_test(timeout=120)
@pytest.mark.skipif(not stack.FAKETIME.exists(), reason="setting PostgreSQL's clock needs libfaketime")
async def test_a_jumping_clock_costs_no_note(folder, programs, seeded_key_db_url, tmp_path):
    """The database's clock jumps by an hour and back under load: no note of a week is lost, and the
    deliveries and receipts of a moment ago, which a lost answer may be waiting for, are not purged."""
    with stack.cluster(folder / "clock", programs, clock=True) as cluster:
        async with opened(cluster.url("msg_db"), timeout=PATIENT) as notes:
            await notes.purge.notes()
            placed = await notes.put(a_note("proof"))
            await attempt(notes, placed.key, "proof", "reader")
            before = cluster.execute("SELECT now(), count(*) FROM delivery", "msg_db")
            cluster.set_clock(3600)
            await notes.purge.notes()
            await notes.purge.deliveries()
            after = cluster.execute("SELECT now(), count(*) FROM delivery", "msg_db")
            again = await attempt(notes, placed.key, "proof", "reader")
        cluster.set_clock(0)
        verdict = await under_faults(["jump_the_clock"], cluster, seeded_key_db_url, tmp_path)

    assert after[0][0] - before[0][0] > timedelta(minutes=50)
    assert after[0][1] == before[0][1] == 2
    assert again == SEALED
    assert verdict.violations == []
    assert verdict.counts["note shown to one reader"] > 50
