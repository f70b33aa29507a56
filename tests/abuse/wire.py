"""Bytes to a server and back: no client library would send what these tests send."""

import asyncio
import contextlib
import http.client
import io
from typing import NamedTuple

PATIENCE = 60  # seconds for an answer that has to come; a busy machine may need many of them


class Answer(NamedTuple):
    """One answer off the wire."""

    status: int  # 0 where there is none: HTTP/0.9 is a body and nothing else
    headers: http.client.HTTPMessage | None
    body: bytes


class Outcome(NamedTuple):
    """What came of some bytes: the answers, whether the server hung up, and all that it has sent."""

    answers: list[Answer]
    closed: bool
    data: bytes

    @property
    def statuses(self):
        return [answer.status for answer in self.answers]


class _Tape(io.BytesIO):
    """Data that http.client takes for a socket, and may not close."""

    def makefile(self, *_):
        return self

    def close(self):
        pass


def answers_in(data, closed, method="GET"):
    """Cut what a server has sent into its answers; 100 Continue is none.

    Raises:
        http.client.HTTPException: it is no HTTP, or the last answer is not complete.
    """
    tape, answers = _Tape(data), []
    while rest := data[tape.tell() :]:
        if not rest.startswith(b"HTTP/"):
            answers.append(Answer(0, None, rest))
            break
        if b"\r\n\r\n" not in rest:
            raise http.client.IncompleteRead(rest)
        response = http.client.HTTPResponse(tape, method=method)
        response.begin()
        until_the_end = response.length is None and not response.chunked
        if until_the_end and not closed:
            raise http.client.IncompleteRead(rest)
        answers.append(Answer(response.status, response.headers, response.read()))
    return answers


async def exchange(address, data, answers=1, silence=PATIENCE):
    """Send bytes on a connection of their own, and read until the server hangs up, has given so many
    answers, or has stayed silent for so many seconds."""
    method = "HEAD" if data.startswith(b"HEAD ") else "GET"
    reader, writer = await asyncio.open_connection(*address)
    received, closed, complete = b"", False, []
    sending = asyncio.ensure_future(_send(writer, data))
    try:
        async with asyncio.timeout(silence) as deadline:
            while not closed and len(complete) < answers:
                chunk = await reader.read(65536)
                closed = not chunk
                received += chunk
                deadline.reschedule(asyncio.get_running_loop().time() + silence)
                with contextlib.suppress(http.client.HTTPException):
                    complete = answers_in(received, closed, method)
    except TimeoutError:
        pass
    except ConnectionError:
        closed = True
    finally:
        sending.cancel()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    return Outcome(complete, closed, received)


async def _send(writer, data):
    with contextlib.suppress(ConnectionError):
        writer.write(data)
        await writer.drain()


async def exchange_all(address, requests, answers=1, at_once=40, silence=PATIENCE):
    """`exchange` for a dict of requests, some at a time: the same dict of outcomes."""
    turn = asyncio.Semaphore(at_once)

    async def one(data):
        async with turn:
            return await exchange(address, data, answers, silence)

    outcomes = await asyncio.gather(*[one(data) for data in requests.values()])
    return dict(zip(requests, outcomes, strict=True))
