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
    Ended,
    Ending,
    Note,
    Notes,
    PassphraseNeeded,
    TooManyTries,
    Unread,
    WrongPassphrase,
)

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
    """The row is deleted only if the key and both proofs match."""
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
    """The client is told how and when the note ended."""
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
            await notes.purge.notes()


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


async def test_a_repeated_put_finds_its_own_note(msg_db_url):
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


@contextlib.asynccontextmanager
async def holding(database, statement):
    """A transaction that has run `statement`, committed at the end."""
    async with database.connection() as connection:
        await connection.query(f"BEGIN; {statement}")
        yield
        await connection.query("COMMIT")


async def until_waiting(database, sessions=1):
    """Wait until this many sessions wait for a lock that another one holds."""
    waits = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    while await database.execute(waits) < [(sessions,)]:
        await asyncio.sleep(0.01)


async def test_a_reveal_that_meets_a_repeated_put_shows_the_note(msg_db_url):
    """A repeated put writes its row again; a reveal that waited for it reveals the new row."""
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
