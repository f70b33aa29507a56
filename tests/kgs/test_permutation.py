"""The order of all keys: complete, reproducible, and without a pattern."""

import numpy as np
import pytest

from kgs.permutation import Order

SEED = bytes(range(32))
LETTERS = 64

# Above it lies one in a million of truly random results, by Wilson and Hilferty's approximation.
RARE = 4.75


def surprise(counts, expected):
    """Chi-squared of counts against what is expected, as a standard normal deviate."""
    freedom = counts.size - 1
    chi_squared = ((counts - expected) ** 2 / expected).sum()
    return ((chi_squared / freedom) ** (1 / 3) - (1 - 2 / (9 * freedom))) / (2 / (9 * freedom)) ** 0.5


@pytest.mark.parametrize("bits", [4, 12, 22])
def test_every_number_occurs_exactly_once(bits):
    """The order is a permutation, whatever the width of its numbers."""
    numbers = Order(SEED, bits).numbers(0, 1 << bits)

    assert np.array_equal(np.sort(numbers), np.arange(1 << bits))


def test_a_part_is_the_same_as_in_the_whole():
    """Where a run begins makes no difference to what lies at a position."""
    order = Order(SEED)

    assert np.array_equal(order.numbers(0, 5000)[1234:4321], order.numbers(1234, 4321))


def test_the_order_of_a_seed_never_changes():
    """A table that was begun by an older version is continued in the same order."""
    order = Order(SEED)

    assert order.numbers(0, 4).tolist() == [309176167, 687834014, 596029396, 57946880]
    assert order.numbers((1 << 30) - 2, 1 << 30).tolist() == [223934743, 574171300]


def test_another_seed_gives_another_order():
    """Two orders have hardly a position in common, even if their seeds differ in one bit."""
    other = bytes([SEED[0] ^ 1]) + SEED[1:]

    same = Order(SEED).numbers(0, 1 << 20) == Order(other).numbers(0, 1 << 20)

    assert same.sum() < 5


@pytest.mark.parametrize("start", [0, 123 << 20, (1 << 30) - (1 << 20)])
def test_letters_are_spread_evenly(start):
    """At each of the five places of a key every letter is as frequent as any other."""
    numbers = Order(SEED).numbers(start, start + (1 << 20))

    for shift in (24, 18, 12, 6, 0):
        counts = np.bincount(numbers >> shift & 63, minlength=LETTERS)
        assert abs(surprise(counts, numbers.size / LETTERS)) < RARE


@pytest.mark.parametrize("start", [0, 123 << 20, (1 << 30) - (1 << 20)])
@pytest.mark.parametrize("distance", [1, 2, 256, 1 << 15])
def test_a_key_says_nothing_about_the_next(start, distance):
    """Between a key and a later one, near or far, every difference of two letters is equally frequent."""
    numbers = Order(SEED).numbers(start, start + (1 << 20)).astype(np.int64)

    for shift in (18, 6, 0):
        letters = numbers >> shift & 0xFFF
        differences = (letters[distance:] - letters[:-distance]) % (LETTERS * LETTERS)
        counts = np.bincount(differences, minlength=LETTERS * LETTERS)
        assert abs(surprise(counts, differences.size / counts.size)) < RARE
