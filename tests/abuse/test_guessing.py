"""An attacker who guesses learns nothing, neither from answers nor from their timing."""

import http.client
import json
import random
import time
import urllib.parse

import numpy
import pytest

from server import sealing
from tests.abuse.conftest import FRONTS, HOSTILE_REQUESTS

# A Mann-Whitney test on interleaved samples. If there is no difference, its statistic z is normal with
# variance 1, so |z| > 5 happens by chance once in 1.7 million runs. Suppose an attacker compares one answer
# of each kind and guesses right in more than 50 % + 6.3 / sqrt(6 n) of all cases: then the test with n
# samples of each kind fails in 9 runs of 10. That is 63 % with 400 samples, and 54 % with 5,000. More samples
# would find that the database reads one more page if the note exists, which is a hundredth of the time.
ALARM = 5
SHORT = HOSTILE_REQUESTS < 5000
SAMPLES = 400 if SHORT else min(HOSTILE_REQUESTS // 3, 5000)


def z_of(a, b):
    """The statistic of the Mann-Whitney test, normal with variance 1 if `a` and `b` are alike."""
    ranks = numpy.argsort(numpy.argsort(numpy.concatenate([a, b]))) + 1
    n, m = len(a), len(b)
    u = ranks[:n].sum() - n * (n + 1) / 2
    return (u - n * m / 2) / numpy.sqrt(n * m * (n + m + 1) / 12)


class Guesser:
    """Sends requests on one connection, and measures their time."""

    def __init__(self, address):
        self._connection = http.client.HTTPConnection(*address)

    def ask(self, key, fields):
        """Try to reveal a note; returns the answer and its time in seconds."""
        body = urllib.parse.urlencode(fields)
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        start = time.perf_counter()
        self._connection.request("POST", f"/{key}/reveal", body, headers)
        answer = self._connection.getresponse()
        content = answer.read()
        seconds = time.perf_counter() - start
        shown = {name: value for name, value in answer.getheaders() if name != "Date"}
        return (answer.status, shown, content), seconds

    def close(self):
        self._connection.close()


@pytest.fixture
def guesser(front):
    guesser = Guesser(front.address)
    yield guesser
    guesser.close()


# The first claim needs the most statements.
CLAIMS = {
    "a token and a passphrase": lambda: {"token": sealing.new_token(), "passphrase": "guess"},
    "a token": lambda: {"token": sealing.new_token()},
    "a proof": lambda: {"proof": sealing.to_text(random.randbytes(32))},
}


def test_the_statistic_finds_what_it_says():
    """The statistic stays below ALARM for equal samples, and finds a difference of the stated size."""
    chance = numpy.random.default_rng(5)
    found = [z_of(chance.gamma(2, size=400), chance.gamma(2, size=400)) for _ in range(300)]
    assert max(map(abs, found)) < ALARM
    assert 0.8 < numpy.std(found) < 1.2

    # With normal samples this far apart, the second is the greater in 63 % of all pairs.
    apart = 0.33 * numpy.sqrt(2)
    found = [z_of(chance.normal(size=400), chance.normal(apart, size=400)) for _ in range(300)]
    assert numpy.mean([abs(z) > ALARM for z in found]) > 0.85


@pytest.mark.parametrize("front", FRONTS[:1], indirect=True)
@pytest.mark.parametrize("claim", list(CLAIMS)[:1] if SHORT else CLAIMS)
def test_a_wrong_token_and_no_note_cannot_be_told_apart(front, guesser, claim):
    """Both get the same bytes, and their times differ by less than the test can find."""
    keys = [front.leave()[0] for _ in range(50)]
    chance = random.Random(8)
    seen, seconds = set(), {True: [], False: []}
    for _ in range(2 * SAMPLES):
        there = chance.random() < 0.5
        key = chance.choice(keys) if there else "".join(chance.choices("-_", k=5))

        answer, taken = guesser.ask(key, CLAIMS[claim]())

        seen.add(json.dumps([answer[0], answer[1], answer[2].decode()]))
        seconds[there].append(taken)

    assert len(seen) == 1
    z = z_of(seconds[True], seconds[False])
    medians = [f"{numpy.median(seconds[there]) * 1e6:.0f}" for there in (True, False)]
    print(f"with {claim}, {SAMPLES} times each: z = {z:.2f}; medians {' and '.join(medians)} µs")
    assert abs(z) < ALARM
