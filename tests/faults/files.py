"""Files of a note of the load: sealed and opened as clients do, and what the msg-db has left of them in the end."""

from __future__ import annotations

import asyncio
import hashlib
import random
import time

from server import sealed_files, sealing
from server.database import Database
from server.purge import Purge
from server.sealed_files import CHUNK_BYTES, SEALED_CHUNK_BYTES, File
from server.sealing import SealingError

CHUNKS = (2, 3, 4)  # of a note with files
PATIENCE = 30.0


class Opener:
    """What the reader of a note with files can do with its link."""

    def __init__(self, token: str) -> None:
        self.keys = sealing.derive_keys(token)
        self._file_key, self._file_bytes = b"", 0

    def open(self, sealed: bytes) -> str | None:
        """The message; None if the sealed bytes are damaged."""
        try:
            message, files = sealed_files.open_note(self.keys, sealed)
        except SealingError:
            return None
        self._file_key = sealing.file_key_of(self.keys, sealed)
        self._file_bytes = sealed_files.stream_length(files)
        return message

    def open_chunks(self, first: int, chunks: bytes) -> str | None:
        """A digest of the bytes of the files from a chunk on; None if a chunk is damaged."""
        digest = hashlib.sha256()
        last = sealed_files.chunk_count(self._file_bytes) - 1
        try:
            for number, at in enumerate(range(0, len(chunks), SEALED_CHUNK_BYTES), first):
                chunk = chunks[at : at + SEALED_CHUNK_BYTES]
                digest.update(sealed_files.open_chunk(self._file_key, number, number == last, chunk))
        except SealingError:
            return None
        return digest.hexdigest()


class SealedFiles:
    """A message and a file, sealed. The file has some chunks of random bytes."""

    def __init__(self, message: str, luck: random.Random) -> None:
        size = luck.choice(CHUNKS) * CHUNK_BYTES - luck.randrange(CHUNK_BYTES // 8)
        index = [File("heron.bin", "", size)]
        self.token = sealing.new_token()
        self.keys = sealing.derive_keys(self.token)
        self.sealed = sealed_files.seal_note(self.keys, message, index)
        self.file_bytes = sealed_files.stream_length(index)
        stream = luck.randbytes(size).ljust(self.file_bytes, b"\0")
        self.chunks = sealed_files.seal_stream(sealing.file_key_of(self.keys, self.sealed), stream)
        self.digests = tuple(
            hashlib.sha256(stream[at:]).hexdigest() for at in range(0, len(stream), CHUNK_BYTES)
        )


ORPHANS = """
SELECT count(*)
FROM chunk
WHERE NOT EXISTS (SELECT FROM upload WHERE id = chunk.files)
    AND NOT EXISTS (SELECT FROM note WHERE files = chunk.files)
    AND NOT EXISTS (SELECT FROM delivery WHERE files = chunk.files)
"""

# As if all of them were older than an hour, and the notes expired.
AGE = (
    "UPDATE upload SET at = '2000-01-01'",
    "UPDATE delivery SET at = '2000-01-01' WHERE files IS NOT NULL",
    "UPDATE note SET expires_at = '2000-01-01' WHERE files IS NOT NULL",
)

LEFT = {
    "chunks": "SELECT count(*) FROM chunk",
    "uploads": "SELECT count(*) FROM upload",
    "notes with files": "SELECT count(*) FROM note WHERE files IS NOT NULL",
    "deliveries with files": "SELECT count(*) FROM delivery WHERE files IS NOT NULL",
}


async def left_behind(url: str) -> list[str]:
    """What a msg-db has of files that it should not have: now, and after everything has aged and was purged.

    Call it when all clients and servers are done.
    """
    database = Database(url, 1, PATIENCE)
    try:
        ((orphans,),) = await database.execute(ORPHANS)
        if orphans:
            return [f"{orphans} chunks belong to no upload, note or delivery"]
        for statement in AGE:
            await database.execute(statement)
        purge, deadline = Purge(database), time.monotonic() + PATIENCE
        while True:
            await purge.files()
            left = {what: (await database.execute(statement))[0][0] for what, statement in LEFT.items()}
            if not any(left.values()) or time.monotonic() > deadline:
                return [f"{count} {what} are left behind" for what, count in left.items() if count]
            await asyncio.sleep(0.2)  # a backend may still hold what its client has left
    finally:
        await database.close()
