"""A client that guesses learns nothing from the answers. `make timing` compares their times."""

import numpy
import pytest

from tests.abuse.timing import ALARM, QUESTIONS, Guesser, ask_all, guessed_right, keys_of, z_of


@pytest.fixture
def guesser(front):
    guesser = Guesser(front.address)
    yield guesser
    guesser.close()


@pytest.mark.parametrize("has_passphrase", [False, True], ids=["no passphrase", "passphrase"])
@pytest.mark.parametrize("question", QUESTIONS)
def test_without_the_link_every_note_answers_like_one_that_never_existed(guesser, question, has_passphrase):
    """All get the same bytes, from the server and through nginx."""
    keys = keys_of(guesser, has_passphrase, count=3)

    seen, _ = ask_all(guesser, keys, QUESTIONS[question], samples=6)

    (answer,) = seen
    assert answer.startswith("[404, ")


def test_the_statistic_finds_what_it_says():
    """The statistic stays below ALARM for equal samples, and finds a difference of the stated size."""
    chance = numpy.random.default_rng(5)
    found = [z_of(chance.gamma(2, size=400), chance.gamma(2, size=400)) for _ in range(300)]
    assert max(map(abs, found)) < ALARM
    assert 0.8 < numpy.std(found) < 1.2

    # With normal samples this far apart, the second is the greater in 63 % of all pairs.
    apart = 0.33 * numpy.sqrt(2)
    pairs = [(chance.normal(size=400), chance.normal(apart, size=400)) for _ in range(300)]
    assert numpy.mean([abs(z_of(*pair)) > ALARM for pair in pairs]) > 0.85
    assert 0.62 < numpy.mean([guessed_right(*pair) for pair in pairs]) < 0.64
