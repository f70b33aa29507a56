"""Keys as letters and as numbers."""

import numpy as np
import pytest

from kgs import blocks
from kgs.permutation import Order
from server.keys import ALPHABET

NUMBERS = Order(bytes(32)).numbers(0, 1024)


def letters_of(numbers):
    rows = np.frombuffer(blocks.rows(0, numbers), blocks.ROW)
    return rows["keys"].tobytes()


def test_a_key_is_its_number_with_64_digits():
    """The first letter is the most significant digit, in the order of the alphabet."""
    numbers = np.arange(256, dtype=np.uint32)
    numbers[:3] = [0, (1 << 30) - 1, 1 << 24 | 2 << 18 | 3 << 12 | 4 << 6 | 5]

    letters = letters_of(numbers)

    assert letters[:15] == (ALPHABET[0] * 5 + ALPHABET[63] * 5 + ALPHABET[1:6]).encode()


def test_letters_give_the_numbers_back():
    """Reading is the reverse of writing."""
    numbers, strange = blocks.numbers(letters_of(NUMBERS))

    assert np.array_equal(numbers.ravel(), NUMBERS)
    assert not strange.any()


@pytest.mark.parametrize("place", range(5))
def test_a_letter_outside_the_alphabet_is_noticed(place):
    """Wherever it is in a key, that key and no other is reported."""
    letters = bytearray(letters_of(NUMBERS))
    letters[(256 + 7) * 5 + place] = ord("+")

    _, strange = blocks.numbers(bytes(letters))

    assert np.argwhere(strange).tolist() == [[1, 7]]
