"""The sealed chunks of notes with files, and their SQL: upload, put with a note. `purge.py` purges them.

A writer begins an upload, puts its chunks in any order, and puts the note with it: only then is there a note.
A reveal hands the chunks over to the reader's delivery in the statement that deletes the note (`notes.py`);
after that the reader fetches them (`revealed_files.py`), in any order, until it acknowledges them or an hour has
passed. Every request may be repeated. Uploads and deliveries are found by the SHA-256 of a nonce that only
their client knows.
"""

from __future__ import annotations

import asyncio
import hashlib
from datetime import datetime
from typing import NamedTuple

from server.database import Cursor, Database, PreparedStatement, base64_of, copy_in
from server.places import MAX_FETCHES, MAX_PUTS, Places
from server.sealed_files import CHUNK_BYTES, SEALED_CHUNK_BYTES, chunk_count
from server.sealing import TAG_LENGTH


class NoSuchUpload(Exception):
    """No upload has this nonce, or its hour is over."""


class Misfit(ValueError):
    """The chunks are not those that the upload's length asks for."""


class Incomplete(Exception):
    """Chunks are missing; `.next` is the number of the first one."""

    def __init__(self, next_: int) -> None:
        super().__init__(next_)
        self.next = next_


class Upload(NamedTuple):
    """How far an upload is: the number of its chunks, and of the first one that is missing."""

    chunks: int
    next: int


class Files:
    """The files of one msg-db."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.puts, self.fetches = Places(MAX_PUTS), Places(MAX_FETCHES)

    async def begin(self, upload: bytes, file_bytes: int) -> Upload:
        """Begin an upload, or tell how far it is.

        Args:
            upload: the writer's nonce, 32 bytes.
            file_bytes: of all files together, padded and not yet sealed.

        Raises:
            NoSuchUpload: its hour is over, its note was put, or it was begun with another length.
            Unavailable: the msg-db cannot be reached.
        """
        id_ = id_of(upload)
        # Shielded: a client that hangs up in the middle would cost the pool a connection.
        await asyncio.shield(self._begin(id_, file_bytes))
        found = await self._state(id_)
        if found.chunks != chunk_count(file_bytes):
            raise NoSuchUpload()
        return found

    async def _begin(self, id_: str, file_bytes: int) -> None:
        deadline = asyncio.get_running_loop().time() + self._database.max_wait
        async with self._database.connection(deadline) as connection:
            await connection.query(self.BEGIN, (id_, str(file_bytes)), begin=True)
            ((taken,),) = await connection.query(self.TAKEN, (id_,))
            await connection.query("ROLLBACK" if taken else "COMMIT")

    BEGIN = PreparedStatement(
        "begin_upload",
        "text, text",
        """
        INSERT INTO upload (id, file_bytes)
        VALUES (decode($1, 'base64'), $2::bigint)
        ON CONFLICT (id) DO NOTHING
        """,
    )

    # If a repeated request arrives after its note was put, the end of a second upload would delete the note's
    # chunks. A later statement than BEGIN, which may have waited for that put and does not see its note.
    TAKEN = PreparedStatement(
        "upload_taken",
        "text",
        """
        SELECT EXISTS (SELECT FROM note WHERE files = decode($1, 'base64'))
            OR EXISTS (SELECT FROM delivery WHERE files = decode($1, 'base64'))
        """,
    )

    async def _state(self, id_: str) -> Upload:
        rows = await self._database.execute_shielded(self.STATE, id_)
        if not rows:
            raise NoSuchUpload()
        file_bytes, next_ = rows[0]
        count = chunk_count(file_bytes)
        return Upload(count, count if next_ is None else next_)

    STATE = PreparedStatement(
        "upload_state",
        "text",
        f"""
        SELECT file_bytes, (
            SELECT min(number)
            FROM generate_series(0, (file_bytes - 1) / {CHUNK_BYTES}) AS number
            WHERE NOT EXISTS (SELECT FROM chunk WHERE files = upload.id AND chunk.number = number.number)
        )
        FROM upload
        WHERE id = decode($1, 'base64') AND at > now() - interval '1 hour'
        """,  # nosec B608 # a constant of this package
    )

    async def put_chunks(self, upload: bytes, first: int, chunks: bytes | memoryview) -> None:
        """Store chunks of an upload, one after another from the number `first` on.

        A chunk that is there stays as it is.

        Raises:
            NoSuchUpload, Unavailable: as for `begin`.
            Misfit: a chunk has another length, or there are more than the upload has.
        """
        id_ = hashlib.sha256(upload).digest()
        await self._database.copy(lambda cursor: self.copy_chunks(cursor, id_, first, chunks))

    def copy_chunks(self, cursor: Cursor, id_: bytes, first: int, chunks: bytes | memoryview) -> None:
        """What `put_chunks` does in its transaction.

        Its COMMIT does not wait for the disk or a standby: that of the note does, which comes later in the same
        log. If the database dies in between, chunks are missing, and the writer is asked for them.
        """
        cursor.execute(self.LOCK_UPLOAD, (id_,))
        found = cursor.fetchone()
        if found is None:
            raise NoSuchUpload()
        sealed = [chunks[at : at + SEALED_CHUNK_BYTES] for at in range(0, len(chunks), SEALED_CHUNK_BYTES)]
        file_bytes, end = found[0], first + len(sealed)
        due = min(end * CHUNK_BYTES, file_bytes) - first * CHUNK_BYTES + TAG_LENGTH * len(sealed)
        if len(chunks) != due:
            raise Misfit("not the chunks that the upload's length asks for")
        cursor.execute(self.STORED_CHUNKS, (id_, first, end))
        stored = {number for number, in cursor.fetchall()}
        copy_in(
            cursor,
            "chunk (files, number, sealed)",
            [(id_, number, chunk) for number, chunk in enumerate(sealed, first) if number not in stored],
        )

    # The lock makes the upload's end and the put of the note wait, so that no chunk is left behind, and a
    # repeated request with the same chunks.
    LOCK_UPLOAD = """
        SELECT file_bytes, set_config('synchronous_commit', 'off', true)
        FROM upload
        WHERE id = %s AND at > now() - interval '1 hour'
        FOR UPDATE
        """

    # A later statement than the one that may have waited for these chunks, which it would not see.
    STORED_CHUNKS = """
        SELECT number
        FROM chunk
        WHERE files = %s AND number >= %s AND number < %s
        """

    async def cancel(self, upload: bytes) -> None:
        """Forget an upload and its chunks; a note that was put with it stays. Raises Unavailable."""
        id_ = id_of(upload)
        await self._database.execute_shielded(self.END, id_)
        await self._database.execute_shielded(self.CANCEL, id_)

    # An upload that has ended takes no more chunks. To end it waits for those that are on their way, so only a
    # later statement sees all of them.
    END = PreparedStatement(
        "end_upload",
        "text",
        """
        UPDATE upload
        SET at = '-infinity'
        WHERE id = decode($1, 'base64')
        """,
    )

    CANCEL = PreparedStatement(
        "cancel_upload",
        "text",
        """
        WITH cancelled AS (
            DELETE FROM upload
            WHERE id = decode($1, 'base64') AND at = '-infinity'
            RETURNING id
        )
        DELETE FROM chunk
        WHERE files = (SELECT id FROM cancelled)
        """,
    )

    async def put_note(
        self,
        upload: bytes,
        key: str,
        columns: tuple[str, ...],
        deadline: float,
    ) -> tuple[str, datetime] | None:
        """Put a note with the files of an upload, whose chunks are its own from then on.

        A repeated put finds the first one.

        Args:
            columns: link verifier, reveal verifier and sealed bytes in base64, whether it has a passphrase,
                and its lifetime in seconds.
            deadline: for each statement, on the loop's clock.

        Returns:
            The note's key and when it expires; None if another note has the key.

        Raises:
            Incomplete: chunks are missing; nothing is put.
            NoSuchUpload, Unavailable: as for `begin`; a standby may not have the note yet.
        """
        id_ = id_of(upload)
        link_verifier, _, sealed, *_ = columns
        async with self._database.connection(deadline) as connection:
            rows = await connection.query(self.PUT_NOTE, (id_, key, *columns))
            if not rows:
                rows = await connection.query(self.FIND_NOTE, (id_, link_verifier, sealed))
        if rows:
            return rows[0][0], rows[0][1]
        state = await self._state(id_)
        if state.next < state.chunks:
            raise Incomplete(state.next)
        return None

    PUT_NOTE = PreparedStatement(
        "put_note_with_files",
        "text, text, text, text, text, text, text",
        f"""
        WITH complete AS MATERIALIZED (
            SELECT id, file_bytes
            FROM upload
            WHERE id = decode($1, 'base64')
                AND at > now() - interval '1 hour'
                AND (SELECT count(*) FROM chunk WHERE files = decode($1, 'base64'))
                    = (file_bytes - 1) / {CHUNK_BYTES} + 1
            FOR UPDATE
        ), placed AS (
            INSERT INTO note (key, link_verifier, reveal_verifier, sealed, has_passphrase, expires_at,
                files, file_bytes)
            SELECT $2::char(5), decode($3, 'base64'), decode($4, 'base64'), decode($5, 'base64'), $6::boolean,
                now() + make_interval(secs => $7::float8), id, file_bytes
            FROM complete
            ON CONFLICT DO NOTHING
            RETURNING key, expires_at, files
        ), finished AS (
            DELETE FROM upload
            WHERE id = (SELECT files FROM placed)
        )
        SELECT key, expires_at FROM placed
        """,  # nosec B608 # a constant of this package
    )

    # A later statement than the one that may have waited for an earlier put, which it would not see. It writes
    # the row, so that its COMMIT waits for a standby, and covers the COMMIT of that put.
    FIND_NOTE = PreparedStatement(
        "find_note_with_files",
        "text, text, text",
        """
        UPDATE note
        SET key = key
        WHERE files = decode($1, 'base64')
            AND link_verifier = decode($2, 'base64')
            AND sealed = decode($3, 'base64')
        RETURNING key, expires_at
        """,
    )


def id_of(upload: bytes) -> str:
    """The id of an upload, as base64: the SHA-256 of its writer's nonce."""
    return base64_of(hashlib.sha256(upload).digest())
