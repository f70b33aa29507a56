"""Sealed notes and their SQL: put, peek, reveal, destroy, purge. `sealing.py` seals and opens them.

The promise: a note is shown at most once. It is lost only if the reader's connection or this process
dies between the commit and the last byte of the answer; after any earlier error it is still there.
"""

from __future__ import annotations

import asyncio
import dataclasses
import secrets
import time
from binascii import b2a_base64, unhexlify
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import NamedTuple, TypeVar

import psycopg2

from server.database import Database, PreparedStatement, Row, Unavailable
from server.group_commit import GroupCommit
from server.keys import KeyLeaser

Result = TypeVar("Result")

# Seconds to find out how a reveal ended whose COMMIT was sent but not answered: this long, or nine timeouts
# if the timeout is shorter than the default. nginx waits longer than that.
MAX_COMMIT_WAIT = 45.0
RETRY_INTERVAL = 0.2
WORKERS = 2  # groups of puts, and groups of reveals, that are with the database at the same time
PURGE_BATCH = 500
MAX_REVEALED_BYTES = 32 << 20  # of sealed notes that one group of reveals may bring into memory


class Note(NamedTuple):
    """A note to put."""

    verifier: bytes
    sealed: bytes
    has_passphrase: bool
    lifetime: timedelta


class Placed(NamedTuple):
    """The key under which a note was put, and when it expires by the msg-db's clock."""

    key: str
    expires_at: datetime


class Peek(NamedTuple):
    """What a client may know of a note without its token."""

    has_passphrase: bool
    expires_at: datetime


@dataclasses.dataclass(slots=True)
class _Reveal:
    """A reveal in a group: the key, the SHA-256 of the proof, and whether its reader has hung up."""

    key: str
    verifier: bytes
    hung_up: bool = False


class Notes:
    """The notes of one msg-db, under keys that `keys` hands out."""

    def __init__(self, database: Database, keys: KeyLeaser, max_sealed_bytes: int = 1 << 16) -> None:
        """
        Args:
            max_sealed_bytes: of one note. It bounds how many notes a group reveals, because only the
                reveal tells how long each note is.
        """
        self._database = database
        self._keys = keys
        self._clock_offset: datetime | None = None  # the msg-db's clock when the monotonic clock was 0
        self._max_commit_wait = min(MAX_COMMIT_WAIT, 9 * database.timeout)
        self._puts = GroupCommit(self._put_group, WORKERS, database.max_wait)
        max_members = max(1, MAX_REVEALED_BYTES // max_sealed_bytes)
        self._reveals = GroupCommit(self._reveal_group, WORKERS, database.max_wait, max_members)

    async def put(self, note: Note) -> Placed:
        """Store a note under a key that was never used before.

        Raises:
            OutOfKeys: there is no key.
            Unavailable: the msg-db cannot be reached. The note may be stored, under a key that no client has.
        """
        while True:
            key = await self._keys.take()
            expires_at = await self._puts.submit((key, note), size=len(note.sealed))
            if expires_at is not None:
                return Placed(key, expires_at)
            # The key is in use, which happens only after a key-db was restored without `kgs fence`.

    # Each column is one text, which PostgreSQL reads twice as fast as an array. A repeated put of the same
    # note finds itself; if a key does not come back, another note has it.
    PUT = PreparedStatement(
        "put",
        "text, text, text, text, text",
        """
        INSERT INTO note (key, verifier, sealed, has_passphrase, expires_at)
        SELECT key, decode(verifier, 'base64'), decode(sealed, 'base64'), has_passphrase::boolean,
            now() + make_interval(secs => lifetime::float8)
        FROM ROWS FROM (
            string_to_table($1, ','), string_to_table($2, ','), string_to_table($3, ','),
            string_to_table($4, ','), string_to_table($5, ',')
        ) AS new(key, verifier, sealed, has_passphrase, lifetime)
        ON CONFLICT (key) DO UPDATE SET key = note.key
            WHERE note.verifier = excluded.verifier AND note.sealed = excluded.sealed
        RETURNING key, expires_at
        """,
    )

    async def _put_group(self, group: list[tuple[str, Note]]) -> list[datetime | None]:
        columns = (
            ",".join([key for key, _ in group]),
            ",".join([base64_of(note.verifier) for _, note in group]),
            ",".join([base64_of(note.sealed) for _, note in group]),
            ",".join([str(note.has_passphrase) for _, note in group]),
            ",".join([str(note.lifetime.total_seconds()) for _, note in group]),
        )

        async def put(deadline: float) -> dict[str, datetime]:
            async with self._database.connection(deadline) as connection:
                rows = await connection.query(self.PUT, columns)
                if connection.notices:
                    raise Unavailable("the database did not wait for its standby")
                return dict(rows)

        expires_at = await self._retry(put)
        return [expires_at.get(key) for key, _ in group]

    PEEK = PreparedStatement(
        "peek",
        "text",
        """
        SELECT has_passphrase, expires_at
        FROM note
        WHERE key = $1::char(5) AND expires_at - now() > interval '0'
        """,
    )

    async def peek(self, key: str) -> Peek | None:
        """What the confirm page says about the note under `key`, or None if there is no note.

        Raises:
            Unavailable: the msg-db cannot be reached.
        """
        rows = await self._select(self.PEEK, key)
        return Peek(*rows[0]) if rows else None

    # Always one row, so that the time of a refusal does not tell whether there is a note under a key.
    HAS_PASSPHRASE = PreparedStatement(
        "has_passphrase",
        "text",
        """
        SELECT (
            SELECT has_passphrase
            FROM note
            WHERE key = $1::char(5) AND expires_at - now() > interval '0'
        )
        """,
    )

    async def has_passphrase(self, key: str) -> bool | None:
        """Whether the note under `key` has a passphrase, or None if there is no note.

        Raises:
            Unavailable: the msg-db cannot be reached.
        """
        ((has_passphrase,),) = await self._select(self.HAS_PASSPHRASE, key)
        return has_passphrase  # type: ignore[no-any-return]  # rows are not typed

    async def _select(self, statement: PreparedStatement, key: str) -> list[Row]:
        async def select(deadline: float) -> list[Row]:
            async with self._database.connection(deadline) as connection:
                return await connection.query(statement, (key,))

        # Shielded: a client that hangs up in the middle would cost the pool a connection.
        return await asyncio.shield(self._retry(select))

    async def reveal(self, key: str, verifier: bytes) -> bytes | None:
        """Delete a note and return its sealed bytes, to one caller only, ever.

        Args:
            verifier: SHA-256 of the proof, 32 bytes.

        Returns:
            The sealed bytes, or None if there is no note under `key` with that verifier.

        Raises:
            Unavailable: the msg-db cannot be reached. The note is still there, unless a COMMIT stayed
                without an answer for MAX_COMMIT_WAIT.
        """
        reveal = _Reveal(key, verifier)
        try:
            return await self._reveals.submit(reveal)
        except asyncio.CancelledError:
            reveal.hung_up = True  # so the note stays, unless its COMMIT was sent already
            raise

    async def destroy(self, key: str, verifier: bytes) -> bool:
        """Delete a note unread, and return whether there was one. Raises the same errors as `reveal`."""
        return await self.reveal(key, verifier) is not None

    async def _reveal_group(self, group: list[_Reveal]) -> list[bytes | None]:
        # What the attempts have revealed whose COMMIT was sent but not confirmed, by the id of their receipt.
        unconfirmed: dict[str, dict[int, bytes]] = {}

        async def reveal(deadline: float) -> list[bytes | None]:
            try:
                revealed = await self._reveal_once(group, unconfirmed, deadline)
            except psycopg2.Error:
                if unconfirmed:  # what they have revealed is known only here
                    raise Unavailable("the database refuses to say how a reveal ended") from None
                raise
            return [revealed.get(ordinal) for ordinal in range(1, len(group) + 1)]

        return await self._retry(reveal, lambda: self._max_commit_wait if unconfirmed else 0)

    # Rows are locked in the order of their keys; otherwise two groups could wait for each other. Two members
    # may name the same key, even with the same proof, so a row belongs to an ordinal and not to a key. The
    # rows arrive before the COMMIT, so that they are in memory if its answer is lost. The only possible plan
    # is a look-up by key, whatever the table contained when the statement was planned: LATERAL with FOR
    # UPDATE is never turned into a join, and the index on expires_at cannot serve a difference.
    REVEAL = PreparedStatement(
        "reveal",
        "text, text, uuid, boolean",
        """
        WITH requested AS MATERIALIZED (
            SELECT DISTINCT ON (key, verifier)
                key::char(5), decode(verifier, 'base64') AS verifier, ordinal
            FROM ROWS FROM (string_to_table($1, ','), string_to_table($2, ','))
                WITH ORDINALITY AS requested(key, verifier, ordinal)
            ORDER BY key, verifier, ordinal
        ), matched AS MATERIALIZED (
            SELECT requested.ordinal, locked.key
            FROM requested, LATERAL (
                SELECT key
                FROM note
                WHERE note.key = requested.key
                    AND note.verifier = requested.verifier
                    AND note.expires_at - now() > interval '0'
                FOR UPDATE OF note
            ) AS locked
        ), deleted AS (
            DELETE FROM note
            WHERE key = ANY (ARRAY(SELECT key FROM matched))
            RETURNING key, sealed
        ), receipt AS (
            INSERT INTO receipt (id)
            SELECT $3
            WHERE $4 OR EXISTS (SELECT FROM deleted)
        )
        SELECT matched.ordinal, encode(deleted.sealed, 'hex')
        FROM deleted
        JOIN matched ON matched.key = deleted.key
        """,
    )

    RECEIPTS = """
    SELECT replace(id::text, '-', '')
    FROM receipt
    WHERE id = ANY (%s::uuid[])
    """

    # Nothing may cancel it: the timeout would end the wait for a standby, but not undo the deletion.
    COMMIT = "SET LOCAL statement_timeout = 0; COMMIT"

    async def _reveal_once(
        self, group: list[_Reveal], unconfirmed: dict[str, dict[int, bytes]], deadline: float
    ) -> dict[int, bytes]:
        """Delete the notes of a group in one transaction, and return what to show, by ordinal.

        If the answer to an earlier attempt's COMMIT was lost, this attempt waits for the row locks of
        that one. Afterwards the earlier receipt is either there or will never be. This attempt commits a
        receipt in any case: a COMMIT that was waited for covers all COMMITs before it, on a standby too.
        """
        receipt = secrets.token_hex(16)
        keys = ",".join(["" if reveal.hung_up and not unconfirmed else reveal.key for reveal in group])
        verifiers = ",".join([base64_of(reveal.verifier) for reveal in group])
        parameters = (keys, verifiers, receipt, str(bool(unconfirmed)))
        async with self._database.connection(deadline) as connection:
            rows = await connection.query(self.REVEAL, parameters, begin=True)
            revealed = {ordinal: unhexlify(sealed) for ordinal, sealed in rows}
            if not unconfirmed and (not revealed or any(group[ordinal - 1].hung_up for ordinal in revealed)):
                await connection.query("ROLLBACK")
                if revealed:
                    raise Unavailable("a reader hung up: try again without it")
                return {}
            earlier: dict[int, bytes] = {}
            if unconfirmed:
                found = await connection.query(self.RECEIPTS, (list(unconfirmed),))
                for (id_,) in found:
                    earlier |= unconfirmed[id_]
            unconfirmed[receipt] = revealed
            await connection.query(self.COMMIT)
            # A failed transaction answers ROLLBACK; a warning says that the standby was not waited for.
            if connection.status != "COMMIT" or connection.notices:
                raise Unavailable("the reveal may not be durable")
        return earlier | revealed

    async def _retry(
        self, attempt: Callable[[float], Awaitable[Result]], longer: Callable[[], float] = lambda: 0
    ) -> Result:
        """Call `attempt(deadline)` again while the database is unavailable.

        All attempts together get the database's `max_wait`, or `longer()` seconds if that is more by
        then. Each attempt gets three timeouts: for a connection, a statement and a COMMIT. After that
        its connection is closed. A COMMIT that was sent still takes effect; the next attempt finds out.
        """
        start = time.monotonic()
        while True:
            end = start + max(self._database.max_wait, longer())
            try:
                return await attempt(min(end, time.monotonic() + 3 * self._database.timeout))
            except Unavailable as unavailable:
                error = unavailable
            if time.monotonic() - start + RETRY_INTERVAL > max(self._database.timeout, longer()):
                raise error from None
            await asyncio.sleep(RETRY_INTERVAL)

    # One process at a time ("nwpg" in ASCII). Rows that are being revealed are skipped, not waited for.
    PURGE = """
    WITH deleted AS (
        DELETE FROM note
        WHERE (SELECT pg_try_advisory_xact_lock(1853321319))
            AND key IN (
                SELECT key
                FROM note
                WHERE expires_at <= now()
                ORDER BY expires_at
                LIMIT %s
                FOR UPDATE SKIP LOCKED
            )
        RETURNING key
    )
    SELECT count(*) FROM deleted
    """

    async def purge(self) -> int:
        """Delete a batch of expired notes and all old receipts, unless another process is purging.

        Returns:
            The number of deleted notes; if it is PURGE_BATCH, there may be more.

        Raises:
            Unavailable: the msg-db cannot be reached.
        """
        await self._purge_receipts()
        ((count,),) = await self._database.execute(self.PURGE, (PURGE_BATCH,))
        return int(count)

    # By the earlier of two clocks: if the database's clock jumps forward, fresh receipts must stay.
    PURGE_RECEIPTS = """
    DELETE FROM receipt
    WHERE at < least(now(), %s) - interval '10 minutes'
    """

    async def _purge_receipts(self) -> None:
        if self._clock_offset is None:
            self._clock_offset = await self._now() - timedelta(seconds=time.monotonic())
        expected = self._clock_offset + timedelta(seconds=time.monotonic())
        await self._database.execute(self.PURGE_RECEIPTS, (expected,))

    NOW = "SELECT now()"

    async def _now(self) -> datetime:
        ((now,),) = await self._database.execute(self.NOW)
        return now  # type: ignore[no-any-return]  # rows are not typed


def base64_of(data: bytes) -> str:
    return b2a_base64(data, newline=False).decode("ascii")
