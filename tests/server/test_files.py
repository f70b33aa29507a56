"""No chunk is left behind and none is deleted too early, whatever requests coincide, and however late they come."""

import asyncio
import contextlib
import hashlib
from datetime import UTC, datetime, timedelta

import psycopg2
import pytest

from server.database import base64_of
from server.files import Files, NoSuchUpload, WrongChunks, id_of
from server.purge import Purge
from tests.server.test_notes import SEALED, a_note, count, nonce, opened, reveal, until_waiting

pytestmark = pytest.mark.gen_test

UPLOAD = b"u" * 32
CHUNK = bytes(range(256)) + bytes(16)
TWO_HOURS_LATER = "SELECT now() + interval '2 hours'"


@contextlib.asynccontextmanager
async def open_transaction(database, statement, *parameters):
    """A transaction that has run `statement`, committed at the end."""
    async with database.connection() as connection:
        await connection.query(statement, (id_of(UPLOAD), *parameters), begin=True)
        yield
        await connection.query("COMMIT")


@contextlib.asynccontextmanager
async def storing(notes, url):
    """A transaction that has stored the chunk, committed in the end."""
    with contextlib.closing(psycopg2.connect(url)) as connection:
        with connection, connection.cursor() as cursor:
            notes.files.copy_chunks(cursor, hashlib.sha256(UPLOAD).digest(), 0, CHUNK)
            yield


async def uploaded(notes):
    await notes.files.begin(UPLOAD, 256)
    await notes.files.put_chunks(UPLOAD, 0, CHUNK)


async def test_a_cancelled_upload_loses_the_chunk_that_is_being_stored(msg_db_url):
    """The cancelling waits for the chunk, and deletes it too."""
    async with opened(msg_db_url) as (notes, database), opened(msg_db_url) as (other, _):
        await notes.files.begin(UPLOAD, 256)
        async with storing(notes, msg_db_url):
            cancelling = asyncio.create_task(other.files.cancel(UPLOAD))
            await until_waiting(database)
        await cancelling

        assert (await count(database, "upload"), await count(database, "chunk")) == (0, 0)


async def test_a_chunk_that_is_stored_twice_at_once_is_stored_once(msg_db_url):
    """The later request waits for the earlier one, and finds its chunk."""
    async with opened(msg_db_url) as (notes, database), opened(msg_db_url) as (other, _):
        await notes.files.begin(UPLOAD, 256)
        async with storing(notes, msg_db_url):
            repeated = asyncio.create_task(other.files.put_chunks(UPLOAD, 0, bytes(reversed(CHUNK))))
            await until_waiting(database)
        await repeated

        assert [bytes(sealed) for sealed, in await database.execute("SELECT sealed FROM chunk")] == [CHUNK]


@pytest.mark.parametrize(
    ("first", "chunks"),
    [
        (0, CHUNK[:-1]),
        (0, CHUNK + b"1"),
        (1, CHUNK),
        (0, CHUNK[:16]),
        (2**24, CHUNK),
        (0, bytes(65552) + CHUNK),
    ],
    ids=["short", "long", "beyond the end", "empty", "far beyond the end", "too many"],
)
async def test_chunks_that_do_not_fit_are_refused_whole(msg_db_url, first, chunks):
    """Nothing of them is stored, and the upload takes those that fit afterwards."""
    async with opened(msg_db_url) as (notes, database):
        await notes.files.begin(UPLOAD, 256)

        with pytest.raises(WrongChunks):
            await notes.files.put_chunks(UPLOAD, first, chunks)

        assert await count(database, "chunk") == 0
        await notes.files.put_chunks(UPLOAD, 0, CHUNK)


async def test_a_purge_leaves_an_upload_in_use_to_the_next_one(msg_db_url):
    """It neither waits for a chunk that is being stored nor forgets it."""
    async with opened(msg_db_url) as (notes, database), opened(msg_db_url) as (other, _):
        other.purge.NOW = TWO_HOURS_LATER
        await notes.files.begin(UPLOAD, 256)
        async with storing(notes, msg_db_url):
            await other.purge.files()
        assert (await count(database, "upload"), await count(database, "chunk")) == (1, 1)

        await other.purge.files()

        assert (await count(database, "upload"), await count(database, "chunk")) == (0, 0)


async def test_an_upload_that_has_ended_takes_nothing(msg_db_url):
    """Between the two statements of a purge, no chunk is stored and no note is put."""
    async with opened(msg_db_url) as (notes, database):
        await uploaded(notes)
        await database.execute(Purge.END_UPLOADS, (datetime.now(UTC) + timedelta(hours=2),))

        for request in (
            notes.files.begin(UPLOAD, 256),
            notes.files.put_chunks(UPLOAD, 0, CHUNK),
            notes.files.put_note(UPLOAD, "abcde", columns(), asyncio.get_running_loop().time() + 5),
        ):
            with pytest.raises(NoSuchUpload):
                await request


def columns():
    note = a_note()
    verifiers = (base64_of(note.link_verifier), base64_of(note.reveal_verifier))
    return (*verifiers, base64_of(note.sealed), "False", "3600")


@pytest.mark.parametrize("revealed", [False, True], ids=["unread", "revealed"])
async def test_an_upload_does_not_begin_again_after_its_note_was_put(msg_db_url, revealed):
    """A repeated request that arrives late would have the note's chunks purged with a second upload."""
    async with opened(msg_db_url) as (notes, _):
        await uploaded(notes)
        placed = await notes.put_with_files(a_note(), UPLOAD)
        if revealed:
            assert await reveal(notes, placed.key, reader=b"reader") == SEALED

        with pytest.raises(NoSuchUpload):
            await notes.files.begin(UPLOAD, 256)

        await notes.files.cancel(UPLOAD)
        if not revealed:
            assert await reveal(notes, placed.key, reader=b"reader") == SEALED
        assert await notes.chunks(placed.key, nonce(b"reader"), 0) == CHUNK


async def test_an_upload_does_not_begin_again_while_its_note_is_being_put(msg_db_url):
    """It waits for the put, and sees the note then."""
    async with opened(msg_db_url) as (notes, database), opened(msg_db_url) as (other, _):
        await uploaded(notes)
        async with open_transaction(database, Files.PUT_NOTE, "abcde", *columns()):
            beginning = asyncio.create_task(other.files.begin(UPLOAD, 256))
            await until_waiting(database)
        with pytest.raises(NoSuchUpload):
            await beginning

        assert (await count(database, "upload"), await count(database)) == (0, 1)
        other.purge.NOW = TWO_HOURS_LATER
        await other.purge.files()
        assert await count(database, "chunk") == 1


async def test_chunks_are_fetched_for_an_hour_by_the_slower_of_two_clocks(msg_db_url):
    """If the database's clock jumps forward, a reader who is fetching loses nothing."""
    async with opened(msg_db_url) as (notes, database):
        await uploaded(notes)
        placed = await notes.put_with_files(a_note(), UPLOAD)
        await reveal(notes, placed.key, reader=b"reader")
        await database.execute("UPDATE delivery SET at = at - interval '61 minutes'")
        assert await notes.chunks(placed.key, nonce(b"reader"), 0) == b""

        notes.purge.NOW = "SELECT now() - interval '61 minutes'"
        await notes.purge.files()

        assert await notes.chunks(placed.key, nonce(b"reader"), 0) == CHUNK
