"""Many clients that leave and read messages over real HTTP, and write down all they see."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

from tests.faults.history import Call, History, Note, Outcome

Fields = Mapping[str, object]
Waiting = Callable[[], Awaitable[object]]

# Of a client that waits for an answer; longer than any answer may take.
PATIENCE = 120.0
TEXTS = ("note {n}", "Grüße, 你好, \U0001f600 {n}", "{n} " + "x" * 3000, '{n}\n\t\x00 "quoted" \\ <b>&amp;')


class Client:
    """One connection at a time, kept alive where the server lets it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(
        self, method: str, path: str, fields: Fields | None = None, leave_after: Waiting | None = None
    ) -> tuple[int, bytes]:
        """Send a request and read its answer.

        Args:
            leave_after: what to wait for before hanging up without having read anything.

        Raises:
            OSError, EOFError: there was no whole answer.
        """
        body = json.dumps(fields).encode() if fields is not None else b""
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost:{self.port}\r\nAccept: application/json\r\n"
        if fields is not None:
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        try:
            if self._streams is None:
                self._streams = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 22)
            reader, writer = self._streams
            writer.write(head.encode() + b"\r\n" + body)
            if leave_after is not None:
                await leave_after()
                raise EOFError("left")
            async with asyncio.timeout(PATIENCE):
                return await self._answer(reader)
        except BaseException:
            self.leave()
            raise

    async def _answer(self, reader: asyncio.StreamReader) -> tuple[int, bytes]:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin1").split("\r\n")
        lines = (line.partition(":") for line in head[1:])
        headers = {name.lower(): value.strip() for name, _, value in lines}
        status = int(head[0].split()[1])
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        if headers.get("connection") == "close":
            self.leave()
        return status, body

    def leave(self) -> None:
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None


async def fetch(
    port: int, method: str, path: str, fields: Fields | None = None, leave_after: Waiting | None = None
) -> tuple[int, bytes]:
    """As `Client.ask`, over a connection of its own."""
    client = Client(port)
    try:
        return await client.ask(method, path, fields, leave_after)
    finally:
        client.leave()


class Load:
    """Clients that put notes and read them, several readers at a time for some."""

    def __init__(self, ports: Sequence[int], seed: int, think: float = 0.02, leavers: float = 0.0) -> None:
        """
        Args:
            ports: of the servers; each client keeps to one.
            think: seconds that a client waits at most between two calls.
            leavers: share of reveals whose client leaves before it has the answer.
        """
        self.history = History()
        self.stopped = False
        self._ports = ports
        self._think = think
        self._leavers = leavers
        self._random = random.Random(seed)
        self._numbers = itertools.count()
        self._to_read: deque[Note] = deque()
        self._kept: list[Note] = []

    async def run(self, clients: int) -> None:
        """Until `stopped` is set."""
        await asyncio.gather(*(self._client(self._ports[n % len(self._ports)]) for n in range(clients)))

    async def _client(self, port: int) -> None:
        client = Client(port)
        while not self.stopped:
            if self._to_read and (len(self._to_read) > 50 or self._random.random() < 0.6):
                await self._read(client, self._to_read.popleft())
            else:
                await self._put(client)
            await asyncio.sleep(self._random.uniform(0, self._think))
        client.leave()

    async def _put(self, client: Client) -> None:
        number = next(self._numbers)
        content = self._random.choice(TEXTS).format(n=number)
        call = self.history.begin("put", number)
        try:
            call.status, body = await client.ask("POST", "/post", {"message": content, "lifetime": 604800})
        except (OSError, EOFError) as error:
            _end(call, Outcome.UNKNOWN, repr(error))
            return await asyncio.sleep(0.05)
        if call.status != 201:
            return _end(call, Outcome.REFUSED if call.status == 503 else Outcome.WRONG, body.decode())
        _end(call, Outcome.PLACED)
        path = "/" + json.loads(body)["url"].split("/", 3)[3]
        note = self.history.notes[number] = Note(number, path, content)
        readers = self._random.choices((0, 1, 2, 4), (1, 6, 3, 1))[0]
        if not readers:
            self._kept.append(note)
        for _ in range(readers):
            self._to_read.append(note)

    async def _read(self, client: Client, note: Note) -> None:
        if self._random.random() < 0.05:
            await self._guess(client, note)
        moment = self._random.uniform(0, 0.02)
        leaves = self._random.random() < self._leavers
        await _reveal(self.history, client, note, (lambda: asyncio.sleep(moment)) if leaves else None)

    async def _guess(self, client: Client, note: Note) -> None:
        """The same key with the token of some other note."""
        other = self._random.choice(list(self.history.notes.values())[-100:])
        if other is note:
            return
        call = self.history.begin("guess", note.number)
        path = f"{note.path[:6]}/{other.path[7:]}"
        try:
            call.status, body = await client.ask("GET", path)
        except (OSError, EOFError) as error:
            return _end(call, Outcome.UNKNOWN, repr(error))
        _end_of_reveal(call, body)

    async def read_the_rest(self) -> None:
        """After the last fault: ask for every note that was never shown, until there is an answer."""
        shown = {call.note for call in self.history.calls if call.outcome is Outcome.SHOWN}
        clients = [Client(self._ports[n % len(self._ports)]) for n in range(8)]
        left = deque(note for number, note in self.history.notes.items() if number not in shown)

        async def work(client: Client) -> None:
            while left:
                note = left.popleft()
                outcome = None
                deadline = time.monotonic() + PATIENCE
                while outcome not in (Outcome.SHOWN, Outcome.GONE) and time.monotonic() < deadline:
                    outcome = await _reveal(self.history, client, note)
            client.leave()

        await asyncio.gather(*(work(client) for client in clients))


async def _reveal(
    history: History, client: Client, note: Note, leave_after: Waiting | None = None
) -> Outcome | None:
    call = history.begin("reveal", note.number)
    try:
        call.status, body = await client.ask("GET", note.path, leave_after=leave_after)
    except ConnectionRefusedError as error:  # nobody was asked
        call.kind = "unasked reveal"
        _end(call, Outcome.UNKNOWN, repr(error))
        await asyncio.sleep(0.05)
        return None
    except (OSError, EOFError) as error:
        _end(call, Outcome.UNKNOWN, repr(error))
    else:
        _end_of_reveal(call, body)
    return call.outcome


def _end_of_reveal(call: Call, body: bytes) -> None:
    match call.status:
        case 200:
            call.content = json.loads(body)["message"]
            _end(call, Outcome.SHOWN)
        case 404:
            _end(call, Outcome.GONE)
        case 503:
            _end(call, Outcome.REFUSED)
        case _:
            _end(call, Outcome.WRONG, body.decode(errors="replace")[:200])


def _end(call: Call, outcome: Outcome, why: str = "") -> None:
    call.end, call.outcome, call.why = time.monotonic(), outcome, why


@contextlib.asynccontextmanager
async def under_load(load: Load, clients: int) -> AsyncIterator[None]:
    """The load runs while the body does; then every note is asked for once more."""
    running = asyncio.create_task(load.run(clients))
    try:
        yield
    finally:
        load.stopped = True
        await running
    await load.read_the_rest()
