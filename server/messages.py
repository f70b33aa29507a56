"""Putting and revealing messages, for every kind of client; `notes.py` stores the notes.

Clients that seal and open messages themselves send proofs. For all other clients, the server holds the
token and the message while it handles their request.
"""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple

from server import metrics, sealed_files, sealing
from server.files import Files
from server.notes import Ending, Note, Notes, Placed, ReaderNeeded, TooManyTries, Unread, delivery_id
from server.passphrases import Stretcher
from server.sealed_files import CHUNK_BYTES, MAX_CHUNKS, SEALED_CHUNK_BYTES, File


@dataclasses.dataclass(frozen=True)
class Proofs:
    """What a client that opens the note itself sends to reveal it: 32 bytes each."""

    link_proof: bytes
    reveal_proof: bytes


@dataclasses.dataclass(frozen=True)
class Token:
    """What a client sends if the server is to open the note. The token is one that passes `is_token`."""

    token: str
    passphrase: str = ""


class FileClaim(NamedTuple):
    """What a page sends to get a file of a note that the server opened."""

    reader: bytes
    file_key: bytes
    file_bytes: int  # of all files together, padded
    start: int  # of this one among them
    size: int


class Revealed(NamedTuple):
    """A revealed note: its message if the server opened it, otherwise the sealed bytes."""

    message: str | None
    sealed: bytes | None


class Opened(NamedTuple):
    """A note that the server opened, and what it takes to fetch and open its files for an hour."""

    message: str
    files: list[File]
    reader: bytes
    file_key: bytes


class PutMessage(NamedTuple):
    """A message that the server sealed and put: where the note is, its token, and the receipt's secret."""

    placed: Placed
    token: str
    receipt: str


class Messages:
    """What clients can do with messages."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._stretcher = Stretcher()

    async def put(
        self,
        message: str,
        passphrase: str,
        lifetime: timedelta,
        files: Sequence[tuple[File, bytes]] = (),
        address: str = "",
    ) -> PutMessage:
        """Seal a message and put the note.

        Args:
            files: lines of the index, each with the bytes of its file.
            address: of the client; each has a share of the threads that stretch passphrases.

        Raises:
            Busy: too many passphrases are being stretched.
            OutOfKeys, Unavailable: from `Notes.put`.
            Incomplete: from `Notes.put_with_files`.
        """
        passphrase = sealing.strip_passphrase(passphrase)
        token = sealing.new_token()
        stretched = await self._stretcher.stretch(token, passphrase, address) if passphrase else b""
        keys = sealing.derive_keys(token, stretched)
        if files:
            sealed = sealed_files.seal_note(keys, message, [file for file, _ in files])
        else:
            sealed = sealing.seal(keys, message)
        note = Note(keys.link_verifier, keys.reveal_verifier, sealed, bool(stretched), lifetime)
        if files:
            file_key = sealing.file_key_of(keys, sealed)
            upload = await self._upload(file_key, b"".join([content for _, content in files]))
            return PutMessage(await self.put_with_files(note, upload), token, keys.receipt)
        return PutMessage(await self.put_sealed(note), token, keys.receipt)

    async def _upload(self, file_key: bytes, content: bytes) -> bytes:
        """Seal and store the bytes of files; returns the nonce of their upload. Raises Unavailable."""
        upload = secrets.token_bytes(sealing.DIGEST_LENGTH)
        stream = content.ljust(sealed_files.padded_length(len(content)), b"\0")
        await self.files.begin(upload, len(stream))
        chunks = sealed_files.seal_stream(file_key, stream)
        for first in range(0, len(chunks), MAX_CHUNKS):
            await self.files.put_chunks(upload, first, b"".join(chunks[first : first + MAX_CHUNKS]))
        return upload

    async def put_sealed(self, note: Note) -> Placed:
        """Put a note that the client has sealed. Raises the same errors as `Notes.put`."""
        placed = await self._notes.put(note)
        metrics.NOTES_PUT.inc()
        return placed

    async def put_with_files(self, note: Note, upload: bytes) -> Placed:
        """Put a note that the client has sealed, with an upload. Raises the same errors as `Notes.put_with_files`."""
        placed = await self._notes.put_with_files(note, upload)
        metrics.NOTES_PUT.inc()
        return placed

    async def peek(self, key: str) -> bool:
        """Whether there is a note under `key`. Raises the same errors as `Notes.peek`."""
        return await self._notes.peek(key)

    async def status(self, key: str, link_proof: bytes) -> Unread | Ending | None:
        """What became of the note, or None if the proof does not match. Raises the same errors as `Notes.status`."""
        return await self._notes.status(key, sealing.verifier_of(link_proof))

    async def reveal(
        self, key: str, claim: Proofs | Token, reader: bytes | None = None, address: str = ""
    ) -> Revealed | None:
        """Reveal a note to one reader and to no other, ever.

        Args:
            reader: the reader's nonce; the same reader gets the same answer again for a minute.
            address: of the client; each has a share of the threads that stretch passphrases.

        Returns:
            The message, or for proofs the sealed bytes; None if the link does not match.

        Raises:
            Refused, Busy, Unavailable: the note is not revealed; see `Notes.reveal`.
            SealingError: the client that sealed the note did not keep to the format; the note is gone.
        """
        if isinstance(claim, Proofs):
            link_verifier, reveal_verifier = map(sealing.verifier_of, (claim.link_proof, claim.reveal_proof))
            sealed = await self._notes.reveal(key, link_verifier, reveal_verifier, reader=reader)
            return _counted(None if sealed is None else Revealed(None, sealed))
        stretched = b""
        if reader is not None or sealing.strip_passphrase(claim.passphrase):
            status = await self._status(key, claim)
            # A client that cannot open the note cannot open the chunks of its files.
            if isinstance(status, Unread) and status.file_bytes is not None:
                raise ReaderNeeded()
            stretched = await self._stretched(claim, status, address)
        keys = sealing.derive_keys(claim.token, stretched)
        sealed = await self._notes.reveal(
            key, keys.link_verifier, keys.reveal_verifier, without_passphrase=not stretched, reader=reader
        )
        if sealed is None:
            return _counted(None)
        try:
            message = sealing.open_sealed(keys, sealed)
        except sealing.SealingError:
            if stretched or not claim.passphrase:
                raise
            # The same reader asks again: the row that said whether the note has a passphrase is gone.
            stretched = await self._stretcher.stretch(claim.token, claim.passphrase, address)
            message = sealing.open_sealed(sealing.derive_keys(claim.token, stretched), sealed)
        return _counted(Revealed(message, None))

    async def reveal_with_files(
        self, key: str, claim: Token, max_file_bytes: int, address: str = ""
    ) -> Opened | None:
        """Reveal a note with files for a client that cannot open it, with a nonce that the server makes for it.

        Args:
            max_file_bytes: of all files together.

        Returns:
            The message and its files; None if the link does not match.

        Raises:
            ReaderNeeded: the files are larger; the note is untouched.
            Refused, Busy, Unavailable, SealingError: as for `reveal`.
        """
        status = await self._status(key, claim)
        if isinstance(status, Unread) and (status.file_bytes or 0) > sealed_files.padded_length(
            max_file_bytes
        ):
            raise ReaderNeeded()
        stretched = await self._stretched(claim, status, address)
        keys, reader = sealing.derive_keys(claim.token, stretched), secrets.token_bytes(sealing.DIGEST_LENGTH)
        sealed = await self._notes.reveal(
            key, keys.link_verifier, keys.reveal_verifier, without_passphrase=not stretched, reader=reader
        )
        if sealed is None:
            return None
        message, files = sealed_files.open_any(keys, sealed)
        metrics.NOTES_REVEALED.inc()
        return Opened(message, files, reader, sealing.file_key_of(keys, sealed))

    async def _status(self, key: str, claim: Token) -> Unread | Ending | None:
        return await self.status(key, sealing.link_proof_of(claim.token))

    async def _stretched(self, claim: Token, status: Unread | Ending | None, address: str) -> bytes:
        """The passphrase, stretched only if the link matches, the note needs it, and a try is left: it is costly."""
        if not (isinstance(status, Unread) and status.has_passphrase):
            return b""
        if not sealing.strip_passphrase(claim.passphrase):
            return b""
        if status.seconds_to_wait:
            raise TooManyTries(status.seconds_to_wait)
        return await self._stretcher.stretch(claim.token, claim.passphrase, address)

    async def open_file(self, key: str, claim: FileClaim) -> bytes | None:
        """One file of a note that `reveal_with_files` revealed; None if its delivery is over.

        Raises:
            SealingError: the chunks do not contain this file.
            Unavailable: the msg-db cannot be reached.
        """
        count, pieces = sealed_files.chunk_count(claim.file_bytes), []
        number, skipped = divmod(claim.start, CHUNK_BYTES)
        end = -(-(claim.start + claim.size) // CHUNK_BYTES)
        while number < end:
            chunks = await self.chunks(key, claim.reader, number)
            if not chunks:
                return None
            for at in range(0, len(chunks), SEALED_CHUNK_BYTES):
                chunk = chunks[at : at + SEALED_CHUNK_BYTES]
                pieces.append(sealed_files.open_chunk(claim.file_key, number, number == count - 1, chunk))
                number += 1
        content = b"".join(pieces)[skipped : skipped + claim.size]
        if len(content) != claim.size:
            raise sealing.SealingError("the files are cut off")
        return content

    async def destroy(self, key: str, link_proof: bytes) -> bool:
        """Delete a note unread. Returns and raises what `Notes.destroy` does."""
        destroyed = await self._notes.destroy(key, sealing.verifier_of(link_proof))
        if destroyed:
            metrics.NOTES_DESTROYED.inc()
        return destroyed

    async def received(self, key: str, reader: bytes, mark: bytes | None, files: bool = False) -> bool:
        """Acknowledge a delivery, and its files too if the reader has them. Returns and raises what
        `Notes.received` does."""
        if files:
            await self._notes.revealed_files.received(delivery_id(key, reader))
        return await self._notes.received(key, reader, mark)

    async def chunks(self, key: str, reader: bytes, first: int) -> bytes:
        """Some chunks of the files that this reader revealed. Returns and raises what `Notes.chunks` does."""
        return await self._notes.chunks(key, reader, first)

    @property
    def files(self) -> Files:
        """The uploads."""
        return self._notes.files

    def close(self) -> None:
        self._stretcher.close()


def _counted(revealed: Revealed | None) -> Revealed | None:
    (metrics.NOTES_REFUSED if revealed is None else metrics.NOTES_REVEALED).inc()
    return revealed
