"""The sealed format of files, held to the vectors that the browser is held to as well."""

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server import sealed_files, sealing
from server.sealed_files import File

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "files-v1.json").read_text("utf-8"))
STREAMS = VECTORS["streams"]
KEYS = sealing.derive_keys(STREAMS[0]["token"])


def content(length):
    """The bytes of all files of a vector: byte i is (7 i + i div 256) mod 251."""
    return bytes([(7 * i + i // 256) % 251 for i in range(length)])


def sealed_stream(vector):
    """The chunks that the files of a vector are sealed to."""
    keys = sealing.derive_keys(vector["token"])
    sealed = sealing.from_text(vector["sealed"])
    key = sealing.file_key_of(keys, sealed)
    padded = content(sum(file["size"] for file in vector["files"])).ljust(vector["stream_bytes"], b"\0")
    count = sealed_files.chunk_count(len(padded))
    size = sealed_files.CHUNK_BYTES
    return key, [
        sealed_files.seal_chunk(key, n, n == count - 1, padded[n * size : (n + 1) * size])
        for n in range(count)
    ]


@pytest.mark.parametrize("vector", STREAMS, ids=[vector["name"] for vector in STREAMS])
def test_vectors(vector):
    """Every vector gives its sealed note, its file key and its chunks, and opens to its files."""
    keys = sealing.derive_keys(vector["token"])
    files = [File(**file) for file in vector["files"]]
    sealed = sealed_files._seal_note(keys, vector["message"], files, sealing.from_text(vector["nonce"]))
    key, chunks = sealed_stream(vector)

    assert sealing.to_text(sealed) == vector["sealed"]
    assert sealed_files.open_note(keys, sealed) == (vector["message"], files)
    assert sealing.to_text(key) == vector["file_key"]
    assert sealed_files.stream_length(files) == vector["stream_bytes"]
    assert [hashlib.sha256(chunk).hexdigest() for chunk in chunks] == vector["chunk_sha256"]
    opened = b"".join(sealed_files.open_stream(key, vector["stream_bytes"], chunks))
    assert opened == content(sum(file.size for file in files)).ljust(vector["stream_bytes"], b"\0")


@pytest.mark.parametrize("vector", VECTORS["refused"], ids=[vector["name"] for vector in VECTORS["refused"]])
def test_what_is_refused(vector):
    """Chunks that are cut off, moved, repeated, changed or of another note do not open as the note's stream."""
    streams = [sealed_stream(stream) for stream in STREAMS]
    offered = [bytearray(streams[stream][1][number]) for stream, number in vector["chunks"]]
    if vector["name"] == "one bit changed":
        offered[1][40_000] ^= 1
    if vector["name"] == "last chunk cut off in the middle":
        del offered[-1][-100:]
    key, _ = streams[vector["stream"]]

    with pytest.raises(sealing.SealingError):
        list(sealed_files.open_stream(key, STREAMS[vector["stream"]]["stream_bytes"], map(bytes, offered)))


@pytest.mark.parametrize("vector", VECTORS["padme"])
def test_padded_lengths_of_vectors(vector):
    """Padmé gives these lengths, in the browser too."""
    assert sealed_files.padded_length(vector["length"]) == vector["padded"]


@given(st.integers(0, 1 << 40))
def test_padding_adds_an_eighth_at_most(length):
    """A padded length holds the stream, is padded already, and is 12 % longer at most."""
    padded = sealed_files.padded_length(length)

    assert length <= padded <= max(256, 1.12 * length)
    assert sealed_files.padded_length(padded) == padded


@pytest.mark.parametrize(
    "files",
    [
        [],
        [File("a", "", 1)] * 21,
        [File("a" * 256, "", 1)],
        [File("a", "x" * 128, 1)],
        [File("a", "", -1)],
        [File("a", "", True)],
        [File("a", "", 1 << 41)],
        [File("\ud800", "", 1)],
    ],
)
def test_an_index_out_of_bounds_is_not_sealed(files):
    """Too many files, names and types that are too long, sizes that are none."""
    with pytest.raises(ValueError):
        sealed_files.seal_note(KEYS, "", files)


@pytest.mark.parametrize(
    "hostile",
    [
        b"",
        b"\0\0\0\0",
        b"\xff\xff\xff\xff[]",
        b"\0\0\0\2[]",
        b"\0\0\0\1{",
        b"\0\0\0\x02{}",
        b"\0\0\0\x04[[]]",
        b'\0\0\0\x1d[{"name":1,"type":"","size":1}',
        b"\0\0\0\x0a[" + b"[" * 9,
        b'\0\0\0\x20[{"name":"a","type":"","size":1}]\xff',
        b'\0\0\0\x22[{"name":"a","type":"","size":1.5}]',
        b'\0\0\0\x28[{"name":"a","type":"","size":1,"path":1}]',
    ],
)
def test_a_hostile_index_is_refused(hostile):
    """Whoever seals a note may seal anything: what is no index raises one error."""
    sealed = sealing.seal_content(KEYS, hostile, sealed_files.VERSION, b"n" * 12)

    with pytest.raises(sealing.SealingError):
        sealed_files.open_note(KEYS, sealed)


def test_a_note_with_files_is_no_message_without_files():
    """The version is sealed too: neither opens as the other."""
    with_files = sealed_files.seal_note(KEYS, "text", [File("a", "", 1)])
    without = sealing.seal(KEYS, "text")

    for sealed in (with_files, b"\x02" + with_files[1:]):
        with pytest.raises(sealing.SealingError):
            sealing.open_sealed(KEYS, sealed)
    for sealed in (without, b"\x03" + without[1:]):
        with pytest.raises(sealing.SealingError):
            sealed_files.open_note(KEYS, sealed)
