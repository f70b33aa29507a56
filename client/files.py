"""Files of a message: sealed from the disk to the service, and opened from the service to the disk.

A few MiB are in memory, never a whole file. Requests are repeated until they are answered.
"""

from __future__ import annotations

import collections
import contextlib
import mimetypes
import os
import re
import secrets
import shutil
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeVar

from client.failures import Exit, Failure, UsageError
from client.progress import Progress, in_bytes
from client.service import Service
from server import sealed_files
from server.sealed_files import CHUNK_BYTES, MAX_CHUNKS, SEALED_CHUNK_BYTES, File
from server.sealing import DerivedKeys, SealingError, file_key_of

Result = TypeVar("Result")

NONCE_LENGTH = 32
AT_ONCE = 3  # requests under way
LONGEST_NAME = 200  # bytes of a name on the disk


class Source(NamedTuple):
    """An open file that is to be sent."""

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
            found.append(Source(File(_fitting(Path(path).name), kind, size), opened))
        if len(found) > sealed_files.MAX_FILES:
            raise UsageError(f"A message can have at most {sealed_files.MAX_FILES} files. Nothing was sent.")
        yield found


def _fitting(name: str) -> str:
    """A name that the format takes. Its end counts, since it says what the file is."""
    encoded = name.encode("utf-8", "replace")
    return encoded[-sealed_files.MAX_NAME_BYTES :].decode("utf-8", "ignore")


def upload(service: Service, keys: DerivedKeys, message: str, files: list[Source]) -> tuple[bytes, bytes]:
    """Seal and upload files; returns the sealed note, and the nonce of the upload to put it with.

    Raises:
        Failure: a file changed, the service refuses, or it was away for too long.
    """
    index = [source.file for source in files]
    try:
        sealed = sealed_files.seal_note(keys, message, index)
    except ValueError as error:
        raise UsageError(f"These files cannot be sent: {error}. Nothing was sent.") from None
    key, nonce = file_key_of(keys, sealed), secrets.token_bytes(NONCE_LENGTH)
    file_bytes = sealed_files.stream_length(index)
    count = sealed_files.chunk_count(file_bytes)
    service.begin_upload(nonce, file_bytes)
    progress = Progress("Sending", file_bytes, in_bytes)

    def put(first: int, chunks: bytes, size: int) -> int:
        service.put_chunks(nonce, first, chunks)
        return size

    def bodies() -> Iterator[Callable[[], int]]:
        stream = _stream(files, file_bytes)
        first = 0
        while plain := next(stream, b""):
            # Sealed once: a request that is repeated has the same bytes.
            chunks = b"".join(
                sealed_files.seal_chunk(key, number, number == count - 1, plain[at : at + CHUNK_BYTES])
                for number, at in enumerate(range(0, len(plain), CHUNK_BYTES), first)
            )
            yield partial(put, first, chunks, len(plain))
            first += MAX_CHUNKS

    for size in _side_by_side(bodies()):
        progress.add(size)
    return sealed, nonce


def _stream(files: list[Source], file_bytes: int) -> Iterator[bytes]:
    """The files one after another, and zeros up to the padded length, in parts of MAX_CHUNKS chunks."""
    part = bytearray()
    for source in files:
        left = source.file.size
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


def _side_by_side(works: Iterator[Callable[[], Result]]) -> Iterator[Result]:
    """The results of all works in their order, a few of which are done at the same time."""
    under_way: collections.deque[Future[Result]] = collections.deque()
    with ThreadPoolExecutor(AT_ONCE) as threads:
        try:
            for work in works:
                under_way.append(threads.submit(work))
                if len(under_way) == AT_ONCE:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:
            for future in under_way:
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

    Each file is written beside its name and gets that name once all files are whole. No file is replaced.

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
        for number, answer in enumerate(_side_by_side(fetches())):
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
        for _ in stream:  # the padding: only then is it known that nothing is missing
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


# By Windows.
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\.|$)", re.IGNORECASE)
_INVISIBLE = ("Cc", "Cf", "Cs", "Zl", "Zp")


def safe_name(name: str) -> str:
    """A file name that is only a name, and that looks like what it is, on every system. As in files.js."""
    safe = "".join(character for character in name if unicodedata.category(character) not in _INVISIBLE)
    safe = re.sub(r'[<>:"/\\|?*]', "_", safe).strip(". ")
    if _RESERVED.match(safe):
        safe = f"_{safe}"
    dot = safe.rfind(".")
    end = safe[dot:] if dot > 0 and len(safe) - dot <= 16 else ""
    start = safe[: len(safe) - len(end)]
    while len((start + end).encode("utf-8")) > LONGEST_NAME:
        start = start[:-1]
    return start + end or "file"
