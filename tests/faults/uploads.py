"""A writer of the load that puts a note with files."""

from __future__ import annotations

import asyncio
import json
import random

from server import sealing
from server.sealed_files import NUMBER_BYTES
from tests.faults.asking import Body, Client, ask, ask_until_answered
from tests.faults.files import SealedFiles
from tests.faults.history import Call, History, Note, Outcome

ANSWERS = {
    "begin": {200: Outcome.DONE},
    "chunks": {204: Outcome.DONE},
    "cancel": {204: Outcome.DONE},
    "put": {201: Outcome.PLACED, 409: Outcome.INCOMPLETE},
    "repeated put": {201: Outcome.PLACED, 409: Outcome.INCOMPLETE},
}
PATHS = {"begin": "/upload", "chunks": "/upload/chunks", "cancel": "/upload"}


class Upload:
    """The chunks of one note in any order, and then the note. The writer repeats what is not answered, or leaves."""

    def __init__(
        self,
        history: History,
        client: Client,
        number: int,
        message: str,
        luck: random.Random,
        leavers: float,
    ) -> None:
        self._history, self._client, self._number = history, client, number
        self._message, self._luck, self._leavers = message, luck, leavers
        self._sealed = SealedFiles(message, luck)
        self._nonce = luck.randbytes(sealing.DIGEST_LENGTH)

    async def put(self, lifetime: int) -> Note | None:
        """The note; None if the writer has left, has cancelled, or is told that the upload is over."""
        sealed, upload = self._sealed, {"upload": sealing.to_text(self._nonce)}
        begun = await self._ask("begin", {**upload, "file_bytes": sealed.file_bytes})
        if begun.outcome is not Outcome.DONE or not await self._send_all():
            return None
        if self._luck.random() < 0.05:
            await self._ask("cancel", upload)
            return None
        fields = {
            "sealed": sealing.to_text(sealed.sealed),
            "link_verifier": sealing.to_text(sealed.keys.link_verifier),
            "reveal_verifier": sealing.to_text(sealed.keys.reveal_verifier),
            "lifetime": lifetime,
            **upload,
        }
        call = await self._ask("put", fields)
        while call.outcome is Outcome.INCOMPLETE:
            if not await self._send(json.loads(call.body)["next"]):
                return None
            call = await self._ask("put", fields)
        if call.outcome is Outcome.PLACED and self._luck.random() < 0.2:
            call = await self._ask("repeated put", fields)
        if call.outcome is not Outcome.PLACED:
            return None
        return Note(self._number, f"/{call.content}/{sealed.token}", self._message, files=sealed.digests)

    async def _send_all(self) -> bool:
        """Send the chunks one or two at a time, some twice, or all but the first as if that were there."""
        chunks, pieces = len(self._sealed.chunks), []
        first = 0
        while first < chunks:
            end = min(chunks, first + self._luck.choice((1, 2)))
            pieces.append((first, end))
            first = end
        pieces = self._luck.choices((pieces, pieces[1:], pieces + pieces[:1]), (8, 1, 1))[0]
        self._luck.shuffle(pieces)
        for first, end in pieces:
            if self._luck.random() < self._leavers:
                call, moment = self._begin("chunks"), self._luck.uniform(0, 0.02)
                body, leave = self._body(first, end), lambda: asyncio.sleep(moment)
                await ask(self._client, call, PATHS["chunks"], body, ANSWERS["chunks"], leave)
                return False
            if not await self._send(first, end):
                return False
        return True

    async def _send(self, first: int, end: int | None = None) -> bool:
        return (await self._ask("chunks", self._body(first, end))).outcome is Outcome.DONE

    def _body(self, first: int, end: int | None) -> bytes:
        chunks = b"".join(self._sealed.chunks[first:end])
        return self._nonce + first.to_bytes(NUMBER_BYTES, "big") + chunks

    async def _ask(self, kind: str, body: Body) -> Call:
        path = PATHS.get(kind, "/post")
        call = await ask_until_answered(self._client, lambda: self._begin(kind), path, body, ANSWERS[kind])
        if call.outcome is Outcome.PLACED:
            call.content = json.loads(call.body)["key"]
        return call

    def _begin(self, kind: str) -> Call:
        return self._history.begin(kind, self._number)
