"""Notes are put safely, revealed to exactly one reader, and gone once they have expired."""

import asyncio
import contextlib
import hashlib
import itertools
import random
import re
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from server.database import Database
from server.keys import ALPHABET, OutOfKeys
from server.notes import (
    MAX_REVEALED_BYTES,
    PURGE_BATCH,
    Ended,
    Ending,
    Note,
    Notes,
    PassphraseNeeded,
    TooManyTries,
    Unread,
    WrongPassphrase,
)
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


def a_note(proof=b"proof", lifetime=HOUR, fill=b"s", has_passphrase=False, link=b"link"):
    return Note(verifier(link), verifier(proof), b"\x02" + fill * 284, has_passphrase, lifetime)


def verifier(proof):
    return hashlib.sha256(proof).digest()


def nonce(reader):
    return reader.ljust(32, b"-")


async def reveal(notes, key, proof=b"proof", link=b"link", reader=None, without_passphrase=False):
    """What a client is told: the sealed bytes, None, or in words why it does not get them."""
    try:
        return await notes.reveal(
            key,
            verifier(link),
            verifier(proof),
            without_passphrase,
            None if reader is None else nonce(reader),
        )
    except PassphraseNeeded:
        return "passphrase needed"
    except WrongPassphrase as wrong:
        return f"wrong, {wrong.tries_left} left"
    except TooManyTries as locked:
        return f"wait {locked.seconds} s"
    except Ended as ended:
        return ended.ending.how


SEALED = a_note().sealed


async def count(database, table="note"):
    ((rows,),) = await database.execute(f"SELECT count(*) FROM {table}")
    return rows


async def expire(database, *keys):
    await database.execute("UPDATE note SET expires_at = now() WHERE key = ANY (%s)", (list(keys),))


async def test_a_note_comes_back_once(msg_db_url):
    """What was put is revealed, and then an ending is all that is left."""
    async with opened(msg_db_url) as (notes, database):
        placed = await notes.put(a_note())

        assert await reveal(notes, placed.key) == SEALED
        assert await reveal(notes, placed.key) == "read"
        assert (await count(database), await count(database, "ending")) == (0, 1)


async def test_it_expires_by_the_databases_clock(msg_db_url):
    """The lifetime counts from the moment it was put."""
    async with opened(msg_db_url) as (notes, database):
        placed = await notes.put(a_note(lifetime=timedelta(minutes=5)))
        ((now,),) = await database.execute("SELECT now()")

    assert timedelta(minutes=4) < placed.expires_at - now <= timedelta(minutes=5)
    assert placed.expires_at.astimezone(UTC) > datetime(2020, 1, 1, tzinfo=UTC)


async def test_a_peek_tells_only_whether_there_is_a_note(msg_db_url):
    """It proves nothing, so it learns nothing of a passphrase, of an expiry or of an ending."""
    async with opened(msg_db_url) as (notes, database):
        placed = await notes.put(a_note(has_passphrase=True))

        assert await notes.peek(placed.key) is True
        assert await notes.peek("nokey") is False
        assert await count(database) == 1
        await reveal(notes, placed.key)
        assert await notes.peek(placed.key) is False


async def test_the_status_is_for_clients_that_prove_the_link(msg_db_url):
    """An unread note has a passphrase or none, an expiry and a number of wrong passphrases."""
    async with opened(msg_db_url) as (notes, _):
        placed = await notes.put(a_note(has_passphrase=True))
        await reveal(notes, placed.key, b"wrong")

        assert await notes.status(placed.key, verifier(b"link")) == Unread(True, placed.expires_at, 1, 0)
        assert await notes.status(placed.key, verifier(b"other link")) is None
        assert await notes.status("nokey", verifier(b"link")) is None


async def test_a_wrong_proof_destroys_nothing(msg_db_url):
    """The row is deleted only if the key and both proofs fit."""
    async with opened(msg_db_url) as (notes, database):
        placed = await notes.put(a_note())

        assert await reveal(notes, placed.key, b"wrong") == "wrong, 9 left"
        assert await reveal(notes, placed.key, link=b"other link") is None
        assert await reveal(notes, "other") is None
        assert not await notes.destroy(placed.key, verifier(b"other link"))
        assert await count(database) == 1


async def test_destroying_deletes_a_note_unread(msg_db_url):
    """The link is enough; afterwards nobody can reveal the note, and repeating it changes nothing."""
    async with opened(msg_db_url) as (notes, _):
        placed = await notes.put(a_note(has_passphrase=True))

        assert await notes.destroy(placed.key, verifier(b"link"))
        assert await reveal(notes, placed.key) == "destroyed"
        first = await notes.status(placed.key, verifier(b"link"))
        assert await notes.destroy(placed.key, verifier(b"link"))
        assert await notes.status(placed.key, verifier(b"link")) == first
        assert not await notes.destroy(placed.key, verifier(b"other link"))


async def test_what_has_ended_cannot_be_destroyed(msg_db_url):
    """Whoever tries is told how the note ended, and when."""
    async with opened(msg_db_url) as (notes, database):
        read, expired = await notes.put(a_note()), await notes.put(a_note())
        await reveal(notes, read.key)
        await expire(database, expired.key)

        for place, how in ((read, "read"), (expired, "expired")):
            with pytest.raises(Ended) as ended:
                await notes.destroy(place.key, verifier(b"link"))
            assert ended.value.ending == await notes.status(place.key, verifier(b"link"))
            assert ended.value.ending.how == how


async def test_a_note_is_read_or_destroyed_and_never_both(msg_db_url):
    """Senders and readers of several processes meet: each note has one ending, and both sides are told it."""
    async with opened(msg_db_url) as (reading, database), opened(msg_db_url) as (destroying, _):
        placed = [await reading.put(a_note()) for _ in range(60)]

        async def destroy(key):
            try:
                return await destroying.destroy(key, verifier(b"link"))
            except Ended as ended:
                return ended.ending.how

        got, destroyed = await asyncio.gather(
            asyncio.gather(*(reveal(reading, place.key) for place in placed)),
            asyncio.gather(*(destroy(place.key) for place in placed)),
        )
        endings = dict(await database.execute("SELECT key, how FROM ending"))

    assert set(zip(got, destroyed)) <= {(SEALED, "read"), ("destroyed", True)}
    assert [endings[place.key] == "read" for place in placed] == [answer == SEALED for answer in got]


async def test_an_expired_note_cannot_be_revealed_before_the_purge(msg_db_url):
    """It is gone from the very second in which it expires, and the purge changes nothing for its reader."""
    async with opened(msg_db_url) as (notes, database):
        placed = await notes.put(a_note())
        ((at,),) = await database.execute("UPDATE note SET expires_at = now() RETURNING expires_at")

        for rows in (1, 0):
            assert await notes.peek(placed.key) is False
            assert await reveal(notes, placed.key) == "expired"
            assert await reveal(notes, placed.key, b"wrong") == "expired"
            assert await reveal(notes, placed.key, link=b"other link") is None
            assert await notes.status(placed.key, verifier(b"link")) == Ending("expired", at)
            assert await count(database) == rows
            await notes.purge()


async def test_twenty_readers_at_once_on_a_hundred_notes(msg_db_url):
    """Exactly one reader gets each note, and gets that note."""
    async with opened(msg_db_url) as (notes, database):
        placed = await asyncio.gather(
            *(notes.put(a_note(proof=bytes([n]), fill=bytes([n]))) for n in range(100))
        )
        readers = [n for n in range(100) for _ in range(20)]
        random.Random(2).shuffle(readers)

        got = await asyncio.gather(*(reveal(notes, placed[n].key, bytes([n])) for n in readers))

        wins = Counter(n for n, answer in zip(readers, got) if answer != "read")
        assert wins == Counter(range(100))
        assert all(s == b"\x02" + bytes([n]) * 284 for n, s in zip(readers, got) if s != "read")
        assert await count(database) == 0


async def test_readers_in_several_processes_share_no_note(msg_db_url):
    """Groups of different servers meet in the database, and each note still has one reader."""
    async with contextlib.AsyncExitStack() as stack:
        servers = [(await stack.enter_async_context(opened(msg_db_url)))[0] for _ in range(4)]
        placed = await asyncio.gather(*(servers[0].put(a_note(proof=bytes([n]))) for n in range(50)))
        calls = [(server, n) for server in servers for n in range(50)]
        random.Random(3).shuffle(calls)

        got = await asyncio.gather(
            *(
                reveal(server, placed[n].key, bytes([n]), reader=b"%d" % place)
                for place, (server, n) in enumerate(calls)
            )
        )

    assert Counter(n for (_, n), answer in zip(calls, got) if answer == SEALED) == Counter(range(50))
    assert Counter(got) == {SEALED: 50, "read": 150}


@pytest.mark.parametrize("right_first", [True, False])
async def test_a_right_and_a_wrong_proof_in_one_group(msg_db_url, right_first):
    """Of two clients with the same link, the one with the right proof gets the note, in either order."""
    async with opened(msg_db_url) as (notes, _):
        placed = await notes.put(a_note())
        proofs = [b"proof", b"wrong"] if right_first else [b"wrong", b"proof"]

        got = await asyncio.gather(*(reveal(notes, placed.key, proof) for proof in proofs))

    assert got == ([SEALED, "read"] if right_first else ["wrong, 9 left", SEALED])


@pytest.mark.parametrize("right_first", [True, False])
async def test_a_right_and_a_wrong_link_in_one_group(msg_db_url, right_first):
    """Of two clients with the same key, the one with the link gets the note; the other learns nothing."""
    async with opened(msg_db_url) as (notes, _):
        placed = await notes.put(a_note())
        links = [b"link", b"other link"] if right_first else [b"other link", b"link"]

        got = await asyncio.gather(*(reveal(notes, placed.key, link=link) for link in links))

    assert got == ([SEALED, None] if right_first else [None, SEALED])


@pytest.mark.parametrize("readers", [(None, None), (b"one", b"other"), (b"one", None)])
async def test_the_same_proofs_twice_in_one_group_reveal_once(msg_db_url, readers):
    """Of two readers with the same link in one statement, the first gets the note."""
    async with opened(msg_db_url) as (notes, _):
        placed = await notes.put(a_note())

        got = await asyncio.gather(*(reveal(notes, placed.key, reader=reader) for reader in readers))

    assert got == [SEALED, "read"]


async def test_puts_share_statements_and_keep_their_own_keys(msg_db_url):
    """Of many puts at once, each caller's note is under the key that the caller got."""
    async with opened(msg_db_url) as (notes, database):
        placed = await asyncio.gather(*(notes.put(a_note(proof=b"%d" % n)) for n in range(200)))
        rows = dict(await database.execute("SELECT key, reveal_verifier FROM note"))

    assert len(rows) == 200
    for n, place in enumerate(placed):
        assert bytes(rows[place.key]) == verifier(b"%d" % n)


async def test_a_key_in_use_is_not_overwritten(msg_db_url):
    """After a clash, which only a restored key-db can cause, the note gets another key."""
    async with opened(msg_db_url, "AAAAA", "AAAAA", "BBBBB") as (notes, _):
        first = await notes.put(a_note(link=b"first"))
        second = await notes.put(a_note(link=b"second"))

        assert (first.key, second.key) == ("AAAAA", "BBBBB")
        assert await reveal(notes, "AAAAA", link=b"first") == SEALED


async def test_a_clash_within_one_group_is_resolved_too(msg_db_url):
    """The database refuses the same key twice in one statement, and each note is tried by itself."""
    async with opened(msg_db_url, "AAAAA", "AAAAA", "BBBBB") as (notes, _):
        placed = await asyncio.gather(notes.put(a_note(link=b"1")), notes.put(a_note(link=b"2")))

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
        bad = Note(b"too short", b"", b"", False, HOUR)

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

        assert await reveal(notes, placed.key) == SEALED
        assert await reveal(notes, placed.key) == "read"
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
        first = asyncio.create_task(reveal(notes, placed.key, reader=b"first"))
        while not proxy.sprung:
            await asyncio.sleep(0.005)

        assert await reveal(other, placed.key, reader=b"other") == SEALED
        proxy.choose = None
        proxy.refusing = False
        assert await first == "read"


async def test_a_group_with_a_lost_answer_gives_each_reader_its_own(proxy_url, proxy):
    """Receipts cover the whole group: notes, other links, wrong proofs and readers that came too late."""
    async with opened(proxy_url) as (notes, _):
        placed = [await notes.put(a_note(b"%d" % n, fill=b"%d" % n)) for n in range(4)]
        trap = proxy.arm(Trap("commit", Moment.ANSWERED, Break.CUT))

        got = await asyncio.gather(
            reveal(notes, placed[0].key, b"0", reader=b"reader"),
            reveal(notes, placed[0].key, b"0", link=b"other link"),
            reveal(notes, placed[1].key, b"1"),
            reveal(notes, placed[0].key, b"0", reader=b"late"),
            reveal(notes, placed[2].key, b"wrong"),
            reveal(notes, placed[2].key, b"2"),
            reveal(notes, placed[3].key, b"wrong"),
        )
        status = await notes.status(placed[3].key, verifier(b"link"))

    assert trap.sprung.is_set()
    sealed = [b"\x02" + b"%d" % n * 284 for n in range(3)]
    assert got == [sealed[0], None, sealed[1], "read", "wrong, 9 left", sealed[2], "wrong, 9 left"]
    assert status.wrong_passphrases in (1, 2)  # a guess whose answer was lost may count twice


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

        assert await reveal(notes, placed.key) == SEALED
        assert await count(database) == 0
        assert await count(database, "delivery") == 1


@contextlib.asynccontextmanager
async def holding(database, statement):
    """A transaction that has run `statement`, committed in the end."""
    async with database.connection() as connection:
        await connection.query(f"BEGIN; {statement}")
        yield
        await connection.query("COMMIT")


async def until_waiting(database, sessions=1):
    """Until so many sessions wait for a lock that another one holds."""
    waits = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    while await database.execute(waits) < [(sessions,)]:
        await asyncio.sleep(0.01)


async def test_a_reveal_that_meets_a_repeated_put_shows_the_note(msg_db_url):
    """A put that finds itself writes the row again; a reveal that waited for it reveals the new row."""
    async with opened(msg_db_url) as (notes, database), opened(msg_db_url) as (other, _):
        placed = await notes.put(a_note())
        async with holding(database, "UPDATE note SET key = key"):
            reading = asyncio.create_task(reveal(other, placed.key))
            await until_waiting(database)

        assert await reading == SEALED
        assert await count(database) == 0


async def test_a_reveal_that_finds_nothing_writes_nothing(msg_db_url):
    """Guessing keys and links leaves no trace in the database."""
    async with opened(msg_db_url) as (notes, database):
        placed = await notes.put(a_note())
        await reveal(notes, "nokey", reader=b"reader")
        await reveal(notes, placed.key, link=b"other link", reader=b"reader")

        assert (await count(database, "delivery"), await count(database, "ending")) == (0, 0)


async def test_the_purge_deletes_expired_notes_only(msg_db_url):
    """Notes that are alive stay; the others leave an ending with the time at which they expired."""
    async with opened(msg_db_url) as (notes, database):
        placed = [await notes.put(a_note()) for _ in range(3)]
        await expire(database, placed[0].key, placed[1].key)
        expired = [await notes.status(place.key, verifier(b"link")) for place in placed[:2]]

        assert await notes.purge() == (2, False)
        assert await notes.purge() == (0, False)
        assert [await notes.status(place.key, verifier(b"link")) for place in placed[:2]] == expired
        assert await reveal(notes, placed[2].key) == SEALED


async def test_the_purge_works_in_batches(msg_db_url):
    """A full batch of notes or of endings says that there may be more."""
    async with opened(msg_db_url) as (notes, database):
        await asyncio.gather(*(notes.put(a_note(b"%d" % n)) for n in range(PURGE_BATCH + 7)))
        await database.execute("UPDATE note SET expires_at = now()")

        assert await notes.purge() == (PURGE_BATCH, True)
        assert await notes.purge() == (7, False)
        await database.execute("UPDATE ending SET at = now() - interval '8 days'")
        assert await notes.purge() == (0, True)
        assert await count(database, "ending") == 7
        assert await notes.purge() == (0, False)
        assert await count(database, "ending") == 0


async def test_endings_live_seven_days(msg_db_url):
    """Then nothing is left that even the link could prove."""
    async with opened(msg_db_url) as (notes, database):
        placed = [await notes.put(a_note()) for _ in range(2)]
        for place, age in zip(placed, ("6 days 23 hours", "7 days 1 hour")):
            await reveal(notes, place.key)
            await database.execute(
                f"UPDATE ending SET at = at - interval '{age}' WHERE key = %s", (place.key,)
            )
        await notes.purge()

        assert await reveal(notes, placed[0].key) == "read"
        assert await reveal(notes, placed[1].key) is None
        assert await notes.status(placed[1].key, verifier(b"link")) is None


async def test_one_process_purges_at_a_time(msg_db_url):
    """While another process holds the lock, a purge does nothing."""
    async with opened(msg_db_url) as (notes, database):
        placed = await notes.put(a_note())
        await expire(database, placed.key)
        async with database.connection() as other:
            await other.query("BEGIN; SELECT pg_advisory_xact_lock(1853321319)")

            assert await notes.purge() == (0, False)
        assert await notes.purge() == (1, False)


async def test_a_reveal_in_progress_does_not_hold_up_the_purge(msg_db_url):
    """Locked rows are skipped."""
    async with opened(msg_db_url) as (notes, database):
        placed = await notes.put(a_note())
        await expire(database, placed.key)
        async with database.connection() as other:
            await other.query("BEGIN; SELECT FROM note FOR UPDATE")

            assert await notes.purge() == (0, False)


async def test_deliveries_and_receipts_live_ten_minutes(msg_db_url):
    """The purge deletes older ones."""
    async with opened(msg_db_url) as (notes, database):
        for minutes in (9, 11):
            placed = await notes.put(a_note())
            await reveal(notes, placed.key, reader=b"reader")
            await database.execute(
                "UPDATE delivery SET at = now() - make_interval(mins => %s)"
                " WHERE at > now() - interval '1 minute'",
                (minutes,),
            )
        assert await count(database, "delivery") == 4

        await notes.purge_deliveries()

        assert await count(database, "delivery") == 2


async def test_large_notes_are_revealed_a_few_at_a_time(msg_db_url):
    """A group brings a bounded number of bytes into memory, though the length of a note is not known before."""
    async with opened(msg_db_url) as (_, database):
        notes = Notes(database, Keys(), max_sealed_bytes=MAX_REVEALED_BYTES // 2)
        placed = [await notes.put(a_note(b"%d" % n)) for n in range(6)]

        got = await asyncio.gather(*(reveal(notes, place.key, b"%d" % n) for n, place in enumerate(placed)))

        assert got == [SEALED] * 6
        assert await count(database, "delivery") == 3  # receipts of groups


async def test_statements_look_rows_up_by_their_keys(msg_db_url):
    """However many rows there are, and were when a statement was planned, none is found by reading a table."""
    many = (
        """
        INSERT INTO note (key, link_verifier, reveal_verifier, sealed, has_passphrase, expires_at)
        SELECT lpad(n::text, 5, '0'), sha256('link'), sha256('proof'),
            '\\x02' || decode(repeat('00', 284), 'hex'), false, now() + interval '1 hour'
        FROM generate_series(1, 20000) AS n
        """,
        """
        INSERT INTO ending (key, link_verifier, how)
        SELECT lpad(n::text, 5, '0'), sha256('link'), 'read'
        FROM generate_series(30000, 50000) AS n
        """,
        """
        INSERT INTO delivery (id, key, link_verifier, sealed)
        SELECT sha256(n::text::bytea), lpad(n::text, 5, '0'), sha256('link'), sha256('')
        FROM generate_series(30000, 50000) AS n
        """,
    )
    analyze = ("VACUUM ANALYZE note", "VACUUM ANALYZE ending", "VACUUM ANALYZE delivery")
    keys = ",".join(f"{n:05}" for n in range(64))
    verifiers = ",".join(["AAAA"] * 64)
    statements = {
        Notes.PEEK: "('00001')",
        Notes.STATUS: "('00001', 'AAAA')",
        Notes.REVEAL: f"('{keys}', '{verifiers}', '{verifiers}', '{','.join(['f'] * 64)}', '{verifiers}', '', true)",
        Notes.PAST: f"('{keys}', '{verifiers}', '{verifiers}', 'infinity')",
        Notes.DESTROY: "('00001', 'AAAA')",
        Notes.RECEIVED: f"('{verifiers}', '{verifiers}')",
    }
    for fills in ((), analyze, many, analyze, ("TRUNCATE note, ending, delivery",)):
        async with opened(msg_db_url) as (_, database):
            for fill in fills:
                await database.execute(fill)
            async with database.connection() as connection:
                for statement, arguments in statements.items():
                    await connection.prepare(statement)
                    plan = await connection.query(f"EXPLAIN EXECUTE {statement.name}{arguments}")

                    scans = [
                        line
                        for line, in plan
                        if re.search(r"(?<!Subquery )Scan .*on (note|ending|delivery) ", line)
                    ]
                    assert scans
                    assert [line for line in scans if "_pkey" not in line and "Bitmap Heap" not in line] == []
                    assert not any("Join" in line and "key = note" in line for line, in plan)


# Tries of a passphrase


def locked_note():
    return a_note(has_passphrase=True)


async def tries(database):
    ((number,),) = await database.execute("SELECT tries FROM note")
    return number


async def let_time_pass(database):
    """Until the next passphrase may be tried."""
    await database.execute("UPDATE note SET next_try_at = now()")


async def test_of_a_thousand_guesses_at_once_ten_are_tried(msg_db_url):
    """Four processes guess at once; a right one that comes after the tenth is refused, after a restart too."""
    async with contextlib.AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(opened(msg_db_url)) for _ in range(4)]
        placed = await servers[0][0].put(locked_note())

        told = await asyncio.gather(
            *(reveal(servers[n % 4][0], placed.key, b"wrong %d" % n, reader=b"%d" % n) for n in range(1000)),
            *(reveal(notes, placed.key) for notes, _ in servers),
        )

        words = Counter(answer.split(",")[0] for answer in told)
        assert words.pop("wrong") == 10
        assert all(answer.startswith("wait") for answer in words)
        assert {answer for answer in told if answer.startswith("wrong")} == {
            f"wrong, {left} left" for left in range(10)
        }
        assert await tries(servers[0][1]) == 10
    async with opened(msg_db_url) as (restarted, _):
        assert (await reveal(restarted, placed.key)).startswith("wait")


async def test_a_right_passphrase_within_the_budget_opens_the_note(msg_db_url):
    """After nine wrong ones there is one left."""
    async with opened(msg_db_url) as (notes, _):
        placed = await notes.put(locked_note())
        told = [await reveal(notes, placed.key, b"wrong") for _ in range(9)]

        assert told == [f"wrong, {left} left" for left in range(9, 0, -1)]
        assert await reveal(notes, placed.key) == SEALED


async def test_after_ten_tries_each_has_to_wait_twice_as_long(msg_db_url):
    """One minute, two, four and so on up to an hour, however often; meanwhile even the right one is refused."""
    async with opened(msg_db_url) as (notes, database):
        placed = await notes.put(locked_note())
        await database.execute("UPDATE note SET tries = 9")
        waits = []
        for _ in range(8):
            wrong, right = await asyncio.gather(
                *(reveal(notes, placed.key, proof) for proof in (b"wrong", b"proof"))
            )
            assert wrong == "wrong, 0 left"
            waits.append(right)
            assert (await reveal(notes, placed.key)).startswith("wait")
            assert (await notes.status(placed.key, verifier(b"link"))).seconds_to_wait > 0
            await let_time_pass(database)
        await database.execute("UPDATE note SET tries = 5000")
        assert await reveal(notes, placed.key, b"wrong") == "wrong, 0 left"
        await let_time_pass(database)

        assert waits == [f"wait {minutes * 60} s" for minutes in (1, 2, 4, 8, 16, 32, 60, 60)]
        assert (await notes.status(placed.key, verifier(b"link"))).seconds_to_wait == 0
        assert await reveal(notes, placed.key) == SEALED


async def test_after_ten_tries_one_guess_of_a_group_is_tried(msg_db_url):
    """The first one that came: if it is wrong, a right one behind it is refused."""
    async with opened(msg_db_url) as (notes, database):
        placed = await notes.put(locked_note())
        await database.execute("UPDATE note SET tries = 10, next_try_at = now()")

        told = await asyncio.gather(*(reveal(notes, placed.key, proof) for proof in (b"wrong", b"proof")))
        assert told == ["wrong, 0 left", "wait 120 s"]
        await let_time_pass(database)
        told = await asyncio.gather(*(reveal(notes, placed.key, proof) for proof in (b"proof", b"wrong")))
        assert told == [SEALED, "read"]


@pytest.mark.parametrize("place", range(13))
async def test_guesses_of_one_group_are_tried_in_the_order_of_their_arrival(msg_db_url, place):
    """Among the first ten the right one opens the note; from the eleventh on it is not tried."""
    async with opened(msg_db_url) as (notes, database):
        placed = await notes.put(locked_note())
        proofs = [b"proof" if n == place else b"wrong" for n in range(13)]

        told = await asyncio.gather(*(reveal(notes, placed.key, proof) for proof in proofs))

        if place < 10:
            expected = [f"wrong, {9 - n} left" for n in range(place)] + [SEALED] + ["read"] * (12 - place)
        else:
            expected = [f"wrong, {9 - n} left" for n in range(10)] + ["wait 60 s"] * 3
        assert told == expected


async def test_without_the_link_nothing_counts_and_nothing_is_locked(msg_db_url):
    """A stranger who knows the key changes no row, and waits for no lock."""
    row = "SELECT xmin::text, xmax::text, tries, next_try_at FROM note"
    async with opened(msg_db_url) as (notes, database), opened(msg_db_url) as (other, _):
        placed = await notes.put(locked_note())
        before = await database.execute(row)
        async with holding(database, "SELECT FROM note FOR UPDATE"):
            told = await asyncio.gather(*(reveal(other, placed.key, link=b"%d" % n) for n in range(100)))
            assert not await other.destroy(placed.key, verifier(b"other link"))
        untouched = await notes.put(locked_note())
        await reveal(other, untouched.key, link=b"other link")

        assert told == [None] * 100
        assert await database.execute(row + " WHERE key = %s", (placed.key,)) != before  # that was the lock
        ((_, xmax, *_),) = await database.execute(row + " WHERE key = %s", (untouched.key,))
        assert xmax == "0"
        assert await database.execute("SELECT sum(tries) FROM note") == [(0,)]


async def test_a_missing_passphrase_is_no_guess(msg_db_url):
    """It is asked for, however often, and costs no try; a note without one takes any client's word for it."""
    async with opened(msg_db_url) as (notes, database):
        placed = await notes.put(locked_note())

        told = await asyncio.gather(
            *(reveal(notes, placed.key, b"token", without_passphrase=True) for _ in range(12)),
            reveal(notes, placed.key, b"wrong"),
        )
        assert told == ["passphrase needed"] * 12 + ["wrong, 9 left"]
        assert await tries(database) == 1
        open_to_all = await notes.put(a_note())
        assert await reveal(notes, open_to_all.key, without_passphrase=True) == SEALED


async def test_a_right_guess_that_waits_for_the_tenth_wrong_one_is_refused(msg_db_url):
    """The budget is read from the row as the other process left it, not as it was when the statement began."""
    async with opened(msg_db_url) as (notes, database), opened(msg_db_url) as (other, _):
        placed = await notes.put(locked_note())
        tenth = "UPDATE note SET tries = 10, next_try_at = now() + interval '1 minute'"
        async with holding(database, tenth):
            guessing = asyncio.create_task(reveal(other, placed.key))
            await until_waiting(database)

        assert (await guessing).startswith("wait")


async def test_a_wrong_guess_that_waits_for_another_counts_on_top_of_it(msg_db_url):
    """Nothing is counted twice or lost when the row changes while a statement waits for it."""
    async with opened(msg_db_url) as (notes, database), opened(msg_db_url) as (other, _):
        placed = await notes.put(locked_note())
        async with holding(database, "UPDATE note SET tries = 4"):
            guessing = asyncio.gather(*(reveal(other, placed.key, b"wrong") for _ in range(3)))
            await until_waiting(database)

        assert await guessing == ["wrong, 5 left", "wrong, 4 left", "wrong, 3 left"]
        assert await tries(database) == 7


# Deliveries


async def delivered(database):
    return await database.execute("SELECT sealed FROM delivery WHERE key IS NOT NULL")


async def test_the_same_reader_gets_the_same_bytes_again_and_nobody_else(msg_db_url):
    """A repeated request of the same reader is answered as the first one; another reader is told the ending."""
    async with opened(msg_db_url) as (notes, _), opened(msg_db_url) as (other, _):
        placed = await notes.put(a_note())

        assert await reveal(notes, placed.key, reader=b"reader") == SEALED
        for server in (notes, other):
            assert await reveal(server, placed.key, reader=b"reader") == SEALED
            assert await reveal(server, placed.key, reader=b"other reader") == "read"
            assert await reveal(server, placed.key) == "read"
            assert await reveal(server, placed.key, link=b"other link", reader=b"reader") is None


async def test_a_nonce_is_a_readers_for_one_note_only(msg_db_url):
    """With the same nonce, each note has a delivery of its own."""
    async with opened(msg_db_url) as (notes, _):
        placed = [await notes.put(a_note(fill=b"%d" % n)) for n in range(2)]

        got = [await reveal(notes, placed[n].key, reader=b"reader") for n in (0, 1, 0, 1)]

        assert got == [a_note(fill=b"%d" % n).sealed for n in (0, 1, 0, 1)]


async def test_a_reader_in_one_group_with_itself_gets_the_bytes_twice(msg_db_url):
    """A retry that overtakes nothing is the same reader, not a second one; its group has another reader too."""
    async with opened(msg_db_url) as (notes, _):
        placed = await notes.put(a_note())

        got = await asyncio.gather(
            *(reveal(notes, placed.key, reader=reader) for reader in (b"reader", b"other", b"reader"))
        )

        assert got == [SEALED, "read", SEALED]


async def test_a_retry_that_waits_for_its_first_attempt_gets_the_bytes(msg_db_url):
    """The retry reaches another process while the first attempt is not committed yet; both get the note."""
    async with opened(msg_db_url) as (notes, database), opened(msg_db_url) as (other, _):
        placed = await notes.put(a_note())
        async with holding(database, "SELECT FROM note FOR UPDATE"):
            attempts = [
                asyncio.create_task(reveal(server, placed.key, reader=b"reader")) for server in (notes, other)
            ]
            await until_waiting(database, 2)

        assert await asyncio.gather(*attempts) == [SEALED, SEALED]


async def test_a_lost_answer_to_commit_does_not_show_one_readers_note_to_another(
    msg_db_url, proxy_url, proxy
):
    """The delivery is committed with the reading: only the reader that has it gets the bytes in a new process."""
    async with opened(proxy_url) as (notes, _), opened(msg_db_url) as (restarted, _):
        placed = await notes.put(a_note())
        proxy.arm(Trap("commit", Moment.ANSWERED, Break.CUT))
        reading = asyncio.create_task(reveal(notes, placed.key, reader=b"reader"))
        while not proxy.sprung:
            await asyncio.sleep(0.005)

        assert await reveal(restarted, placed.key, reader=b"other reader") == "read"
        assert await reveal(restarted, placed.key, reader=b"reader") == SEALED
        assert await reading == SEALED


async def test_after_a_minute_a_delivery_is_over(msg_db_url):
    """Even the same reader is told that the note was read, and the purge removes the bytes."""
    async with opened(msg_db_url) as (notes, database):
        placed = await notes.put(a_note())
        await reveal(notes, placed.key, reader=b"reader")
        await database.execute("UPDATE delivery SET at = at - interval '59 seconds'")
        await notes.purge_deliveries()
        assert await reveal(notes, placed.key, reader=b"reader") == SEALED
        await database.execute("UPDATE delivery SET at = at - interval '1 second'")

        assert await reveal(notes, placed.key, reader=b"reader") == "read"
        assert await delivered(database) != [(None,)]
        await notes.purge_deliveries()
        assert await delivered(database) == [(None,)]


async def test_what_was_received_is_gone(msg_db_url):
    """The sealed bytes leave the table with the acknowledgement; the ending keeps the mark; repeating is harmless."""
    mark = verifier(b"mark")
    async with opened(msg_db_url) as (notes, database):
        placed = await notes.put(a_note())
        await reveal(notes, placed.key, reader=b"reader")
        read = await notes.status(placed.key, verifier(b"link"))

        assert await notes.received(placed.key, nonce(b"reader"), mark)
        assert await delivered(database) == [(None,)]
        assert await reveal(notes, placed.key, reader=b"reader") == "read"
        assert await notes.received(placed.key, nonce(b"reader"), verifier(b"other mark"))
        assert await notes.received(placed.key, nonce(b"reader"), None)
        assert await notes.status(placed.key, verifier(b"link")) == Ending("read", read.at, mark)


async def test_acknowledgements_share_a_statement_and_keep_their_own_marks(msg_db_url):
    """Of many at once, each is told of its own delivery, and each ending gets its own reader's first mark."""
    async with opened(msg_db_url) as (notes, database):
        placed = [await notes.put(a_note(link=b"%d" % n)) for n in range(20)]
        for n, place in enumerate(placed):
            await reveal(notes, place.key, link=b"%d" % n, reader=b"reader")
        calls = [(place.key, verifier(b"mark %d" % n) if n % 2 else None) for n, place in enumerate(placed)]
        calls += [("nokey", verifier(b"mark")), (placed[1].key, verifier(b"second mark"))]

        known = await asyncio.gather(*(notes.received(key, nonce(b"reader"), mark) for key, mark in calls))

        assert known == [True] * 20 + [False, True]
        marks = [(await notes.status(place.key, verifier(b"%d" % n))).mark for n, place in enumerate(placed)]
        assert marks == [mark for _, mark in calls[:20]]
        assert await delivered(database) == [(None,)] * 20


async def test_only_the_reader_can_acknowledge(msg_db_url):
    """Another nonce, or the same one for another note, names no delivery, and leaves no mark."""
    async with opened(msg_db_url) as (notes, database):
        placed, other = await notes.put(a_note()), await notes.put(a_note())
        await reveal(notes, placed.key, reader=b"reader")

        assert not await notes.received(placed.key, nonce(b"other reader"), verifier(b"mark"))
        assert not await notes.received(other.key, nonce(b"reader"), verifier(b"mark"))
        assert await reveal(notes, placed.key, reader=b"reader") == SEALED
        assert (await notes.status(placed.key, verifier(b"link"))).mark is None


async def test_a_reader_without_a_nonce_leaves_no_bytes(msg_db_url):
    """It is answered once."""
    async with opened(msg_db_url) as (notes, database):
        placed = await notes.put(a_note())
        await reveal(notes, placed.key)

        assert await delivered(database) == []
        assert await database.execute("SELECT count(sealed) FROM delivery") == [(0,)]


async def test_a_clock_that_jumps_forward_purges_nothing_early(msg_db_url):
    """A receipt that a lost answer waits for, and an ending, stay as long as by the slower of two clocks."""

    async with opened(msg_db_url) as (_, database):
        notes = Notes(database, Keys())
        placed = await notes.put(a_note())
        await reveal(notes, placed.key, reader=b"reader")
        await notes.purge()
        notes.NOW = "SELECT now() + interval '8 days'"
        await notes.purge()
        await notes.purge_deliveries()

        assert await reveal(notes, placed.key, reader=b"reader") == SEALED
        assert (await count(database, "ending"), await count(database, "delivery")) == (1, 2)
        notes.NOW = "SELECT now() - interval '8 days'"
        await notes.purge()
        assert await count(database, "ending") == 1
