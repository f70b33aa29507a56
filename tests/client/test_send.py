"""`send`: from a pipe, a file or a keyboard to a link that opens once."""

import json
import os
import re

import pytest

from tests.browser.conftest import ask

LINK = re.compile(r"http://localhost:\d+/[A-Za-z0-9_-]{5}#[0-9A-Za-z]{24}\n")
RECEIPT = re.compile(r"http://localhost:\d+/[A-Za-z0-9_-]{5}/receipt#[A-Za-z0-9_-]{86}\n")


def test_the_link_alone_is_on_standard_output(nw):
    """Standard output is the link and nothing else; the expiry and the receipt are on standard error."""
    done = nw("send", data=b"hello")

    assert done.returncode == 0
    assert LINK.fullmatch(done.stdout.decode())
    assert re.match(r"It opens once, until \d{4}-\d\d-\d\d, \d\d:\d\d UTC\.", done.stderr.decode())
    assert RECEIPT.search(done.stderr.decode())


@pytest.mark.parametrize("message", ["no line end", "one\n", "\r\n two\r\n\n", "\ufeffשלום \U0001f642\t\0 "])
def test_a_message_is_sent_exactly_as_it_is(nw, sent, message):
    """White space, line ends, a byte order mark and a zero byte come back as they were."""
    link, _ = sent(message)

    assert nw("read", "--yes", link).stdout == message.encode()


def test_neither_message_nor_token_nor_passphrase_is_sent(sent, way, tmp_path):
    """The service gets sealed bytes and verifiers."""
    (tmp_path / "words").write_text("willow bark tea\n")

    link, receipt = sent("the heron stands at dawn", "--passphrase-file", str(tmp_path / "words"))

    assert b"POST /post" in way.sent
    token, proof = link.split("#")[1], receipt.split("#")[1][:43]
    for secret in ("the heron stands at dawn", "willow bark tea", token, proof):
        assert not way.holds(secret)


def test_a_file_is_sent(nw, tmp_path):
    """--file takes the place of standard input."""
    (tmp_path / "letter").write_bytes("späß\n".encode())

    link = nw("send", "--file", str(tmp_path / "letter")).stdout.decode().strip()

    assert nw("read", "--yes", link).stdout == "späß\n".encode()


def test_at_a_terminal_it_says_what_to_do(terminal):
    """Without a pipe, it asks for the message and says how to end it."""
    person = terminal("send")
    person.wait_for("Type the message. End with Enter, then Ctrl+D.")
    person.type("hello\n\x04")
    person.wait_for("Your receipt")

    assert person.end() == 0


def sending(terminal, passphrase, again):
    """A person who types a message and two passphrases."""
    person = terminal("send", "--passphrase")
    person.wait_for("Ctrl+D")
    person.type("hello\n\x04")
    person.wait_for("Passphrase: ")
    person.type(f"{passphrase}\n")
    person.wait_for("again: ")
    person.type(f"{again}\n")
    return person


def test_a_passphrase_is_typed_twice_and_not_shown(terminal, nw):
    """The prompt is on the terminal, even if the message is typed there, and shows no passphrase."""
    person = sending(terminal, "willow bark tea", "willow bark tea")

    assert person.end() == 0
    assert b"willow" not in person.screen
    link = re.search(rb"http://localhost:\d+/[^/\s]{5}#\w{24}", person.screen)[0].decode()
    assert b"needs a passphrase" in nw("status", link).stdout


def test_two_passphrases_that_differ_send_nothing(terminal, way):
    """A typing mistake would make the message unreadable."""
    person = sending(terminal, "willow bark tea", "willow bark te")

    assert person.end() == 2
    assert b"The two passphrases differ" in person.screen
    assert way.sent == b""


@pytest.mark.parametrize("at", ["the message", "the passphrase", "the second passphrase"])
def test_ctrl_c_sends_nothing(terminal, way, at):
    """Exit code 130 at each question, and the terminal shows again what is typed."""
    person = terminal("send", "--passphrase")
    person.wait_for("Ctrl+D")
    if at != "the message":
        person.type("hello\n\x04")
        person.wait_for("Passphrase: ")
    if at == "the second passphrase":
        person.type("willow bark tea\n")
        person.wait_for("again: ")
    person.type("\x03")

    assert (person.end(), person.echoes(), way.sent) == (130, True, b"")
    assert b"Traceback" not in person.screen


def test_without_a_terminal_a_passphrase_comes_from_a_file(nw, way):
    """A script learns what to use instead."""
    done = nw("send", "--passphrase", data=b"hello")

    assert done.returncode == 2
    assert b"--passphrase-file" in done.stderr
    assert way.sent == b""


def test_copies_are_different_links(nw):
    """Each copy opens by itself."""
    links = nw("send", "--copies", "3", data=b"hello").stdout.decode().split()

    assert len(set(links)) == 3
    assert [nw("read", "--yes", link).stdout for link in links] == [b"hello"] * 3


def test_json(nw):
    """--json gives link, receipt and expiry, one object in a line."""
    done = nw("send", "--json", "--lifetime", "5m", data=b"hello")

    assert set(json.loads(done.stdout)) == {"link", "receipt", "expires_at"}
    assert done.stderr == b""


def test_the_lifetime_is_kept(nw):
    """The note expires after the time that was asked for."""
    first = json.loads(nw("send", "--json", "--lifetime", "1h", data=b"hello").stdout)
    second = json.loads(nw("send", "--json", "--lifetime", "30d", data=b"hello").stdout)

    assert first["expires_at"] < second["expires_at"]


@pytest.mark.parametrize("text", ["0s", "31d", "1y", "1", "", "-1h", "٣d"])
def test_a_wrong_lifetime_is_refused(nw, text):
    """The error says what a lifetime looks like."""
    done = nw("send", f"--lifetime={text}", data=b"hello")

    assert done.returncode == 2
    assert b"30m, 12h or 7d" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("secret-word",),
        ("--passphrase", "secret-word"),
        ("--passphrase=secret-word",),
        ("--token", "secret-word"),
        ("--message=secret-word",),
        ("--json=secret-word",),
        ("--passphrase-fd", "secret-word"),
        ("--unknown", "secret-word"),
    ],
)
def test_a_secret_as_an_argument_is_refused(nw, way, arguments):
    """Nothing is sent, and the error does not repeat it."""
    done = nw("send", *arguments, data=b"hello")

    assert done.returncode == 2
    assert way.sent == b""
    assert b"secret-word" not in done.stderr + done.stdout


@pytest.mark.parametrize(("data", "said"), [(b"", b"empty"), (b"\xff\xfe", b"not text in UTF-8")])
def test_what_is_no_message_is_refused(nw, way, data, said):
    """Nothing is sent."""
    done = nw("send", data=data)

    assert (done.returncode, way.sent) == (2, b"")
    assert said in done.stderr


def test_a_message_that_is_too_long_is_refused(nw):
    """The service's limit is in the error."""
    done = nw("send", data=b"x" * 65537 + b"x" * 256)

    assert done.returncode == 6
    assert b"at most 65,536 bytes" in done.stderr


def test_without_a_service_it_says_how_to_name_one(nw, environment):
    """No address is built in."""
    del environment["NOTE_WHISPERER_URL"]

    done = nw("send", data=b"hello")

    assert done.returncode == 2
    assert b"--to URL, or set NOTE_WHISPERER_URL" in done.stderr


def test_nothing_is_sent_if_nobody_reads_the_link(nw, way):
    """A link that is lost would leave a message that nobody can open."""
    reading, writing = os.pipe()
    os.close(reading)
    done = nw("send", data=b"hello", stdout=writing)
    os.close(writing)

    assert (done.returncode, way.sent) == (1, b"")
    assert b"Nobody reads standard output" in done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_a_link_that_cannot_be_written(nw):
    """Exit code 1: nobody has the link, and the receipt that could destroy the message is not shown either."""
    with open("/dev/full", "wb") as full:
        done = nw("send", data=b"hello", stdout=full)

    assert done.returncode == 1
    assert b"No space left on device" in done.stderr


def test_a_lost_answer_makes_another_note(nw, way):
    """The command sends it again, and the printed link opens."""
    way.cuts[b"POST /post"] = 20

    done = nw("send", data=b"hello")

    assert way.sent.count(b"POST /post") == 2
    assert nw("read", "--yes", done.stdout.decode().strip()).stdout == b"hello"


def test_another_name_of_the_service_is_told(nw, url):
    """The link has the address that was named, and the person learns of the service's own."""
    done = nw("send", "--to", url.replace("localhost", "127.0.0.1"), data=b"hello")

    assert done.stdout.startswith(b"http://127.0.0.1:")
    assert f"The service calls itself {url}." in done.stderr.decode()


def test_the_link_opens_with_curl(sent):
    """With a / in place of the #, the server opens it."""
    link, _ = sent("hello")

    assert ask(link.replace("#", "/"), Accept="text/plain") == (200, "hello")
