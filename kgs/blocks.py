"""Blocks of keys as bytes: from numbers to letters and rows for COPY, and from letters to numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from server.keys import ALL_BLOCKS as ALL_BLOCKS
from server.keys import ALPHABET, KEY_LENGTH, KEYS_PER_BLOCK

ALL_KEYS = ALL_BLOCKS * KEYS_PER_BLOCK
BLOCK_LENGTH = KEYS_PER_BLOCK * KEY_LENGTH
NO_LETTERS = 1 << 12  # larger than the number of any two letters

# Two letters at a time are twice as fast as one at a time: a key is two pairs and one letter.
KEY = np.dtype([("pair", "u2"), ("next_pair", "u2"), ("letter", "u1")])

# A row in COPY's binary format: how many fields; then each field's length and bytes.
ROW = np.dtype(
    [
        ("fields", ">i2"),
        ("id_length", ">i4"),
        ("id", ">i4"),
        ("keys_length", ">i4"),
        ("keys", KEY, KEYS_PER_BLOCK),
    ]
)
COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
COPY_TRAILER = b"\xff\xff"

_LETTER = np.frombuffer(ALPHABET.encode(), "u1")
_PAIR = np.frombuffer("".join(a + b for a in ALPHABET for b in ALPHABET).encode(), "u2")
_LETTER_NUMBER = np.full(1 << 8, NO_LETTERS, np.uint32)
_LETTER_NUMBER[_LETTER] = np.arange(_LETTER.size)
_PAIR_NUMBER = np.full(1 << 16, NO_LETTERS, np.uint32)
_PAIR_NUMBER[_PAIR] = np.arange(_PAIR.size)


def rows(first: int, numbers: NDArray[np.uint32]) -> bytes:
    """Make rows of `key_block` in COPY's binary format.

    Args:
        first: id of the first block.
        numbers: of the keys, KEYS_PER_BLOCK for each block.
    """
    numbers = numbers.reshape(-1, KEYS_PER_BLOCK)
    result = np.empty(len(numbers), ROW)
    result["fields"] = 2
    result["id_length"] = 4
    result["id"] = np.arange(first, first + len(numbers))
    result["keys_length"] = BLOCK_LENGTH
    result["keys"]["pair"] = _PAIR.take(numbers >> 18)
    result["keys"]["next_pair"] = _PAIR.take(numbers >> 6 & 0xFFF)
    result["keys"]["letter"] = _LETTER.take(numbers & 0x3F)
    return result.tobytes()


def numbers(letters: bytes) -> tuple[NDArray[np.uint32], NDArray[np.bool_]]:
    """Return the numbers of keys, and which of them are invalid because a letter is not in the alphabet.

    Args:
        letters: of whole blocks, one after the other.

    Returns:
        Two arrays, with a row for each block.
    """
    keys = np.frombuffer(letters, KEY).reshape(-1, KEYS_PER_BLOCK)
    pair, next_pair = _PAIR_NUMBER.take(keys["pair"]), _PAIR_NUMBER.take(keys["next_pair"])
    letter = _LETTER_NUMBER.take(keys["letter"])
    strange = (pair | next_pair | letter) >= NO_LETTERS
    return pair << np.uint32(18) | next_pair << np.uint32(6) | letter, strange
