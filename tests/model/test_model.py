"""The protocol of a reveal, checked by spin in every order of events: `make model`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

MODEL = Path(__file__).with_name("reveal.pml")
MISSING = [program for program in ("spin", "gcc") if shutil.which(program) is None]
needs_spin = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")

# What breaks without a guard.
BROKEN_WITHOUT = {
    "ROW_LOCK": "shown_to_two_readers",
    "EXPIRY_UNDER_LOCK": "lost_while_the_reader_stays",
    "LATER_LOOKUP": "lost_while_the_reader_stays",
    "COMMIT_FIRST": "shown_to_two_readers",
    "LOST_IS_UNKNOWN": "shown_to_two_readers",
    "WARNING_IS_UNKNOWN": "shown_to_two_readers",
    "DELIVERY": "lost_while_the_reader_stays",
    "SAME_TRANSACTION": "lost_while_the_reader_stays",
    "OWN_COMMIT": "shown_to_two_readers",
    "OWN_NONCE": "shown_to_two_readers",
    "LEAVERS": "taken_by_one_who_left",
    "RECEIVED_NONCE": "lost_while_the_reader_stays",
    "RECEIVED_REMOVES": "sealed_bytes_stay",
    "SIXTY_SECONDS": "sealed_bytes_stay",
    "PURGE_DELIVERIES": "sealed_bytes_stay",
    "TWO_CLOCKS": "lost_while_the_reader_stays",
    "ENDING_WITH_READ": "end_without_ending",
    "ENDING_WITH_PURGE": "end_without_ending",
    "BUDGET_FOR_ALL": "more_tries_than_the_budget",
    "EACH_GUESS": "more_tries_than_the_budget",
    "COUNT_UNDER_LOCK": "more_tries_than_the_budget",
    "COUNT_IN_ROW": "more_tries_than_the_budget",
    "COUNT_FIRST": "more_tries_than_the_budget",
    "LINK_FIRST": "stranger_locks_out",
}
ABOUT_GUESSES = ("more_tries_than_the_budget", "stranger_locks_out")


def guards() -> dict[str, int]:
    """The guards that the model defines, by name."""
    defined = MODEL.read_text().partition("c_decl")[0]
    return {name: int(number) for name, number in re.findall(r"^#define ([A-Z_]+) (\d+)", defined, re.M)}


@dataclass(frozen=True)
class Search:
    """What one search found: the promise that was broken, if any, in which run, after how many states."""

    broken: str | None
    run: str
    states: int


class Model:
    """The model, made into a program by spin and gcc in a folder."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._folder = folder
        shutil.copy(MODEL, folder)
        self._run("spin", "-a", MODEL.name)
        # No partial-order reduction: nearly every step is on what all of them share.
        self._run("gcc", "-w", "-O1", "-DNOREDUCE", "-DNOFAIR", *options, "-o", "pan", "pan.c")

    def _run(self, *command: str, **settings: int) -> str:
        environment = os.environ | {name: str(value) for name, value in settings.items()}
        done = subprocess.run(
            command, cwd=self._folder, env=environment, capture_output=True, text=True, timeout=900
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def search(self, *options: str, **settings: int) -> Search:
        """Search all runs, or until a promise is broken."""
        found = self._run("./pan", "-m100000", "-w22", *options, **settings)
        states = int(re.search(r"(\d+) states, stored", found)[1])
        if "errors: 0" in found:
            assert "not completed" not in found and "too small" not in found, found
            return Search(None, "", states)
        run = self._run("./pan", "-r", **settings)
        run = "\n".join(
            line for line in run.splitlines() if re.match(r"(the|server|reader|60|COMMIT) ", line)
        )
        return Search((re.search(r"assertion violated +!\((\w+)\)", found) or ["", found])[1], run, states)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The model, for a search of all states."""
    return Model(tmp_path_factory.mktemp("model"), "-DSAFETY")


@needs_spin
@pytest.mark.parametrize("nonces", [2, 1], ids=["two browsers", "a browser and a curl"])
@pytest.mark.parametrize(("faults", "guesses"), [(2, 3), (5, 0)])
def test_no_run_breaks_a_promise(model, nonces, faults, guesses):
    """Whatever fails, and in whatever order things happen, every promise is kept."""
    search = model.search(NONCES=nonces, FAULTS=faults, GUESSES=guesses)

    print(f"\n{search.states:>9,} states, {nonces=} {faults=} {guesses=}: every promise is kept")
    assert search.broken is None, search.run


@needs_spin
def test_every_run_ends(tmp_path):
    """No run goes round in a circle, so that every reader gets an answer."""
    search = Model(tmp_path, "-DNP").search("-l", NONCES=2, FAULTS=1, GUESSES=3)

    print(f"\n{search.states:>9,} states: every run ends")
    assert search.broken is None, search.run


@needs_spin
@pytest.mark.parametrize("guard", BROKEN_WITHOUT)
def test_without_a_guard_a_promise_is_broken(model, guard):
    """Each guard is needed: without it some run breaks a promise."""
    expected = BROKEN_WITHOUT[guard]
    guesses = 3 if expected in ABOUT_GUESSES else 0
    search = model.search(WITHOUT=guards()[guard], NONCES=2, FAULTS=2, GUESSES=guesses)

    print(f"\n{search.states:>9,} states, without {guard}: {search.broken}")
    assert search.broken == expected, search.run


def test_every_guard_of_the_model_is_taken_out_once():
    """A guard that is only written down, or never taken out, would show nothing."""
    used = re.findall(r"guard\(([A-Z_]+)\)", MODEL.read_text())

    assert guards().keys() == BROKEN_WITHOUT.keys()
    assert sorted(guards().values()) == list(range(1, len(BROKEN_WITHOUT) + 1))
    assert set(used) - {"NAME"} == BROKEN_WITHOUT.keys()
