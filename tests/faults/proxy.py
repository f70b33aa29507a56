"""A TCP proxy that follows PostgreSQL's conversation and breaks it at a chosen point.

It runs in a thread with a loop of its own, so that tests of any kind may use it. What a broken
conversation must not do to a note is the tests' business.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import enum
import os
import threading
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

from psycopg2.extensions import parse_dsn

# A statement is recognised by words of its own; the first that fits wins.
STATEMENTS = {
    "prepare": b"PREPARE",
    "begin": b"EXECUTE begin_upload",
    "chunks": b"FROM STDIN",
    "put with files": b"EXECUTE put_note_with_files",
    "fetch": b"TO STDOUT",
    "received files": b"EXECUTE received_chunks",
    "put": b"EXECUTE put",
    "reveal": b"EXECUTE reveal",
    "past": b"EXECUTE past",
    "receipts": b"encode(id, 'hex')",
    "commit": b"COMMIT",
    "rollback": b"ROLLBACK",
    "peek": b"EXECUTE peek",
    "lease": b"FROM lease_blocks",
}
CONNECT = "connect"


class Moment(enum.Enum):
    """Where in a statement's life its conversation breaks."""

    UNSENT = "the statement reached the proxy, but not the database"
    HALF_SENT = "half of the statement reached the database"
    SENT = "the whole statement reached the database, which may have begun it"
    ANSWERED = "the database answered, but nothing reached the server"
    HALF_ANSWERED = "half of the answer reached the server"


class Break(enum.Enum):
    """How it breaks."""

    CUT = "both sides are hung up on"
    SILENCE = "nothing passes any more, and nobody is told"
    LATE = "the client is hung up on; the database is not told, and gets what was held later"


@dataclasses.dataclass
class Trap:
    """Breaks one conversation at one point, once."""

    statement: str
    moment: Moment
    how: Break
    containing: bytes = b""  # of the connection's last statement that names a key
    after: Trap | None = None  # which has to spring first
    sprung: threading.Event = dataclasses.field(default_factory=threading.Event)

    @property
    def name(self) -> str:
        return f"{self.statement}-{self.moment.name.lower()}-{self.how.name.lower()}"


@dataclasses.dataclass(eq=False)
class _Conversation:
    """One client's connection and the one to the database behind it."""

    client: asyncio.StreamWriter
    database: asyncio.StreamWriter
    answers: asyncio.StreamReader
    statement: str = CONNECT
    named: bytes = b""  # the last statement that may name a key
    held: bytes | None = None  # of an answer that is waited for in full
    trap: Trap | None = None  # what will spring when the answer is there
    silent: bool = False


class Proxy:
    """Listens on a port of its own and speaks to the database at `upstream`.

    Args:
        upstream: (host, port), or the path of a socket; may be changed at any time, which moves new
            connections to another database, as a name that changes its address does.
        late: seconds that Break.LATE holds back.
    """

    def __init__(self, upstream: tuple[str, int] | str, late: float = 0.3) -> None:
        self.upstream = upstream
        self.late = late
        self.sprung: Counter[str] = Counter()
        self.traps: list[Trap] = []
        self.choose: Callable[[str], Trap | None] | None = None  # asked at each statement: random faults
        self.silent = False  # everything, new connections too
        self.refusing = False
        self._conversations: set[_Conversation] = set()
        self._tasks: set[asyncio.Task[None]] = set()  # the loop itself keeps no strong reference
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy")

    def __enter__(self) -> Proxy:
        self._thread.start()
        self._server = self._run(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def url(self, database: str) -> str:
        """libpq URL of a database behind it; without TLS, which it could not follow."""
        return (
            f"postgresql://note_whisperer@127.0.0.1:{self.port}/{database}?sslmode=disable&gssencmode=disable"
        )

    def arm(self, trap: Trap) -> Trap:
        """Wait for the point of `trap` to come."""
        self.traps.append(trap)
        return trap

    def cut(self) -> None:
        """Hang up on everybody, now."""
        self._run(self._cut())

    def silence(self) -> None:
        """Let nothing pass any more, on new connections neither."""
        self.silent = True

    def heal(self) -> None:
        """Let new connections pass; those that were silenced are hung up on."""
        self.silent = self.refusing = False
        self._run(self._cut(silent_only=True))

    @property
    def connections(self) -> int:
        return len(self._conversations)

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _stop(self) -> None:
        self._server.close()
        await self._cut()
        for task in self._tasks:
            task.cancel()
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(others)

    async def _cut(self, silent_only: bool = False) -> None:
        for conversation in list(self._conversations):
            if conversation.silent or not silent_only:
                self._end(conversation)

    # The conversation

    async def _serve(self, requests: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        if self.refusing:
            return client.transport.abort()
        try:
            if isinstance(self.upstream, str):
                answers, database = await asyncio.open_unix_connection(self.upstream, limit=1 << 24)
            else:
                answers, database = await asyncio.open_connection(*self.upstream, limit=1 << 24)
        except OSError:
            return client.transport.abort()
        conversation = _Conversation(client, database, answers)
        self._conversations.add(conversation)
        self._spawn(self._guard(conversation, self._backward(conversation)))
        await self._guard(conversation, self._forward(conversation, requests))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guard(self, conversation: _Conversation, pump: Coroutine[Any, Any, None]) -> None:
        """Run one direction; its end is the end of the conversation, unless that has gone silent."""
        with contextlib.suppress(OSError, EOFError):
            await pump
        if not conversation.silent:
            self._end(conversation)

    def _end(self, conversation: _Conversation) -> None:
        conversation.client.transport.abort()
        conversation.database.transport.abort()
        self._conversations.discard(conversation)

    async def _forward(self, conversation: _Conversation, requests: asyncio.StreamReader) -> None:
        length = await requests.readexactly(4)
        startup = length + await requests.readexactly(int.from_bytes(length, "big") - 4)
        await self._pass_on(conversation, CONNECT, startup)
        while True:
            head = await requests.readexactly(5)
            body = await requests.readexactly(int.from_bytes(head[1:], "big") - 4)
            name = _name(body) if head[:1] == b"Q" else conversation.statement
            if name in ("put", "reveal", "peek"):
                conversation.named = body
            await self._pass_on(conversation, name, head + body)

    async def _pass_on(self, conversation: _Conversation, statement: str, data: bytes) -> None:
        if conversation.silent or self.silent:
            conversation.silent = True
            return
        conversation.statement = statement
        trap = self._trap_for(conversation)
        if trap is None:
            return await _write(conversation.database, data)
        sent = {Moment.UNSENT: 0, Moment.HALF_SENT: len(data) // 2}.get(trap.moment, len(data))
        if trap.moment in (Moment.ANSWERED, Moment.HALF_ANSWERED):
            conversation.trap, conversation.held = trap, b""
        elif trap.moment is Moment.SENT:
            conversation.silent = True  # not even an answer that is there at once comes through
        await _write(conversation.database, data[:sent])
        if trap.moment not in (Moment.ANSWERED, Moment.HALF_ANSWERED):
            self._spring(conversation, trap, data[sent:])

    async def _backward(self, conversation: _Conversation) -> None:
        while data := await conversation.answers.read(1 << 20):
            if self.silent:
                conversation.silent = True
            if conversation.silent:
                continue
            if conversation.held is None:
                await _write(conversation.client, data)
                continue
            conversation.held += data
            if _is_complete(conversation.held):
                assert conversation.trap
                if conversation.trap.moment is Moment.HALF_ANSWERED:
                    await _write(conversation.client, conversation.held[: len(conversation.held) // 2])
                self._spring(conversation, conversation.trap, b"")

    def _trap_for(self, conversation: _Conversation) -> Trap | None:
        for trap in self.traps:
            due = trap.after is None or trap.after.sprung.is_set()
            if due and trap.statement == conversation.statement and trap.containing in conversation.named:
                self.traps.remove(trap)
                return trap
        return self.choose(conversation.statement) if self.choose else None

    def _spring(self, conversation: _Conversation, trap: Trap, held: bytes) -> None:
        self.sprung[trap.name] += 1
        conversation.silent = True
        if trap.how is Break.CUT:
            self._end(conversation)
        elif trap.how is Break.LATE:
            conversation.client.transport.abort()
            self._spawn(self._deliver(conversation, held))
        trap.sprung.set()

    async def _deliver(self, conversation: _Conversation, held: bytes) -> None:
        await asyncio.sleep(self.late)
        with contextlib.suppress(OSError):
            await _write(conversation.database, held)
            await asyncio.sleep(2 * self.late)
        self._end(conversation)


def _name(body: bytes) -> str:
    return next((name for name, words in STATEMENTS.items() if words in body), "other")


def _is_complete(answer: bytes) -> bool:
    """Whether it ends with ReadyForQuery."""
    position = 0
    while position + 5 <= len(answer):
        kind = answer[position : position + 1]
        position += 1 + int.from_bytes(answer[position + 1 : position + 5], "big")
        if kind == b"Z" and position == len(answer):
            return True
    return False


async def _write(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()


def socket_of(url: str) -> str:
    """The path of the socket that a URL of the embedded PostgreSQL means."""
    return os.path.join(parse_dsn(url)["host"], ".s.PGSQL.5432")
