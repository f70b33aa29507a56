"""Notes are put safely, revealed to exactly one reader, and gone once they have expired."""

import asyncio
import contextlib
import hashlib
import itertools
import random
import uuid
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from server.database import Database
from server.keys import ALPHABET, OutOfKeys
from server.notes import MAX_REVEALED_BYTES, PURGE_BATCH, Note, Notes
from tests.faults import stack
from tests.faults.proxy import Break, Moment, Proxy, Trap, socket_of

pytestmark = pytest.mark.gen_test

HOUR = timedelta(hours=1)


class Keys:
    """An endless supply of keys, `first` first."""

    def __init__(self, *first):
        letters = random.Random(1)
        self._keys = itertools.chain(first, iter(lambda: "".join(letters.choices(ALPHABET, k=5)), None))

    async def take(self):
        return next(self._keys)


@contextlib.asynccontextmanager
async def opened(url, *keys):
    """Notes of the database at `url`, and the database, within the running loop."""
    database = Database(url, 8, 5.0)
    try:
        yield Notes(database, Keys(*keys)), database
    finally:
        await database.close()


def a_note(proof=b"proof", lifetime=HOUR, fill=b"s", has_passphrase=False):
    return Note(verifier(proof), b"\x01" + fill * 284, has_passphrase, lifetime)


def verifier(proof):
    return hashlib.sha256(proof).digest()


async def count(database):
    ((rows,),) = await database.execute("SELECT count(*) FROM note")
    return rows


async def expire(database, *keys):
    await database.execute("UPDATE note SET expires_at = now() WHERE key = ANY (%s)", (list(keys),))


async def test_a_note_comes_back_once(msg_db_url):
    """What was put is revealed, and then gone."""
    async with opened(msg_db_url) as (notes, database):
        placed = await notes.put(a_note())

        assert await notes.reveal(placed.key, verifier(b"proof")) == a_note().sealed
        assert await notes.reveal(placed.key, verifier(b"proof")) is None
        assert await count(database) == 0


async def test_it_expires_by_the_databases_clock(msg_db_url):
    """The lifetime counts from the moment it was put."""
    async with opened(msg_db_url) as (notes, database):
        placed = await notes.put(a_note(lifetime=timedelta(minutes=5)))
        ((now,),) = await database.execute("SELECT now()")

    assert timedelta(minutes=4) < placed.expires_at - now <= timedelta(minutes=5)
    assert placed.expires_at.astimezone(UTC) > datetime(2020, 1, 1, tzinfo=UTC)


async def test_a_peek_tells_and_changes_nothing(msg_db_url):
    """Whether there is a note, whether it has a passphrase, until when."""
    async with opened(msg_db_url) as (notes, database):
        placed = await notes.put(a_note(has_passphrase=True))

        assert await notes.peek(placed.key) == (True, placed.expires_at)
        assert await notes.peek("nokey") is None
        assert await count(database) == 1


async def test_a_wrong_proof_destroys_nothing(msg_db_url):
    """The row is deleted only if key and verifier fit."""
    async with opened(msg_db_url) as (notes, database):
        placed = await notes.put(a_note())

        assert await notes.reveal(placed.key, verifier(b"wrong")) is None
        assert await notes.reveal("other", verifier(b"proof")) is None
        assert not await notes.destroy(placed.key, verifier(b"wrong"))
        assert await count(database) == 1


async def test_destroying_deletes_a_note_unread(msg_db_url):
    """Afterwards nobody can reveal it."""
    async with opened(msg_db_url) as (notes, _):
        placed = await notes.put(a_note())

        assert await notes.destroy(placed.key, verifier(b"proof"))
        assert await notes.reveal(placed.key, verifier(b"proof")) is None


async def test_an_expired_note_cannot_be_revealed_before_the_purge(msg_db_url):
    """It counts as gone from the very second in which it expires."""
    async with opened(msg_db_url) as (notes, database):
        placed = await notes.put(a_note())
        await expire(database, placed.key)

        assert await notes.peek(placed.key) is None
        assert await notes.reveal(placed.key, verifier(b"proof")) is None
        assert await count(database) == 1


async def test_twenty_readers_at_once_on_a_hundred_notes(msg_db_url):
    """Exactly one reader gets each note, and gets that note."""
    async with opened(msg_db_url) as (notes, database):
        placed = await asyncio.gather(
            *(notes.put(a_note(proof=bytes([n]), fill=bytes([n]))) for n in range(100))
        )
        readers = [n for n in range(100) for _ in range(20)]
        random.Random(2).shuffle(readers)

        got = await asyncio.gather(*(notes.reveal(placed[n].key, verifier(bytes([n]))) for n in readers))

        wins = Counter(n for n, sealed in zip(readers, got) if sealed is not None)
        assert wins == Counter(range(100))
        assert all(s == b"\x01" + bytes([n]) * 284 for n, s in zip(readers, got) if s is not None)
        assert await count(database) == 0


async def test_readers_in_several_processes_share_no_note(msg_db_url):
    """Groups of different servers meet in the database, and each note still has one reader."""
    async with contextlib.AsyncExitStack() as stack:
        servers = [(await stack.enter_async_context(opened(msg_db_url)))[0] for _ in range(4)]
        placed = await asyncio.gather(*(servers[0].put(a_note(proof=bytes([n]))) for n in range(50)))
        calls = [(server, n) for server in servers for n in range(50)]
        random.Random(3).shuffle(calls)

        got = await asyncio.gather(
            *(server.reveal(placed[n].key, verifier(bytes([n]))) for server, n in calls)
        )

    assert Counter(n for (_, n), sealed in zip(calls, got) if sealed) == Counter(range(50))


@pytest.mark.parametrize("right_first", [True, False])
async def test_a_right_and_a_wrong_proof_in_one_group(msg_db_url, right_first):
    """Of two callers with the same key, the one with the right proof gets the note, in either order."""
    async with opened(msg_db_url) as (notes, _):
        placed = await notes.put(a_note())
        proofs = [b"proof", b"wrong"] if right_first else [b"wrong", b"proof"]

        got = await asyncio.gather(*(notes.reveal(placed.key, verifier(proof)) for proof in proofs))

    expected = [a_note().sealed, None] if right_first else [None, a_note().sealed]
    assert got == expected


async def test_the_same_proof_twice_in_one_group_reveals_once(msg_db_url):
    """Of two callers with the same link in one statement, one gets the note."""
    async with opened(msg_db_url) as (notes, _):
        placed = await notes.put(a_note())

        got = await asyncio.gather(*(notes.reveal(placed.key, verifier(b"proof")) for _ in range(2)))

    assert sorted(got, key=str) == sorted([None, a_note().sealed], key=str)


async def test_puts_share_statements_and_keep_their_own_keys(msg_db_url):
    """Of many puts at once, each caller's note is under the key that the caller got."""
    async with opened(msg_db_url) as (notes, database):
        placed = await asyncio.gather(*(notes.put(a_note(proof=b"%d" % n)) for n in range(200)))
        rows = dict(await database.execute("SELECT key, verifier FROM note"))

    assert len(rows) == 200
    for n, place in enumerate(placed):
        assert bytes(rows[place.key]) == verifier(b"%d" % n)


async def test_a_key_in_use_is_not_overwritten(msg_db_url):
    """After a clash, which only a restored key-db can cause, the note gets another key."""
    async with opened(msg_db_url, "AAAAA", "AAAAA", "BBBBB") as (notes, _):
        first = await notes.put(a_note(proof=b"first"))
        second = await notes.put(a_note(proof=b"second"))

        assert (first.key, second.key) == ("AAAAA", "BBBBB")
        assert await notes.reveal("AAAAA", verifier(b"first")) is not None


async def test_a_clash_within_one_group_is_resolved_too(msg_db_url):
    """The database refuses the same key twice in one statement, and each note is tried by itself."""
    async with opened(msg_db_url, "AAAAA", "AAAAA", "BBBBB") as (notes, _):
        placed = await asyncio.gather(notes.put(a_note(b"1")), notes.put(a_note(b"2")))

    assert {place.key for place in placed} == {"AAAAA", "BBBBB"}


async def test_a_put_that_is_repeated_finds_itself(msg_db_url):
    """If the answer to a put was lost, sending it again neither fails nor stores a second note."""
    async with opened(msg_db_url, "AAAAA", "AAAAA") as (notes, database):
        first = await notes.put(a_note())
        again = await notes.put(a_note())

        assert again == first
        assert await count(database) == 1


async def test_a_note_that_the_database_refuses_fails_alone(msg_db_url):
    """The other notes in its group are stored."""
    async with opened(msg_db_url) as (notes, database):
        bad = Note(b"too short", b"", False, HOUR)

        results = await asyncio.gather(
            notes.put(a_note()), notes.put(bad), notes.put(a_note()), return_exceptions=True
        )

        assert [isinstance(result, Exception) for result in results] == [False, True, False]
        assert await count(database) == 2


async def test_without_a_key_nothing_is_stored(msg_db_url):
    """The caller gets OutOfKeys, and nothing else happens."""

    class Dry:
        async def take(self):
            raise OutOfKeys

    async with opened(msg_db_url) as (_, database):
        with pytest.raises(OutOfKeys):
            await Notes(database, Dry()).put(a_note())
        assert await count(database) == 0


@pytest.fixture
def proxy(msg_db_url):
    """A proxy in front of the msg-db, which can break the conversation."""
    with Proxy(socket_of(msg_db_url)) as proxy:
        yield proxy


@pytest.fixture
def proxy_url(proxy, msg_db_url):
    """The URL of the msg-db behind the proxy."""
    return proxy.url(stack.name_of(msg_db_url))


@pytest.mark.parametrize("moment", [Moment.ANSWERED, Moment.UNSENT])
@pytest.mark.parametrize("times", [1, 2])
async def test_a_lost_answer_to_commit_loses_no_note(proxy_url, proxy, moment, times):
    """Whether the COMMIT took effect or not, the reader gets the note, and nobody else ever does."""
    async with opened(proxy_url) as (notes, _):
        placed = await notes.put(a_note())
        traps = [proxy.arm(Trap("commit", moment, Break.CUT)) for _ in range(times)]

        assert await notes.reveal(placed.key, verifier(b"proof")) == a_note().sealed
        assert await notes.reveal(placed.key, verifier(b"proof")) is None
        assert all(trap.sprung.is_set() for trap in traps)


async def test_a_lost_commit_does_not_show_what_another_reader_got(msg_db_url, proxy_url, proxy):
    """If the COMMIT never arrived and another reader was faster, the first reader gets nothing."""

    def lose_the_commit(statement):
        if statement != "commit":
            return None
        proxy.refusing = True  # so that the first reader cannot try again before the other one
        return Trap("commit", Moment.UNSENT, Break.CUT)

    async with opened(proxy_url) as (notes, _), opened(msg_db_url) as (other, _):
        placed = await notes.put(a_note())
        proxy.choose = lose_the_commit
        first = asyncio.create_task(notes.reveal(placed.key, verifier(b"proof")))
        while not proxy.sprung:
            await asyncio.sleep(0.005)

        assert await other.reveal(placed.key, verifier(b"proof")) == a_note().sealed
        proxy.choose = None
        proxy.refusing = False
        assert await first is None


async def test_a_group_with_a_lost_answer_gives_each_reader_its_own(proxy_url, proxy):
    """Receipts cover the whole group: notes, missing notes and wrong proofs alike."""
    async with opened(proxy_url) as (notes, _):
        placed = [await notes.put(a_note(b"%d" % n, fill=b"%d" % n)) for n in range(3)]
        reveals = [(place.key, verifier(b"%d" % n)) for n, place in enumerate(placed)]
        reveals.insert(1, (placed[0].key, verifier(b"wrong")))
        trap = proxy.arm(Trap("commit", Moment.ANSWERED, Break.CUT))

        got = await asyncio.gather(*(notes.reveal(*reveal) for reveal in reveals))

    assert trap.sprung.is_set()
    assert got == [b"\x01" + b"0" * 284, None, b"\x01" + b"1" * 284, b"\x01" + b"2" * 284]


async def test_a_commit_that_answers_rollback_is_no_commit(msg_db_url):
    """A failed transaction ends without an error; its rows are not shown but revealed again."""

    class RollingBackOnce(Notes):
        commits = iter(["ROLLBACK"])

        @property
        def COMMIT(self):
            return next(self.commits, Notes.COMMIT)

    async with opened(msg_db_url) as (_, database):
        notes = RollingBackOnce(database, Keys())
        placed = await notes.put(a_note())

        assert await notes.reveal(placed.key, verifier(b"proof")) == a_note().sealed
        assert await count(database) == 0
        assert await database.execute("SELECT count(*) FROM receipt") == [(1,)]


async def test_a_reveal_that_meets_a_repeated_put_shows_the_note(msg_db_url):
    """A put that finds itself writes the row again; a reveal that waited for it reveals the new row."""
    waits = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    async with opened(msg_db_url) as (notes, database), opened(msg_db_url) as (other, _):
        placed = await notes.put(a_note())
        async with database.connection() as connection:
            await connection.query("BEGIN; UPDATE note SET key = key")
            reading = asyncio.create_task(other.reveal(placed.key, verifier(b"proof")))
            while await database.execute(waits) == [(0,)]:
                await asyncio.sleep(0.01)
            await connection.query("COMMIT")

        assert await reading == a_note().sealed
        assert await count(database) == 0


async def test_a_reveal_that_finds_nothing_leaves_no_receipt(msg_db_url):
    """Guessing keys writes nothing to the database."""
    async with opened(msg_db_url) as (notes, database):
        await notes.reveal("nokey", verifier(b"proof"))

        assert await database.execute("SELECT count(*) FROM receipt") == [(0,)]


async def test_the_purge_deletes_expired_notes_only(msg_db_url):
    """Notes that are alive stay."""
    async with opened(msg_db_url) as (notes, database):
        placed = [await notes.put(a_note()) for _ in range(3)]
        await expire(database, placed[0].key, placed[1].key)

        assert await notes.purge() == 2
        assert await notes.purge() == 0
        assert await notes.reveal(placed[2].key, verifier(b"proof")) is not None


async def test_the_purge_works_in_batches(msg_db_url):
    """A full batch says that there may be more."""
    async with opened(msg_db_url) as (notes, database):
        await asyncio.gather(*(notes.put(a_note(b"%d" % n)) for n in range(PURGE_BATCH + 7)))
        await database.execute("UPDATE note SET expires_at = now()")

        assert await notes.purge() == PURGE_BATCH
        assert await notes.purge() == 7


async def test_one_process_purges_at_a_time(msg_db_url):
    """While another process holds the lock, a purge does nothing."""
    async with opened(msg_db_url) as (notes, database):
        placed = await notes.put(a_note())
        await expire(database, placed.key)
        async with database.connection() as other:
            await other.query("BEGIN; SELECT pg_advisory_xact_lock(1853321319)")

            assert await notes.purge() == 0
        assert await notes.purge() == 1


async def test_a_reveal_in_progress_does_not_hold_up_the_purge(msg_db_url):
    """Locked rows are skipped."""
    async with opened(msg_db_url) as (notes, database):
        placed = await notes.put(a_note())
        await expire(database, placed.key)
        async with database.connection() as other:
            await other.query("BEGIN; SELECT FROM note FOR UPDATE")

            assert await notes.purge() == 0


async def test_receipts_live_ten_minutes(msg_db_url):
    """The purge deletes older receipts."""
    async with opened(msg_db_url) as (notes, database):
        for minutes in (9, 11):
            placed = await notes.put(a_note())
            await notes.reveal(placed.key, verifier(b"proof"))
            await database.execute(
                "UPDATE receipt SET at = now() - make_interval(mins => %s)"
                " WHERE at > now() - interval '1 minute'",
                (minutes,),
            )

        await notes.purge()

        assert await database.execute("SELECT count(*) FROM receipt") == [(1,)]


async def test_large_notes_are_revealed_a_few_at_a_time(msg_db_url):
    """A group brings a bounded number of bytes into memory, though the length of a note is not known before."""
    async with opened(msg_db_url) as (_, database):
        notes = Notes(database, Keys(), max_sealed_bytes=MAX_REVEALED_BYTES // 2)
        placed = [await notes.put(a_note(b"%d" % n)) for n in range(6)]

        got = await asyncio.gather(
            *(notes.reveal(place.key, verifier(b"%d" % n)) for n, place in enumerate(placed))
        )

        assert got == [a_note().sealed] * 6
        receipts_of_groups = await database.execute("SELECT count(*) FROM receipt")
        assert receipts_of_groups == [(3,)]


async def test_statements_find_notes_by_their_key(msg_db_url):
    """Statements use the index, however many notes there are, and were when they were planned."""
    many = """
    INSERT INTO note
    SELECT lpad(n::text, 5, '0'), sha256(''),
            '\\x01' || decode(repeat('00', 284), 'hex'), false, now() + interval '1 hour'
    FROM generate_series(1, 20000) AS n
    """
    keys = ",".join(f"{n:05}" for n in range(64))
    verifiers = ",".join(["AAAA"] * 64)
    statements = {
        Notes.PEEK: "('00001')",
        Notes.HAS_PASSPHRASE: "('00001')",
        Notes.REVEAL: f"('{keys}', '{verifiers}', '{uuid.uuid4()}', false)",
    }
    for fills in ((), ("VACUUM ANALYZE note",), (many,), ("ANALYZE note",), ("TRUNCATE note",)):
        async with opened(msg_db_url) as (_, database):
            for fill in fills:
                await database.execute(fill)
            async with database.connection() as connection:
                for statement, arguments in statements.items():
                    await connection.prepare(statement)
                    plan = await connection.query(f"EXPLAIN EXECUTE {statement.name}{arguments}")

                    scans = [line for line, in plan if "Scan" in line and " note" in line]
                    assert scans and all("note_pkey" in line or "Bitmap Heap" in line for line in scans)
                    assert not any("Join" in line and "key = note" in line for line, in plan)
