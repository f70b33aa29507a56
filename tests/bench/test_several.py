"""Notes that are spread over two msg-dbs by key."""

import os
from collections import Counter
from datetime import timedelta

import psycopg2
import pytest

from server import schema, sealing
from server.database import Database
from server.keys import KeyLeaser
from server.notes import Note
from tests.bench.several import SpreadNotes, part_of
from tests.conftest import fresh_database

NOTES = 64


def keys_in(url):
    connection = psycopg2.connect(url)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT key FROM note")
            return {key for (key,) in cursor.fetchall()}
    finally:
        connection.close()


@pytest.mark.gen_test
async def test_each_note_lies_where_its_key_says_and_is_revealed_once(postgres, seeded_key_db_url):
    """Puts go to both msg-dbs by turns, with keys that lead back to them, and no key is given out twice."""
    urls = [fresh_database(postgres, schema.MSG_DB) for _ in range(2)]
    key_db, *databases = [Database(url, 4, 30) for url in (seeded_key_db_url, *urls)]
    keys = KeyLeaser(key_db)
    await keys.start()
    notes = SpreadNotes(databases, keys, 1 << 16)
    try:
        proofs = os.urandom(32), os.urandom(32)
        note = Note(*proofs, sealing.VERSION + os.urandom(284), False, timedelta(hours=1))
        placed = [(await notes.put(note)).key for _ in range(NOTES)]

        assert Counter(part_of(key, 2) for key in placed) == {0: NOTES // 2, 1: NOTES // 2}
        for number, url in enumerate(urls):
            assert keys_in(url) == {key for key in placed if part_of(key, 2) == number}
        assert len(set(placed)) == NOTES
        assert [await notes.reveal(key, *proofs) for key in placed] == [note.sealed] * NOTES
        assert not any([await notes.peek(key) for key in placed])
    finally:
        await keys.stop()
        for database in (key_db, *databases):
            await database.close()
