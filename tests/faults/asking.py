"""Requests over real HTTP, and what came of each of them, written down."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from tests.faults.history import Call, Outcome

Body = Mapping[str, object] | bytes
Waiting = Callable[[], Awaitable[object]]

# Seconds of a client that waits for an answer; longer than any answer may take.
PATIENCE = 120.0


class Client:
    """One connection at a time, kept alive where the server lets it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(
        self, method: str, path: str, body: Body | None = None, leave_after: Waiting | None = None
    ) -> tuple[int, bytes]:
        """Send a request and read its answer.

        Args:
            body: fields, which are sent as JSON, or bytes.
            leave_after: what to wait for before hanging up without having read anything.

        Raises:
            OSError, EOFError: there was no whole answer.
        """
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost:{self.port}\r\nAccept: application/json\r\n"
        if body is not None:
            kind = "octet-stream" if isinstance(body, bytes) else "json"
            body = body if isinstance(body, bytes) else json.dumps(body).encode()
            head += f"Content-Type: application/{kind}\r\nContent-Length: {len(body)}\r\n"
        try:
            if self._streams is None:
                self._streams = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 22)
            reader, writer = self._streams
            writer.write(head.encode() + b"\r\n" + (body or b""))
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
    port: int, method: str, path: str, body: Body | None = None, leave_after: Waiting | None = None
) -> tuple[int, bytes]:
    """As `Client.ask`, over a connection of its own."""
    client = Client(port)
    try:
        return await client.ask(method, path, body, leave_after)
    finally:
        client.leave()


async def ask_until_answered(
    client: Client, begin: Callable[[], Call], path: str, body: Body, expected: Mapping[int, Outcome]
) -> Call:
    """Repeat a request, as a client that stays does, until it is neither lost nor refused; returns the last try.

    Args:
        begin: begins a try in the history.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        call = begin()
        await ask(client, call, path, body, expected)
        if not call.is_unanswered or time.monotonic() > deadline:
            return call
        await asyncio.sleep(0.05)


async def ask(
    client: Client,
    call: Call,
    path: str,
    body: Body,
    expected: Mapping[int, Outcome],
    leave_after: Waiting | None = None,
) -> Call | None:
    """Send what a call asks for, and write down what came of it; None if there was no answer."""
    method = "DELETE" if call.kind == "cancel" else "POST"
    try:
        call.status, call.body = await client.ask(method, path, body, leave_after)
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
    is_json = call.body and not (call.kind == "fetch" and outcome is Outcome.SHOWN)
    call.ending = _ending_in(call, json.loads(call.body)) if is_json else None
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
