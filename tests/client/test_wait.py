"""`wait`: waits for the end of a message, and the exit code tells which end it was."""

import json
import subprocess

from tests.browser.conftest import ask
from tests.client.conftest import COMMAND, PATIENCE
from tests.server_process import ROOT


def test_it_ends_when_the_message_is_read(nw, sent, environment, way):
    """Exit code 0: the reader's program has confirmed it."""
    link, receipt = sent()
    way.sent.clear()
    waiting = subprocess.Popen(
        [*COMMAND, "wait", "--json", receipt], env=environment, cwd=ROOT, stdout=subprocess.PIPE
    )
    while b"/status" not in way.sent:
        assert waiting.poll() is None
    nw("read", "--yes", link)
    output, _ = waiting.communicate(timeout=PATIENCE)

    assert waiting.returncode == 0
    assert json.loads(output)["confirmed"] is True


def test_read_but_not_confirmed(nw, url, msg_db):
    """Exit code 7, a minute after the server has opened it."""
    answer = json.loads(ask(f"{url}/post", {"message": "hello"}, Accept="application/json")[1])
    ask(answer["url"], Accept="text/plain")
    msg_db("UPDATE ending SET at = at - '2 minutes'::interval WHERE key = %s", (answer["key"],))

    done = nw("wait", answer["receipt"])

    assert done.returncode == 7
    assert b"has not confirmed it" in done.stdout


def test_destroyed(nw, sent):
    """Exit code 8."""
    _, receipt = sent()
    nw("destroy", receipt)

    assert nw("wait", receipt).returncode == 8


def test_expired(nw, sent, msg_db):
    """Exit code 9."""
    link, receipt = sent()
    msg_db(
        "UPDATE note SET expires_at = now() - '1 minute'::interval WHERE key = %s",
        (link.partition("#")[0][-5:],),
    )

    assert nw("wait", receipt).returncode == 9


def test_still_unread(nw, sent):
    """Exit code 10 after --timeout."""
    _, receipt = sent()

    done = nw("wait", "--timeout", "1s", receipt)

    assert done.returncode == 10
    assert b"The message is unread" in done.stdout


def test_it_survives_a_lost_answer(nw, sent, way):
    """An answer that breaks off ends nothing."""
    link, receipt = sent()
    nw("read", "--yes", link)
    way.cuts[b"/status"] = 0
    way.sent.clear()

    assert nw("wait", receipt).returncode == 0


def test_a_link_is_no_receipt(nw, sent):
    """Only a receipt can check that the message was opened."""
    link, _ = sent()

    done = nw("wait", link)

    assert done.returncode == 2
    assert b"This is not a receipt" in done.stderr


def test_a_person_sees_that_it_waits(terminal, nw, sent):
    """The progress is on a line that the result replaces."""
    link, receipt = sent()
    person = terminal("wait", receipt)
    person.wait_for("Unread at ")
    person.wait_for("Asking again after 1 s.")
    nw("read", "--yes", link)

    assert person.end() == 0
    last = person.screen.rpartition(b"\r\x1b[K")[2]
    assert last.startswith(b"The message was read on ") and last.endswith(b"has confirmed it.\r\n")


def test_ctrl_c_ends_the_wait_and_nothing_else(terminal, nw, sent):
    """Exit code 130; the message stays unread."""
    link, receipt = sent()
    person = terminal("wait", receipt)
    person.wait_for("Ctrl+C")
    person.type("\x03")

    assert person.end() == 130
    assert b"is unread" in nw("status", link).stdout


def test_with_json_only_the_end_is_written(terminal, nw, sent, way):
    """Neither the waiting nor a lost answer is on standard error."""
    link, receipt = sent()
    nw("read", "--yes", link)
    way.cuts[b"/status"] = 0
    person = terminal("wait", "--json", receipt)

    assert person.end() == 0
    assert json.loads(person.screen)["confirmed"] is True


def test_a_message_that_never_existed(nw, sent):
    """Exit code 3."""
    start, secret = sent()[1].split("#")
    other = sent()[1].split("#")[1]

    assert nw("wait", f"{start}#{other[:43]}{secret[43:]}").returncode == 3
