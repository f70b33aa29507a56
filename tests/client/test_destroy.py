"""`destroy`: takes a link or a receipt, and refuses a message that was read."""

import json

import pytest


@pytest.mark.parametrize("which", [0, 1], ids=["link", "receipt"])
def test_nobody_can_read_it_any_more(nw, sent, which):
    """The link and the receipt both destroy it, and repeating that is not an error."""
    both = sent()

    done = nw("destroy", both[which])

    assert (done.returncode, done.stdout) == (0, b"The message is destroyed. Nobody can read it any more.\n")
    assert nw("read", "--yes", both[0]).returncode == 3
    assert json.loads(nw("destroy", "--json", both[which]).stdout) == {"status": "destroyed"}


def test_it_is_too_late_after_the_reading(nw, sent):
    """Exit code 3, and when it was read."""
    link, receipt = sent()
    nw("read", "--yes", link)

    done = nw("destroy", receipt)

    assert (done.returncode, done.stdout) == (3, b"")
    assert b"It is too late. The message was read on" in done.stderr


def test_a_lost_answer_is_asked_for_again(nw, sent, way):
    """The second answer says the same as the first."""
    _, receipt = sent()
    way.cuts[b"/destroy"] = 0

    assert nw("destroy", receipt).returncode == 0
    assert way.sent.count(b"/destroy") == 2
