"""The protocols of a reveal and of files, checked by spin in every order of events: `make model`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

REVEAL, FILES = (Path(__file__).with_name(f"{name}.pml") for name in ("reveal", "files"))
MISSING = [program for program in ("spin", "gcc") if shutil.which(program) is None]
needs_spin = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")

# What breaks without a guard.
REVEAL_BROKEN_WITHOUT = {
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
FILES_BROKEN_WITHOUT = {
    "CHUNKS_LOCK": "chunks_left_behind",
    "END_FIRST": "chunks_left_behind",
    "PURGE_UPLOADS": "chunks_left_behind",
    "UPLOAD_OR_NOTE": "lost_while_the_reader_stays",
    "LATER_CHECK": "lost_while_the_reader_stays",
    "COMPLETE": "note_lacks_a_chunk",
    "PUT_LOCK": "note_lacks_a_chunk",
    "UPLOAD_GOES": "lost_while_the_reader_stays",
    "FIND_NOTE": "writer_misled",
    "LATER_FIND": "writer_misled",
    "PUT_STANDBY": "note_lost",
    "FIND_WRITES": "note_lost",
    "HANDED_OVER": "lost_while_the_reader_stays",
    "NEEDS_NONCE": "chunks_left_behind",
    "FETCH_NONCE": "shown_to_two_readers",
    "FETCH_HOUR": "shown_after_the_end",
    "KEPT_AN_HOUR": "lost_while_the_reader_stays",
    "TEXT_RECEIVED": "lost_while_the_reader_stays",
    "RECEIVED_REMOVES": "shown_after_the_end",
    "RECEIVED_NONCE": "lost_while_the_reader_stays",
    "PURGE_DELIVERIES": "chunks_left_behind",
    "TWO_CLOCKS": "lost_while_the_reader_stays",
    "DESTROYED_CHUNKS": "chunks_left_behind",
    "EXPIRED_CHUNKS": "chunks_left_behind",
}
ABOUT_GUESSES = ("more_tries_than_the_budget", "stranger_locks_out")


def guards(source: Path) -> dict[str, int]:
    """The guards that a model defines, by name."""
    defined = source.read_text().partition("c_decl")[0]
    return {name: int(number) for name, number in re.findall(r"^#define ([A-Z_]+) (\d+)", defined, re.M)}


@dataclass(frozen=True)
class Search:
    """What one search found: the promise that was broken, if any, in which run, after how many states."""

    broken: str | None
    run: str
    states: int


class Model:
    """A model, made into a program by spin and gcc in a folder."""

    def __init__(self, source: Path, folder: Path, *options: str) -> None:
        self._folder = folder
        shutil.copy(source, folder)
        self._run("spin", "-a", source.name)
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
            line
            for line in run.splitlines()
            if re.match(r"(an?|the|server|reader|chunk|deliveries|60|COMMIT) ", line)
        )
        return Search((re.search(r"assertion violated +!\((\w+)\)", found) or ["", found])[1], run, states)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The model of a reveal, for a search of all states."""
    return Model(REVEAL, tmp_path_factory.mktemp("model"), "-DSAFETY")


@pytest.fixture(scope="module")
def files_model(tmp_path_factory):
    """The model of files, for a search of all states."""
    return Model(FILES, tmp_path_factory.mktemp("model"), "-DSAFETY")


@needs_spin
@pytest.mark.parametrize("nonces", [2, 1], ids=["two browsers", "a browser and a curl"])
@pytest.mark.parametrize(("faults", "guesses"), [(2, 3), (5, 0)])
def test_no_run_breaks_a_promise(model, nonces, faults, guesses):
    """Whatever fails, and in whatever order things happen, every promise is kept."""
    search = model.search(NONCES=nonces, FAULTS=faults, GUESSES=guesses)

    print(f"\n{search.states:>9,} states, {nonces=} {faults=} {guesses=}: every promise is kept")
    assert search.broken is None, search.run


@needs_spin
@pytest.mark.parametrize("faults", [2, 5, 8])
def test_no_run_breaks_a_promise_about_files(files_model, faults):
    """Whatever fails, and however late a request arrives, every promise about chunks is kept."""
    search = files_model.search(FAULTS=faults)

    print(f"\n{search.states:>9,} states, files, {faults=}: every promise is kept")
    assert search.broken is None, search.run


@needs_spin
@pytest.mark.parametrize(
    ("source", "settings"), [(REVEAL, {"NONCES": 2, "GUESSES": 3}), (FILES, {})], ids=["reveal", "files"]
)
def test_every_run_ends(tmp_path, source, settings):
    """No run goes round in a circle, so that every reader gets an answer."""
    search = Model(source, tmp_path, "-DNP").search("-l", FAULTS=1, **settings)

    print(f"\n{search.states:>9,} states, {source.stem}: every run ends")
    assert search.broken is None, search.run


@needs_spin
@pytest.mark.parametrize("guard", REVEAL_BROKEN_WITHOUT)
def test_without_a_guard_a_promise_is_broken(model, guard):
    """Each guard is needed: without it some run breaks a promise."""
    expected = REVEAL_BROKEN_WITHOUT[guard]
    guesses = 3 if expected in ABOUT_GUESSES else 0
    search = model.search(WITHOUT=guards(REVEAL)[guard], NONCES=2, FAULTS=2, GUESSES=guesses)

    print(f"\n{search.states:>9,} states, without {guard}: {search.broken}")
    assert search.broken == expected, search.run


@needs_spin
@pytest.mark.parametrize("guard", FILES_BROKEN_WITHOUT)
def test_without_a_guard_a_promise_about_files_is_broken(files_model, guard):
    """Each guard is needed: without it some run breaks a promise about chunks."""
    search = files_model.search(WITHOUT=guards(FILES)[guard], FAULTS=2)

    print(f"\n{search.states:>9,} states, files, without {guard}: {search.broken}")
    assert search.broken == FILES_BROKEN_WITHOUT[guard], search.run


@pytest.mark.parametrize(
    ("source", "broken_without"),
    [(REVEAL, REVEAL_BROKEN_WITHOUT), (FILES, FILES_BROKEN_WITHOUT)],
    ids=["reveal", "files"],
)
def test_every_guard_of_a_model_is_taken_out_once(source, broken_without):
    """A guard that is only written down, or never taken out, would show nothing."""
    used = re.findall(r"guard\(([A-Z_]+)\)", source.read_text())

    assert guards(source).keys() == broken_without.keys()
    assert sorted(guards(source).values()) == list(range(1, len(broken_without) + 1))
    assert set(used) - {"NAME"} == broken_without.keys()
