"""A pool of connections to one database: deadlines, bounds and what Momoko needs to be told.

Momoko 2.2.5.1 polls psycopg2's asynchronous connections from Tornado's loop, and keeps a pool of
them. Six things about it are not obvious (docs/decisions/0002-momoko-on-tornado-6.md); this module
is the one place that knows them. SQL, and what a lost connection means for it, are its callers'.
"""

from __future__ import annotations

import asyncio
import ipaddress
import math
import select
import socket
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import momoko
import psycopg2
from psycopg2.extensions import POLL_OK, POLL_READ, POLL_WRITE, TRANSACTION_STATUS_IDLE, make_dsn, parse_dsn
from tornado.ioloop import IOLoop

Row = tuple[Any, ...]
Parameters = Sequence[Any] | Mapping[str, Any]

# Callers that may wait for a connection; more are refused at once, so that memory stays bounded.
LONGEST_QUEUE = 1000
CONNECT_TIMEOUT = 5.0  # seconds; libpq's connect_timeout does not apply to asynchronous connections
READS = 16  # of some 16 KiB in a row, before others have their turn: a round of a busy loop is long
SWEEPS = 20  # how often within a timeout it is looked whose deadline has passed

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
        except psycopg2.Error as error:
            if error.pgcode is not None and error.pgcode[:2] in REFUSALS:
                raise
            if (error.pgcode or "")[:2] in LOST:
                self.close()
            raise Unavailable(_first_line(error)) from None
        self.status = self._cursor.statusmessage
        return self._cursor.fetchall() if self._cursor.description else []

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
        self._sweeper = self._loop.call_later(self.timeout / SWEEPS, self._sweep)

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
            raise Unavailable(next(filter(None, reasons), _first_line(error))) from None
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


def with_session_settings(url: str, timeout: float) -> str:
    """The URL with what ends a dead session: on our side of the network and on the database's."""
    options = [
        parse_dsn(url).get("options", ""),
        f"-c statement_timeout={timeout * 1000:.0f}",
        f"-c idle_in_transaction_session_timeout={timeout * 1000:.0f}",
        "-c client_connection_check_interval=1000",
        # A prepared statement keeps its plan, and one made for an empty table would read a full one from end to end.
        "-c plan_cache_mode=force_generic_plan -c enable_seqscan=off",
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
