"""The command note-whisperer and the browser read each other's messages."""

import json
import re
import subprocess
import sys

import pytest
from playwright.sync_api import expect

from tests.server_process import ROOT

ODD = "\n  two spaces,\ttab \U0001f642 שלום\n<b>&amp;</b> \ufeffend \n "


@pytest.fixture
def nw(url, tmp_path):
    """Runs the command for the service that the browser uses."""

    def run(*arguments, data=""):
        done = subprocess.run(
            [sys.executable, "-m", "client", *arguments],
            input=data.encode(),
            capture_output=True,
            env={"HOME": str(tmp_path), "NOTE_WHISPERER_URL": url},
            cwd=ROOT,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.decode()

    return run


@pytest.fixture
def words(tmp_path):
    """A passphrase, in a file."""
    (tmp_path / "words").write_text(" ﬁne Straße \n")
    return "ﬁne Straße", str(tmp_path / "words")


def test_from_the_command_to_the_browser(nw, visitor, words):
    """Message and passphrase are the same on both sides, and the browser's reading is confirmed."""
    passphrase, file = words
    sent = json.loads(nw("send", "--json", "--passphrase-file", file, data=ODD))
    visitor.open(sent["link"])

    assert visitor.reveal(passphrase) == ODD
    assert json.loads(nw("wait", "--json", sent["receipt"]))["confirmed"] is True


def test_from_the_browser_to_the_command(nw, visitor, words):
    """The command prints what was typed, and the sender's page says that it was read and confirmed."""
    passphrase, file = words
    link = visitor.write(ODD, passphrase)
    receipt = visitor.page.input_value("[data-receipt]")

    assert nw("read", "--yes", "--passphrase-file", file, link) == ODD
    expect(visitor.page.locator("[data-status]")).to_have_attribute("data-state", "confirmed")
    assert json.loads(nw("status", "--json", receipt))["confirmed"] is True


def test_the_receipt_of_the_command_opens_in_the_browser(nw, visitor):
    """The sender's page shows the status, and destroys the message."""
    sent = json.loads(nw("send", "--json", data="hello"))
    page = visitor.open(sent["receipt"])
    expect(page.locator("[data-status]")).to_have_attribute("data-state", "unread")

    nw("destroy", sent["link"])

    page.reload()
    expect(page.locator("[data-status]")).to_have_attribute("data-state", "destroyed")


def test_a_receipt_of_the_browser_destroys(nw, visitor):
    """The command takes the sender's receipt, and a late reader learns what happened."""
    visitor.foresee("404")
    link = visitor.write("hello")
    nw("destroy", visitor.page.input_value("[data-receipt]"))

    page = visitor.open(link)
    page.wait_for_selector("h1:visible")
    assert re.search("destroyed", page.text_content("main"))
