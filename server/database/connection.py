"""One connection to a database: Momoko's, with deadlines, prepared statements and fewer turns of the loop.

The SQL, and what a lost connection means for it, are the caller's business.
"""

from __future__ import annotations

import asyncio
import math
import select
from binascii import b2a_base64
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import momoko
import psycopg2
from psycopg2 import errorcodes
from psycopg2.extensions import POLL_OK, POLL_READ, POLL_WRITE, TRANSACTION_STATUS_IDLE
from tornado.ioloop import IOLoop

from server.database.dsn import resolved

Row = tuple[Any, ...]
Parameters = Sequence[Any] | Mapping[str, Any]

CONNECT_TIMEOUT = 5.0  # seconds; libpq's connect_timeout does not apply to asynchronous connections
# Reads of some 16 KiB each, before other connections get their turn: one turn of a busy loop takes long.
MAX_READS_PER_TURN = 16

# Classes of SQLSTATE that blame the statement or its data. Every other class blames the database:
# it is gone, full, starting or broken.
STATEMENT_ERRORS = (
    errorcodes.CLASS_CARDINALITY_VIOLATION,
    errorcodes.CLASS_DATA_EXCEPTION,
    errorcodes.CLASS_INTEGRITY_CONSTRAINT_VIOLATION,
    errorcodes.CLASS_TRANSACTION_ROLLBACK,  # a deadlock, for example
    errorcodes.CLASS_SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION,
)
# Classes that blame the session, which is useless from then on.
SESSION_ERRORS = (
    errorcodes.CLASS_FEATURE_NOT_SUPPORTED,  # the tables of a prepared statement have changed
    errorcodes.CLASS_INVALID_TRANSACTION_STATE,  # the primary has become a standby
    errorcodes.CLASS_INVALID_SQL_STATEMENT_NAME,  # a prepared statement was deallocated
)


class Unavailable(Exception):
    """The database does not answer in time, or at all. The statement may have taken effect."""


class PreparedStatement(NamedTuple):
    """A statement that each connection parses and plans once: PostgreSQL needs longer for that than to run it."""

    name: str
    types: str  # of its parameters, such as "text, boolean"
    sql: str  # with $1, $2 and so on

    def call(self, parameters: Sequence[str]) -> str:
        """The SQL that runs the statement.

        Raises:
            ValueError: a parameter contains a quote or a backslash. Nothing is escaped, because for a
                group of notes that would take longer than all other work of sending it.
        """
        if any("'" in text or "\\" in text for text in parameters):
            raise ValueError("a quote or a backslash in the parameter of a prepared statement")
        quoted = ", ".join([f"'{text}'" for text in parameters])
        return f"EXECUTE {self.name} ({quoted})"


class Connection(momoko.Connection):  # type: ignore[misc]  # Momoko has no types
    """A connection that is closed if a statement does not end before its deadline."""

    connection: Any = None
    status: str | None = None  # of the last statement, in the database's words: "COMMIT"
    connect_error = ""  # why the last attempt to connect failed; Momoko's pool does not hand it on
    deadline = math.inf  # on the loop's clock; the pool closes the connection after it
    _reader_added = False  # the loop calls `_advance` when the socket can be read from
    _writer_added = False  # the loop calls `_advance` when the socket can be written to
    _answer: asyncio.Future[None] | None = None  # to the statement that is running

    def connect(self) -> asyncio.Future[Connection]:
        """Connect within a deadline, and follow libpq from socket to socket.

        Momoko keeps polling the first socket, so a URL with several hosts or addresses never gets
        past a first one that does not answer.
        """
        self.connecting = asyncio.create_task(self._connect())  # the loop keeps no strong reference
        return self.connecting

    async def _connect(self) -> Connection:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                self.connection = psycopg2.connect(await resolved(self.dsn), async_=True)
                while (state := self.connection.poll()) != POLL_OK:
                    await self._wait_for_socket(IOLoop.READ if state == POLL_READ else IOLoop.WRITE)
        except BaseException as error:
            self.close()
            if isinstance(error, TimeoutError):
                error = psycopg2.OperationalError("connecting to the database took too long")
            elif isinstance(error, OSError):
                error = psycopg2.OperationalError(f"connecting to the database: {error.strerror}")
            if isinstance(error, psycopg2.Error):
                self.connect_error = first_line(error)
            raise error  # after any other type, Momoko counts the connection as pending for ever
        self.fileno = self.connection.fileno()
        self.server_version = self.connection.server_version
        self._prepared: set[str] = set()
        self._cursor = self.connection.cursor()  # one for all statements: only one runs at a time
        self._poller = select.poll()
        self._poller.register(self.fileno, select.POLLIN)
        # Until the connection closes: adding and removing the reader for each statement costs two system calls.
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self.fileno, self._advance)
        self._reader_added = True
        return self

    async def _wait_for_socket(self, events: int) -> None:
        fileno = self.connection.fileno()
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def on_ready(*_: object) -> None:
            if not ready.done():
                ready.set_result(None)

        self.ioloop.add_handler(fileno, on_ready, events)
        try:
            await ready
        finally:
            self.ioloop.remove_handler(fileno)

    async def query(
        self, statement: str | PreparedStatement, parameters: Parameters = (), begin: bool = False
    ) -> list[Row]:
        """Run one statement, once, and return its rows.

        Args:
            parameters: for a prepared statement, texts without quotes and backslashes.
            begin: begin a transaction in the same round trip; for a prepared statement only.

        Raises:
            Unavailable: the connection broke or the deadline passed; the statement may have taken effect.
            psycopg2.Error: the database refused the statement (STATEMENT_ERRORS).
        """
        if isinstance(statement, str):
            return await self._run(statement, parameters)
        await self.prepare(statement)
        call = statement.call(cast(Sequence[str], parameters))
        return await self._run(f"BEGIN; {call}" if begin else call)

    async def prepare(self, statement: PreparedStatement) -> None:
        """Have the statement parsed and planned, the first time. Raises the same errors as `query`."""
        if statement.name not in self._prepared:
            await self._run(f"PREPARE {statement.name} ({statement.types}) AS {statement.sql}")
            self._prepared.add(statement.name)

    async def _run(self, sql: str, parameters: Parameters = ()) -> list[Row]:
        try:
            self.connection.notices.clear()
            await self.execute(sql, parameters)
            self.status = self._cursor.statusmessage
            # A COMMIT that did not wait for its standby only warns of that. No statement here causes other notices.
            if self.connection.notices:
                raise Unavailable(f"the database warns: {self.connection.notices[0].splitlines()[0]}")
            # The deadline may have passed after the answer came: then the connection is closed, and this raises.
            return self._cursor.fetchall() if self._cursor.description else []
        except psycopg2.Error as error:
            if blames_statement(error):
                raise
            if (error.pgcode or "")[:2] in SESSION_ERRORS:
                self.close()
            raise Unavailable(first_line(error)) from None

    def execute(self, sql: str, parameters: Parameters = ()) -> asyncio.Future[None]:
        """Start a statement, in fewer turns of the loop than Momoko; `_cursor` holds the result.

        The future may be cancelled. The connection is then not idle, so it does not go back to the pool.
        """
        self._cursor.execute(sql, parameters or None)
        self._answer = answer = self._loop.create_future()
        self._advance()  # Momoko waits until the socket is writable, but mostly all is written already
        return answer

    def _advance(self) -> None:
        """Advance the running statement as far as the socket allows."""
        answer = self._answer
        if answer is None or answer.done():
            return self.close()  # nothing is running: the database hung up or sent an unexpected message
        try:
            for _ in range(MAX_READS_PER_TURN):
                state = self.connection.poll()
                if state != POLL_READ or not self._poller.poll(0):
                    break
        except psycopg2.Error as error:
            self._answer = None
            if self.connection.closed:
                self.close()
            answer.set_exception(error)
            return
        if (state == POLL_WRITE) != self._writer_added:
            self._writer_added = state == POLL_WRITE
            if self._writer_added:
                self._loop.add_writer(self.fileno, self._advance)
            else:
                self._loop.remove_writer(self.fileno)
        if state == POLL_OK:
            answer.set_result(None)
            self._answer = None

    def close(self, reason: str = "the connection was closed") -> None:
        """Close the socket at any time; a running statement raises Unavailable."""
        answer, self._answer = self._answer, None
        if self._reader_added:  # only once: another connection may get the same file descriptor afterwards
            self._reader_added = self._writer_added = False
            self._loop.remove_reader(self.fileno)
            self._loop.remove_writer(self.fileno)
        super().close()
        if answer is not None and not answer.done():
            answer.set_exception(Unavailable(reason))

    @property
    def idle(self) -> bool:
        """Whether the connection is open and outside of any transaction."""
        return not self.closed and self.connection.get_transaction_status() == TRANSACTION_STATUS_IDLE

    @property
    def stale(self) -> bool:
        """Whether the database hung up while the connection was idle: there is something to read."""
        return self.closed or bool(self._poller.poll(0))


def base64_of(data: bytes | memoryview) -> str:
    """Bytes as a parameter of a prepared statement, which has to decode them."""
    return b2a_base64(data, newline=False).decode("ascii")


def blames_statement(error: psycopg2.Error) -> bool:
    """Whether the database is well, and only refuses this statement or its data."""
    return error.pgcode is not None and error.pgcode[:2] in STATEMENT_ERRORS


def first_line(error: Exception) -> str:
    """The first line of the error's text, or the name of its type if it has no text."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
