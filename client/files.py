"""Files of a message: sealed from the disk to the service, and opened from the service to the disk.

A few MiB are in memory, never a whole file. Requests are repeated until they are answered.
"""

from __future__ import annotations

import collections
import contextlib
import mimetypes
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeVar

from client.failures import Exit, Failure, UsageError
from client.progress import Progress, in_bytes
from client.service import Incomplete, Placed, Service
from server import sealed_files
from server.sealed_files import CHUNK_BYTES, MAX_CHUNKS, SEALED_CHUNK_BYTES, File, safe_name
from server.sealing import TAG_LENGTH, DerivedKeys, SealingError, file_key_of

Result = TypeVar("Result")

NONCE_LENGTH = 32
MAX_IN_PROGRESS = 3  # requests
MAX_RESUMES = 5  # times that a service may lose chunks


class Source(NamedTuple):
    """An open file to send."""

    file: File
    open: BinaryIO


@contextlib.contextmanager
def sources(paths: Sequence[str]) -> Iterator[list[Source]]:
    """The files at these paths, open, for a `with`. Raises UsageError."""
    with contextlib.ExitStack() as stack:
        found = []
        for path in paths:
            try:
                if not Path(path).is_file():  # opening a pipe might wait for ever
                    raise UsageError(
                        "Only plain files can be sent. For a folder or a device, make an archive. Nothing was sent."
                    )
                opened = stack.enter_context(open(path, "rb"))
                size = os.fstat(opened.fileno()).st_size
            except OSError as error:
                raise UsageError(f"A file could not be read: {error.strerror}. Nothing was sent.") from None
            kind = mimetypes.guess_type(path)[0] or ""
            found.append(Source(File(_shortened(Path(path).name), kind, size), opened))
        if len(found) > sealed_files.MAX_FILES:
            raise UsageError(f"A message can have at most {sealed_files.MAX_FILES} files. Nothing was sent.")
        yield found


def _shortened(name: str) -> str:
    """A name short enough for the format. Its end stays, because it says what the file is."""
    encoded = name.encode("utf-8", "replace")
    return encoded[-sealed_files.MAX_NAME_BYTES :].decode("utf-8", "ignore")


class Upload:
    """Files of one message: sealed as they are read, and put with the message."""

    def __init__(self, service: Service, keys: DerivedKeys, message: str, files: list[Source]) -> None:
        """
        Raises:
            UsageError: the format does not take these files.
        """
        self._service, self._keys, self._files = service, keys, files
        index = [source.file for source in files]
        try:
            self.sealed = sealed_files.seal_note(keys, message, index)
        except ValueError as error:
            raise UsageError(f"These files cannot be sent: {error}. Nothing was sent.") from None
        self._file_key, self._nonce = file_key_of(keys, self.sealed), secrets.token_bytes(NONCE_LENGTH)
        self._file_bytes = sealed_files.stream_length(index)
        self._tags: list[bytes] = []  # of the chunks that were sealed

    def put(self, has_passphrase: bool, lifetime: int | None = None) -> Placed:
        """Send all chunks and put the note; if the service has lost chunks, send them again.

        Raises:
            Failure: a file changed, the service refuses, or it was unavailable for too long.
        """
        self._service.begin_upload(self._nonce, self._file_bytes)
        self._send(0)
        for _ in range(MAX_RESUMES):
            try:
                return self._service.put(self._keys, self.sealed, has_passphrase, lifetime, self._nonce)
            except Incomplete as incomplete:
                self._send(incomplete.next)
        raise Failure(Exit.UNREACHABLE, "The service has lost parts of the files again and again.")

    def _send(self, first: int) -> None:
        progress = Progress("Sending", self._file_bytes - first * CHUNK_BYTES, in_bytes)
        for size in _in_parallel(self._requests(first)):
            progress.add(size)

    def _requests(self, first: int) -> Iterator[Callable[[], int]]:
        for plain in _stream(self._files, self._file_bytes, first * CHUNK_BYTES):
            chunks = b"".join(
                self._sealed(number, plain[at : at + CHUNK_BYTES])
                for number, at in enumerate(range(0, len(plain), CHUNK_BYTES), first)
            )
            yield partial(self._put_chunks, first, chunks, len(plain))
            first += MAX_CHUNKS

    def _sealed(self, number: int, plain: bytes) -> bytes:
        """A chunk, the same each time: its nonce is its number, so other bytes would reveal the key stream."""
        last = number == sealed_files.chunk_count(self._file_bytes) - 1
        chunk = sealed_files.seal_chunk(self._file_key, number, last, plain)
        tag = chunk[-TAG_LENGTH:]
        if number == len(self._tags):
            self._tags.append(tag)
        elif tag != self._tags[number]:
            raise Failure(Exit.FAILED, "A file changed while it was sent. Nothing was put.")
        return chunk

    def _put_chunks(self, first: int, chunks: bytes, size: int) -> int:
        self._service.put_chunks(self._nonce, first, chunks)
        return size


def _stream(files: list[Source], file_bytes: int, start: int = 0) -> Iterator[bytes]:
    """The files one after another, and zeros up to the padded length, in parts of MAX_CHUNKS chunks.

    Args:
        start: how many bytes to leave out.
    """
    part = bytearray()
    file_bytes -= start
    for source in files:
        skipped = min(start, source.file.size)
        start -= skipped
        source.open.seek(skipped)
        left = source.file.size - skipped
        while left:
            try:
                data = source.open.read(min(left, MAX_CHUNKS * CHUNK_BYTES - len(part)))
            except OSError as error:
                raise Failure(
                    Exit.FAILED, f"A file could not be read: {error.strerror}. Nothing was put."
                ) from None
            if not data:
                raise Failure(Exit.FAILED, "A file became shorter while it was read. Nothing was put.")
            left -= len(data)
            part += data
            if len(part) == MAX_CHUNKS * CHUNK_BYTES:
                yield bytes(part)
                file_bytes -= len(part)
                part.clear()
    part += bytes(file_bytes - len(part))
    for at in range(0, len(part), MAX_CHUNKS * CHUNK_BYTES):
        yield bytes(part[at : at + MAX_CHUNKS * CHUNK_BYTES])


def _in_parallel(works: Iterator[Callable[[], Result]]) -> Iterator[Result]:
    """The results of all works in their order. A few works run at the same time."""
    in_progress: collections.deque[Future[Result]] = collections.deque()
    with ThreadPoolExecutor(MAX_IN_PROGRESS) as threads:
        try:
            for work in works:
                in_progress.append(threads.submit(work))
                if len(in_progress) == MAX_IN_PROGRESS:
                    yield in_progress.popleft().result()
            while in_progress:
                yield in_progress.popleft().result()
        finally:
            for future in in_progress:
                future.cancel()


def prepare_folder(folder: str, file_bytes: int) -> Path:
    """The folder to save files in, made if it is missing, with room for them. Raises UsageError."""
    path = Path(folder)
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = path / f".note-whisperer-{secrets.token_hex(8)}"
        os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        probe.unlink()
        free = shutil.disk_usage(path).free
    except OSError as error:
        raise UsageError(f"The folder cannot be used: {error.strerror}. Nothing was opened.") from None
    if free < file_bytes:
        raise UsageError(
            f"The folder has room for {in_bytes(free)}, and the files have {in_bytes(file_bytes)}. Nothing was opened."
        )
    return path


def save(
    service: Service, key: str, reader: bytes, file_key: bytes, files: list[File], folder: Path
) -> list[Path]:
    """Fetch all chunks and save the files; returns their paths.

    Each file is written beside its name and gets that name once all files are complete. No file is replaced.

    Raises:
        Failure: a chunk was changed, the delivery is over, or the disk refuses.
    """
    file_bytes = sealed_files.stream_length(files)
    count = sealed_files.chunk_count(file_bytes)
    progress = Progress("Fetching", file_bytes, in_bytes)

    def fetches() -> Iterator[Callable[[], bytes]]:
        for first in range(0, count, MAX_CHUNKS):
            yield partial(service.chunks, key, reader, first)

    def chunks() -> Iterator[bytes]:
        for number, answer in enumerate(_in_parallel(fetches())):
            due = min(MAX_CHUNKS, count - number * MAX_CHUNKS)
            if len(answer) > due * SEALED_CHUNK_BYTES:
                raise SealingError("the answer is too long")
            for at in range(0, len(answer), SEALED_CHUNK_BYTES):
                yield answer[at : at + SEALED_CHUNK_BYTES]
            progress.add(min(due * CHUNK_BYTES, file_bytes - number * MAX_CHUNKS * CHUNK_BYTES))

    parts: list[Path] = []
    try:
        stream = sealed_files.open_stream(file_key, file_bytes, chunks())
        plain = memoryview(b"")
        for file in files:
            parts.append(folder / f".note-whisperer-{secrets.token_hex(8)}")
            with open(os.open(parts[-1], os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as disk:
                left = file.size
                while left:
                    plain = plain or memoryview(next(stream))
                    disk.write(plain[:left])
                    taken = min(left, len(plain))
                    plain, left = plain[taken:], left - taken
        for _ in stream:  # the padding, after which nothing can be missing
            pass
        return [_named(part, folder, safe_name(file.name)) for part, file in zip(parts, files, strict=True)]
    except SealingError:
        raise Failure(
            Exit.FAILED, "The files were damaged or changed on their way. None was saved."
        ) from None
    except OSError as error:
        raise Failure(Exit.FAILED, f"A file could not be saved: {error.strerror}.") from None
    finally:
        for part in parts:
            part.unlink(missing_ok=True)


def _named(part: Path, folder: Path, name: str) -> Path:
    """Give a file its name, or that name with a number if there is such a file."""
    stem, dot, end = name.rpartition(".") if "." in name[1:] else (name, "", "")
    number = 1
    while True:
        path = folder / (name if number == 1 else f"{stem} ({number}){dot}{end}")
        try:
            os.link(part, path)  # unlike a rename, it replaces nothing
            return path
        except FileExistsError:
            number += 1
