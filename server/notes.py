"""Sealed notes and their SQL: put, peek, reveal, destroy, purge. What seals and opens them is not known here.

The promise: a note is shown at most once; it is lost only if the reader's connection or this process
dies between the commit and the last byte of the answer; an error before that leaves it readable.
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

from server.database import Database, Prepared, Row, Unavailable
from server.group_commit import GroupCommit
from server.keys import KeyLeaser

Result = TypeVar("Result")

# Seconds to learn how a reveal ended whose COMMIT was sent and not answered: this long, or nine timeouts
# of a database that is asked to be quicker than by default. nginx waits longer than that.
COMMIT_PATIENCE = 45.0
RETRY_INTERVAL = 0.2
LANES = 2
PURGE_BATCH = 500
MAX_ANSWER_BYTES = 32 << 20  # of sealed notes that one group of reveals may bring into memory


class Note(NamedTuple):
    """A note to be put."""

    verifier: bytes
    sealed: bytes
    has_passphrase: bool
    lifetime: timedelta


class Placed(NamedTuple):
    """Where a note was put, and until when by the msg-db's clock."""

    key: str
    expires_at: datetime


class Peek(NamedTuple):
    """What may be known of a note without its token."""

    has_passphrase: bool
    expires_at: datetime


@dataclasses.dataclass(slots=True)
class _Asked:
    """A reveal that is asked for: the key, SHA-256 of the proof, and whether the reader has left since."""

    key: str
    verifier: bytes
    left: bool = False


class Notes:
    """The notes of one msg-db, under keys that `keys` hands out."""

    def __init__(self, database: Database, keys: KeyLeaser, longest: int = 1 << 16) -> None:
        """
        Args:
            longest: bytes that a sealed note may have; how long each is shows only when it is revealed.
        """
        self._database = database
        self._keys = keys
        self._clock: datetime | None = None  # what the msg-db's clock said when our monotonic one began
        self._commit_patience = min(COMMIT_PATIENCE, 9 * database.timeout)
        self._puts = GroupCommit(self._insert, LANES, database.patience)
        most = max(1, MAX_ANSWER_BYTES // longest)
        self._reveals = GroupCommit(self._delete, LANES, database.patience, most)

    async def put(self, note: Note) -> Placed:
        """Store a note under a key that was never used before.

        Raises:
            OutOfKeys: there is no key.
            Unavailable: the msg-db is not there; the note may have been stored, under a key nobody has.
        """
        while True:
            key = await self._keys.take()
            expires_at = await self._puts.submit((key, note), size=len(note.sealed))
            if expires_at is not None:
                return Placed(key, expires_at)
            # The key is taken, which only a key-db restored without `kgs fence` can bring about.

    # A column is one text, which takes PostgreSQL half as long to read as an array. A repeated put of the same
    # note finds itself; a key that does not come back belongs to another note.
    INSERT = Prepared(
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

    async def _insert(self, group: list[tuple[str, Note]]) -> list[datetime | None]:
        columns = (
            ",".join([key for key, _ in group]),
            ",".join([base64_of(note.verifier) for _, note in group]),
            ",".join([base64_of(note.sealed) for _, note in group]),
            ",".join([str(note.has_passphrase) for _, note in group]),
            ",".join([str(note.lifetime.total_seconds()) for _, note in group]),
        )

        async def insert(deadline: float) -> dict[str, datetime]:
            async with self._database.connection(deadline) as connection:
                rows = await connection.query(self.INSERT, columns)
                if connection.notices:
                    raise Unavailable("a standby was not waited for")
                return dict(rows)

        placed = await self._until(insert)
        return [placed.get(key) for key, _ in group]

    PEEK = Prepared(
        "peek",
        "text",
        """
        SELECT has_passphrase, expires_at
        FROM note
        WHERE key = $1::char(5) AND expires_at - now() > interval '0'
        """,
    )

    async def peek(self, key: str) -> Peek | None:
        """Whether a note lies under `key`, and what its confirm page has to say.

        Raises:
            Unavailable: the msg-db is not there.
        """
        rows = await self._look(self.PEEK, key)
        return Peek(*rows[0]) if rows else None

    # One row in any case, so that whoever guesses keys cannot tell them apart by how long a refusal takes.
    HAS_PASSPHRASE = Prepared(
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
        """Whether the note under `key` has a passphrase, or None where there is no note.

        Raises:
            Unavailable: the msg-db is not there.
        """
        ((has_passphrase,),) = await self._look(self.HAS_PASSPHRASE, key)
        return has_passphrase  # type: ignore[no-any-return]  # rows are not typed

    async def _look(self, statement: Prepared, key: str) -> list[Row]:
        async def look(deadline: float) -> list[Row]:
            async with self._database.connection(deadline) as connection:
                return await connection.query(statement, (key,))

        # Shielded: whoever leaves in the middle of it would cost us the connection.
        return await asyncio.shield(self._until(look))

    async def reveal(self, key: str, verifier: bytes) -> bytes | None:
        """Delete a note and give what was sealed, to one caller only, ever.

        Args:
            verifier: SHA-256 of the proof, 32 bytes.

        Returns:
            The sealed bytes, or None where no note under `key` fits or lives.

        Raises:
            Unavailable: the msg-db is not there. Unless a COMMIT stayed without an answer for
                COMMIT_PATIENCE, the note is as it was.
        """
        asked = _Asked(key, verifier)
        try:
            return await self._reveals.submit(asked)
        except asyncio.CancelledError:
            asked.left = True  # and the note stays, unless its COMMIT has been sent
            raise

    async def destroy(self, key: str, verifier: bytes) -> bool:
        """Delete a note unread; whether there was one that fits. Raises as `reveal` does."""
        return await self.reveal(key, verifier) is not None

    async def _delete(self, group: list[_Asked]) -> list[bytes | None]:
        # What each attempt would have revealed whose COMMIT was sent, by its receipt.
        sent: dict[str, dict[int, bytes]] = {}

        async def delete(deadline: float) -> list[bytes | None]:
            try:
                revealed = await self._attempt(group, sent, deadline)
            except psycopg2.Error:
                if sent:  # only here is known what the earlier attempts would have revealed
                    raise Unavailable("the database refuses to say how a reveal ended") from None
                raise
            return [revealed.get(ordinal) for ordinal in range(1, len(group) + 1)]

        return await self._until(delete, lambda: self._commit_patience if sent else 0)

    # Rows are locked in the order of their keys, or two groups could wait for each other. Two members may
    # ask for one key, even with one proof: the ordinal, not the key, says whom a row belongs to. The rows
    # arrive before the COMMIT, so that they are in memory when its answer is lost. It is written so that no
    # plan but look-ups by key exists, whatever the table held when it was planned: LATERAL with FOR UPDATE
    # is not turned into a join, and the index on expires_at does not serve a difference.
    DELETE = Prepared(
        "reveal",
        "text, text, uuid, boolean",
        """
        WITH asked AS MATERIALIZED (
            SELECT DISTINCT ON (key, verifier)
                key::char(5), decode(verifier, 'base64') AS verifier, ordinal
            FROM ROWS FROM (string_to_table($1, ','), string_to_table($2, ','))
                WITH ORDINALITY AS asked(key, verifier, ordinal)
            ORDER BY key, verifier, ordinal
        ), hit AS MATERIALIZED (
            SELECT asked.ordinal, locked.key
            FROM asked, LATERAL (
                SELECT key
                FROM note
                WHERE note.key = asked.key
                    AND note.verifier = asked.verifier
                    AND note.expires_at - now() > interval '0'
                FOR UPDATE OF note
            ) AS locked
        ), gone AS (
            DELETE FROM note
            WHERE key = ANY (ARRAY(SELECT key FROM hit))
            RETURNING key, sealed
        ), receipt AS (
            INSERT INTO receipt (id)
            SELECT $3
            WHERE $4 OR EXISTS (SELECT FROM gone)
        )
        SELECT hit.ordinal, encode(gone.sealed, 'hex')
        FROM gone
        JOIN hit ON hit.key = gone.key
        """,
    )

    RECEIPTS = """
    SELECT replace(id::text, '-', '')
    FROM receipt
    WHERE id = ANY (%s::uuid[])
    """

    # Nothing may cancel it: the timeout would end the wait for a standby, not the deletion.
    COMMIT = "SET LOCAL statement_timeout = 0; COMMIT"

    async def _attempt(
        self, group: list[_Asked], sent: dict[str, dict[int, bytes]], deadline: float
    ) -> dict[int, bytes]:
        """Delete a group once and give what to show, by ordinal.

        Where the answer to an earlier attempt's COMMIT was lost, this one waits for that attempt's row
        locks, so that afterwards its receipt is either there or will never be. And it commits a receipt
        of its own in any case: a COMMIT that was waited for covers all before it, on a standby too.
        """
        receipt = secrets.token_hex(16)
        keys = ",".join(["" if asked.left and not sent else asked.key for asked in group])
        verifiers = ",".join([base64_of(asked.verifier) for asked in group])
        async with self._database.connection(deadline) as connection:
            rows = await connection.query(
                self.DELETE, (keys, verifiers, receipt, str(bool(sent))), begin=True
            )
            revealed = {ordinal: unhexlify(sealed) for ordinal, sealed in rows}
            if not sent and (not revealed or any(group[ordinal - 1].left for ordinal in revealed)):
                await connection.query("ROLLBACK")
                if revealed:
                    raise Unavailable("a reader left: once more without it")
                return {}
            earlier: dict[int, bytes] = {}
            if sent:
                found = await connection.query(self.RECEIPTS, (list(sent),))
                for (id_,) in found:
                    earlier |= sent[id_]
            sent[receipt] = revealed
            await connection.query(self.COMMIT)
            # A failed transaction answers ROLLBACK; a warning says that a standby was not waited for.
            if connection.status != "COMMIT" or connection.notices:
                raise Unavailable("the reveal may not be durable")
        return earlier | revealed

    async def _until(
        self, work: Callable[[float], Awaitable[Result]], more: Callable[[], float] = lambda: 0
    ) -> Result:
        """Try `work(deadline)` again while the database is away.

        It gets the database's patience in all, or `more()` seconds where that is longer by then; a single
        try gets three timeouts: for a connection, for a statement, for a COMMIT. What is under way then is
        broken off by closing its connection: a COMMIT that was sent goes on, and the next try finds out.
        """
        start = time.monotonic()
        while True:
            end = start + max(self._database.patience, more())
            try:
                return await work(min(end, time.monotonic() + 3 * self._database.timeout))
            except Unavailable as unavailable:
                refusal = unavailable
            if time.monotonic() - start + RETRY_INTERVAL > max(self._database.timeout, more()):
                raise refusal from None
            await asyncio.sleep(RETRY_INTERVAL)

    # One process at a time ("nwpg" in ASCII), and never waiting for a row that is being revealed.
    PURGE = """
    WITH gone AS (
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
    SELECT count(*) FROM gone
    """

    # By its own clock and by ours: one that jumps forward must not take the receipts of a moment ago.
    PURGE_RECEIPTS = """
    DELETE FROM receipt
    WHERE at < least(now(), %s) - interval '10 minutes'
    """

    async def purge(self) -> int:
        """Remove a batch of expired notes and of old receipts, unless another process is at it.

        Returns:
            The number of notes removed; PURGE_BATCH means that there may be more.

        Raises:
            Unavailable: the msg-db is not there.
        """
        if self._clock is None:
            ((now,),) = await self._database.execute("SELECT now()")
            self._clock = now - timedelta(seconds=time.monotonic())
        expected = self._clock + timedelta(seconds=time.monotonic())
        await self._database.execute(self.PURGE_RECEIPTS, (expected,))
        ((count,),) = await self._database.execute(self.PURGE, (PURGE_BATCH,))
        return int(count)


def base64_of(data: bytes) -> str:
    return b2a_base64(data, newline=False).decode("ascii")
