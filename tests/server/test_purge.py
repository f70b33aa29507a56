"""What is over is deleted, in batches, by one process at a time; what is being revealed is left alone."""

import asyncio

import pytest

from server.purge import BATCH
from tests.server.test_notes import SEALED, a_note, count, expire, opened, reveal, verifier

pytestmark = pytest.mark.gen_test


async def test_the_purge_deletes_expired_notes_only(msg_db_url):
    """Notes that are alive stay; the others leave an ending with the time at which they expired."""
    async with opened(msg_db_url) as (notes, database):
        placed = [await notes.put(a_note()) for _ in range(3)]
        await expire(database, placed[0].key, placed[1].key)
        expired = [await notes.status(place.key, verifier(b"link")) for place in placed[:2]]

        assert await notes.purge.notes() == (2, False)
        assert await notes.purge.notes() == (0, False)
        assert [await notes.status(place.key, verifier(b"link")) for place in placed[:2]] == expired
        assert await reveal(notes, placed[2].key) == SEALED


async def test_the_purge_works_in_batches(msg_db_url):
    """A full batch of notes or of endings says that there may be more."""
    async with opened(msg_db_url) as (notes, database):
        await asyncio.gather(*(notes.put(a_note(b"%d" % n)) for n in range(BATCH + 7)))
        await database.execute("UPDATE note SET expires_at = now()")

        assert await notes.purge.notes() == (BATCH, True)
        assert await notes.purge.notes() == (7, False)
        await database.execute("UPDATE ending SET at = now() - interval '8 days'")
        assert await notes.purge.notes() == (0, True)
        assert await count(database, "ending") == 7
        assert await notes.purge.notes() == (0, False)
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
        await notes.purge.notes()

        assert await reveal(notes, placed[0].key) == "read"
        assert await reveal(notes, placed[1].key) is None
        assert await notes.status(placed[1].key, verifier(b"link")) is None


LOCKS = {
    "another process purges": "SELECT pg_advisory_xact_lock(1853321319)",
    "a reveal is in progress": "SELECT FROM note FOR UPDATE",
}


@pytest.mark.parametrize("lock", LOCKS.values(), ids=LOCKS)
async def test_the_purge_waits_for_no_lock(msg_db_url, lock):
    """While another process purges, or reveals the note, the purge leaves the note for the next time."""
    async with opened(msg_db_url) as (notes, database):
        placed = await notes.put(a_note())
        await expire(database, placed.key)
        async with database.connection() as other:
            await other.query(f"BEGIN; {lock}")

            assert await notes.purge.notes() == (0, False)
        assert await notes.purge.notes() == (1, False)


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

        await notes.purge.deliveries()

        assert await count(database, "delivery") == 2
