"""Files of notes: uploads, their chunks, and the chunks after a reveal."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable
from typing import TypeVar
from urllib.parse import quote

from tornado.iostream import StreamClosedError

from server.files import Incomplete, NoSuchUpload, WrongChunks
from server.handlers import bodies, inputs
from server.handlers.base import BaseHandler
from server.languages import text
from server.problems import Problem
from server.sealed_files import HIGHEST_NUMBER, MAX_REQUEST_BYTES, NUMBER_BYTES, safe_name
from server.sealing import DIGEST_LENGTH, SealingError

Result = TypeVar("Result")

BINARY = "application/octet-stream"


class UploadHandler(BaseHandler):
    """POST /upload : begin to upload files, or ask how far an upload is. DELETE : cancel it."""

    route = "/upload"
    allow = ("POST", "DELETE")

    async def post(self) -> None:
        service, settings = self.service, self.service.settings
        if not settings.max_file_bytes:
            raise Problem(404, "This service takes no files.")
        fields = bodies.fields_of(self.request, inputs.UPLOAD_FIELDS)
        upload, file_bytes = inputs.UPLOAD.of(fields, settings), inputs.FILE_BYTES.of(fields, settings)
        service.posting.admit_upload(self.request, file_bytes)
        begun = await with_problems(service.messages.files.begin(upload, file_bytes))
        self.answer_json({"chunks": begun.chunks, "next": begun.next})

    async def delete(self) -> None:
        fields = bodies.fields_of(self.request, inputs.CANCEL_FIELDS)
        await self.service.messages.files.cancel(inputs.UPLOAD.of(fields, self.service.settings))
        self.clear_header("Content-Type")
        self.set_status(204)


class UploadChunksHandler(BaseHandler):
    """POST /upload/chunks : the nonce of an upload, the number of a chunk in 4 bytes, and chunks from there on."""

    route = "/upload/chunks"
    allow = ("POST",)

    @property
    def max_body_bytes(self) -> int:
        return MAX_REQUEST_BYTES

    @property
    def too_long(self) -> Problem:
        return Problem(
            413, text("A request with chunks may have at most %(limit)s bytes.", limit=MAX_REQUEST_BYTES)
        )

    async def post(self) -> None:
        self.service.posting.admit_chunks(self.request)
        if bodies.media_type_of(self.request) != BINARY:
            raise Problem(415, text("Content-Type must be %(binary)s.", binary=BINARY))
        body = memoryview(self.request.body)
        upload, number = body[:DIGEST_LENGTH], body[DIGEST_LENGTH : DIGEST_LENGTH + NUMBER_BYTES]
        chunks = body[DIGEST_LENGTH + NUMBER_BYTES :]
        first = int.from_bytes(number, "big")
        if not chunks or first > HIGHEST_NUMBER:
            raise Problem(400, "The body must be the nonce of an upload, the number of a chunk, and chunks.")
        files = self.service.messages.files
        with files.puts.taken():
            await with_problems(files.put_chunks(bytes(upload), first, chunks))
        self.clear_header("Content-Type")
        self.set_status(204)


class FetchHandler(BaseHandler):
    """POST /KEY/chunks : some chunks of the files that this reader has revealed, from a given number."""

    route = "/KEY/chunks"
    allow = ("POST",)

    async def post(self, key: str) -> None:
        settings, messages = self.service.settings, self.service.messages
        fields = bodies.fields_of(self.request, inputs.CHUNKS_FIELDS)
        reader, first = inputs.READER.of(fields, settings), inputs.FIRST.of(fields, settings)
        with messages.files.fetches.taken():
            chunks = await messages.chunks(key, reader, first)
            if not chunks:
                raise Problem(404, "There is no such delivery, or it is over.")
            self.set_header("Content-Type", BINARY)
            with contextlib.suppress(StreamClosedError):  # the reader hung up
                await self.finish(chunks)


class SaveHandler(BaseHandler):
    """POST /KEY/file : a file that the server opens for a browser without a script, whose page has the key."""

    route = "/KEY/file"
    allow = ("POST",)

    async def post(self, key: str) -> None:
        settings, messages = self.service.settings, self.service.messages
        fields = bodies.fields_of(self.request, inputs.FILE_FIELDS)
        claim = inputs.file_claim(fields, settings)
        name = safe_name(inputs.NAME.of(fields, settings))
        with messages.files.fetches.taken():
            try:
                content = await messages.open_file(key, claim)
            except SealingError:
                raise Problem(
                    422,
                    "This file was damaged or changed on its way. Do not use what was saved of it.",
                ) from None
            if content is None:
                raise Problem(
                    404,
                    "The server no longer has this file: an hour has passed, or all files were saved.",
                )
            self.set_header("Content-Type", BINARY)
            self.set_header("Content-Disposition", f"attachment; filename*=UTF-8''{quote(name, safe='')}")
            with contextlib.suppress(StreamClosedError):  # the reader hung up
                await self.finish(content)


async def with_problems(work: Awaitable[Result]) -> Result:
    """The result of `work`; its refusals become problems. Raises Problem, 400, 404 or 409."""
    try:
        return await work
    except NoSuchUpload:
        raise Problem(404, "There is no such upload, or its hour is over.", inputs.UPLOAD.name) from None
    except Incomplete as incomplete:
        raise Problem(
            409,
            text("The upload is not complete: chunk %(chunk)s is missing.", chunk=incomplete.next),
            next=incomplete.next,
        ) from None
    except WrongChunks:
        raise Problem(400, "The chunks are not those that the upload's length asks for.") from None
