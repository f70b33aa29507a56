"""A pool of connections to one database: deadlines, bounds and what Momoko needs to be told.

Momoko 2.2.5.1 polls psycopg2's asynchronous connections from Tornado's loop, and keeps a pool of
them. Six things about it are not obvious (docs/decisions/0002-momoko-on-tornado-6.md); this module
is the one place that knows them. SQL, and what a lost connection means for it, are its callers'.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import select
import socket
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from typing import Any

import momoko
import psycopg2
from psycopg2.extensions import POLL_OK, POLL_READ, TRANSACTION_STATUS_IDLE, make_dsn, parse_dsn
from tornado.ioloop import IOLoop

Row = tuple[Any, ...]
Parameters = Sequence[Any] | Mapping[str, Any]

# Callers that may wait for a connection; more are refused at once, so that memory stays bounded.
LONGEST_QUEUE = 1000
CONNECT_TIMEOUT = 5.0  # seconds; libpq's connect_timeout does not apply to asynchronous connections

# Classes of SQLSTATE that blame the statement or its data: cardinality, data, constraint, rollback
# (deadlock), syntax or privilege. Everything else blames the database: gone, full, starting, broken.
REFUSALS = ("21", "22", "23", "40", "42")
READ_ONLY = "25"  # a primary that has become a standby: its connections are of no use


class Unavailable(Exception):
    """The database does not answer in time, or is not there; whether a statement took effect is unknown."""


class Connection(momoko.Connection):  # type: ignore[misc]  # Momoko has no types
    """A connection that knows deadlines and gives up its socket when one has passed."""

    connection: Any = None
    status: str | None = None  # what the last statement did, in the database's words: "COMMIT"
    connect_error = ""  # why the last attempt failed, which Momoko's pool does not hand on

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
                self.connection = psycopg2.connect(await _resolved(self.dsn), async_=True)
                while (state := self.connection.poll()) != POLL_OK:
                    await self._readiness(IOLoop.READ if state == POLL_READ else IOLoop.WRITE)
        except BaseException as error:
            self.close()
            if isinstance(error, TimeoutError):
                error = psycopg2.OperationalError("connecting to the database took too long")
            elif isinstance(error, OSError):
                error = psycopg2.OperationalError(f"connecting to the database: {error.strerror}")
            if isinstance(error, psycopg2.Error):
                self.connect_error = _first_line(error)
            raise error  # of any other kind, Momoko would count the connection as pending for ever
        self.fileno = self.connection.fileno()
        self.server_version = self.connection.server_version
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
        self, sql: str, parameters: Parameters = (), timeout: float | None = None
    ) -> list[Row]:
        """Run one statement, once, and return its rows.

        Args:
            timeout: seconds after which the socket is closed, whatever the statement is doing then.

        Raises:
            Unavailable: the connection broke or the time is over; the statement may have taken effect.
            psycopg2.Error: the database refused the statement (REFUSALS).
        """
        try:
            self.connection.notices.clear()
            async with asyncio.timeout(timeout):
                cursor = await self.execute(sql, parameters)
        except TimeoutError:
            self.abandon()
            raise Unavailable("the database did not answer in time") from None
        except psycopg2.Error as error:
            if error.pgcode is not None and error.pgcode[:2] in REFUSALS:
                raise
            if not self.closed and (error.pgcode or "")[:2] == READ_ONLY:
                self.abandon()
            raise Unavailable(_first_line(error)) from None
        self.status = cursor.statusmessage
        return cursor.fetchall() if cursor.description else []

    def execute(self, sql: str, parameters: Parameters = ()) -> asyncio.Future[Any]:
        """As Momoko's, in fewer rounds of the loop, and the future may be cancelled: whoever does that leaves
        a connection that is not idle, which does not go back into the pool.
        """
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        cursor = self.connection.cursor()
        cursor.execute(sql, parameters or None)
        # Momoko waits until it may write what mostly is written already.
        if (state := self.connection.poll()) == POLL_OK:
            answer.set_result(cursor)
        else:
            events = IOLoop.READ if state == POLL_READ else IOLoop.WRITE
            self.ioloop.add_handler(self.fileno, partial(self._go_on, answer, cursor), events)
        return answer

    def _go_on(self, answer: asyncio.Future[Any], cursor: Any, *_: object) -> None:
        if answer.done():
            return
        try:
            state = self.connection.poll()
        except psycopg2.Error as error:
            self.ioloop.remove_handler(self.fileno)
            answer.set_exception(error)
        else:
            if state == POLL_OK:
                self.ioloop.remove_handler(self.fileno)
                answer.set_result(cursor)
            else:
                self.ioloop.update_handler(self.fileno, IOLoop.READ if state == POLL_READ else IOLoop.WRITE)

    def abandon(self) -> None:
        """Close the socket in the middle of whatever is going on."""
        if not self.closed:
            self.ioloop.remove_handler(self.fileno)
            self.close()

    @property
    def idle(self) -> bool:
        """Whether the connection is open and outside of any transaction."""
        return not self.closed and self.connection.info.transaction_status == TRANSACTION_STATUS_IDLE

    @property
    def stale(self) -> bool:
        """Whether the database has hung up while nobody used the connection: there is something to read."""
        if self.closed:
            return True
        poll = select.poll()
        poll.register(self.fileno, select.POLLIN)
        return bool(poll.poll(0))

    @property
    def notices(self) -> list[str]:
        """What the database has remarked about the last statement, such as warnings."""
        return list(self.connection.notices)


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
            _with_session_settings(url, timeout),
            size=1,
            max_size=size,
            ioloop=IOLoop.current(),
            raise_connect_errors=False,
            reconnect_interval=0,  # else it refuses for a while after every connect, even a good one
        )
        self._pool.connect()  # at once, without waiting: asked before, an empty pool fails an assertion

    async def close(self) -> None:
        """Close all connections; what is under way on them fails."""
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

    async def execute(self, sql: str, parameters: Parameters = ()) -> list[Row]:
        """Run one statement on its own, once, within `patience` with the wait for a connection.

        Raises:
            Unavailable: no connection or no answer in time; the statement may have taken effect.
            psycopg2.Error: the database refused the statement.
        """
        deadline = time.monotonic() + self.patience
        async with self.connection() as connection:
            return await connection.query(sql, parameters, deadline - time.monotonic())

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Take a connection out of the pool; it goes back only if it is idle, else it is closed.

        Raises:
            Unavailable: there was none within the timeout, or too many wait already.
        """
        connection = await self._take()
        while connection.stale:
            self._put_back(connection)
            connection = await self._take()
        try:
            yield connection
        finally:
            self._put_back(connection)

    def _put_back(self, connection: Connection) -> None:
        if self._pool.closed:
            return
        if connection.stale or not connection.idle:
            connection.abandon()
        self._pool.putconn(connection)

    async def _take(self) -> Connection:
        if self._waiting >= LONGEST_QUEUE:
            raise Unavailable("too many wait for the database")
        # Not `Pool.execute`, which runs a statement a second time after a failure; and no ping.
        taken = self._pool.getconn(ping=False)
        self._waiting += 1
        try:
            # Waiting with a deadline of our own (Momoko has none) and without cancelling its future:
            # the pool would then give the connection to nobody, and never get it back.
            if not taken.done():
                await asyncio.wait([taken], timeout=self.timeout)
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
            raise Unavailable(next(filter(None, reasons), _first_line(error))) from None
        return connection

    def _return_unused(self, taken: asyncio.Future[Connection]) -> None:
        if not taken.cancelled() and taken.exception() is None and not self._pool.closed:
            self._pool.putconn(taken.result())


async def _resolved(dsn: str) -> str:
    """The DSN with its hosts' addresses: libpq would ask the name service itself, and stop the loop for it.

    Raises:
        OSError: a name is not known, or the name service does not answer.
    """
    asked = parse_dsn(dsn)
    hosts = asked.get("host", "").split(",")
    if "hostaddr" in asked or not any(map(_is_name, hosts)):
        return dsn
    ports = asked.get("port", "5432").split(",")
    found = []
    for host, port in zip(hosts, ports if len(ports) > 1 else ports * len(hosts), strict=True):
        addresses = [""]
        if _is_name(host):
            loop = asyncio.get_running_loop()
            answers = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            addresses = [str(address[0]) for *_, address in answers]
        found += [(host, address, port) for address in addresses]
    host_list, address_list, port_list = (",".join(column) for column in zip(*found))
    return make_dsn(dsn, host=host_list, hostaddr=address_list, port=port_list)


def _is_name(host: str) -> bool:
    """Whether a host of a DSN is neither an address nor the folder of a socket."""
    if not host or host.startswith(("/", "@")):
        return False
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return True
    return False


def _with_session_settings(url: str, timeout: float) -> str:
    """The URL with what ends a dead session: on our side of the network and on the database's."""
    options = [
        parse_dsn(url).get("options", ""),
        f"-c statement_timeout={timeout * 1000:.0f}",
        f"-c idle_in_transaction_session_timeout={timeout * 1000:.0f}",
        "-c client_connection_check_interval=1000",
        # No timeout above ends a backend that is stuck in sending rows to somebody who is gone.
        "-c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3",
        "-c tcp_user_timeout=10000",
    ]
    return make_dsn(
        url,
        application_name="note-whisperer",
        keepalives_idle=5,
        keepalives_interval=2,
        keepalives_count=3,
        tcp_user_timeout=10_000,
        options=" ".join(filter(None, options)),
    )


def _first_line(error: psycopg2.Error) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
