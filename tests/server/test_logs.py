"""How things are logged: routes and types, never the contents of a request."""

import asyncio
import io
import json
import logging
import sys

import pytest

from server import logs
from server.logs import Refusals

NAMES = ("tornado.access", "tornado.general", "tornado.application", "asyncio", "momoko")


# Concatenated here, because a traceback quotes the line that raises, which must not contain them.
HIDDEN, MORE_HIDDEN = "the hidden " + "words", "more hidden " + "words"


@pytest.fixture
def logged(monkeypatch):
    """Set up the server's logging and return the stream it writes to; undo everything afterwards."""
    stream = io.StringIO()
    root = logging.getLogger()
    levels = {name: logging.getLogger(name).level for name in (None, *NAMES)}
    others = []

    def set_up(format_, level="debug"):
        monkeypatch.setattr(sys, "stderr", stream)
        others.extend(root.handlers)
        root.handlers.clear()  # or set_up would close pytest's own
        logs.set_up(format_, level)
        return stream

    yield set_up
    root.handlers[:] = others
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def _log_a_failure():
    try:
        try:
            raise ValueError(HIDDEN)
        except ValueError as error:
            raise RuntimeError(MORE_HIDDEN) from error
    except RuntimeError:
        logging.getLogger("server.anywhere").error("GET /KEY failed", exc_info=True)


def test_a_line_of_text_has_time_severity_and_message(logged):
    """The time is UTC, to the second."""
    stream = logged("text")

    logging.getLogger("server.anywhere").info("serving on %s", "http://localhost:8080")

    time, severity, words = stream.getvalue().rstrip("\n").split(" ", 2)
    assert time.endswith("Z") and len(time) == 20
    assert (severity, words) == ("INFO", "serving on http://localhost:8080")


def test_a_line_of_json_is_one_object(logged):
    """The message may contain quotes, line ends and any script."""
    stream = logged("json")

    logging.getLogger("server.anywhere").warning('a "quote",\na line end and %s', "häl\u2028lo")

    (line,) = stream.getvalue().split("\n")[:-1]
    members = json.loads(line)
    assert members.keys() == {"time", "severity", "logger", "message"}
    assert members["severity"] == "warning"
    assert members["logger"] == "server.anywhere"
    assert members["message"] == 'a "quote",\na line end and häl\u2028lo'


@pytest.mark.parametrize("format_", ["text", "json"])
def test_an_exception_is_logged_without_its_message(logged, format_):
    """Its type and its stack are logged, but neither its message nor that of its cause."""
    stream = logged(format_)

    _log_a_failure()

    text = stream.getvalue()
    assert "GET /KEY failed" in text
    assert "RuntimeError" in text
    assert "test_logs.py" in text
    assert HIDDEN not in text
    assert MORE_HIDDEN not in text


@pytest.mark.parametrize("format_", ["text", "json"])
def test_a_failure_in_the_background_is_logged_without_its_message(logged, format_):
    """The failure of a task that nothing waits for is an error, named by its type."""
    stream = logged(format_)

    async def main():
        asyncio.get_running_loop().set_exception_handler(logs.log_unhandled)

        async def fail():
            raise LookupError(HIDDEN)

        task = asyncio.create_task(fail())
        await asyncio.wait([task])
        del task

    asyncio.run(main())

    assert "a background task failed" in stream.getvalue()
    assert "LookupError" in stream.getvalue()
    assert HIDDEN not in stream.getvalue()


def test_messages_of_other_libraries_are_not_logged(logged):
    """Tornado's quote URLs; asyncio's quote the arguments of a failed call."""
    stream = logged("text")

    for name in (*NAMES, "momoko.connection"):
        logging.getLogger(name).error(HIDDEN)

    assert stream.getvalue() == ""


def test_messages_below_the_level_are_not_logged(logged):
    """LOG_LEVEL=warning keeps information out of the log."""
    stream = logged("text", "warning")

    logging.getLogger("server.anywhere").info("serving")

    assert stream.getvalue() == ""


def test_a_refusal_is_logged_once_a_minute_with_the_number_of_the_others(caplog):
    """A flood of refusals does not become a flood of lines; each reason has its own minute."""
    now = 0.0
    refusals = Refusals(lambda: now)
    for _ in range(1000):
        refusals.log("Busy", "POST /post refused: Busy")
    refusals.log("OutOfKeys", "POST /post refused: OutOfKeys")
    now = 60.0
    refusals.log("Busy", "POST /post refused: Busy")

    assert [record.message for record in caplog.records] == [
        "POST /post refused: Busy",
        "POST /post refused: OutOfKeys",
        "POST /post refused: Busy (and 999 more like it)",
    ]
