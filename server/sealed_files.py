"""The sealed format of a note with files, version 3: bytes in, bytes out. It adds to `sealing.py`.

    sealed       = 0x03 || nonce || AES-256-GCM(seal key, nonce, content || 0x80 || zeros, 0x03)
    content      = length of the index (4 bytes, big endian) || index || message
    index        = a JSON array in UTF-8 of {"name", "type", "size"}, at most 20 files and 16 KiB
    stream       = the files' bytes, one after another || zeros up to Padmé(length), at least 256 bytes
    file key     = HKDF-SHA256(seal key, salt SHA-256(sealed), "note-whisperer/2 files")
    chunk        = AES-256-GCM(file key, number (11 bytes, big endian) || last, 64 KiB of the stream)
    last         = 0x01 for the last chunk, which may be shorter, else 0x00

The index says how long the stream is, and so how many chunks there are. A chunk that was left out, repeated,
moved or taken from another note does not open: its number, its last-chunk flag and the sealed bytes of its
note are part of its nonce or of its key. Each sealed note has a random nonce, and so its own file key; a
writer seals each chunk once, and repeats a lost request with the same bytes.

`static/js/files.js` is the same in the browser; both are held to tests/vectors/files-v1.json.
Sources: Hoang, Reyhanitabar, Rogaway, Vizár, "Online Authenticated-Encryption and its Nonce-Reuse
Misuse-Resistance", 2015 (STREAM); age's payload; Nikitin et al., "Reducing Metadata Leakage from Encrypted
Files and Communication with PURBs", 2019 (Padmé: at most 12 % longer).
"""

from __future__ import annotations

import json
import re
import secrets
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from server import sealing
from server.sealing import DerivedKeys, SealingError

VERSION = b"\x03"
MAX_FILES = 20
MAX_INDEX_BYTES = 16 << 10
MAX_NAME_BYTES = 255
MAX_TYPE_BYTES = 127
LARGEST = 1 << 40  # bytes of all files; operators allow far less
LONGEST_NAME = 200  # bytes of a name on the disk

CHUNK_BYTES = 64 << 10
SEALED_CHUNK_BYTES = CHUNK_BYTES + sealing.TAG_LENGTH
SHORTEST_STREAM = 256

# Of one request: about a MiB. It begins with the nonce of the upload and the number of its first chunk.
MAX_CHUNKS = 16
NUMBER_BYTES = 4
HIGHEST_NUMBER = LARGEST // CHUNK_BYTES
MAX_REQUEST_BYTES = sealing.DIGEST_LENGTH + NUMBER_BYTES + MAX_CHUNKS * SEALED_CHUNK_BYTES

_LENGTH_BYTES = 4  # of the index's length


class File(NamedTuple):
    """A line of the index: the file's name as its writer gave it, its media type or "", and its size in bytes."""

    name: str
    type: str
    size: int


def seal_note(keys: DerivedKeys, message: str, files: Sequence[File]) -> bytes:
    """Seal a message and the index of its files.

    Raises:
        ValueError: the files are too many, or a name, a type or a size is out of bounds.
    """
    return _seal_note(keys, message, files, secrets.token_bytes(sealing.NONCE_LENGTH))


def _seal_note(keys: DerivedKeys, message: str, files: Sequence[File], nonce: bytes) -> bytes:
    index = json.dumps([file._asdict() for file in files], ensure_ascii=False, separators=(",", ":"))
    _check_index([file._asdict() for file in files])
    encoded = index.encode("utf-8")
    if len(encoded) > MAX_INDEX_BYTES:
        raise ValueError("the names of the files are too long together")
    content = len(encoded).to_bytes(_LENGTH_BYTES, "big") + encoded + message.encode("utf-8")
    return sealing.seal_content(keys, content, VERSION, nonce)


def open_note(keys: DerivedKeys, sealed: bytes) -> tuple[str, list[File]]:
    """The message and the index of what `seal_note` made.

    Raises:
        SealingError: it was sealed with other keys, or never in this format.
    """
    content = sealing.open_content(keys, sealed, VERSION)
    end = _LENGTH_BYTES + int.from_bytes(content[:_LENGTH_BYTES], "big")
    try:
        if not _LENGTH_BYTES < end <= min(len(content), _LENGTH_BYTES + MAX_INDEX_BYTES):
            raise ValueError("the index is too long")
        files = _check_index(json.loads(content[_LENGTH_BYTES:end].decode("utf-8")))
        return content[end:].decode("utf-8"), files
    except (ValueError, RecursionError):
        raise SealingError("not a message with files") from None


def open_any(keys: DerivedKeys, sealed: bytes) -> tuple[str, list[File]]:
    """The message and its files, if it has any, of a sealed note of either version. Raises SealingError."""
    if sealed.startswith(VERSION):
        return open_note(keys, sealed)
    return sealing.open_sealed(keys, sealed), []


def _check_index(index: Any) -> list[File]:
    """Raises ValueError if a line is not what the format allows."""
    if not isinstance(index, list) or not 1 <= len(index) <= MAX_FILES:
        raise ValueError(f"takes 1 to {MAX_FILES} files")
    for line in index:
        if not isinstance(line, dict) or line.keys() != {"name", "type", "size"}:
            raise ValueError("a line of the index has a name, a type and a size")
        for name, limit in (("name", MAX_NAME_BYTES), ("type", MAX_TYPE_BYTES)):
            if not isinstance(line[name], str) or len(line[name].encode("utf-8")) > limit:
                raise ValueError(f"a file's {name} is a text of at most {limit} bytes")
        if type(line["size"]) is not int or not 0 <= line["size"] <= LARGEST:
            raise ValueError("a file's size is a number of bytes")
    return [File(line["name"], line["type"], line["size"]) for line in index]


def stream_length(files: Iterable[File]) -> int:
    """How many bytes the stream of these files has, with its padding."""
    return padded_length(sum(file.size for file in files))


def padded_length(length: int) -> int:
    """Padmé: the next multiple of 2^(E - S), where E = floor(log2 length) and S is the number of bits of E."""
    length = max(length, SHORTEST_STREAM)
    exponent = length.bit_length() - 1
    unit = 1 << (exponent - exponent.bit_length())
    return -(-length // unit) * unit


def chunk_count(stream_bytes: int) -> int:
    """The number of chunks of a stream of this many bytes."""
    return -(-stream_bytes // CHUNK_BYTES)


def chunk_length(stream_bytes: int, number: int) -> int:
    """How many bytes of the stream a chunk has, without its tag."""
    return min(CHUNK_BYTES, stream_bytes - number * CHUNK_BYTES)


def seal_chunk(file_key: bytes, number: int, last: bool, plain: bytes) -> bytes:
    """Encrypt one chunk of the stream."""
    return AESGCM(file_key).encrypt(_nonce(number, last), plain, None)


def seal_stream(file_key: bytes, stream: bytes) -> list[bytes]:
    """Encrypt a whole stream, with its padding, chunk by chunk."""
    count = chunk_count(len(stream))
    return [
        seal_chunk(file_key, number, number == count - 1, stream[at : at + CHUNK_BYTES])
        for number, at in enumerate(range(0, len(stream), CHUNK_BYTES))
    ]


def open_chunk(file_key: bytes, number: int, last: bool, chunk: bytes) -> bytes:
    """Decrypt one chunk of the stream.

    Raises:
        SealingError: it is not this chunk of this note.
    """
    try:
        return AESGCM(file_key).decrypt(_nonce(number, last), chunk, None)
    except (InvalidTag, ValueError):
        raise SealingError(f"chunk {number} was changed, moved or cut off") from None


def _nonce(number: int, last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([last])


def open_stream(file_key: bytes, stream_bytes: int, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Decrypt all chunks in their order, and yield the stream piece by piece.

    Args:
        stream_bytes: as `stream_length` says.

    Raises:
        SealingError: a chunk is not the next one of this note, or there are too few or too many.
    """
    count, number = chunk_count(stream_bytes), 0
    for number, chunk in enumerate(chunks, 1):
        plain = open_chunk(file_key, number - 1, number == count, chunk)
        if number > count or len(plain) != chunk_length(stream_bytes, number - 1):
            raise SealingError("the files are longer or shorter than their index says")
        yield plain
    if number != count:
        raise SealingError("the files are cut off")


# Windows reserves these names.
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\.|$)", re.IGNORECASE)
_INVISIBLE = ("Cc", "Cf", "Cs", "Zl", "Zp")


def safe_name(name: str) -> str:
    """A file name that is safe on every system: not a path, not reserved, all visible. The same as in files.js."""
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
