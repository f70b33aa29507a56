"""Sealed notes and their SQL: put, peek, reveal, destroy. `sealing.py` seals them, `purge.py` purges them.

The promise: a note is shown to one reader. A reader that gave a nonce may fetch it again for a minute, so
it loses nothing if its connection or this process dies. A reader without a nonce gets one answer: it loses
the note if the connection or the process dies between the commit and the last byte of that answer.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import math
import secrets
import time
from binascii import unhexlify
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple, TypeVar

import psycopg2

from server.database import Database, PreparedStatement, Row, Unavailable, base64_of
from server.files import Files, Incomplete, NoSuchUpload
from server.group_commit import GroupCommit, NotSent
from server.keys import KeyLeaser
from server.purge import Purge
from server.revealed_files import RevealedFiles

Result = TypeVar("Result")

# Seconds to find out how a reveal ended if its COMMIT was sent but not answered, or nine timeouts if that is
# less. nginx waits longer.
MAX_COMMIT_WAIT = 45.0
RETRY_INTERVAL = 0.2
WORKERS = 2  # groups of puts that the database handles at the same time, and as many groups of reveals
MAX_REVEALED_BYTES = 32 << 20  # sealed bytes that one group of reveals may load into memory


class Note(NamedTuple):
    """A note to put. The verifiers are the SHA-256 of the link proof and of the reveal proof."""

    link_verifier: bytes
    reveal_verifier: bytes
    sealed: bytes
    has_passphrase: bool
    lifetime: timedelta


class Placed(NamedTuple):
    """The key under which a note was put, and when it expires by the msg-db's clock."""

    key: str
    expires_at: datetime


class Ending(NamedTuple):
    """How and when a note ended: "read", "destroyed" or "expired", and the mark if its reader sent one."""

    how: str
    at: datetime
    mark: bytes | None = None


class Unread(NamedTuple):
    """What a client may know about a note once it has proved the link.

    `seconds_to_wait`: until the client may try the next passphrase; 0 if it may try now.
    """

    has_passphrase: bool
    expires_at: datetime
    wrong_passphrases: int
    seconds_to_wait: int
    file_bytes: int | None = None  # of all its files, padded


class Refused(Exception):
    """The link proof matches, but the note is not revealed."""


class PassphraseNeeded(Refused):
    """The note has a passphrase and the client sent none; the note is untouched."""


class ReaderNeeded(Refused):
    """The note has files, and the client sent no nonce to fetch them with; the note is untouched."""


class WrongPassphrase(Refused):
    """The link is right and the passphrase is not; `tries_left` may follow before the next delay."""

    def __init__(self, tries_left: int) -> None:
        super().__init__(tries_left)
        self.tries_left = tries_left


class TooManyTries(Refused):
    """The note's tries are used up; the passphrase was not tried. `seconds` says how long to wait."""

    def __init__(self, seconds: int) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class Ended(Refused):
    """The note is gone; `.ending` says how and when."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending.how)
        self.ending = ending


@dataclasses.dataclass(slots=True)
class _Reveal:
    """A reveal in a group, and whether its reader has hung up."""

    key: str
    link_verifier: bytes
    reveal_verifier: bytes
    without_passphrase: bool
    delivery: bytes | None
    hung_up: bool = False


# What became of a reveal: the sealed bytes, a refusal, or None if the link proof does not match.
Outcome = bytes | Refused | None


class Notes:
    """The notes of one msg-db, under keys that `keys` hands out."""

    def __init__(self, database: Database, keys: KeyLeaser, max_sealed_bytes: int = 1 << 16) -> None:
        """
        Args:
            max_sealed_bytes: of one note. It limits how many notes a group reveals, because the length of
                a note is unknown until its reveal.
        """
        self._database = database
        self._keys = keys
        self.files = Files(database)
        self.revealed_files = RevealedFiles(database)
        self.purge = Purge(database)
        self._max_commit_wait = min(MAX_COMMIT_WAIT, 9 * database.timeout)
        self._puts = GroupCommit(self._put_group, WORKERS, database.max_wait)
        max_members = max(1, MAX_REVEALED_BYTES // max_sealed_bytes)
        self._reveals = GroupCommit(self._reveal_group, WORKERS, database.max_wait, max_members)
        self._received = GroupCommit(self._received_group, 1, database.max_wait)

    async def put(self, note: Note) -> Placed:
        """Store a note under a key that no other note has.

        Raises:
            OutOfKeys: there is no key.
            Unavailable: the msg-db cannot be reached. The note may be stored, under a key that no client knows.
        """
        while True:
            key = await self._keys.take()
            try:
                expires_at = await self._puts.submit((key, note), size=len(note.sealed))
            except NotSent:
                self._keys.give_back(key)
                raise
            if expires_at is not None:
                return Placed(key, expires_at)
            # The key is in use, which happens only after a key-db was restored without `kgs fence`.

    async def put_with_files(self, note: Note, upload: bytes) -> Placed:
        """Store a note with the files of a complete upload. A repeated call returns the same note.

        Args:
            upload: the writer's nonce.

        Raises:
            OutOfKeys, Unavailable: as for `put`.
            Incomplete, NoSuchUpload: from `Files.put_note`; no key is used up.
        """
        columns = (
            base64_of(note.link_verifier),
            base64_of(note.reveal_verifier),
            base64_of(note.sealed),
            str(note.has_passphrase),
            str(note.lifetime.total_seconds()),
        )
        while True:
            key = await self._keys.take()
            put = partial(self.files.put_note, upload, key, columns)
            try:
                # Shielded: if a client hung up in the middle, the pool would lose a connection.
                placed = await asyncio.shield(self._retry(put))
            except (Incomplete, NoSuchUpload):
                self._keys.give_back(key)
                raise
            if placed is not None:
                if placed[0] != key:  # a repeated put
                    self._keys.give_back(key)
                return Placed(*placed)

    # Each column is one text, which PostgreSQL reads twice as fast as an array. A repeated put of the same
    # note returns its own row; a key that is not returned belongs to another note.
    PUT = PreparedStatement(
        "put",
        "text, text, text, text, text, text",
        """
        INSERT INTO note (key, link_verifier, reveal_verifier, sealed, has_passphrase, expires_at)
        SELECT key, decode(link_verifier, 'base64'), decode(reveal_verifier, 'base64'),
            decode(sealed, 'base64'), has_passphrase::boolean,
            now() + make_interval(secs => lifetime::float8)
        FROM ROWS FROM (
            string_to_table($1, ','), string_to_table($2, ','), string_to_table($3, ','),
            string_to_table($4, ','), string_to_table($5, ','), string_to_table($6, ',')
        ) AS new(key, link_verifier, reveal_verifier, sealed, has_passphrase, lifetime)
        ON CONFLICT (key) DO UPDATE SET key = note.key
            WHERE note.link_verifier = excluded.link_verifier AND note.sealed = excluded.sealed
        RETURNING key, expires_at
        """,
    )

    async def _put_group(self, group: list[tuple[str, Note]]) -> list[datetime | None]:
        columns = (
            ",".join([key for key, _ in group]),
            ",".join([base64_of(note.link_verifier) for _, note in group]),
            ",".join([base64_of(note.reveal_verifier) for _, note in group]),
            ",".join([base64_of(note.sealed) for _, note in group]),
            ",".join([str(note.has_passphrase) for _, note in group]),
            ",".join([str(note.lifetime.total_seconds()) for _, note in group]),
        )

        async def put(deadline: float) -> dict[str, datetime]:
            async with self._database.connection(deadline) as connection:
                return dict(await connection.query(self.PUT, columns))

        expires_at = await self._retry(put)
        return [expires_at.get(key) for key, _ in group]

    # Always returns one row, so that the response time tells no more than the response.
    PEEK = PreparedStatement(
        "peek",
        "text",
        """
        SELECT EXISTS (
            SELECT FROM note
            WHERE key = $1::char(5) AND expires_at - now() > interval '0'
        )
        """,
    )

    async def peek(self, key: str) -> bool:
        """Whether there is a note under `key`. A client may know no more until it has proved the link.

        Raises:
            Unavailable: the msg-db cannot be reached.
        """
        ((exists,),) = await self._select(self.PEEK, key)
        return bool(exists)

    STATUS = PreparedStatement(
        "status",
        "text, text",
        """
        SELECT how::text, at, mark, NULL::boolean, NULL::integer, NULL::float8, NULL::bigint
        FROM ending
        WHERE key = $1::char(5) AND link_verifier = decode($2, 'base64')
        UNION ALL
        SELECT CASE WHEN expires_at - now() > interval '0' THEN 'unread' ELSE 'expired' END, expires_at, NULL,
            has_passphrase, tries, extract(epoch FROM next_try_at - now()), file_bytes
        FROM note
        WHERE key = $1::char(5) AND link_verifier = decode($2, 'base64')
        """,
    )

    async def status(self, key: str, link_verifier: bytes) -> Unread | Ending | None:
        """What became of a note, or None if the link proof does not match.

        Raises:
            Unavailable: the msg-db cannot be reached.
        """
        rows = await self._select(self.STATUS, key, base64_of(link_verifier))
        if not rows:
            return None
        how, at, mark, has_passphrase, tries, wait, file_bytes = rows[0]
        if how == "unread":
            return Unread(has_passphrase, at, tries, max(0, math.ceil(wait or 0)), file_bytes)
        return Ending(how, at, None if mark is None else bytes(mark))

    async def _select(self, statement: PreparedStatement, *parameters: str) -> list[Row]:
        async def select(deadline: float) -> list[Row]:
            async with self._database.connection(deadline) as connection:
                return await connection.query(statement, parameters)

        # Shielded: if a client hung up in the middle, the pool would lose a connection.
        return await asyncio.shield(self._retry(select))

    async def reveal(
        self,
        key: str,
        link_verifier: bytes,
        reveal_verifier: bytes,
        without_passphrase: bool = False,
        reader: bytes | None = None,
    ) -> bytes | None:
        """Delete a note and return its sealed bytes, to one reader and never to another.

        Args:
            link_verifier, reveal_verifier: SHA-256 of the proofs, 32 bytes each.
            without_passphrase: the client sent no passphrase. If the note has one, this is not a guess.
            reader: the reader's nonce. The same reader gets the same bytes again for a minute, until it
                acknowledges them.

        Returns:
            The sealed bytes, or None if the link proof does not match.

        Raises:
            Refused: the link proof matches, but the note is not revealed.
            Unavailable: the msg-db cannot be reached. The note is still there, unless a COMMIT got no
                answer within MAX_COMMIT_WAIT.
        """
        delivery = None if reader is None else delivery_id(key, reader)
        reveal = _Reveal(key, link_verifier, reveal_verifier, without_passphrase, delivery)
        try:
            outcome = await self._reveals.submit(reveal)
        except asyncio.CancelledError:
            reveal.hung_up = True  # so the note stays, unless its COMMIT was sent already
            raise
        if isinstance(outcome, Refused):
            raise outcome
        return outcome

    async def _reveal_group(self, group: list[_Reveal]) -> list[Outcome]:
        # The outcomes of each attempt whose COMMIT was sent but not confirmed, by the id of its receipt, in order.
        unconfirmed: dict[str, dict[int, Outcome]] = {}

        async def reveal(deadline: float) -> list[Outcome]:
            try:
                outcomes = await self._reveal_once(group, unconfirmed, deadline)
            except psycopg2.Error:
                if unconfirmed:  # only this process knows what they revealed
                    raise Unavailable("the database refuses to say how a reveal ended") from None
                raise
            return [outcomes.get(ordinal) for ordinal in range(1, len(group) + 1)]

        return await self._retry(reveal, lambda: self._max_commit_wait if unconfirmed else 0)

    # Rows are locked in the order of their keys; otherwise two groups could wait for each other. Only a link
    # proof that matches locks a row. An expired note is locked too: an earlier attempt may still commit its
    # reveal. Several members may name the same note: each is a guess, in the order of their ordinals, and the
    # first right one within the budget gets the note. Ten wrong guesses are free; after that, the note allows
    # one at a time, with a delay that doubles from a minute to an hour. The rows arrive before the COMMIT, so
    # that they are in memory if its answer is lost. The only possible plan is a look-up by key, whatever the
    # table contained when the statement was planned: LATERAL with FOR UPDATE is never turned into a join.
    REVEAL = PreparedStatement(
        "reveal",
        "text, text, text, text, text, text, boolean",
        """
        WITH locked AS MATERIALIZED (
            SELECT requested.ordinal, requested.key, requested.delivery,
                CASE
                    WHEN requested.without_passphrase AND note.has_passphrase THEN 'needs passphrase'
                    WHEN requested.delivery IS NULL AND note.files IS NOT NULL THEN 'needs reader'
                END AS needs,
                requested.reveal_verifier = note.reveal_verifier AS fits,
                note.expires_at, note.tries, note.next_try_at
            FROM (
                SELECT key::char(5) COLLATE "C" AS key, decode(link_verifier, 'base64') AS link_verifier,
                    decode(reveal_verifier, 'base64') AS reveal_verifier,
                    without_passphrase::boolean, decode(nullif(delivery, ''), 'base64') AS delivery, ordinal
                FROM ROWS FROM (
                    string_to_table($1, ','), string_to_table($2, ','), string_to_table($3, ','),
                    string_to_table($4, ','), string_to_table($5, ',')
                ) WITH ORDINALITY
                    AS requested(key, link_verifier, reveal_verifier, without_passphrase, delivery, ordinal)
                ORDER BY key, ordinal
            ) AS requested, LATERAL (
                SELECT note.reveal_verifier, note.has_passphrase, note.expires_at, note.tries, note.next_try_at,
                    note.files
                FROM note
                WHERE note.key = requested.key AND note.link_verifier = requested.link_verifier
                FOR UPDATE OF note
            ) AS note
        ), guess AS MATERIALIZED (
            SELECT ordinal, key, delivery, needs, fits,
                count(*) FILTER (WHERE needs IS NULL) OVER (PARTITION BY key ORDER BY ordinal) AS number,
                CASE
                    WHEN tries < 10 THEN 10 - tries
                    WHEN next_try_at <= now() THEN 1
                    ELSE 0
                END AS allowed,
                tries, next_try_at
            FROM locked
            WHERE expires_at > now()
        ), matched AS MATERIALIZED (
            SELECT DISTINCT ON (key) key, ordinal, number, delivery
            FROM guess
            WHERE fits AND needs IS NULL AND number <= allowed
            ORDER BY key, ordinal
        ), deleted AS (
            DELETE FROM note
            WHERE key = ANY (ARRAY(SELECT key FROM matched))
            RETURNING key, link_verifier, sealed, files
        ), ended AS (
            INSERT INTO ending (key, link_verifier, how)
            SELECT key, link_verifier, 'read' FROM deleted
        ), wrong AS MATERIALIZED (
            SELECT key, min(tries) + count(*) AS tries
            FROM guess
            WHERE needs IS NULL AND number <= allowed AND key NOT IN (SELECT key FROM matched)
            GROUP BY key
        ), counted AS (
            UPDATE note
            SET tries = (SELECT tries FROM wrong WHERE wrong.key = note.key),
                next_try_at = (
                    SELECT now() + interval '1 minute' * least(2 ^ least(tries - 10, 6), 60)
                    FROM wrong
                    WHERE wrong.key = note.key AND tries >= 10
                )
            WHERE key = ANY (ARRAY(SELECT key FROM wrong))
            RETURNING key, next_try_at
        ), delivered AS (
            INSERT INTO delivery (id, key, link_verifier, sealed, files)
            SELECT matched.delivery, deleted.key, deleted.link_verifier, deleted.sealed, deleted.files
            FROM deleted
            JOIN matched ON matched.key = deleted.key
            WHERE matched.delivery IS NOT NULL
            UNION ALL
            SELECT decode($6, 'hex'), NULL, NULL, NULL, NULL
            WHERE $7 OR EXISTS (SELECT FROM deleted) OR EXISTS (SELECT FROM wrong)
        )
        SELECT guess.ordinal,
            CASE
                WHEN guess.ordinal = matched.ordinal OR fits AND guess.delivery = matched.delivery THEN 'revealed'
                WHEN needs IS NOT NULL AND matched.key IS NULL THEN needs
                WHEN guess.number > matched.number OR needs IS NOT NULL THEN 'just read'
                WHEN guess.number <= allowed THEN 'wrong'
                ELSE 'locked'
            END,
            CASE WHEN guess.ordinal = matched.ordinal OR fits AND guess.delivery = matched.delivery
                THEN encode(deleted.sealed, 'hex') END,
            greatest(10 - guess.tries - guess.number, 0)::integer,
            extract(epoch FROM coalesce(counted.next_try_at, guess.next_try_at) - now()),
            now()
        FROM guess
        LEFT JOIN matched ON matched.key = guess.key
        LEFT JOIN deleted ON deleted.key = guess.key
        LEFT JOIN counted ON counted.key = guess.key
        """,
    )

    # For members of a group whose note is gone. It is a separate statement, so that it sees what another reveal
    # wrote while REVEAL waited. Fetching a delivery writes its row: so the COMMIT waits for a standby that may
    # not have the reveal yet. The earlier of two clocks counts the 60 seconds.
    PAST = PreparedStatement(
        "past",
        "text, text, text, timestamptz",
        """
        WITH requested AS MATERIALIZED (
            SELECT key::char(5), decode(link_verifier, 'base64') AS link_verifier,
                decode(nullif(delivery, ''), 'base64') AS delivery, ordinal
            FROM ROWS FROM (string_to_table($1, ','), string_to_table($2, ','), string_to_table($3, ','))
                WITH ORDINALITY AS requested(key, link_verifier, delivery, ordinal)
        ), fetched AS (
            UPDATE delivery
            SET sealed = sealed
            WHERE id = ANY (ARRAY(SELECT delivery FROM requested WHERE delivery IS NOT NULL))
                AND sealed IS NOT NULL
                AND least(clock_timestamp(), $4) - at < interval '60 seconds'
            RETURNING id, link_verifier, sealed
        )
        SELECT requested.ordinal, encode(fetched.sealed, 'hex'), past.how, past.at
        FROM requested
        LEFT JOIN fetched
            ON fetched.id = requested.delivery AND fetched.link_verifier = requested.link_verifier
        LEFT JOIN LATERAL (
            SELECT how::text, at
            FROM ending
            WHERE ending.key = requested.key AND ending.link_verifier = requested.link_verifier
            UNION ALL
            SELECT 'expired', expires_at
            FROM note
            WHERE note.key = requested.key
                AND note.link_verifier = requested.link_verifier
                AND note.expires_at - now() <= interval '0'
            LIMIT 1
        ) AS past ON true
        """,
    )

    RECEIPTS = """
    SELECT encode(id, 'hex')
    FROM delivery
    WHERE id = ANY (%s::bytea[])
    """

    # Nothing may cancel it: a timeout would end the wait for a standby, but not undo the deletion.
    COMMIT = "SET LOCAL statement_timeout = 0; COMMIT"

    async def _reveal_once(
        self, group: list[_Reveal], unconfirmed: dict[str, dict[int, Outcome]], deadline: float
    ) -> dict[int, Outcome]:
        """Reveal the notes of a group in one transaction, and return the outcomes by ordinal.

        If the answer to an earlier attempt's COMMIT was lost, this attempt waits for that attempt's row
        locks. Then the earlier receipt is there, or it never will be. This attempt always commits a receipt:
        once its COMMIT is answered, all COMMITs before it are durable, on a standby too. A receipt is a row
        of `delivery` without sealed bytes.
        """
        receipt = secrets.token_hex(16)
        keys = ",".join(["" if reveal.hung_up and not unconfirmed else reveal.key for reveal in group])
        link_verifiers = ",".join([base64_of(reveal.link_verifier) for reveal in group])
        deliveries = ",".join(
            ["" if reveal.delivery is None else base64_of(reveal.delivery) for reveal in group]
        )
        parameters = (
            keys,
            link_verifiers,
            ",".join([base64_of(reveal.reveal_verifier) for reveal in group]),
            ",".join([str(reveal.without_passphrase) for reveal in group]),
            deliveries,
            receipt,
            str(bool(unconfirmed)),
        )
        async with self._database.connection(deadline) as connection:
            rows = await connection.query(self.REVEAL, parameters, begin=True)
            outcomes = {row[0]: _outcome(*row[1:]) for row in rows}
            revealed = [ordinal for ordinal, what, *_ in rows if what == "revealed"]
            if not unconfirmed and any(group[ordinal - 1].hung_up for ordinal in revealed):
                await connection.query("ROLLBACK")
                raise Unavailable("a reader hung up: try again without it")
            written = any(what in ("revealed", "wrong") for _, what, *_ in rows)
            if len(outcomes) < len(group):
                past = (keys, link_verifiers, deliveries, self.purge.expected_now().isoformat())
                for ordinal, sealed, how, at in await connection.query(self.PAST, past):
                    if sealed is not None:
                        outcomes.setdefault(ordinal, unhexlify(sealed))
                        written = True
                    elif how is not None:
                        outcomes.setdefault(ordinal, Ended(Ending(how, at)))
            if not unconfirmed and not written:
                await connection.query("ROLLBACK")
                return outcomes
            attempts = [outcomes]
            if unconfirmed:
                found = await connection.query(self.RECEIPTS, ([f"\\x{id_}" for id_ in unconfirmed],))
                attempts = [unconfirmed[id_] for id_ in unconfirmed if (id_,) in found] + attempts
            unconfirmed[receipt] = outcomes
            await connection.query(self.COMMIT)
            if connection.status != "COMMIT":  # a failed transaction answers ROLLBACK
                raise Unavailable("the reveal was rolled back")
        return _merged(attempts)

    DESTROY = PreparedStatement(
        "destroy",
        "text, text",
        """
        WITH deleted AS (
            DELETE FROM note
            WHERE key = $1::char(5)
                AND link_verifier = decode($2, 'base64')
                AND expires_at - now() > interval '0'
            RETURNING key, link_verifier, files
        ), emptied AS (
            DELETE FROM chunk
            WHERE files = (SELECT files FROM deleted)
        )
        INSERT INTO ending (key, link_verifier, how)
        SELECT key, link_verifier, 'destroyed' FROM deleted
        RETURNING at
        """,
    )

    # Writes the row, so that its COMMIT waits for a standby. The COMMIT that destroyed the note is then there too.
    FIND_DESTROYED = PreparedStatement(
        "find_destroyed",
        "text, text",
        """
        UPDATE ending
        SET how = how
        WHERE key = $1::char(5) AND link_verifier = decode($2, 'base64') AND how = 'destroyed'
        RETURNING at
        """,
    )

    async def destroy(self, key: str, link_verifier: bytes) -> bool:
        """Delete a note unread. Repeating it changes nothing.

        Returns:
            Whether the note is destroyed; False if the link proof does not match.

        Raises:
            Ended: somebody read the note before, or it expired.
            Unavailable: the msg-db cannot be reached; the note may be destroyed.
        """
        if await self._select(self.DESTROY, key, base64_of(link_verifier)):
            return True
        status = await self.status(key, link_verifier)
        if isinstance(status, Ending) and status.how != "destroyed":
            raise Ended(status)
        return status is not None and bool(
            await self._select(self.FIND_DESTROYED, key, base64_of(link_verifier))
        )

    async def received(self, key: str, reader: bytes, mark: bytes | None) -> bool:
        """Forget the sealed bytes of a delivery, and keep the reader's mark with the note's ending.

        Args:
            reader: the nonce that the reader gave to `reveal`.
            mark: 32 bytes, or None.

        Returns:
            Whether there is such a delivery. Repeating it changes nothing.

        Raises:
            Unavailable: the msg-db cannot be reached.
        """
        return await self._received.submit((delivery_id(key, reader), mark))

    # The first mark stays. Subqueries in place of FROM: PostgreSQL then looks up each row by its key, whatever
    # the tables contain, and never joins them.
    RECEIVED = PreparedStatement(
        "received",
        "text, text",
        """
        WITH requested AS MATERIALIZED (
            SELECT decode(id, 'base64') AS id, decode(nullif(mark, ''), 'base64') AS mark
            FROM ROWS FROM (string_to_table($1, ','), string_to_table($2, ',')) AS requested(id, mark)
        ), received AS (
            UPDATE delivery
            SET sealed = NULL
            WHERE id = ANY (ARRAY(SELECT id FROM requested))
            RETURNING id, key, link_verifier
        ), marked AS (
            UPDATE ending
            SET mark = (
                SELECT requested.mark
                FROM received
                JOIN requested ON requested.id = received.id
                WHERE received.key = ending.key
                    AND received.link_verifier = ending.link_verifier
                    AND requested.mark IS NOT NULL
                LIMIT 1
            )
            WHERE mark IS NULL
                AND key = ANY (
                    ARRAY(
                        SELECT received.key
                        FROM received
                        JOIN requested ON requested.id = received.id
                        WHERE requested.mark IS NOT NULL
                    )
                )
        )
        SELECT encode(id, 'hex') FROM received
        """,
    )

    async def _received_group(self, group: list[tuple[bytes, bytes | None]]) -> list[bool]:
        columns = (
            ",".join([base64_of(id_) for id_, _ in group]),
            ",".join(["" if mark is None else base64_of(mark) for _, mark in group]),
        )

        async def receive(deadline: float) -> set[str]:
            async with self._database.connection(deadline) as connection:
                return {id_ for id_, in await connection.query(self.RECEIVED, columns)}

        found = await self._retry(receive)
        return [id_.hex() in found for id_, _ in group]

    async def chunks(self, key: str, reader: bytes, first: int) -> bytes:
        """Some chunks of the files that this reader revealed. Returns and raises what `RevealedFiles.fetch`
        does."""
        return await self.revealed_files.fetch(
            delivery_id(key, reader), first, self.purge.expected_now().isoformat()
        )

    async def _retry(
        self, attempt: Callable[[float], Awaitable[Result]], longer: Callable[[], float] = lambda: 0
    ) -> Result:
        """Call `attempt(deadline)` again while the database is unavailable.

        All attempts together may take the database's `max_wait`, or `longer()` seconds if that is more.
        Each attempt may take three timeouts: for a connection, a statement and a COMMIT. Then its connection
        is closed. A COMMIT that was sent may still take effect; the next attempt finds out.
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


def _outcome(what: str, sealed: str | None, tries_left: int, wait: float | None, now: datetime) -> Outcome:
    """What a row of REVEAL says about a member."""
    match what:
        case "revealed":
            assert sealed is not None
            return unhexlify(sealed)
        case "needs passphrase":
            return PassphraseNeeded()
        case "needs reader":
            return ReaderNeeded()
        case "wrong":
            return WrongPassphrase(tries_left)
        case "locked":
            return TooManyTries(max(1, math.ceil(wait or 0)))
        case _:
            return Ended(Ending("read", now))


def _merged(attempts: list[dict[int, Outcome]]) -> dict[int, Outcome]:
    """The outcomes of several attempts that took effect: a member's sealed bytes, or its first outcome."""
    outcomes: dict[int, Outcome] = {}
    for attempt in attempts:
        for ordinal, outcome in attempt.items():
            if isinstance(outcome, bytes):
                outcomes[ordinal] = outcome
            else:
                outcomes.setdefault(ordinal, outcome)
    return outcomes


def delivery_id(key: str, reader: bytes) -> bytes:
    """SHA-256 of the key and the reader's nonce: the same nonce for another note is another delivery."""
    return hashlib.sha256(key.encode("ascii") + reader).digest()
