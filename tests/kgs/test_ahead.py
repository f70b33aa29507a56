"""Work prepared while the last piece is used."""

import threading

import pytest

from kgs.ahead import DEPTH, prepared


def test_the_next_ones_are_prepared_while_this_one_is_used():
    """When an item arrives the following ones are under way, but not all of them."""
    started = [threading.Event() for _ in range(10)]

    def prepare(item):
        started[item].set()
        return item * 10

    arriving = prepared(prepare, range(10))

    assert next(arriving) == (0, 0)
    assert started[DEPTH].wait(10)
    assert not started[DEPTH + 1].is_set()
    assert list(arriving) == [(item, item * 10) for item in range(1, 10)]


def test_nothing_gives_nothing():
    """Without items nothing is prepared."""
    assert list(prepared(str, [])) == []


def test_what_goes_wrong_in_the_thread_reaches_the_caller():
    """An error arrives in the place of the item that it belongs to."""
    arriving = prepared(lambda item: 1 / item, [1, 0])

    assert next(arriving) == (1, 1.0)
    with pytest.raises(ZeroDivisionError):
        next(arriving)
