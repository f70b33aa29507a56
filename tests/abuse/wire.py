"""Sends bytes to a server and reads its answers; client libraries would refuse to send such bytes."""

import asyncio
import contextlib
import http.client
import io
from typing import NamedTuple

PATIENCE = 60  # seconds for an answer that has to come; a busy machine may need many of them


class Answer(NamedTuple):
    """One answer."""

    status: int  # 0 for HTTP/0.9, which has only a body
    headers: http.client.HTTPMessage | None
    body: bytes


class Outcome(NamedTuple):
    """The result of an exchange: the answers, whether the server closed the connection, and all its bytes."""

    answers: list[Answer]
    closed: bool
    data: bytes

    @property
    def statuses(self):
        return [answer.status for answer in self.answers]


class _Tape(io.BytesIO):
    """Data that http.client reads like a socket, but cannot close."""

    def makefile(self, *_):
        return self

    def close(self):
        pass


def answers_in(data, closed, method="GET"):
    """Split the bytes from a server into answers, without any 100 Continue.

    Raises:
        http.client.HTTPException: the data is not HTTP, or the last answer is not complete.
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
    """Send bytes on a new connection, and read until the server closes it, has sent `answers` answers, or
    has been silent for `silence` seconds."""
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
    """`exchange` for each request of a dict, `at_once` at a time; returns the outcomes as a dict."""
    turn = asyncio.Semaphore(at_once)

    async def one(data):
        async with turn:
            return await exchange(address, data, answers, silence)

    outcomes = await asyncio.gather(*[one(data) for data in requests.values()])
    return dict(zip(requests, outcomes, strict=True))
