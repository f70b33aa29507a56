"""The primary dies under load and its synchronous standby takes over at the same address."""

import asyncio
import hashlib

import pytest

from kgs import fencing, key_db, seeding
from server import schema
from server.database import Unavailable
from server.notes import MAX_COMMIT_WAIT, delivery_id
from tests.faults import history, stack
from tests.faults.conftest import PATIENT, TIMEOUT
from tests.faults.failover import fail_over, pair
from tests.faults.files import left_behind
from tests.faults.load import Load, under_load
from tests.faults.proxy import Proxy
from tests.faults.test_conversation import SEALED, a_note, attempt, opened, verifier

BOUND = 15 * TIMEOUT + 1
UNKNOWN_AFTER = min(MAX_COMMIT_WAIT, 9 * TIMEOUT) - 1


@pytest.fixture(scope="module")
def primary_and_standby(folder, programs):
    """A primary that waits for its standby."""
    with pair(folder / "pair", programs) as made:
        yield made


FILE_BYTES = 256
CHUNK = bytes(FILE_BYTES + 16)

WAITING = "FROM pg_stat_activity WHERE wait_event = 'SyncRep'"


def patient_notes(pair, first_key):
    """Notes of the primary, for which no timeout comes."""
    return opened(pair.primary.url("msg_db"), first_key, PATIENT)


def count_on_standby(pair, key):
    """How many notes the standby has under a key."""
    ((count,),) = pair.on_standby(f"SELECT count(*) FROM note WHERE key = '{key}'")
    return count


async def while_the_standby_is_frozen(pair, work):
    """Do `work`, whose first wait for the standby is cancelled; was it done before the standby knew?"""
    pair.standby.freeze()
    working = asyncio.create_task(work)
    for sql in (f"SELECT pg_cancel_backend(pid) {WAITING}", f"SELECT pid {WAITING}"):
        while not working.done() and not await asyncio.to_thread(pair.primary.execute, sql):
            await asyncio.sleep(0.01)
    too_soon = working.done()
    pair.standby.thaw()
    return await working, too_soon


@pytest.mark.gen_test(timeout=60)
async def test_a_put_that_a_standby_was_not_waited_for_is_not_handed_out_yet(primary_and_standby):
    """PostgreSQL says so in a warning only; the put is repeated, and found, once the standby has it."""
    async with patient_notes(primary_and_standby, 5000) as notes:
        placed, too_soon = await while_the_standby_is_frozen(primary_and_standby, notes.put(a_note("proof")))
        on_standby = count_on_standby(primary_and_standby, placed.key)

        assert not too_soon
        assert on_standby == 1
        assert await attempt(notes, placed.key, "proof") == SEALED


@pytest.mark.gen_test(timeout=60)
async def test_a_put_with_files_that_a_standby_was_not_waited_for_is_not_handed_out_yet(primary_and_standby):
    """The repeated put finds the first one, and waits for the standby as well. Chunks alone do not wait."""
    upload = b"u" * 32
    async with patient_notes(primary_and_standby, 8000) as notes:
        await notes.files.begin(upload, FILE_BYTES)
        primary_and_standby.standby.freeze()
        await notes.files.put_chunks(upload, 0, CHUNK)
        placed, too_soon = await while_the_standby_is_frozen(
            primary_and_standby, notes.put_with_files(a_note("proof"), upload)
        )
        on_standby = primary_and_standby.on_standby(f"SELECT files FROM note WHERE key = '{placed.key}'")

        assert not too_soon
        chunks = primary_and_standby.on_standby("SELECT files FROM chunk")
        assert [bytes(files) for files, in on_standby + chunks] == [hashlib.sha256(upload).digest()] * 2


@pytest.mark.gen_test(timeout=60)
async def test_a_reveal_that_a_standby_was_not_waited_for_is_not_shown_yet(primary_and_standby):
    """It is shown once the standby knows as well: after a failover nobody reads it again."""
    async with patient_notes(primary_and_standby, 6000) as notes:
        placed = await notes.put(a_note("proof"))
        sealed, too_soon = await while_the_standby_is_frozen(
            primary_and_standby, attempt(notes, placed.key, "proof")
        )
        on_standby = count_on_standby(primary_and_standby, placed.key)

        assert not too_soon
        assert sealed == SEALED
        assert on_standby == 0
        assert await attempt(notes, placed.key, "proof") == "read"


@pytest.mark.gen_test(timeout=60)
async def test_a_destroyed_note_that_a_standby_still_has_is_not_called_destroyed_yet(primary_and_standby):
    """The repeated statement finds nothing to destroy, and waits for the standby all the same."""
    async with patient_notes(primary_and_standby, 9000) as notes:
        placed = await notes.put(a_note("proof"))
        destroyed, too_soon = await while_the_standby_is_frozen(
            primary_and_standby, notes.destroy(placed.key, verifier("link"))
        )
        on_standby = count_on_standby(primary_and_standby, placed.key)

        assert not too_soon
        assert destroyed
        assert on_standby == 0


@pytest.mark.gen_test(timeout=60)
async def test_a_received_delivery_that_a_standby_still_has_is_not_called_received_yet(primary_and_standby):
    """The sealed bytes are gone from both databases once the reader is told so."""
    async with patient_notes(primary_and_standby, 10000) as notes:
        placed = await notes.put(a_note("proof"))
        await attempt(notes, placed.key, "proof", "reader")
        received, too_soon = await while_the_standby_is_frozen(
            primary_and_standby, notes.received(placed.key, b"reader".ljust(32, b"-"), None)
        )
        on_standby = primary_and_standby.on_standby(f"SELECT sealed FROM delivery WHERE key = '{placed.key}'")

        assert not too_soon
        assert received
        assert on_standby == [(None,)]


@pytest.mark.gen_test(timeout=60)
@pytest.mark.parametrize("act", ["begin", "cancel", "received"])
async def test_an_act_on_files_that_a_standby_was_not_waited_for_is_refused(primary_and_standby, act):
    """Its client repeats it. Chunks wait for no standby: the put of their note does."""
    upload = act.encode().ljust(32, b"-")
    async with patient_notes(primary_and_standby, 11000) as notes:
        if act != "begin":
            await notes.files.begin(upload, FILE_BYTES)
        if act in ("cancel", "received"):
            await notes.files.put_chunks(upload, 0, CHUNK)
        if act == "received":
            placed = await notes.put_with_files(a_note("proof"), upload)
            await attempt(notes, placed.key, "proof", "reader")
        work = {
            "begin": lambda: notes.files.begin(upload, FILE_BYTES),
            "cancel": lambda: notes.files.cancel(upload),
            "received": lambda: notes.revealed_files.received(
                delivery_id(placed.key, b"reader".ljust(32, b"-"))
            ),
        }[act]

        with pytest.raises(Unavailable, match="standby|replication"):
            await while_the_standby_is_frozen(primary_and_standby, work())
        await work()


@pytest.mark.gen_test(timeout=60)
async def test_a_delivery_that_a_standby_does_not_have_is_not_shown_again_yet(primary_and_standby):
    """The reader asks another server, which finds the delivery on the primary only: it waits for the standby too."""
    execute = primary_and_standby.primary.execute
    both = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = 'msg_db' AND (wait_event = 'SyncRep' OR wait_event_type = 'Lock')"
    )
    async with (
        patient_notes(primary_and_standby, 7000) as notes,
        patient_notes(primary_and_standby, 0) as other,
    ):
        placed = await notes.put(a_note("proof"))
        primary_and_standby.standby.freeze()
        first = asyncio.create_task(attempt(notes, placed.key, "proof", "reader"))
        while not await asyncio.to_thread(execute, f"SELECT pg_cancel_backend(pid) {WAITING}"):
            await asyncio.sleep(0.01)
        again = asyncio.create_task(attempt(other, placed.key, "proof", "reader"))
        while not again.done() and await asyncio.to_thread(execute, both) < [(2,)]:
            await asyncio.sleep(0.01)
        too_soon = again.done()
        primary_and_standby.standby.thaw()

        assert await asyncio.gather(first, again) == [SEALED, SEALED]
        assert not too_soon


@pytest.mark.gen_test(timeout=60)
@pytest.mark.parametrize("act", ["seed", "fence"])
async def test_a_kgs_whose_standby_was_not_waited_for_says_so(primary_and_standby, act):
    """A fence that only the primary has would be lost with it, and keys in use would be leased."""
    name = f"key_db_{act}"
    primary_and_standby.primary.execute(f"CREATE DATABASE {name}")
    url = primary_and_standby.primary.url(name)
    await asyncio.to_thread(schema.migrate, url, schema.KEY_DB)
    if act == "fence":
        await asyncio.to_thread(seeding.ensure_ahead, url, 256)
        plan = fencing.plan_blocks(url, 1)
        work = asyncio.to_thread(fencing.skip, url, plan)
    else:
        work = asyncio.to_thread(seeding.ensure_ahead, url, 256)

    with pytest.raises(key_db.Refusal, match="standby"):
        await while_the_standby_is_frozen(primary_and_standby, work)


@pytest.mark.gen_test(timeout=120)
async def test_a_failover_under_load_loses_nothing_and_shows_nothing_twice(
    primary_and_standby, seeded_key_db_url, tmp_path
):
    """The address stays, the host behind it changes; /readyz says no in between, and yes afterwards."""
    with Proxy(("127.0.0.1", primary_and_standby.primary.port)) as proxy:
        environment = {
            "KEY_DB_URL": seeded_key_db_url,
            "MSG_DB_URL": proxy.url("msg_db"),
            "DB_TIMEOUT": str(TIMEOUT),
        }
        with stack.servers(1, environment, tmp_path) as servers:
            load = Load([server.port for server in servers], seed=2, files=0.15)
            async with under_load(load, clients=12):
                while len(load.history.notes) < 100:
                    await asyncio.sleep(0.01)
                story = await fail_over(primary_and_standby, proxy, servers[0], load, detection=0.5)

    verdict = history.check(load.history, BOUND, UNKNOWN_AFTER)
    print(dict(verdict.counts), story)
    assert verdict.violations == []
    assert await left_behind(primary_and_standby.standby.url("msg_db")) == []
    assert [ready for _, ready in story.unready][-2:] == [False, True]
    assert story.first_put - story.promoted < 5 * TIMEOUT
