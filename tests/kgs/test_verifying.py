"""Damage in the key table is found, and the block is named."""

import numpy as np
import pytest

from kgs import verifying
from kgs.verifying import Damage
from tests.kgs.conftest import damage, fill

BLOCKS = verifying.PIECE + 10  # more than are read at once


@pytest.fixture
def seeded(key_db_url):
    """The URL of a key-db with some blocks."""
    fill(key_db_url, BLOCKS)
    return key_db_url


def test_an_empty_table_is_valid(key_db_url):
    """Before the first block there is nothing to be wrong."""
    assert list(verifying.verify(key_db_url)) == [(0, [])]


def test_progress_ends_with_the_last_block(seeded):
    """Steps tell how many blocks have been checked so far."""
    assert [step for step, _ in verifying.verify(seeded)] == [0, verifying.PIECE, BLOCKS]


@pytest.mark.parametrize(
    "change, what",
    [
        ("DELETE FROM key_block WHERE id = 7", "is missing"),
        (
            "UPDATE key_block SET keys = overlay(keys PLACING '+' FROM 700) WHERE id = 7",
            "has letters outside the alphabet",
        ),
        (
            "UPDATE key_block SET keys = overlay(keys PLACING 'é' FROM 700 FOR 2) WHERE id = 7",
            "has 1279 letters, not 1280",
        ),
        (
            "UPDATE key_block SET keys = substr(keys, 6) || left(keys, 5) WHERE id = 7",
            "does not hold the keys of its place in the order",
        ),
    ],
)
def test_damage_is_named(seeded, sql, change, what):
    """Which block it is, and what is wrong with it; all others are sound."""
    sql(change)

    assert damage(seeded) == [Damage(7, what)]


def test_a_key_that_occurs_twice_is_named_at_both_places(seeded, sql):
    """A copy of a block is not in its place, and the original repeats it."""
    last = BLOCKS - 1
    sql("UPDATE key_block SET keys = (SELECT keys FROM key_block WHERE id = %s) WHERE id = 7", last)

    assert damage(seeded) == [
        Damage(7, "does not hold the keys of its place in the order"),
        Damage(last, "repeats keys of another block"),
    ]


def test_a_block_beyond_the_last_is_named(seeded, sql):
    """What no run has committed must not be there."""
    sql("INSERT INTO key_block SELECT 1000000, keys FROM key_block WHERE id = 0")

    assert damage(seeded) == [Damage(1_000_000, "lies beyond what is seeded")]


def test_damage_makes_the_command_fail(seeded, sql, kgs):
    """The operator reads the blocks' ids, a number, and what to do; the exit code is not 0."""
    sql("DELETE FROM key_block WHERE id < 50")

    code, _, errors = kgs("verify")

    assert code == 1
    assert "block 0 is missing" in errors
    assert "50 blocks are damaged: restore the key-db" in errors


def test_seen_knows_repetitions_within_a_batch_and_across_batches():
    """Of the eight keys that share a byte of the bitmap, only the same one is a repetition."""
    sharing = np.arange(8, dtype=np.uint32) * np.uint32(verifying.Seen.BYTES) + np.uint32(5)
    seen = verifying.Seen()

    first = seen.add(sharing[[0, 3, 3, 7]])
    second = seen.add(sharing[[1, 0, 7]])
    third = seen.add(sharing)

    assert first.tolist() == [False, True, True, False]
    assert second.tolist() == [False, True, True]
    assert third.tolist() == [True, True, False, True, False, False, False, True]
