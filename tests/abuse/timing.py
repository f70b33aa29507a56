"""`make timing`: whether the time of a 404 tells that a key had a note, to a client without its link.

Each question is asked about three kinds of keys in random order: keys that never had a note, keys of notes
that were read, and keys of unread notes. A Mann-Whitney test compares the times. If there is no difference,
its statistic z is normal with variance 1. The table also says how often somebody guesses right who compares
one answer of each kind: 50 % is chance.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import random
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy

from kgs import seeding
from server import embedded, schema, sealing
from tests.server_process import serving

ALARM = 5  # |z| is greater by chance once in 1.7 million comparisons
NOTES = 100  # of each kind

Answer = tuple[int, dict[str, str], bytes]
Question = tuple[str, str, Mapping[str, str]]  # method, path with {} for the key, fields


def _digest() -> str:
    return sealing.to_text(random.randbytes(32))


# What a client without the link can ask. The first one needs the most statements.
QUESTIONS: dict[str, Callable[[], Question]] = {
    "a reveal with a wrong token and a passphrase": lambda: (
        "POST",
        "/{}/reveal",
        {"token": sealing.new_token(), "passphrase": "guess"},
    ),
    "a reveal with a wrong token": lambda: ("POST", "/{}/reveal", {"token": sealing.new_token()}),
    "a reveal with wrong proofs": lambda: (
        "POST",
        "/{}/reveal",
        {"link_proof": _digest(), "reveal_proof": _digest(), "reader": _digest()},
    ),
    "a GET with a wrong token": lambda: ("GET", f"/{{}}/{sealing.new_token()}", {}),
    "a status with a wrong proof": lambda: ("POST", "/{}/status", {"link_proof": _digest()}),
    "a destroy with a wrong proof": lambda: ("POST", "/{}/destroy", {"link_proof": _digest()}),
    "an acknowledgement by nobody": lambda: ("POST", "/{}/received", {"reader": _digest()}),
}
# An unread note answers this with 200, by design.
BARE_KEY = "a GET with the key alone"


class Guesser:
    """Sends requests on one connection, and measures their time."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._connection = http.client.HTTPConnection(*address)

    def ask(self, key: str, question: Question) -> tuple[Answer, float]:
        """The answer but for its date, and its time in seconds."""
        method, path, fields = question
        body = urllib.parse.urlencode(fields) if method == "POST" else None
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        start = time.perf_counter()
        self._connection.request(method, path.format(key), body, headers)
        answer = self._connection.getresponse()
        content = answer.read()
        seconds = time.perf_counter() - start
        shown = {name: value for name, value in answer.getheaders() if name != "Date"}
        return (answer.status, shown, content), seconds

    def close(self) -> None:
        self._connection.close()


def keys_of(guesser: Guesser, has_passphrase: bool = False, count: int = NOTES) -> dict[str, list[str]]:
    """Keys that never had a note, keys of notes that were read, and keys of unread notes."""
    never = ["".join(key) for key in itertools.islice(itertools.product("-_", repeat=5), count)]
    notes: dict[str, list[str]] = {"read": [], "unread": []}
    for ended, _ in itertools.product((True, False), range(count)):
        token = sealing.new_token()
        keys = sealing.derive_keys(token)
        note = {
            "sealed": sealing.to_text(sealing.seal(keys, "hello")),
            "link_verifier": sealing.to_text(keys.link_verifier),
            "reveal_verifier": sealing.to_text(keys.reveal_verifier),
            "has_passphrase": "true" if has_passphrase else "false",
        }
        (_, _, content), _ = guesser.ask("post", ("POST", "/{}", note))
        key = json.loads(content)["key"]
        if ended:
            proofs = {
                "link_proof": sealing.to_text(keys.link_proof),
                "reveal_proof": sealing.to_text(keys.reveal_proof),
            }
            guesser.ask(key, ("POST", "/{}/reveal", proofs))
        notes["read" if ended else "unread"].append(key)
    return {"never": never, **notes}


def ask_all(
    guesser: Guesser, keys: Mapping[str, list[str]], question: Callable[[], Question], samples: int
) -> tuple[set[str], dict[str, Any]]:
    """Ask about each kind of key `samples` times, in random order; returns the answers and the times."""
    order = [kind for kind in keys for _ in range(samples)]
    random.shuffle(order)
    seen: set[str] = set()
    seconds: dict[str, list[float]] = {kind: [] for kind in keys}
    for kind in order:
        (status, shown, content), taken = guesser.ask(random.choice(keys[kind]), question())
        seen.add(json.dumps([status, shown, content.decode()]))
        seconds[kind].append(taken)
    return seen, {kind: numpy.array(times) for kind, times in seconds.items()}


def z_of(a: Any, b: Any) -> float:
    """The statistic of the Mann-Whitney test, normal with variance 1 if `a` and `b` are alike."""
    n, m = len(a), len(b)
    return float((_u_of(a, b) - n * m / 2) / numpy.sqrt(n * m * (n + m + 1) / 12))


def _u_of(a: Any, b: Any) -> float:
    """In how many pairs the value of `a` is the greater one."""
    ranks = numpy.argsort(numpy.argsort(numpy.concatenate([a, b]))) + 1
    return float(ranks[: len(a)].sum() - len(a) * (len(a) + 1) / 2)


def guessed_right(a: Any, b: Any) -> float:
    """How often somebody is right who takes the slower one of two answers for the kind that is slower."""
    share = _u_of(a, b) / (len(a) * len(b))
    return max(share, 1 - share)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.abuse.timing", description=__doc__)
    parser.add_argument("--samples", type=int, default=10_000, help="of each kind of key, for each question")
    samples = parser.parse_args().samples
    with tempfile.TemporaryDirectory(prefix="nw-timing-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # if root runs this, PostgreSQL's user needs access
        with embedded.running(folder / "data") as postgres:
            for database in (schema.KEY_DB, schema.MSG_DB):
                schema.migrate(postgres.url(database), database)
            seeding.ensure_ahead(postgres.url(schema.KEY_DB), 100_000)
            environment = {
                "KEY_DB_URL": postgres.url(schema.KEY_DB),
                "MSG_DB_URL": postgres.url(schema.MSG_DB),
                "LOG_LEVEL": "error",
            }
            with serving(environment) as (url, _):
                return _measure(("127.0.0.1", int(url.rpartition(":")[2])), samples)


def _measure(address: tuple[str, int], samples: int) -> int:
    """Print the table; returns 1 if a difference was found."""
    guesser = Guesser(address)
    keys = keys_of(guesser)
    found = 0
    print(f"{samples} answers of each kind; z beyond {ALARM} is a difference")
    print("| question | kinds | medians, µs | z | guessed right |")
    print("|---|---|---|---|---|")
    for name, question in {BARE_KEY: lambda: ("GET", "/{}", {}), **QUESTIONS}.items():
        asked = {kind: keys[kind] for kind in keys if name != BARE_KEY or kind != "unread"}
        seen, seconds = ask_all(guesser, asked, question, samples)
        if len(seen) != 1:
            print(f"{name}: the answers differ: {seen}")
            found = 1
        for one, other in itertools.combinations(asked, 2):
            a, b = seconds[one], seconds[other]
            z, medians = z_of(a, b), [f"{numpy.median(times) * 1e6:.0f}" for times in (a, b)]
            row = f"{one}, {other} | {', '.join(medians)} | {z:+.1f} | {guessed_right(a, b):.1%}"
            print(f"| {name} | {row} |", flush=True)
            found |= abs(z) > ALARM
    guesser.close()
    return int(found)


if __name__ == "__main__":
    sys.exit(main())
