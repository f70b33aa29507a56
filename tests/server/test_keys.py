"""Keys are leased before they are needed, each by one process, whatever happens to processes and databases."""

import asyncio
import collections
import contextlib
import logging
import re
import signal
import string
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import psycopg2
import pytest

from kgs import seeding
from server import embedded, keys, roles, schema
from server.database import Database
from server.keys import KEYS_PER_BLOCK, KeyLeaser, OutOfKeys
from server.setting_values import MAX_LIFETIME

ROOT = Path(__file__).parents[2]
DEADLINE = 60


@contextlib.asynccontextmanager
async def leasing(url, ahead=512, timeout=5.0):
    """A leaser that has been started, within the running loop."""
    database = Database(url, 2, timeout)
    leaser = KeyLeaser(database, ahead)
    await leaser.start()
    try:
        yield leaser
    finally:
        await leaser.stop()
        await database.close()


async def eventually(condition):
    """Let the loop run until something has become true."""
    async with asyncio.timeout(DEADLINE):
        while not condition():
            await asyncio.sleep(0.01)


async def take(leaser, count):
    """Take this many keys, as soon as they are available."""
    taken = []
    while len(taken) < count:
        await eventually(lambda: leaser.available)
        taken.append(await leaser.take())
    return taken


def fill(url, blocks):
    for _ in seeding.seed(url, blocks):
        pass


def run(url, statement):
    connection = psycopg2.connect(url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(statement)
        rows = cursor.fetchall() if cursor.description else []
    connection.close()
    return rows


def keys_of(url):
    """List all keys of a key table, in its order."""
    text = "".join(letters for (letters,) in run(url, "SELECT keys FROM key_block ORDER BY id"))
    return [text[at : at + 5] for at in range(0, len(text), 5)]


def test_the_pattern_and_the_alphabet_agree():
    """64 letters: the pattern accepts each of them, and no other."""
    fits = re.compile(keys.KEY_PATTERN).fullmatch

    assert len(set(keys.ALPHABET)) == 64
    assert {letter for letter in string.printable if fits(letter * 5)} == set(keys.ALPHABET)
    assert not fits("A" * 4) and not fits("A" * 6)


@pytest.mark.gen_test
async def test_keys_come_in_the_order_of_the_table(key_db_url):
    """Block after block, every key of it, once."""
    fill(key_db_url, 4)
    async with leasing(key_db_url, ahead=1) as leaser:
        assert await take(leaser, 4 * KEYS_PER_BLOCK) == keys_of(key_db_url)
        with pytest.raises(OutOfKeys):
            await leaser.take()


@pytest.mark.gen_test
async def test_the_start_leases_the_keys_ahead_and_no_more(key_db_url):
    """As many blocks are leased as it takes."""
    fill(key_db_url, 9)
    async with leasing(key_db_url, ahead=600) as leaser:
        assert leaser.available == 3 * KEYS_PER_BLOCK

    assert run(key_db_url, "SELECT next FROM key_cursor") == [(3,)]


@pytest.mark.gen_test
async def test_a_block_is_leased_before_the_last_one_is_used_up(key_db_url):
    """When fewer keys than `ahead` are in memory, one lease in the background brings more."""
    fill(key_db_url, 9)
    async with leasing(key_db_url, ahead=512) as leaser:
        await leaser.take()
        await leaser.take()
        await eventually(lambda: leaser.available > 512)

        assert leaser.available == 3 * KEYS_PER_BLOCK - 2
        assert run(key_db_url, "SELECT id FROM key_lease ORDER BY id") == [(0,), (1,), (2,)]


@pytest.mark.gen_test
async def test_one_lease_brings_several_blocks(key_db_url):
    """One lease, a row of the log for each block, and the keys in their order."""
    fill(key_db_url, 9)
    async with leasing(key_db_url, ahead=7 * KEYS_PER_BLOCK) as leaser:
        assert leaser.available == 7 * KEYS_PER_BLOCK
        assert run(key_db_url, "SELECT count(DISTINCT at), count(*) FROM key_lease") == [(1, 7)]
        assert await take(leaser, 9 * KEYS_PER_BLOCK) == keys_of(key_db_url)


@contextlib.contextmanager
def cursor_locked(url):
    """Make all leases wait."""
    with contextlib.closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT FROM key_cursor FOR UPDATE")
        yield


@pytest.mark.gen_test
async def test_if_no_key_is_in_memory_the_lease_in_progress_is_waited_for(key_db_url):
    """A slow lease delays those that need a key; it does not refuse them."""
    fill(key_db_url, 2)
    async with leasing(key_db_url, ahead=1) as leaser:
        with cursor_locked(key_db_url):
            for _ in range(KEYS_PER_BLOCK):
                await leaser.take()
            late = [asyncio.create_task(leaser.take()) for _ in range(5)]
            _, waiting = await asyncio.wait(late, timeout=0.1)
            assert len(waiting) == 5
        assert await asyncio.gather(*late) == keys_of(key_db_url)[KEYS_PER_BLOCK:][:5]


@pytest.mark.gen_test
async def test_a_taker_during_the_start_waits_for_its_lease(key_db_url):
    """It does not start a second lease."""
    fill(key_db_url, 9)
    database = Database(key_db_url, 2, 5.0)
    leaser = KeyLeaser(database, KEYS_PER_BLOCK)
    with cursor_locked(key_db_url):
        start = asyncio.create_task(leaser.start())
        await eventually(lambda: database.in_use)
        early = asyncio.create_task(leaser.take())
        _, waiting = await asyncio.wait([start, early], timeout=0.1)
        assert len(waiting) == 2
    await start
    assert await early == keys_of(key_db_url)[0]
    await leaser.stop()
    await database.close()
    assert run(key_db_url, "SELECT id FROM key_lease") == [(0,)]


@pytest.mark.gen_test
async def test_a_lease_that_does_not_end_is_not_waited_for_longer_than_for_a_statement(key_db_url):
    """Then there is no key."""
    fill(key_db_url, 2)
    async with leasing(key_db_url, ahead=1, timeout=0.2) as leaser:
        with cursor_locked(key_db_url):
            for _ in range(KEYS_PER_BLOCK):
                await leaser.take()
            async with asyncio.timeout(DEADLINE):
                with pytest.raises(OutOfKeys):
                    await leaser.take()


@pytest.mark.gen_test
async def test_without_keys_the_log_says_what_to_run(key_db_url, caplog):
    """It says so once; as soon as there are keys, they are leased."""
    async with leasing(key_db_url) as leaser:
        for _ in range(100):
            with pytest.raises(OutOfKeys):
                await leaser.take()
        messages = [record.getMessage() for record in caplog.records if record.name == "server.keys"]
        assert messages == [
            "the key-db has no keys left: run `python -m kgs seed --all` (0 keys are left in memory)"
        ]

        fill(key_db_url, 2)
        await eventually(lambda: leaser.available == 2 * KEYS_PER_BLOCK)


@pytest.mark.gen_test
async def test_a_key_db_without_its_schema_is_survived(key_db_url, caplog):
    """Starting does not fail. The log has the database's reason, and later keys are leased."""
    fill(key_db_url, 2)
    run(key_db_url, "ALTER TABLE key_cursor RENAME TO elsewhere")
    async with leasing(key_db_url) as leaser:
        assert 'relation "public.key_cursor" does not exist' in caplog.text

        run(key_db_url, "ALTER TABLE elsewhere RENAME TO key_cursor")
        await eventually(lambda: leaser.available == 2 * KEYS_PER_BLOCK)


@pytest.mark.gen_test
async def test_an_unavailable_key_db_is_survived(postgres, key_db_url, caplog):
    """Meanwhile, the keys in memory can be taken; when it is back, more are leased."""
    fill(key_db_url, 9)
    name = key_db_url.split("/")[3].partition("?")[0]
    async with leasing(key_db_url, ahead=256, timeout=1.0) as leaser:
        run(postgres.url("postgres"), f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        run(
            postgres.url("postgres"),
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'",
        )
        for _ in range(256):
            await leaser.take()
        with pytest.raises(OutOfKeys):
            await leaser.take()
        await eventually(lambda: "the key-db leases no keys" in caplog.text)

        run(postgres.url("postgres"), f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        await eventually(lambda: leaser.available)


@pytest.mark.gen_test
async def test_a_missing_block_is_reported_and_skipped(key_db_url, caplog):
    """Damage costs the block and a line in the log; leasing continues with the next block."""
    fill(key_db_url, 3)
    run(key_db_url, "DELETE FROM key_block WHERE id = 0")
    async with leasing(key_db_url, ahead=256) as leaser:
        assert "run `python -m kgs verify`" in caplog.text
        await eventually(lambda: leaser.available == KEYS_PER_BLOCK)


@pytest.mark.gen_test
async def test_a_missing_block_costs_no_block_leased_with_it(key_db_url, caplog):
    """If one of three leased blocks is missing, the other two are used."""
    fill(key_db_url, 3)
    run(key_db_url, "DELETE FROM key_block WHERE id = 1")
    expected = keys_of(key_db_url)
    async with leasing(key_db_url, ahead=3 * KEYS_PER_BLOCK) as leaser:
        assert "run `python -m kgs verify`" in caplog.text
        assert await take(leaser, 2 * KEYS_PER_BLOCK) == expected


@pytest.mark.gen_test
async def test_no_key_is_ever_logged(key_db_url, caplog):
    """Whatever is logged until the last key is leased, no word of it is a key."""
    caplog.set_level(logging.DEBUG)
    fill(key_db_url, 2)
    async with leasing(key_db_url) as leaser:
        await take(leaser, 2 * KEYS_PER_BLOCK)
        await eventually(lambda: "no keys left" in caplog.text)

    assert not any(key in caplog.text.split() for key in keys_of(key_db_url))


@pytest.mark.gen_test
async def test_a_block_that_was_filled_while_the_lease_waited_is_not_lost(key_db_url):
    """A lease may wait for another's row lock and then get a block newer than its own beginning."""
    fill(key_db_url, 1)
    holder = psycopg2.connect(key_db_url)
    with holder.cursor() as cursor:
        cursor.execute("UPDATE key_cursor SET next = 1, seeded = 2")
        cursor.execute("INSERT INTO key_block SELECT 1, reverse(keys) FROM key_block")
        async with asyncio.TaskGroup() as tasks:
            database = Database(key_db_url, 2, 5.0)
            leaser = KeyLeaser(database, ahead=1)
            tasks.create_task(leaser.start())
            waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'"
            await eventually(lambda: run(key_db_url, waits) == [(1,)])
            holder.commit()
        holder.close()
        assert leaser.available == KEYS_PER_BLOCK
        await leaser.stop()
        await database.close()


@pytest.mark.gen_test
async def test_keys_come_again_in_the_same_order_when_their_rest_is_over(key_db_url):
    """Not before; then from the first one on."""
    fill(key_db_url, 3)
    async with leasing(key_db_url, ahead=1) as leaser:
        await take(leaser, 3 * KEYS_PER_BLOCK)
        with pytest.raises(OutOfKeys):
            await leaser.take()
        run(key_db_url, "UPDATE key_lease SET at = at - key_rest()")

        assert await take(leaser, 3 * KEYS_PER_BLOCK) == keys_of(key_db_url)


@pytest.mark.gen_test
async def test_when_all_blocks_rest_the_log_says_so(key_db_url, caplog):
    """Then seeding cannot help."""
    fill(key_db_url, 1)
    run(key_db_url, "INSERT INTO key_lease (id) VALUES (0)")
    run(key_db_url, "UPDATE key_cursor SET next = 4194304, seeded = 4194304")
    async with leasing(key_db_url) as leaser:
        with pytest.raises(OutOfKeys):
            await leaser.take()

    assert "no keys left: all blocks were leased within the last 60 days" in caplog.text


@pytest.mark.gen_test
async def test_a_key_that_is_given_back_is_the_next_to_be_taken(key_db_url):
    """A refused put uses up no key, however often it is repeated."""
    fill(key_db_url, 1)
    async with leasing(key_db_url, ahead=1) as leaser:
        for _ in range(2 * KEYS_PER_BLOCK):
            leaser.give_back(await leaser.take())

        assert await take(leaser, KEYS_PER_BLOCK) == keys_of(key_db_url)


@pytest.mark.gen_test
async def test_the_web_role_may_lease_and_count(key_db_url):
    """The rights that `python -m server migrate` grants are enough."""
    fill(key_db_url, 3)
    url = key_db_url.replace(f"//{embedded.SUPERUSER}@", "//test_web_keys@")
    roles.provide(key_db_url, f"{url}&password=secret", roles.WEB_ON_KEY_DB)
    async with leasing(url) as leaser:
        assert leaser.available == 2 * KEYS_PER_BLOCK
        database = Database(url, 1, 5.0)
        assert await keys.keys_left(database) == KEYS_PER_BLOCK
        await database.close()


def test_no_note_outlives_the_rest_of_its_key():
    """Otherwise a second note could get a key while the first one lives."""
    assert timedelta(seconds=MAX_LIFETIME) <= keys.LONGEST_LIFETIME < keys.REST


@pytest.fixture
def own_data_dir():
    """A folder for a PostgreSQL that only the test uses."""
    with tempfile.TemporaryDirectory(prefix="nw-keys-") as folder:
        Path(folder).chmod(0o755)  # as root, PostgreSQL's own user has to pass
        yield Path(folder, "data")


@contextlib.contextmanager
def lessees(url, count):
    """Start this many processes, each of which takes keys as fast as it can."""
    command = [sys.executable, "-m", "tests.lessee", url]
    processes = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for _ in range(count)
    ]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()
            process.stdout.close()


def output_of(processes):
    """Read what they print until they end, from all at once, so that none has to wait."""
    with ThreadPoolExecutor(len(processes)) as threads:
        return "".join(threads.map(lambda process: process.stdout.read(), processes)).split()


def test_eight_processes_take_every_key_exactly_once_in_each_lap(key_db_url):
    """Together they get the whole table, although it is still being filled when they start; and then again."""
    fill(key_db_url, 600)
    with lessees(key_db_url, 8) as processes:
        first = [process.stdout.readline().strip() for process in processes]
        fill(key_db_url, 2000)
        first_lap = first + output_of(processes)
    with lessees(key_db_url, 1) as processes:  # in case all the others were too early
        first_lap += output_of(processes)
    run(key_db_url, "UPDATE key_lease SET at = at - key_rest()")
    with lessees(key_db_url, 8) as processes:
        second_lap = output_of(processes)

    assert collections.Counter(first_lap) == collections.Counter(keys_of(key_db_url))
    assert collections.Counter(second_lap) == collections.Counter(first_lap)
    assert run(key_db_url, "SELECT count(*), max(id) FROM key_lease") == [(2000, 1999)]


def test_a_crash_of_the_database_leases_no_key_twice(own_data_dir):
    """PostgreSQL is killed while eight processes lease; after its recovery, none of their keys comes again."""
    with embedded.running(own_data_dir) as running:
        url = running.url(schema.KEY_DB)
        schema.migrate(url, schema.KEY_DB)
        fill(url, 20_000)
        with lessees(url, 8) as processes:
            before = [process.stdout.readline().strip() for process in processes]
            running.process.send_signal(signal.SIGQUIT)  # what `pg_ctl stop --mode=immediate` sends
            before += output_of(processes)
        running.process.wait(DEADLINE)

    with embedded.running(own_data_dir) as running:
        url = running.url(schema.KEY_DB)
        ((leased,),) = run(url, "SELECT next FROM key_cursor")
        run(url, f"UPDATE key_cursor SET seeded = {leased + 500}")
        with lessees(url, 1) as processes:
            after = output_of(processes)

    assert len(before) > 8 * KEYS_PER_BLOCK
    assert len(after) == 500 * KEYS_PER_BLOCK
    assert max(collections.Counter(before + after).values()) == 1
