"""Deletes what is over: expired notes, old endings, deliveries, uploads, and the chunks of files with them.

Fresh deliveries and receipts must stay, even if the database's clock jumps forward: a lost answer may be
waiting for them. So the earlier of two clocks decides what is over.
"""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone

from server.database import Database

BATCH = 500
BATCH_WITH_FILES = 4  # notes, deliveries or uploads: at the default limit up to 400 MB


class Purge:
    """The purge of one msg-db. Each method raises Unavailable if the msg-db cannot be reached."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._clock_offset: datetime | None = None  # the msg-db's clock when the monotonic clock was 0
        self._forgotten_at: datetime | None = None  # when deliveries were last purged, by the msg-db's clock

    PURGE_ENDINGS = """
    WITH deleted AS (
        DELETE FROM ending
        WHERE (key, link_verifier) IN (
            SELECT key, link_verifier
            FROM ending
            WHERE at < %s - interval '7 days'
            ORDER BY at
            LIMIT %s
            FOR UPDATE SKIP LOCKED
        )
        RETURNING key
    )
    SELECT count(*) FROM deleted
    """

    async def notes(self) -> tuple[int, bool]:
        """Delete a batch of expired notes and of old endings, unless another process is purging.

        Notes with files are left to `files`.

        Returns:
            The number of deleted notes, and whether there may be more of either.
        """
        now = await self._careful_now()
        # By the database's clock alone, like reveals: no lost answer waits for a note.
        notes = await self._purge_notes("infinity", with_files=False, batch=BATCH)
        endings = await self._count(self.PURGE_ENDINGS, now, BATCH)
        return notes, BATCH in (notes, endings)

    # One process at a time: the number of the lock is "nwpg" in ASCII, or one more for notes with files. The
    # statement skips rows that are being revealed.
    PURGE_NOTES = """
    WITH deleted AS (
        DELETE FROM note
        WHERE (SELECT pg_try_advisory_xact_lock(1853321319 + %s::integer))
            AND key IN (
                SELECT key
                FROM note
                WHERE expires_at <= least(now(), %s) AND (files IS NOT NULL) = %s
                ORDER BY expires_at
                LIMIT %s
                FOR UPDATE SKIP LOCKED
            )
        RETURNING key, link_verifier, expires_at, files
    ), ended AS (
        INSERT INTO ending (key, link_verifier, how, at)
        SELECT key, link_verifier, 'expired', expires_at FROM deleted
    ), emptied AS (
        DELETE FROM chunk
        WHERE files = ANY (ARRAY(SELECT files FROM deleted WHERE files IS NOT NULL))
    )
    SELECT count(*) FROM deleted
    """

    async def _purge_notes(self, now: datetime | str, with_files: bool, batch: int) -> int:
        return await self._count(self.PURGE_NOTES, with_files, now, with_files, batch)

    # Reads what the last pass has not read, and a minute more: a COMMIT may come later than its row's time.
    FORGET_DELIVERED = """
    UPDATE delivery
    SET sealed = NULL
    WHERE sealed IS NOT NULL
        AND at >= %s::timestamptz - interval '2 minutes'
        AND at < %s - interval '60 seconds'
    """

    PURGE_DELIVERIES = """
    DELETE FROM delivery
    WHERE at < %s - interval '10 minutes' AND files IS NULL
    """

    async def deliveries(self) -> None:
        """Forget sealed bytes that were delivered more than 60 seconds ago, and deliveries after ten minutes."""
        now = await self._careful_now()
        since = self._forgotten_at
        everything = since is None or now < since  # the first time, and after the clock was set back
        await self._database.execute(self.FORGET_DELIVERED, ("-infinity" if everything else since, now))
        self._forgotten_at = now
        await self._database.execute(self.PURGE_DELIVERIES, (now,))

    # Like `Files.END`. An upload that is receiving chunks stays until the next purge.
    END_UPLOADS = """
    UPDATE upload
    SET at = '-infinity'
    WHERE id IN (
        SELECT id
        FROM upload
        WHERE at > '-infinity' AND at < %s - interval '1 hour'
        FOR UPDATE SKIP LOCKED
    )
    """

    PURGE_DELIVERIES_WITH_FILES = """
    WITH deleted AS (
        DELETE FROM delivery
        WHERE id IN (
            SELECT id
            FROM delivery
            WHERE files IS NOT NULL AND at < %s - interval '1 hour'
            ORDER BY at
            LIMIT %s
            FOR UPDATE SKIP LOCKED
        )
        RETURNING files
    ), emptied AS (
        DELETE FROM chunk
        WHERE files IN (SELECT files FROM deleted)
    )
    SELECT count(*) FROM deleted
    """

    PURGE_UPLOADS = """
    WITH deleted AS (
        DELETE FROM upload
        WHERE id IN (
            SELECT id
            FROM upload
            WHERE at = '-infinity'
            LIMIT %s
            FOR UPDATE SKIP LOCKED
        )
        RETURNING id
    ), emptied AS (
        DELETE FROM chunk
        WHERE files IN (SELECT id FROM deleted)
    )
    SELECT count(*) FROM deleted
    """

    async def files(self) -> int:
        """Delete expired notes with files, and the files of deliveries and uploads after an hour.

        Returns:
            The number of deleted notes.
        """
        now, batch = await self._careful_now(), BATCH_WITH_FILES
        await self._database.execute(self.END_UPLOADS, (now,))
        expired, more = 0, True
        while more:
            notes = await self._purge_notes(now, with_files=True, batch=batch)
            deliveries = await self._count(self.PURGE_DELIVERIES_WITH_FILES, now, batch)
            uploads = await self._count(self.PURGE_UPLOADS, batch)
            expired += notes
            more = batch in (notes, deliveries, uploads)
        return expired

    async def _count(self, statement: str, *parameters: object) -> int:
        ((count,),) = await self._database.execute(statement, parameters)
        return int(count)

    NOW = "SELECT now()"

    async def _careful_now(self) -> datetime:
        """The earlier of two clocks: if the database's clock jumps forward, fresh deliveries must stay."""
        rows = await self._database.execute(self.NOW)
        now: datetime = rows[0][0]
        if self._clock_offset is None:
            self._clock_offset = now - timedelta(seconds=time.monotonic())
        return min(now, self.expected_now())

    def expected_now(self) -> datetime:
        """What the database's clock should say, by the monotonic clock; the far future before the first purge."""
        if self._clock_offset is None:
            return datetime.max.replace(tzinfo=timezone.utc)
        return self._clock_offset + timedelta(seconds=time.monotonic())
