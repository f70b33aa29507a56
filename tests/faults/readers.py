"""A reader of the load: one nonce, one note, and everything that a reader may ask of it."""

from __future__ import annotations

import json
import random

from server import sealing
from tests.faults.asking import Client, Waiting, ask, ask_until_answered
from tests.faults.files import Opener
from tests.faults.history import Call, History, Note, Outcome

REVEALED = {200: Outcome.SHOWN, 403: Outcome.TRIED, 429: Outcome.LOCKED}
FETCHED = {200: Outcome.SHOWN}
RECEIVED = {204: Outcome.DONE}


class Reader:
    """Has the link of a note. The server opens a note without files for it."""

    def __init__(self, history: History, client: Client, note: Note, luck: random.Random) -> None:
        self._history, self._client, self._note = history, client, note
        self._nonce = sealing.to_text(luck.randbytes(sealing.DIGEST_LENGTH))
        self._opener = Opener(note.token)
        self._path = f"/{note.key}"

    async def reveal(self, leave_after: Waiting | None = None) -> None:
        """Ask for the note once."""
        call = self._begin("reveal")
        await ask(self._client, call, f"{self._path}/reveal", self._claim, REVEALED, leave_after)
        self._open(call)

    async def reveal_until_answered(self) -> Outcome:
        """Ask for the note until there is an answer, as a browser does."""
        path = f"{self._path}/reveal"
        call = await ask_until_answered(
            self._client, lambda: self._begin("reveal"), path, self._claim, REVEALED
        )
        self._open(call)
        return call.outcome

    @property
    def _claim(self) -> dict[str, object]:
        if not self._note.files:
            return {"token": self._note.token, "reader": self._nonce}
        keys = self._opener.keys
        return {
            "link_proof": sealing.to_text(keys.link_proof),
            "reveal_proof": sealing.to_text(keys.reveal_proof),
            "reader": self._nonce,
        }

    def _open(self, call: Call) -> None:
        if call.outcome is Outcome.SHOWN:
            answer = json.loads(call.body)
            if self._note.files:
                call.content = self._opener.open(sealing.from_text(answer["sealed"]))
            else:
                call.content = answer["message"]

    async def fetch(self, first: int, leave_after: Waiting | None = None) -> None:
        """Ask once for the chunks from a number on."""
        call = self._begin("fetch", first)
        body = self._chunks(first)
        await ask(self._client, call, f"{self._path}/chunks", body, FETCHED, leave_after)
        self._open_chunks(call)

    async def fetch_until_answered(self, first: int) -> None:
        """Ask for the chunks from a number on until there is an answer, as a browser does."""
        path, body = f"{self._path}/chunks", self._chunks(first)
        self._open_chunks(
            await ask_until_answered(self._client, lambda: self._begin("fetch", first), path, body, FETCHED)
        )

    def _chunks(self, first: int) -> dict[str, object]:
        return {"reader": self._nonce, "first": first}

    def _open_chunks(self, call: Call) -> None:
        if call.outcome is Outcome.SHOWN:
            call.content = self._opener.open_chunks(call.first, call.body)
            call.body = b""  # the whole history is kept

    async def received(self) -> None:
        """Acknowledge the text, once."""
        fields = {"reader": self._nonce}
        await ask(self._client, self._begin("received"), f"{self._path}/received", fields, RECEIVED)

    async def received_files(self) -> None:
        """Acknowledge the files until there is an answer, as a browser does."""
        path, fields = f"{self._path}/received", {"reader": self._nonce, "files": True}
        await ask_until_answered(self._client, lambda: self._begin("received files"), path, fields, RECEIVED)

    def _begin(self, kind: str, first: int = 0) -> Call:
        return self._history.begin(kind, self._note.number, self._nonce, first)
