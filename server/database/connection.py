"""One connection to a database: Momoko's, with deadlines, prepared statements and fewer rounds of the loop.

SQL, and what a lost connection means for it, are its callers' business.
"""

from __future__ import annotations

import asyncio
import math
import select
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import momoko
import psycopg2
from psycopg2.extensions import POLL_OK, POLL_READ, POLL_WRITE, TRANSACTION_STATUS_IDLE
from tornado.ioloop import IOLoop

from server.database.dsn import resolved

Row = tuple[Any, ...]
Parameters = Sequence[Any] | Mapping[str, Any]

CONNECT_TIMEOUT = 5.0  # seconds; libpq's connect_timeout does not apply to asynchronous connections
READS = 16  # of some 16 KiB in a row, before others have their turn: a round of a busy loop is long

# Classes of SQLSTATE that blame the statement or its data: cardinality, data, constraint, rollback
# (deadlock), syntax or privilege. Everything else blames the database: gone, full, starting, broken.
REFUSALS = ("21", "22", "23", "40", "42")
# These blame the session, which is of no use any more: a plan whose tables have changed, a primary that has
# become a standby, a prepared statement that somebody made it forget.
LOST = ("0A", "25", "26")


class Unavailable(Exception):
    """The database does not answer in time, or is not there; whether a statement took effect is unknown."""


class Prepared(NamedTuple):
    """A statement that each connection has parsed and planned once, which takes PostgreSQL longer than to run it."""

    name: str
    types: str  # of its parameters, as in "text, boolean"
    sql: str  # with $1, $2 and so on

    def call(self, parameters: Sequence[str]) -> str:
        """The SQL that runs it.

        Raises:
            ValueError: a parameter has something to escape, which we leave out: for a group of notes it takes
                longer than all else that is done to send them.
        """
        if any("'" in text or "\\" in text for text in parameters):
            raise ValueError("a quote or a backslash in the parameter of a prepared statement")
        quoted = ", ".join([f"'{text}'" for text in parameters])
        return f"EXECUTE {self.name} ({quoted})"


class Connection(momoko.Connection):  # type: ignore[misc]  # Momoko has no types
    """A connection that knows deadlines and gives up its socket when one has passed."""

    connection: Any = None
    status: str | None = None  # what the last statement did, in the database's words: "COMMIT"
    connect_error = ""  # why the last attempt failed, which Momoko's pool does not hand on
    deadline = math.inf  # on the loop's clock: when whoever has taken it gives it up
    _watched = False  # the loop calls `_go_on` when there is something to read
    _writing = False  # and when there is room to write
    _answer: asyncio.Future[None] | None = None  # to the statement that is under way

    def connect(self) -> asyncio.Future[Connection]:
        """As Momoko's, but within a deadline, and following libpq from socket to socket.

        Momoko keeps polling the first socket: with several hosts or addresses it never gets further
        than a first one that does not answer.
        """
        self.connecting = asyncio.create_task(self._connect())  # the loop keeps no strong reference
        return self.connecting

    async def _connect(self) -> Connection:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                self.connection = psycopg2.connect(await resolved(self.dsn), async_=True)
                while (state := self.connection.poll()) != POLL_OK:
                    await self._readiness(IOLoop.READ if state == POLL_READ else IOLoop.WRITE)
        except BaseException as error:
            self.close()
            if isinstance(error, TimeoutError):
                error = psycopg2.OperationalError("connecting to the database took too long")
            elif isinstance(error, OSError):
                error = psycopg2.OperationalError(f"connecting to the database: {error.strerror}")
            if isinstance(error, psycopg2.Error):
                self.connect_error = first_line(error)
            raise error  # of any other kind, Momoko would count the connection as pending for ever
        self.fileno = self.connection.fileno()
        self.server_version = self.connection.server_version
        self._prepared: set[str] = set()
        self._cursor = self.connection.cursor()  # one for all statements, since only one is ever under way
        self._poll = select.poll()
        self._poll.register(self.fileno, select.POLLIN)
        # For as long as it lives: to begin and to end it for each statement would be two system calls more.
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self.fileno, self._go_on)
        self._watched = True
        return self

    async def _readiness(self, events: int) -> None:
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
        self, statement: str | Prepared, parameters: Parameters = (), begin: bool = False
    ) -> list[Row]:
        """Run one statement, once, and return its rows.

        Args:
            parameters: of a prepared statement, texts without quotes and backslashes.
            begin: begin a transaction with a prepared statement, on the same way to the database.

        Raises:
            Unavailable: the connection broke or its deadline is over; the statement may have taken effect.
            psycopg2.Error: the database refused the statement (REFUSALS).
        """
        if isinstance(statement, str):
            return await self._run(statement, parameters)
        await self.prepare(statement)
        call = statement.call(cast(Sequence[str], parameters))
        return await self._run(f"BEGIN; {call}" if begin else call)

    async def prepare(self, statement: Prepared) -> None:
        """Have the statement parsed and planned, the first time. Raises as `query` does."""
        if statement.name not in self._prepared:
            await self._run(f"PREPARE {statement.name} ({statement.types}) AS {statement.sql}")
            self._prepared.add(statement.name)

    async def _run(self, sql: str, parameters: Parameters = ()) -> list[Row]:
        try:
            self.connection.notices.clear()
            await self.execute(sql, parameters)
            self.status = self._cursor.statusmessage
            # The deadline may have passed after the answer came: then the connection is closed, and this raises.
            return self._cursor.fetchall() if self._cursor.description else []
        except psycopg2.Error as error:
            if error.pgcode is not None and error.pgcode[:2] in REFUSALS:
                raise
            if (error.pgcode or "")[:2] in LOST:
                self.close()
            raise Unavailable(first_line(error)) from None

    def execute(self, sql: str, parameters: Parameters = ()) -> asyncio.Future[None]:
        """As Momoko's, in fewer rounds of the loop; what comes of it is in `_cursor`. The future may be cancelled:
        whoever does that leaves a connection that is not idle, which does not go back into the pool.
        """
        self._cursor.execute(sql, parameters or None)
        self._answer = answer = self._loop.create_future()
        self._go_on()  # Momoko waits until it may write what mostly is written already
        return answer

    def _go_on(self) -> None:
        """Go on with the statement that is under way, now that the socket can be read from or written to."""
        answer = self._answer
        if answer is None or answer.done():
            return self.close()  # the database hangs up, or says what nobody has asked for
        try:
            for _ in range(READS):
                state = self.connection.poll()
                if state != POLL_READ or not self._poll.poll(0):
                    break
        except psycopg2.Error as error:
            self._answer = None
            if self.connection.closed:
                self.close()
            answer.set_exception(error)
            return
        if (state == POLL_WRITE) != self._writing:
            self._writing = state == POLL_WRITE
            if self._writing:
                self._loop.add_writer(self.fileno, self._go_on)
            else:
                self._loop.remove_writer(self.fileno)
        if state == POLL_OK:
            answer.set_result(None)
            self._answer = None

    def close(self, reason: str = "the connection was closed") -> None:
        """Close the socket, in the middle of whatever is going on: a statement under way is Unavailable."""
        answer, self._answer = self._answer, None
        if self._watched:  # once: its number may be somebody else's afterwards
            self._watched = self._writing = False
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
        """Whether the database has hung up while nobody used the connection: there is something to read."""
        return self.closed or bool(self._poll.poll(0))

    @property
    def notices(self) -> list[str]:
        """What the database has remarked about the last statement, such as warnings."""
        return list(self.connection.notices)


def first_line(error: psycopg2.Error) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
