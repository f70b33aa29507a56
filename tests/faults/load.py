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
from typing import Any

from server import sealing
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
    """Clients that put notes and read them, several readers at a time for some.

    A reader stays: it asks again with the same nonce until it has an answer, and acknowledges what it got;
    some leave instead. Some senders destroy a note, and some clients try wrong tokens and wrong proofs.
    """

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
        self._to_do: deque[tuple[Work, Note]] = deque()

    async def run(self, clients: int) -> None:
        """Until `stopped` is set."""
        await asyncio.gather(*(self._client(self._ports[n % len(self._ports)]) for n in range(clients)))

    async def _client(self, port: int) -> None:
        client = Client(port)
        while not self.stopped:
            if self._to_do and (len(self._to_do) > 50 or self._random.random() < 0.6):
                work, note = self._to_do.popleft()
                await work(client, note)
            else:
                await self._put(client)
            await asyncio.sleep(self._random.uniform(0, self._think))
        client.leave()

    async def _put(self, client: Client) -> None:
        number = next(self._numbers)
        content = self._random.choice(TEXTS).format(n=number)
        call = self.history.begin("put", number)
        fields = {"message": content, "lifetime": 604800}
        if await _ask(client, call, "/post", fields, {201: Outcome.PLACED}) is None:
            return await asyncio.sleep(0.05 if call.outcome is Outcome.UNKNOWN else 0)
        if call.outcome is not Outcome.PLACED:
            return
        path = "/" + json.loads(call.body)["url"].split("/", 3)[3]
        note = self.history.notes[number] = Note(number, path, content)
        readers = self._random.choices((0, 1, 2, 4), (1, 6, 3, 1))[0]
        self._to_do += [(self._read, note)] * readers
        luck = self._random.random()
        if luck < 0.05:
            self._to_do.append((self._destroy, note))
        elif luck < 0.3 and not readers:
            self._to_do += [(self._try, note)] * 15
        elif luck < 0.08:
            self._to_do.append((self._try, note))

    async def _read(self, client: Client, note: Note) -> None:
        if self._random.random() < 0.05:
            await self._guess(client, note)
        reader = _digest(self._random)
        if self._random.random() < self._leavers:
            moment = self._random.uniform(0, 0.02)
            await _reveal(self.history, client, note, reader, lambda: asyncio.sleep(moment))
        elif await _read(self.history, client, note, reader) is Outcome.SHOWN:
            again, acknowledged = self._random.random() < 0.2, self._random.random() < 0.8
            if again:
                await _reveal(self.history, client, note, reader)
            if acknowledged:
                call = self.history.begin("received", note.number, reader)
                await _ask(client, call, f"{note.path[:6]}/received", {"reader": reader}, {204: Outcome.DONE})
            if again and acknowledged:
                await _reveal(self.history, client, note, reader)

    async def _guess(self, client: Client, note: Note) -> None:
        """The same key with the token of some other note."""
        other = self._random.choice(list(self.history.notes.values())[-100:])
        if other is note:
            return
        call = self.history.begin("guess", note.number)
        await _ask(client, call, f"{note.path[:6]}/reveal", {"token": other.path[7:]}, REVEALED)

    async def _try(self, client: Client, note: Note) -> None:
        """The note's link with a wrong proof of its passphrase."""
        proofs = {
            "link_proof": sealing.to_text(sealing.link_proof_of(note.path[7:])),
            "reveal_proof": _digest(self._random),
        }
        call = self.history.begin("try", note.number)
        await _ask(client, call, f"{note.path[:6]}/reveal", proofs, REVEALED)

    async def _destroy(self, client: Client, note: Note) -> None:
        call = self.history.begin("destroy", note.number)
        expected = {204: Outcome.DONE, 409: Outcome.ENDED}
        await _ask(client, call, f"{note.path[:6]}/destroy", {"token": note.path[7:]}, expected)

    async def read_the_rest(self) -> None:
        """After the last fault: read every note that was never shown, then ask for the status of every note."""
        shown = {call.note for call in self.history.calls if call.outcome is Outcome.SHOWN}
        clients = [Client(self._ports[n % len(self._ports)]) for n in range(8)]
        notes = list(self.history.notes.values())
        to_read = deque(note for note in notes if note.number not in shown)
        to_ask = deque(notes)

        async def work(client: Client) -> None:
            while to_read:
                await _read(self.history, client, to_read.popleft(), _digest(self._random))
            while to_ask:
                note = to_ask.popleft()
                call = self.history.begin("status", note.number)
                await _ask(
                    client, call, f"{note.path[:6]}/status", {"token": note.path[7:]}, {200: Outcome.UNREAD}
                )
            client.leave()

        await asyncio.gather(*(work(client) for client in clients))


Work = Callable[[Client, Note], Awaitable[None]]
REVEALED = {200: Outcome.SHOWN, 403: Outcome.TRIED, 429: Outcome.LOCKED}


def _digest(luck: random.Random) -> str:
    """32 bytes that nobody else has, as a field."""
    return sealing.to_text(luck.randbytes(32))


async def _read(history: History, client: Client, note: Note, reader: str) -> Outcome | None:
    """Ask for a note until there is an answer, as a browser does."""
    outcome = None
    deadline = time.monotonic() + PATIENCE
    while outcome in (None, Outcome.UNKNOWN, Outcome.REFUSED) and time.monotonic() < deadline:
        outcome = await _reveal(history, client, note, reader)
        if outcome is not Outcome.SHOWN:
            await asyncio.sleep(0.05)
    return outcome


async def _reveal(
    history: History, client: Client, note: Note, reader: str, leave_after: Waiting | None = None
) -> Outcome | None:
    call = history.begin("reveal", note.number, reader)
    fields = {"token": note.path[7:], "reader": reader}
    await _ask(client, call, f"{note.path[:6]}/reveal", fields, REVEALED, leave_after)
    if call.outcome is Outcome.SHOWN:
        call.content = json.loads(call.body)["message"]
    return call.outcome if call.kind == "reveal" else None


async def _ask(
    client: Client,
    call: Call,
    path: str,
    fields: Fields,
    expected: Mapping[int, Outcome],
    leave_after: Waiting | None = None,
) -> Call | None:
    """Send what a call asks for, and write down what came of it; None if there was no answer."""
    try:
        call.status, call.body = await client.ask("POST", path, fields, leave_after)
    except (OSError, EOFError) as error:
        if isinstance(error, ConnectionRefusedError):  # nobody was asked
            call.kind = f"unasked {call.kind}"
        _end(call, Outcome.UNKNOWN, repr(error))
        return None
    if call.status in expected:
        outcome = expected[call.status]
    elif call.status == 404:
        outcome = Outcome.GONE
    elif call.status == 503:
        outcome = Outcome.REFUSED
    else:
        outcome = Outcome.WRONG
    answer = json.loads(call.body) if call.body else {}
    call.ending = _ending_in(call, answer)
    if call.ending and outcome in (Outcome.GONE, Outcome.UNREAD):
        outcome = Outcome.ENDED
    _end(call, outcome, call.body.decode(errors="replace")[:200] if outcome is Outcome.WRONG else "")
    return call


def _ending_in(call: Call, answer: Mapping[str, Any]) -> str | None:
    """How the note ended, if the answer tells it."""
    if call.kind == "status":
        return None if answer.get("status") in ("unread", 404, 503) else str(answer.get("status"))
    ending = answer.get("ending")
    return str(ending["status"]) if ending else None


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
