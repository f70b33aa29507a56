"""COPY, for which psycopg2 needs a blocking connection: a few of them, each used by one thread at a time.

Statements carry bytes as text, which both sides write, parse and copy. COPY carries the bytes themselves, at less
than half the cost (docs/decisions/0029-files-in-sealed-chunks.md).
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import psycopg2

from server.database.connection import CONNECT_TIMEOUT, Unavailable, blames_statement, first_line
from server.database.dsn import resolved, with_session_settings

Result = TypeVar("Result")
Cursor = Any  # psycopg2's

# PostgreSQL's documentation of COPY, "Binary Format": a signature, flags, the length of an extension.
HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"


class CopyPool:
    """Connections that are opened when they are needed, and a thread for each."""

    def __init__(self, url: str, size: int, timeout: float) -> None:
        """
        Args:
            url: libpq URL.
            size: the largest number of connections.
            timeout: seconds that a statement may take. A transaction may take a fifth more.
        """
        self._url, self._max_wait = with_session_settings(url, timeout), 1.2 * timeout
        self._threads = ThreadPoolExecutor(size, "copy")
        self._idle: list[Any] = []
        self._transactions: set[_Transaction] = set()
        self._ending: asyncio.Task[None] | None = None
        self._lost: set[int] = set()  # process ids of backends that may still wait for their client

    async def run(self, work: Callable[[Cursor], Result]) -> Result:
        """Run `work` once, in a thread and a transaction. It is not cancelled with its caller.

        Raises:
            Unavailable: the database does not answer in time, or at all; the work may have taken effect.
            psycopg2.Error: the database refused a statement (STATEMENT_ERRORS).
            Exception: from `work`, which then takes no effect.
        """
        return await asyncio.shield(self._run(work))

    async def _run(self, work: Callable[[Cursor], Result]) -> Result:
        transaction, loop = _Transaction(), asyncio.get_running_loop()
        self._transactions.add(transaction)
        try:
            async with asyncio.timeout(self._max_wait):
                dsn = await resolved(self._url)
                return await loop.run_in_executor(self._threads, self._run_in_thread, transaction, dsn, work)
        except TimeoutError:
            if lost := transaction.abort():
                self._lost.add(lost)
                self._ending = asyncio.create_task(self._end_lost())  # the loop keeps no strong reference
            raise Unavailable("the database did not answer in time") from None
        except OSError as error:
            raise Unavailable(f"connecting to the database: {error.strerror}") from None
        finally:
            transaction.abort()
            self._transactions.remove(transaction)

    async def _end_lost(self) -> None:
        with contextlib.suppress(Unavailable):
            await self._run(self._end_backends)

    def _end_backends(self, cursor: Cursor) -> None:
        """End backends that wait for the rest of a COPY, with its locks, because no timeout of PostgreSQL does.

        The next transaction tries again if this one fails.
        """
        lost = list(self._lost)
        if lost:
            cursor.execute(self.END_BACKENDS, (lost,))
            self._lost.difference_update(lost)

    # By now, a process id may belong to another connection.
    END_BACKENDS = """
        SELECT pg_terminate_backend(pid)
        FROM pg_stat_activity
        WHERE pid = ANY (%s)
            AND usename = current_user
            AND wait_event = 'ClientRead'
            AND query LIKE 'COPY %% FROM STDIN %%'
        """

    def _run_in_thread(self, transaction: _Transaction, dsn: str, work: Callable[[Cursor], Result]) -> Result:
        try:
            connection = self._idle_connection() or psycopg2.connect(
                dsn, connect_timeout=int(CONNECT_TIMEOUT)
            )
            backend = connection.info.backend_pid
            try:
                with transaction.on(connection), connection, connection.cursor() as cursor:
                    self._end_backends(cursor)
                    return work(cursor)
            except psycopg2.Error as error:
                connection.close()
                if not blames_statement(error):
                    self._lost.add(backend)
                raise
            finally:
                if not connection.closed:
                    self._idle.append(connection)
        except psycopg2.Error as error:
            if blames_statement(error):
                raise
            raise Unavailable(first_line(error)) from None

    def _idle_connection(self) -> Any:
        """A connection that the database has not hung up, or None."""
        with contextlib.suppress(IndexError):
            while True:
                connection = self._idle.pop()
                poller = select.poll()
                poller.register(connection.fileno(), select.POLLIN)
                if not poller.poll(0):
                    return connection
                connection.close()
        return None

    def close(self) -> None:
        """Close all connections; transactions that are running fail."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._ending is not None:
            self._ending.cancel()
        for transaction in self._transactions:
            transaction.abort()
        for connection in self._idle:
            connection.close()


class _Transaction:
    """A transaction that runs in a thread, and that the loop can abort."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection: Any = None
        self._aborted = False

    @contextlib.contextmanager
    def on(self, connection: Any) -> Iterator[None]:
        """Run on this connection, within a `with`."""
        with self._lock:
            if self._aborted:
                raise psycopg2.OperationalError("the connection was opened too late")
            self._connection = connection
        try:
            yield
        finally:
            with self._lock:
                self._connection = None

    def abort(self) -> int | None:
        """Break the connection under the thread.

        Returns:
            The process id of its backend; None if the transaction has ended or not begun.
        """
        with self._lock:
            running, self._aborted = self._connection is not None and not self._aborted, True
            # psycopg2's own `close` would wait for the thread. An error means that the connection has broken by itself.
            with contextlib.suppress(psycopg2.Error, OSError):
                if running:
                    with socket.socket(fileno=os.dup(self._connection.fileno())) as duplicate:
                        duplicate.shutdown(socket.SHUT_RDWR)
                    return int(self._connection.info.backend_pid)
        return None


def copy_in(cursor: Cursor, target: str, rows: Iterable[Sequence[int | bytes | memoryview]]) -> None:
    """Insert rows of integers and bytes.

    Args:
        target: a table and its columns, such as "note (key, sealed)".
    """
    parts: list[bytes | memoryview] = [HEADER]
    for row in rows:
        parts.append(struct.pack("!h", len(row)))
        for value in row:
            field = struct.pack("!i", value) if isinstance(value, int) else value
            parts += [struct.pack("!i", len(field)), field]
    data = b"".join([*parts, TRAILER])
    cursor.copy_expert(f"COPY {target} FROM STDIN (FORMAT binary)", io.BytesIO(data), len(data))


def copy_out(cursor: Cursor, query: str, parameters: Sequence[Any]) -> list[memoryview]:
    """The only column of a query's rows: bytes, and never NULL."""
    received, found = io.BytesIO(), []
    copied = cursor.mogrify(query, parameters).decode()
    cursor.copy_expert(f"COPY ({copied}) TO STDOUT (FORMAT binary)", received)
    data, at = received.getbuffer(), len(HEADER)
    while data[at : at + 2] != TRAILER:
        _, length = struct.unpack_from("!hi", data, at)
        at += 6
        found.append(data[at : at + length])
        at += length
    return found
