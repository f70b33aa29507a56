"""Results computed while the current one is used."""

import threading

import pytest

from kgs.prefetch import DEPTH, prefetch


def test_the_next_results_are_computed_while_this_one_is_used():
    """When a result arrives, the next ones have been started, but not all of them."""
    started = [threading.Event() for _ in range(10)]

    def compute(item):
        started[item].set()
        return item * 10

    results = prefetch(compute, range(10))

    assert next(results) == (0, 0)
    assert started[DEPTH].wait(10)
    assert not started[DEPTH + 1].is_set()
    assert list(results) == [(item, item * 10) for item in range(1, 10)]


def test_no_items_give_no_results():
    """Without items nothing is computed."""
    assert list(prefetch(str, [])) == []


def test_an_error_in_the_thread_reaches_the_caller():
    """It is raised in place of the result of its item."""
    results = prefetch(lambda item: 1 / item, [1, 0])

    assert next(results) == (1, 1.0)
    with pytest.raises(ZeroDivisionError):
        next(results)
