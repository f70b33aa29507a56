"""Many clients that leave and read messages over real HTTP, and write down all they see."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from server import sealing
from tests.faults.asking import Client, ask
from tests.faults.history import History, Note, Outcome
from tests.faults.readers import REVEALED, Reader
from tests.faults.uploads import Upload

LIFETIME = 604800
TEXTS = ("note {n}", "Grüße, 你好, \U0001f600 {n}", "{n} " + "x" * 3000, '{n}\n\t\x00 "quoted" \\ <b>&amp;')


class Load:
    """Clients that put notes and read them, several readers at a time for some.

    A reader stays: it asks again with the same nonce until it has an answer, and acknowledges what it got;
    some leave instead. Some senders destroy a note, and some clients try wrong tokens and wrong proofs. Some
    notes have files: their writers stay or leave in the same way.
    """

    def __init__(
        self,
        ports: Sequence[int],
        seed: int,
        think: float = 0.02,
        leavers: float = 0.0,
        files: float = 0.0,
    ) -> None:
        """
        Args:
            ports: of the servers; each client keeps to one.
            think: seconds that a client waits at most between two calls.
            leavers: share of reveals, and of requests with chunks, whose client leaves before it has the answer.
            files: share of notes that have files.
        """
        self.history = History()
        self.stopped = False
        self._ports = ports
        self._think = think
        self._leavers = leavers
        self._files = files
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
        if self._random.random() < self._files:
            upload = Upload(self.history, client, number, content, self._random, self._leavers)
            note = await upload.put(LIFETIME)
        else:
            note = await self._put_text(client, number, content)
        if note is None:
            return
        self.history.notes[number] = note
        readers = self._random.choices((0, 1, 2, 4), (1, 6, 3, 1))[0]
        works = [self._read] * readers
        luck = self._random.random()
        if luck < 0.05:
            works.append(self._destroy)
        elif luck < 0.3 and not readers:
            works += [self._try] * 15
        elif luck < 0.08:
            works.append(self._try)
        self._random.shuffle(works)
        self._to_do += [(work, note) for work in works]

    async def _put_text(self, client: Client, number: int, content: str) -> Note | None:
        call = self.history.begin("put", number)
        fields = {"message": content, "lifetime": LIFETIME}
        if await ask(client, call, "/post", fields, {201: Outcome.PLACED}) is None:
            await asyncio.sleep(0.05)
        if call.outcome is not Outcome.PLACED:
            return None
        return Note(number, "/" + json.loads(call.body)["url"].split("/", 3)[3], content)

    async def _read(self, client: Client, note: Note) -> None:
        if self._random.random() < 0.05:
            await self._guess(client, note)
        reader = Reader(self.history, client, note, self._random)
        if self._random.random() < self._leavers:
            return await reader.reveal(self._leave)
        if note.files and self._random.random() < 0.05:
            await reader.fetch(0)
        if await reader.reveal_until_answered() is not Outcome.SHOWN:
            if note.files:
                await reader.fetch(0)
            return
        again, acknowledged = self._random.random() < 0.2, self._random.random() < 0.8
        if again:
            await reader.reveal()
        if note.files and not await self._fetch(reader, note):
            return
        if acknowledged:
            await reader.received()
            if note.files:
                await reader.fetch_until_answered(0)
                await reader.received_files()
                await reader.fetch(0)
        if again and acknowledged:
            await reader.reveal()

    async def _fetch(self, reader: Reader, note: Note) -> bool:
        """Fetch the chunks from several numbers on, in any order; False if the reader has left instead."""
        numbers = [
            0,
            *self._random.sample(range(1, len(note.files)), self._random.randrange(len(note.files))),
        ]
        self._random.shuffle(numbers)
        for first in numbers:
            if self._random.random() < self._leavers:
                await reader.fetch(first, self._leave)
                if self._random.random() < 0.5:
                    return False
            await reader.fetch_until_answered(first)
        return True

    async def _leave(self) -> None:
        await asyncio.sleep(self._random.uniform(0, 0.02))

    async def _guess(self, client: Client, note: Note) -> None:
        """The same key with the token of some other note."""
        other = self._random.choice(list(self.history.notes.values())[-100:])
        if other is note:
            return
        call = self.history.begin("guess", note.number)
        await ask(client, call, f"/{note.key}/reveal", {"token": other.token}, REVEALED)

    async def _try(self, client: Client, note: Note) -> None:
        """The note's link with a wrong proof of its passphrase."""
        proofs = {
            "link_proof": sealing.to_text(sealing.link_proof_of(note.token)),
            "reveal_proof": sealing.to_text(self._random.randbytes(sealing.DIGEST_LENGTH)),
        }
        if note.files:  # without a reader, they are not revealed anyway
            proofs["reader"] = sealing.to_text(self._random.randbytes(sealing.DIGEST_LENGTH))
        call = self.history.begin("try", note.number)
        await ask(client, call, f"/{note.key}/reveal", proofs, REVEALED)

    async def _destroy(self, client: Client, note: Note) -> None:
        call = self.history.begin("destroy", note.number)
        expected = {204: Outcome.DONE, 409: Outcome.ENDED}
        await ask(client, call, f"/{note.key}/destroy", {"token": note.token}, expected)

    async def read_the_rest(self) -> None:
        """After the last fault: read every note that was never shown, then ask for the status of every note."""
        shown = {call.note for call in self.history.calls if call.outcome is Outcome.SHOWN}
        clients = [Client(self._ports[n % len(self._ports)]) for n in range(8)]
        notes = list(self.history.notes.values())
        to_read = deque(note for note in notes if note.number not in shown)
        to_ask = deque(notes)

        async def work(client: Client) -> None:
            while to_read:
                note = to_read.popleft()
                reader = Reader(self.history, client, note, self._random)
                if await reader.reveal_until_answered() is Outcome.SHOWN and note.files:
                    await reader.fetch_until_answered(0)
            while to_ask:
                note = to_ask.popleft()
                call = self.history.begin("status", note.number)
                await ask(client, call, f"/{note.key}/status", {"token": note.token}, {200: Outcome.UNREAD})
            client.leave()

        await asyncio.gather(*(work(client) for client in clients))


Work = Callable[[Client, Note], Awaitable[None]]


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
