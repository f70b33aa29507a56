"""The order of all keys: a keyed permutation of their numbers. `blocks.py` turns numbers into letters."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

KEY_BITS = 30  # five letters of six bits
SEED_BYTES = 32
ROUNDS = 10


class Order:
    """The permutation that a seed gives: position in the key table → number of a key.

    It is a Feistel network: each round replaces one half of the number by its XOR with a function of the
    other half. That can be undone, whatever the function is, so every number occurs exactly once. Without
    the seed, the order cannot be told from a random one.
    """

    def __init__(self, seed: bytes, bits: int = KEY_BITS) -> None:
        """
        Args:
            seed: SEED_BYTES random bytes.
            bits: length of a number; even, and at most 32.
        """
        self._half = np.uint32(bits // 2)
        self._mask = np.uint32((1 << bits // 2) - 1)
        # The function of each round, as a table. SHAKE-256 (FIPS 202) returns any number of bytes, and the
        # same ones in every version of Python: a half-filled key table must continue in its order.
        self._rounds = [
            np.frombuffer(hashlib.shake_256(seed + bytes([number])).digest(2 << bits // 2), "<u2")
            & self._mask.astype(np.uint16)
            for number in range(ROUNDS)
        ]

    def numbers(self, first: int, last: int) -> NDArray[np.uint32]:
        """Return the numbers at the positions from `first` up to `last`, not included."""
        positions = np.arange(first, last, dtype=np.uint32)
        left = (positions >> self._half).astype(np.uint16)
        right = (positions & self._mask).astype(np.uint16)
        for function in self._rounds:
            left ^= function.take(right, mode="clip")
            left, right = right, left
        return left.astype(np.uint32) << self._half | right
