"""`status`: what became of a message, in words and as JSON."""

import json

from server import sealing
from tests.browser.conftest import ask, leave


def test_an_unread_message(nw, sent):
    """By link and by receipt: until when, and that nothing is opened."""
    link, receipt = sent()

    by_link, by_receipt = nw("status", link), nw("status", receipt)

    assert by_link.stdout == by_receipt.stdout
    assert by_link.stdout.startswith(b"The message is unread, until 2")
    answer = json.loads(nw("status", "--json", receipt).stdout)
    assert {"status": "unread", "has_passphrase": False, "wrong_passphrases": 0}.items() <= answer.items()


def test_read_and_confirmed(nw, sent):
    """The receipt checks the mark that the reader's program has left."""
    link, receipt = sent()
    nw("read", "--yes", link)

    assert b"has confirmed it" in nw("status", receipt).stdout
    assert b"somebody else opened the link" in nw("status", link).stdout


def test_read_by_the_server_is_not_confirmed(nw, url):
    """If the server opened the message, there is no mark."""
    _, body = ask(f"{url}/post", {"message": "hello"}, Accept="application/json")
    answer = json.loads(body)
    ask(answer["url"], Accept="text/plain")

    assert b"has not confirmed it" in nw("status", answer["receipt"]).stdout


def test_a_forged_mark_is_not_confirmed(nw, sent, msg_db):
    """The receipt recognises a mark that the service made up."""
    link, receipt = sent()
    nw("read", "--yes", link)
    msg_db("UPDATE ending SET mark = %s WHERE key = %s", (bytes(32), link.partition("#")[0][-5:]))

    assert json.loads(nw("status", "--json", receipt).stdout)["confirmed"] is False


def test_destroyed_and_expired(nw, sent, msg_db):
    """Each ending has its own words."""
    _, destroyed = sent()
    nw("destroy", destroyed)
    link, expired = sent()
    msg_db(
        "UPDATE note SET expires_at = now() - '1 minute'::interval WHERE key = %s",
        (link.partition("#")[0][-5:],),
    )

    assert b"destroyed unread on" in nw("status", destroyed).stdout
    assert b"expired unread on" in nw("status", expired).stdout


def test_an_unknown_message(nw, url):
    """Exit code 3, for a wrong token as well."""
    other = f"{leave(url, 'hello').rpartition('/')[0]}#{sealing.new_token()}"

    done = nw("status", other)

    assert (done.returncode, done.stdout) == (3, b"")
    assert b"There is no such message" in done.stderr


def test_a_cut_receipt_is_not_sent(nw, sent, way):
    """It says so."""
    _, receipt = sent()
    way.sent.clear()

    done = nw("status", receipt[:-1])

    assert (done.returncode, way.sent) == (2, b"")
    assert b"This receipt was cut off" in done.stderr
