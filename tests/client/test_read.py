"""`read`: once, exactly, and not lost."""

import json
import os
import re
import subprocess

import pytest

from server import sealing
from tests.browser.conftest import ask, leave
from tests.client.conftest import COMMAND
from tests.server_process import ROOT


def test_it_asks_before_it_opens(terminal, sent):
    """The person says yes, and sees the message."""
    link, _ = sent("hello")
    person = terminal("read", link)
    person.wait_for("Open it now? [y/N] ")
    person.type("y\n")

    assert person.end() == 0
    assert person.screen.endswith(b"y\r\nhello\r\n")


@pytest.mark.parametrize("answer", ["n\n", "\n", "\x04", "what?\n"])
def test_only_a_yes_opens(terminal, nw, sent, answer):
    """Any other answer leaves the message unread."""
    link, _ = sent()
    person = terminal("read", link)
    person.wait_for("Open it now?")
    person.type(answer)

    assert person.end() == 1
    assert b"still unread" in person.screen
    assert b"is unread" in nw("status", link).stdout


def test_ctrl_c_at_the_question_opens_nothing(terminal, nw, sent):
    """The exit code is that of an interrupted command, without a traceback."""
    link, _ = sent()
    person = terminal("read", link)
    person.wait_for("Open it now?")
    person.type("\x03")

    assert person.end() == 130
    assert b"Traceback" not in person.screen
    assert b"is unread" in nw("status", link).stdout


def test_without_a_terminal_yes_is_needed(nw, way, sent):
    """A script that forgot it opens nothing, and learns what to do."""
    link, _ = sent()
    way.sent.clear()

    done = nw("read", link)

    assert (done.returncode, way.sent) == (2, b"")
    assert b"use --yes" in done.stderr


def test_a_second_reader_learns_when_it_was_read(nw, sent):
    """The exit code is 3, and the error has the time of the reading; with --json, the ending."""
    link, _ = sent()
    nw("read", "--yes", link)

    done, as_json = nw("read", "--yes", link), nw("read", "--yes", "--json", link)

    assert (done.returncode, done.stdout) == (3, b"")
    assert re.search(rb"The message was read on \d{4}-\d\d-\d\d, \d\d:\d\d UTC\.", done.stderr)
    error = json.loads(as_json.stderr)
    assert (error["error"], error["exit"], error["ending"]["status"]) == ("gone", 3, "read")


def test_a_note_that_never_existed(nw, url):
    """Exit code 3."""
    assert nw("read", "--yes", f"{url}/aaaaa#{sealing.new_token()}").returncode == 3


def test_the_reading_is_confirmed(nw, sent):
    """The command sends the mark, which needs the opened message."""
    link, receipt = sent()
    nw("read", "--yes", link)

    assert json.loads(nw("status", "--json", receipt).stdout)["confirmed"] is True


def test_the_token_is_not_sent(nw, sent, way):
    """The service gets proofs."""
    link, _ = sent("hello")
    nw("read", "--yes", link)

    assert b"/reveal" in way.sent
    assert not way.holds(link.split("#")[1])


def _encoded(link):
    return link.replace("#", "%23")


def _slashed(link):
    return link.replace("#", "/")


def _with_a_full_stop(link):
    return f"{link})."


@pytest.mark.parametrize("changed", [_encoded, _slashed, _with_a_full_stop])
def test_a_link_that_came_through_a_mail_program_opens(nw, sent, changed):
    """An encoded #, a / in its place, and what was appended to it do no harm."""
    link, _ = sent("hello")

    assert nw("read", "--yes", changed(link)).stdout == b"hello"


def test_a_link_of_the_server_opens_here(nw, url):
    """The command opens what curl has sent."""
    assert nw("read", "--yes", leave(url, "from curl\n")).stdout == b"from curl\n"


def test_a_link_whose_end_was_cut_off_is_not_sent(nw, sent, way):
    """It says so, and the message stays."""
    link, _ = sent()
    way.sent.clear()

    for cut in (link[:-1], link[:-10], link.partition("#")[0]):
        done = nw("read", "--yes", cut)
        assert (done.returncode, way.sent) == (2, b"")
        assert b"This link was cut off" in done.stderr


def test_a_receipt_does_not_open(nw, sent):
    """The error says what a receipt is for."""
    _, receipt = sent()

    done = nw("read", "--yes", receipt)

    assert done.returncode == 2
    assert b"This is a receipt" in done.stderr


def test_a_link_from_a_file_or_standard_input(nw, sent, tmp_path):
    """There, nobody sees it among the arguments."""
    (tmp_path / "link").write_text(sent("from a file")[0] + "\n")
    link, _ = sent("from a pipe")

    assert nw("read", "--yes", f"@{tmp_path / 'link'}").stdout == b"from a file"
    assert nw("read", "--yes", "-", data=f"{link}\n".encode()).stdout == b"from a pipe"


def test_a_link_that_is_typed_ends_with_enter(terminal, sent):
    """The question follows the link."""
    link, _ = sent("hello")
    person = terminal("read", "-")
    person.wait_for("Paste it here, then press Enter.")
    person.type(f"{link}\n")
    person.wait_for("Open it now?")
    person.type("y\n")

    assert person.end() == 0
    assert person.screen.endswith(b"y\r\nhello\r\n")


def test_a_link_from_a_closed_standard_input(environment):
    """Exit code 2, without a traceback."""
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" <&-', "sh", *COMMAND, "read", "--yes", "-"],
        env=environment,
        cwd=ROOT,
        capture_output=True,
    )

    assert (done.returncode, done.stdout) == (2, b"")
    assert b"Standard input is closed" in done.stderr


def test_a_wrong_passphrase_can_be_tried_again(terminal, sent, tmp_path):
    """It says how many tries are left, and asks again."""
    (tmp_path / "words").write_text("sesame")
    link, _ = sent("hello", "--passphrase-file", str(tmp_path / "words"))
    person = terminal("read", link)
    person.wait_for("Open it now?")
    person.type("y\n")
    person.wait_for("Passphrase: ")
    for left in (9, 8, 7):
        person.type("simsim\n")
        person.wait_for(f"{left} tries are left.")
        person.wait_for("Passphrase: ")
    person.type("sesame\n")

    assert person.end() == 0
    assert person.screen.endswith(b"hello\r\n")
    assert b"sesame" not in person.screen


def test_ctrl_c_at_the_passphrase_opens_nothing(terminal, nw, sent, tmp_path):
    """Exit code 130, without a try, and the terminal shows again what is typed."""
    (tmp_path / "words").write_text("sesame")
    link, _ = sent("hello", "--passphrase-file", str(tmp_path / "words"))
    person = terminal("read", "--yes", link)
    person.wait_for("Passphrase: ")
    person.type("\x03")

    assert (person.end(), person.echoes()) == (130, True)
    assert nw("status", link).stdout.endswith(b" It needs a passphrase.\n")


def test_an_empty_passphrase_is_asked_for_again(terminal, sent, tmp_path):
    """It is not sent, and costs no try."""
    (tmp_path / "words").write_text("sesame")
    link, _ = sent("hello", "--passphrase-file", str(tmp_path / "words"))
    person = terminal("read", "--yes", link)
    person.wait_for("Passphrase: ")
    person.type("\n")
    person.wait_for("Passphrase: ")
    person.type("sesame\n")

    assert person.end() == 0
    assert b"left" not in person.screen


def test_a_passphrase_from_a_file_or_a_descriptor(nw, sent, tmp_path):
    """White space at its ends does not count."""
    (tmp_path / "words").write_text("  open sesame\r\n")
    links = [sent("hello", "--passphrase-file", str(tmp_path / "words"))[0] for _ in range(2)]

    with open(tmp_path / "words") as file:
        by_descriptor = nw(
            "read", "--yes", "--passphrase-fd", str(file.fileno()), links[0], pass_fds=[file.fileno()]
        )
    by_file = nw("read", "--yes", "--passphrase-file", str(tmp_path / "words"), links[1])

    assert (by_descriptor.stdout, by_file.stdout) == (b"hello", b"hello")


def test_a_wrong_passphrase_from_a_file(nw, sent, tmp_path):
    """Exit code 4, and the message stays."""
    (tmp_path / "right").write_text("sesame")
    (tmp_path / "wrong").write_text("simsim")
    link, _ = sent("hello", "--passphrase-file", str(tmp_path / "right"))

    wrong = nw("read", "--yes", "--json", "--passphrase-file", str(tmp_path / "wrong"), link)
    missing = nw("read", "--yes", link)

    assert (wrong.returncode, json.loads(wrong.stderr)["tries_left"]) == (4, 9)
    assert missing.returncode == 4
    assert b"--passphrase-file" in missing.stderr
    assert b"One wrong passphrase was tried" in nw("status", link).stdout


def test_a_locked_note_says_when_to_try_again(nw, sent, tmp_path, msg_db):
    """No passphrase is tried before that."""
    (tmp_path / "right").write_text("sesame")
    link, _ = sent("hello", "--passphrase-file", str(tmp_path / "right"))
    key = link.partition("#")[0][-5:]
    msg_db("UPDATE note SET tries = 10, next_try_at = now() + '1 hour' WHERE key = %s", (key,))

    done = nw("read", "--yes", "--json", "--passphrase-file", str(tmp_path / "right"), link)

    assert done.returncode == 4
    assert 0 < json.loads(done.stderr)["retry_after"] <= 3600


@pytest.mark.parametrize("length", [0, 20, 3000], ids=["at the start", "in its headers", "in its body"])
def test_a_lost_answer_loses_nothing(nw, sent, way, length):
    """The answer to the reveal breaks off; the same reader asks again, and gets the message."""
    link, receipt = sent("hello " * 1000)
    way.cuts[b"/reveal"] = length

    done = nw("read", "--yes", link)

    assert done.stdout == b"hello " * 1000
    assert way.sent.count(b"/reveal") == 2
    assert b"Asking again" in done.stderr
    assert json.loads(nw("status", "--json", receipt).stdout)["confirmed"] is True


def test_an_answer_that_is_lost_for_good(terminal, sent, way):
    """Interrupted before it could ask again, the command says that it may have opened the message."""
    link, _ = sent()
    way.cuts = Always(b"/reveal")
    person = terminal("read", "--yes", link)
    person.wait_for("Asking again")
    person.type("\x03")

    assert person.end() == 130
    assert b"may have been opened, and its answer lost" in person.screen


class Always(dict):
    """Cuts of all answers to one request, at their start."""

    def pop(self, words):
        return self[words]

    def __init__(self, words):
        super().__init__({words: 0})


def test_interrupted_as_json(terminal, sent):
    """It is an error like others, for programs that read standard error."""
    link, _ = sent()
    reading, writing = os.pipe()
    person = terminal("read", "--json", link, stderr=writing)
    os.close(writing)
    person.wait_for("Open it now?")
    person.type("\x03")

    assert person.end() == 130
    with open(reading) as pipe:
        assert json.load(pipe) == {"error": "interrupted", "exit": 130, "detail": "Interrupted."}


def test_control_characters_are_shown_on_a_terminal(terminal, sent):
    """They could rewrite the screen. Line ends and tabs stay."""
    link, _ = sent("a\x1b]52;c;ZXZpbA==\x07b\tc\r\nd\re\x9bf")
    person = terminal("read", "--yes", link)

    assert person.end() == 0
    assert person.screen.decode() == "a<U+001B>]52;c;ZXZpbA==<U+0007>b\tc\r\nd<U+000D>e<U+009B>f\r\n"


def test_raw_prints_control_characters(terminal, sent):
    """For people who know what the message is."""
    link, _ = sent("\x1b[1mbold\x1b[0m\n")
    person = terminal("read", "--yes", "--raw", link)

    assert person.end() == 0
    assert person.screen == b"\x1b[1mbold\x1b[0m\r\n"


def test_json_controls_no_terminal(nw, sent):
    """The message is one JSON string in ASCII."""
    link, _ = sent("späß\x1b\x9b\n")

    done = nw("read", "--yes", "--json", link)

    assert done.stdout.isascii() and b"\x1b" not in done.stdout
    assert json.loads(done.stdout) == {"message": "späß\x1b\x9b\n"}


def test_nothing_is_opened_if_nobody_reads_the_output(nw, sent):
    """The message would be lost."""
    link, _ = sent()
    reading, writing = os.pipe()
    os.close(reading)
    done = nw("read", "--yes", link, stdout=writing)
    os.close(writing)

    assert done.returncode == 1
    assert b"is unread" in nw("status", link).stdout


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_a_message_that_cannot_be_written_is_not_confirmed(nw, sent):
    """The error says that it is gone, and the receipt does not say that it has arrived."""
    link, receipt = sent()
    with open("/dev/full", "wb") as full:
        done = nw("read", "--yes", link, stdout=full)

    assert done.returncode == 1
    assert b"No space left on device" in done.stderr and b"now gone" in done.stderr
    assert json.loads(nw("status", "--json", receipt).stdout)["confirmed"] is False


def test_a_note_that_was_sealed_wrongly(nw, url):
    """It says that nobody can open it."""
    token = sealing.new_token()
    keys = sealing.derive_keys(token)
    fields = {
        "sealed": sealing.to_text(b"\x02" + bytes(284)),
        "link_verifier": sealing.to_text(keys.link_verifier),
        "reveal_verifier": sealing.to_text(keys.reveal_verifier),
    }
    _, address = ask(f"{url}/post", fields, Accept="text/plain")

    done = nw("read", "--yes", f"{address.strip()}#{token}")

    assert done.returncode == 1
    assert b"sealed wrongly" in done.stderr
