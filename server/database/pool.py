"""A pool of connections to one database: deadlines, bounds and what Momoko needs to be told.

Momoko 2.2.5.1 polls psycopg2's asynchronous connections from Tornado's loop, and keeps a pool of
them. Six things about it are not obvious (docs/decisions/0002-momoko-on-tornado-6.md); this module
is the one place that knows them. SQL, and what a lost connection means for it, are its callers'.
"""

from __future__ import annotations

import asyncio
import math

import momoko
import psycopg2
from tornado.ioloop import IOLoop

from server.database.connection import Connection, Parameters, Prepared, Row, Unavailable, first_line
from server.database.dsn import with_session_settings

# Callers that may wait for a connection; more are refused at once, so that memory stays bounded.
LONGEST_QUEUE = 1000
DEADLINE_CHECKS = 20  # per timeout


class Pool(momoko.Pool):  # type: ignore[misc]  # Momoko has no types
    """Momoko's pool, of our connections."""

    def _new_connection(self) -> asyncio.Future[Connection]:
        connection = Connection(self.dsn, ioloop=self.ioloop)
        future: asyncio.Future[Connection] = self._connect_one(connection)
        return future


class Database:
    """One database, as a pool of connections that are opened when they are needed."""

    def __init__(self, url: str, size: int, timeout: float) -> None:
        """
        Args:
            url: libpq URL.
            size: connections at most; the first is opened at once, within a running loop.
            timeout: seconds for the wait for a connection, and by default for a statement.
        """
        self.timeout = timeout
        # The database ends a statement after `timeout` itself, and the connection lives; a little
        # later it is given up for dead.
        self.patience = 1.2 * timeout
        self.size = size
        self._waiting = 0
        self._pool = Pool(
            with_session_settings(url, timeout),
            size=1,
            max_size=size,
            ioloop=IOLoop.current(),
            raise_connect_errors=False,
            reconnect_interval=0,  # else it refuses for a while after every connect, even a good one
        )
        self._pool.connect()  # at once, without waiting: asked before, an empty pool fails an assertion
        self._loop = asyncio.get_running_loop()
        self._sweep()

    def _sweep(self) -> None:
        """One timer for the deadlines of all connections, where each statement would need several."""
        now = self._loop.time()
        for connection in list(self._pool.conns.busy):
            if connection.deadline < now:
                connection.close("the database did not answer in time")
        self._sweeper = self._loop.call_later(self.timeout / DEADLINE_CHECKS, self._sweep)

    async def close(self) -> None:
        """Close all connections; what is under way on them fails."""
        self._sweeper.cancel()
        connecting = [connection.connecting for connection in self._pool.conns.pending]
        self._pool.close()
        for task in connecting:
            task.cancel()
        await asyncio.gather(*connecting, return_exceptions=True)

    @property
    def open(self) -> int:
        """Connections in the pool, used or not."""
        return len(self._pool.conns.busy) + len(self._pool.conns.free)

    @property
    def in_use(self) -> int:
        """Connections that are taken out of the pool."""
        return len(self._pool.conns.busy)

    async def execute(self, statement: str | Prepared, parameters: Parameters = ()) -> list[Row]:
        """Run one statement on its own, once, within `patience` with the wait for a connection.

        Raises:
            Unavailable: no connection or no answer in time; the statement may have taken effect.
            psycopg2.Error: the database refused the statement.
        """
        async with self.connection(self._loop.time() + self.patience) as connection:
            return await connection.query(statement, parameters)

    def connection(self, deadline: float = math.inf) -> _Taken:
        """Take a connection out of the pool; it goes back only if it is idle, else it is closed.

        Args:
            deadline: on the loop's clock, when a statement that is under way is given up with its connection.

        Raises:
            Unavailable: there was none within the timeout, or too many wait already.
        """
        return _Taken(self, deadline)

    async def take(self, deadline: float) -> Connection:
        connection = await self._take(deadline)
        while connection.stale:
            connection.close()
            self.put_back(connection)
            connection = await self._take(deadline)
        connection.deadline = deadline
        return connection

    def put_back(self, connection: Connection) -> None:
        if self._pool.closed:
            return
        if not connection.idle:
            connection.close()
        connection.deadline = math.inf
        self._pool.putconn(connection)

    async def _take(self, deadline: float) -> Connection:
        if self._waiting >= LONGEST_QUEUE:
            raise Unavailable("too many wait for the database")
        # Not `Pool.execute`, which runs a statement a second time after a failure; and no ping.
        taken = self._pool.getconn(ping=False)
        self._waiting += 1
        try:
            # Waiting with a deadline of our own (Momoko has none) and without cancelling its future:
            # the pool would then give the connection to nobody, and never get it back.
            if not taken.done():
                await asyncio.wait([taken], timeout=min(self.timeout, deadline - self._loop.time()))
        except asyncio.CancelledError:
            taken.add_done_callback(self._return_unused)
            raise
        finally:
            self._waiting -= 1
        if not taken.done():
            taken.add_done_callback(self._return_unused)
            raise Unavailable("no connection to the database became free in time")
        try:
            connection: Connection = taken.result()
        except psycopg2.Error as error:
            reasons = [connection.connect_error for connection in self._pool.conns.dead]
            raise Unavailable(next(filter(None, reasons), first_line(error))) from None
        return connection

    def _return_unused(self, taken: asyncio.Future[Connection]) -> None:
        if not taken.cancelled() and taken.exception() is None and not self._pool.closed:
            self._pool.putconn(taken.result())


class _Taken:
    """A connection for the time of an `async with`; as a generator it would cost a group a tenth of its time."""

    def __init__(self, database: Database, deadline: float) -> None:
        self._database, self._deadline = database, deadline

    async def __aenter__(self) -> Connection:
        self._connection = await self._database.take(self._deadline)
        return self._connection

    async def __aexit__(self, *_: object) -> None:
        self._database.put_back(self._connection)
