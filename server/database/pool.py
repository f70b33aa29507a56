"""A pool of connections to one database, with deadlines, bounds and workarounds for Momoko.

Momoko 2.2.5.1 polls psycopg2's asynchronous connections from Tornado's loop, and keeps a pool of
them. Six things about it are not obvious (docs/decisions/0002-momoko-on-tornado-6.md); only this
package knows them. The SQL, and what a lost connection means for it, are the caller's business.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import TypeVar

import momoko
import psycopg2
from tornado.ioloop import IOLoop

from server.database.connection import (
    Connection,
    Parameters,
    PreparedStatement,
    Row,
    Unavailable,
    first_line,
)
from server.database.copies import CopyPool, Cursor
from server.database.dsn import with_session_settings

Result = TypeVar("Result")

# Callers that may wait for a connection. Further callers are refused at once, so that memory stays bounded.
MAX_WAITING_CALLERS = 1000
DEADLINE_CHECKS_PER_TIMEOUT = 20
COPY_CONNECTIONS = 2  # beside those of the pool, from the first COPY on


class Pool(momoko.Pool):  # type: ignore[misc]  # Momoko has no types
    """Momoko's pool, with this package's connections."""

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
            size: the largest number of connections. The first is opened at once, within a running loop.
            timeout: seconds that a statement may take, and that a caller waits for a connection.
        """
        self.timeout = timeout
        # Seconds until a single statement ends, whatever happens. The database itself ends a statement
        # after `timeout` and keeps the connection; if it does not, the connection is closed a little later.
        self.max_wait = 1.2 * timeout
        self.size = size
        self._waiting_callers = 0
        self._pool = Pool(
            with_session_settings(url, timeout),
            size=1,
            max_size=size,
            ioloop=IOLoop.current(),
            raise_connect_errors=False,
            reconnect_interval=0,  # else it refuses for a while after every connect, even a successful one
        )
        self._copies = CopyPool(url, COPY_CONNECTIONS, timeout)
        self._pool.connect()  # at once, without waiting: `getconn` on an empty pool fails an assertion
        self._loop = asyncio.get_running_loop()
        self._close_overdue_connections()

    def _close_overdue_connections(self) -> None:
        """Check all deadlines with one timer; timers for each statement would cost several times as much."""
        now = self._loop.time()
        for connection in list(self._pool.conns.busy):
            if connection.deadline < now:
                connection.close("the database did not answer in time")
        self._deadline_timer = self._loop.call_later(
            self.timeout / DEADLINE_CHECKS_PER_TIMEOUT, self._close_overdue_connections
        )

    async def close(self) -> None:
        """Close all connections; statements that are running fail."""
        self._deadline_timer.cancel()
        self._copies.close()
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

    ANSWERS = "SELECT 1"

    async def answers(self) -> bool:
        """Whether the database runs a statement now."""
        try:
            return await self.execute(self.ANSWERS) == [(1,)]
        except (Unavailable, psycopg2.Error):
            return False

    BYTES_ON_DISK = "SELECT pg_database_size(current_database())"

    async def bytes_on_disk(self) -> int:
        """The size of the database's files. Raises the same errors as `execute`."""
        ((size,),) = await self.execute(self.BYTES_ON_DISK)
        return int(size)

    async def execute(self, statement: str | PreparedStatement, parameters: Parameters = ()) -> list[Row]:
        """Run one statement by itself, once, within `max_wait`, which includes the wait for a connection.

        Raises:
            Unavailable: no connection or no answer in time; the statement may have taken effect.
            psycopg2.Error: the database refused the statement.
        """
        async with self.connection(self._loop.time() + self.max_wait) as connection:
            return await connection.query(statement, parameters)

    async def execute_shielded(self, statement: PreparedStatement, *parameters: str) -> list[Row]:
        """The same, but not cancelled with its caller, which would cost the pool a connection."""
        return await asyncio.shield(self.execute(statement, parameters))

    async def copy(self, work: Callable[[Cursor], Result]) -> Result:
        """Run `work`, which copies in or out, in a thread and a transaction of its own. As `CopyPool.run`."""
        return await self._copies.run(work)

    def connection(self, deadline: float = math.inf) -> _AcquiredConnection:
        """Take a connection out of the pool with `async with`. At the end it goes back if it is idle,
        else it is closed.

        Args:
            deadline: on the loop's clock; a connection that is still in use then is closed.

        Raises:
            Unavailable: no connection became free within the timeout, or too many callers wait already.
        """
        return _AcquiredConnection(self, deadline)

    async def acquire(self, deadline: float) -> Connection:
        connection = await self._next_connection(deadline)
        while connection.stale:
            connection.close()
            self.release(connection)
            connection = await self._next_connection(deadline)
        connection.deadline = deadline
        return connection

    def release(self, connection: Connection) -> None:
        if self._pool.closed:
            return
        if not connection.idle:
            connection.close()
        connection.deadline = math.inf
        self._pool.putconn(connection)

    async def _next_connection(self, deadline: float) -> Connection:
        if self._waiting_callers >= MAX_WAITING_CALLERS:
            raise Unavailable("too many callers wait for the database")
        # Not `Pool.execute`, which runs a statement a second time after a failure; and no ping.
        acquired = self._pool.getconn(ping=False)
        self._waiting_callers += 1
        try:
            # Wait with a deadline, which Momoko does not have, and do not cancel Momoko's future: the pool
            # would lose the connection for ever.
            if not acquired.done():
                await asyncio.wait([acquired], timeout=min(self.timeout, deadline - self._loop.time()))
        except asyncio.CancelledError:
            acquired.add_done_callback(self._release_unused)
            raise
        finally:
            self._waiting_callers -= 1
        if not acquired.done():
            acquired.add_done_callback(self._release_unused)
            raise Unavailable("no connection to the database became free in time")
        try:
            connection: Connection = acquired.result()
        except psycopg2.Error as error:
            reasons = [connection.connect_error for connection in self._pool.conns.dead]
            raise Unavailable(next(filter(None, reasons), first_line(error))) from None
        return connection

    def _release_unused(self, acquired: asyncio.Future[Connection]) -> None:
        if not acquired.cancelled() and acquired.exception() is None and not self._pool.closed:
            self._pool.putconn(acquired.result())


class _AcquiredConnection:
    """A connection for an `async with`. As a generator, it would take a tenth of the time of a group."""

    def __init__(self, database: Database, deadline: float) -> None:
        self._database, self._deadline = database, deadline

    async def __aenter__(self) -> Connection:
        self._connection = await self._database.acquire(self._deadline)
        return self._connection

    async def __aexit__(self, *_: object) -> None:
        self._database.release(self._connection)
