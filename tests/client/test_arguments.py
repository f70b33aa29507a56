"""Help, version, and the answers to mistakes."""

import os

import pytest

from client.arguments import COMMANDS


def test_without_arguments_it_says_what_it_does(nw):
    """The help, on standard error, and exit code 2."""
    done = nw()

    assert (done.returncode, done.stdout) == (2, b"")
    assert b"Send and read messages that destroy themselves" in done.stderr
    for name in COMMANDS:
        assert f"    {name} ".encode() in done.stderr


@pytest.mark.parametrize("arguments", [("--help",), *[(name, "--help") for name in COMMANDS]])
def test_help(nw, arguments):
    """On standard output, exit code 0, with lines that fit a screen."""
    done = nw(*arguments)

    assert (done.returncode, done.stderr) == (0, b"")
    assert max(len(line) for line in done.stdout.decode().splitlines()) <= 110


@pytest.mark.parametrize("arguments", [("frob",), ("read",), ("read", "a", "b"), ("send", "--to"), ("--x",)])
def test_mistakes_say_where_help_is(nw, arguments):
    """The exit code is 2, and the answer is one line."""
    done = nw(*arguments)

    assert done.returncode == 2
    assert done.stderr.count(b"\n") == 1 and b"--help" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["frob"], "There is no such command. See note-whisperer --help."),
        (["read", "a", "b"], "or an option that does not exist. See note-whisperer read --help."),
        (["run", "--secret", "A=b", "true"], "Which command? Put it behind two hyphens: note-whisperer run "),
    ],
)
def test_a_mistake_is_named(nw, arguments, said):
    """The error repeats nothing that may be a secret."""
    assert said in nw(*arguments).stderr.decode()


def test_mistakes_as_json(nw):
    """With --json, errors are JSON too."""
    assert nw("read", "--json").stderr.startswith(b'{"error": "usage", "exit": 2, "detail": "Missing: LINK.')


def test_help_into_a_closed_pipe(nw):
    """There is no traceback."""
    reading, writing = os.pipe()
    os.close(reading)
    done = nw("send", "--help", stdout=writing)
    os.close(writing)

    assert b"Traceback" not in done.stderr
