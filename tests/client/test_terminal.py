"""Colours and progress, which people at a terminal see and programs never get."""

import os
import re

import pytest

from client.progress import in_bytes, in_time

MIB = 1 << 20
CODES = re.compile(rb"\x1b\[[0-9;]*[A-Za-z]")
COLOURS = re.compile(rb"\x1b\[[0-9;]*m")


@pytest.fixture
def a_file(tmp_path):
    """A file that takes four requests: its path."""
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(3 * MIB + 1))
    return str(path)


def lines(screen):
    """What was on the current line, each time that it began again."""
    return [CODES.sub(b"", line).decode() for line in re.split(rb"\r\n|\r", screen)]


def test_the_progress_of_an_upload_and_a_download(terminal, a_file, tmp_path):
    """It has percent, time left, bytes and rate, and disappears at the end."""
    sender = terminal("send", a_file, columns=120)
    sender.wait_for("Sending: 32 %, ")
    sender.wait_for(" left, 1.0 MB of ")
    sender.wait_for("/s [#########.....................]")
    sender.wait_for("Sending: 100 %, 0 s left")
    assert sender.end() == 0
    link = re.search(rb"http://localhost:\d+/[^/\s]{5}#\w{24}", sender.screen)[0].decode()
    assert f"\r\x1b[K\x1b[1m{link}" in sender.screen.decode()

    reader = terminal("read", "--yes", "--output", str(tmp_path / "saved"), link)
    reader.wait_for("Fetching: 100 %")
    assert reader.end() == 0
    assert reader.screen.endswith(f"\r\x1b[KSaved: {tmp_path}/saved/a.bin\r\n".encode())


@pytest.mark.parametrize("columns", [5, 20, 40, 60, 80])
def test_a_narrow_window_gets_what_fits(terminal, a_file, columns):
    """A line that is as long as the window would wrap, and could not be replaced."""
    person = terminal("send", a_file, columns=columns)

    assert person.end() == 0
    shown = [line for line in lines(person.screen) if line.startswith("Sending")]
    assert len(shown) == (0 if columns == 5 else 4)
    assert max([len(line) for line in shown], default=0) < columns
    assert ("left" in "".join(shown)) == (columns >= 40)


def test_a_window_of_unknown_width_has_80_columns(terminal, a_file):
    """As some programs that record a terminal leave it."""
    person = terminal("send", a_file, columns=0)
    person.wait_for("Sending: 100 %, 0 s left, ")

    assert person.end() == 0


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_pipe_gets_neither(terminal, a_file, stream):
    """Even if the other stream is a terminal."""
    reading, writing = os.pipe()
    person = terminal("send", a_file, **{stream: writing})
    os.close(writing)

    assert person.end() == 0
    with open(reading, "rb") as pipe:
        piped = pipe.read()
    assert piped.isascii() and re.fullmatch(rb"[^\x00-\x09\x0b-\x1f]+", piped)
    assert (b"Sending" in person.screen) == (stream == "stdout")


def test_without_a_terminal_there_is_neither(nw, a_file, environment):
    """TERM makes no difference."""
    environment["TERM"] = "xterm"
    done = nw("send", a_file)

    assert b"Sending" not in done.stderr
    assert not re.search(rb"[\x1b\r]", done.stdout + done.stderr)


def test_json_has_neither(terminal, a_file):
    """Even at a terminal, the output is only JSON."""
    person = terminal("send", "--json", a_file)

    assert person.end() == 0
    assert re.fullmatch(rb"\{[^\x1b\r]*\}\r\n", person.screen)


def test_a_link_an_error_and_a_warning_have_colours(terminal, url):
    """Each has another colour."""
    person = terminal("send", "--to", url.replace("localhost", "127.0.0.1"))
    person.wait_for("Ctrl+D")
    person.type("hello\n\x04")
    assert person.end() == 0
    assert re.search(rb"\x1b\[1mhttp://127\.0\.0\.1:\d+/[^/\s]{5}#\w{24}\x1b\[0m\r\n", person.screen)
    assert re.search(rb"\x1b\[35mThe service calls itself [^\x1b]*\x1b\[0m\r\n", person.screen)

    mistaken = terminal("read", "x")
    assert mistaken.end() == 2
    assert mistaken.screen.startswith(b"\x1b[1;31mnote-whisperer:\x1b[0m This is not a note-whisperer link.")


@pytest.mark.parametrize(
    ("variables", "colours", "progress"),
    [
        ({"NO_COLOR": "1"}, False, True),
        ({"NO_COLOR": ""}, True, True),
        ({"TERM": "dumb"}, False, False),
        ({"TERM": ""}, False, False),
    ],
)
def test_people_can_do_without(terminal, environment, a_file, variables, colours, progress):
    """NO_COLOR turns off colours if it is not empty; a dumb terminal can do nothing."""
    environment |= variables
    person = terminal("send", a_file)

    assert person.end() == 0
    assert bool(COLOURS.search(person.screen)) == colours
    assert bool(b"Sending" in person.screen) == progress
    assert bool(CODES.search(person.screen)) == (colours or progress)


def test_nobody_reads_standard_error(nw):
    """The command still makes and prints the link."""
    reading, writing = os.pipe()
    os.close(reading)
    done = nw("send", data=b"hello", stderr=writing)
    os.close(writing)

    assert done.returncode == 0
    assert nw("read", "--yes", done.stdout.decode().strip()).stdout == b"hello"


def test_amounts_in_words():
    """Short, and with a unit that fits."""
    assert [in_bytes(count) for count in (0, 999, 3400, 3_400_000, 2_000_000_000)] == [
        "0 bytes",
        "999 bytes",
        "3 kB",
        "3.4 MB",
        "2.0 GB",
    ]
    assert [in_time(seconds) for seconds in (0.4, 59.4, 59.6, 125, 7300)] == [
        "0 s",
        "59 s",
        "1 min 0 s",
        "2 min 5 s",
        "2 h 1 min",
    ]
