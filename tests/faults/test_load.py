"""A load without a fault: the checker is content, and everything that the load does was done."""

import asyncio

import pytest

from tests.faults import history, stack
from tests.faults.conftest import PATIENT
from tests.faults.files import left_behind
from tests.faults.load import Load, under_load

# The load continues until each of these has happened.
HAPPENS = {
    *("put incomplete", "repeated put placed", "chunks unknown", "cancel done", "destroy done", "try locked"),
    *("fetch shown", "fetch gone", "fetch unknown", "received done", "received files done"),
}
ENOUGH = 100  # notes
TOO_MANY = 2000


@pytest.mark.gen_test(timeout=180)
async def test_files_reach_one_reader_and_leave_nothing_behind(cluster, seeded_key_db_url, tmp_path):
    """Writers and readers stay and repeat themselves, leave, cancel and destroy."""
    environment = {
        "KEY_DB_URL": seeded_key_db_url,
        "MSG_DB_URL": cluster.url("msg_db"),
        "DB_TIMEOUT": str(PATIENT),
    }
    with stack.servers(1, environment, tmp_path) as (server,):
        load = Load([server.port], seed=3, leavers=0.03, files=1.0)
        async with under_load(load, clients=8):
            while len(load.history.notes) < ENOUGH or HAPPENS - happened(load):
                assert len(load.history.notes) < TOO_MANY, HAPPENS - happened(load)
                await asyncio.sleep(0.05)
    verdict = history.check(load.history, 15 * PATIENT, 9 * PATIENT)
    print(dict(verdict.counts))

    assert verdict.violations == []
    assert await left_behind(cluster.url("msg_db")) == []
    assert verdict.counts["note whose files were fetched"] > ENOUGH // 2


def happened(load):
    """What calls have come to so far."""
    return {f"{call.kind} {call.outcome.value}" for call in load.history.calls}
