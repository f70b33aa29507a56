"""The main ways through the service in Debian's Firefox. How each page behaves in detail, Chromium's tests show."""

import re
import secrets

import pytest

from tests.browser.conftest import hashed, leave
from tests.browser.firefox import Firefox
from tests.browser.gestures import HOLD, HOLD_TAKES, ONLY_SHORT_PRESSES
from tests.browser.pdfs import pdf, text

MESSAGE = "the heron stands at dawn, שלום 🙂"
# What Firefox says of a module that was still on its way when the page was left: the hash is that of no bytes.
LEFT_EARLY = (
    "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
    "loading dynamically imported",
)
SEALED_LINK = r"http://localhost:\d+/[\w-]{5}#[0-9A-Za-z]{24}"


@pytest.fixture
def tab(firefox):
    """A new tab, whose console has to stay silent, but for what the test foresees."""
    tab = firefox.tab()
    tab.foreseen.extend(LEFT_EARLY)
    yield tab
    assert [trouble for trouble in tab.troubles if not any(words in trouble for words in tab.foreseen)] == []
    tab.close()


@pytest.fixture(scope="module")
def scriptless(tmp_path_factory, firefox):
    """A Firefox whose user has turned JavaScript off."""
    firefox = Firefox(tmp_path_factory.mktemp("scriptless"), **{"javascript.enabled": False})
    yield firefox
    firefox.close()


def write(tab, front, message=MESSAGE, passphrase=""):
    """Seal a message in the form; returns the link."""
    tab.open(f"{front.url}/")
    tab.find("[data-send]:enabled")
    tab.fill("#message", message)
    if passphrase:
        tab.fill("#passphrase", passphrase)
    tab.click("[data-send]")
    tab.find("h1[data-focus]", "sealed")
    return tab.value("#link")


def reveal(tab):
    """Hold the button of the confirm page; returns the message. A controlled browser is asked for a choice, too."""
    tab.find("[data-send]:enabled")
    tab.click("[data-choice] [value=yes]")
    tab.hold("[data-send]:enabled", until="#text:not(:empty)")
    return tab.text("#text")


def test_seal_copy_and_open(front, tab):
    """The link is copied, and whoever pastes it elsewhere reads the message."""
    link = write(tab, front)
    assert re.fullmatch(SEALED_LINK, link)
    tab.click("[data-copies=link]")
    tab.find("#link[data-copied]")
    tab.open(f"{front.url}/")
    tab.click("#message")
    tab.press("Control", "v")
    tab.find("#message")
    assert tab.value("#message") == link

    tab.open(link)
    assert reveal(tab) == MESSAGE
    assert tab.evaluate("() => location.href") == link.split("#")[0]


def test_a_click_alone_opens_nothing(front, tab):
    """The button has to be held: a short press leaves the message unread."""
    link = write(tab, front)
    tab.open(link)
    tab.find("[data-send]:enabled")
    tab.evaluate(HOLD_TAKES, str(ONLY_SHORT_PRESSES))
    tab.click("[data-send]:enabled")
    tab.evaluate(HOLD_TAKES, str(HOLD))
    assert reveal(tab) == MESSAGE


def test_a_wrong_passphrase_then_the_right_one(front, tab):
    """The wrong one is answered beside the field, and destroys nothing."""
    tab.foreseen.append("403")
    link = write(tab, front, passphrase="willow bark tea")
    tab.open(link)
    tab.fill("#passphrase", "oak")
    tab.click("[data-choice] [value=yes]")
    tab.hold("[data-send]:enabled", until="#problem-passphrase", text="passphrase")
    tab.clear("#passphrase")
    tab.fill("#passphrase", "willow bark tea")
    assert reveal(tab) == MESSAGE


def test_a_second_reader_learns_that_it_is_gone(front, tab):
    """The link then says that the message was read."""
    tab.foreseen.append("404")
    link = write(tab, front)
    tab.open(link)
    assert reveal(tab) == MESSAGE
    tab.open(f"{front.url}/")  # the same address but for its # would not be asked for again
    tab.open(link)
    tab.find("h1", "This message was already read")


def test_the_receipt_tells_that_it_was_read(front, tab):
    """From unread to read and confirmed."""
    link = write(tab, front)
    receipt = tab.value("#receipt")
    tab.open(receipt)
    tab.find("[data-status]", "Not read yet.")
    tab.open(link)
    assert reveal(tab) == MESSAGE
    tab.open(receipt)
    tab.find("[data-status]", ", confirmed.")


def test_the_receipt_destroys(front, tab):
    """Its button destroys the message unread."""
    write(tab, front)
    tab.open(tab.value("#receipt"))
    tab.find("[data-status]", "Not read yet.")  # until then, the page still moves
    tab.click("summary", "Destroy it…")
    tab.click("button:enabled", "Yes, destroy it now")
    tab.find("h1", "Destroyed, unread")


def test_without_a_script(front, scriptless):
    """The server seals and opens; each step works."""
    tab = scriptless.tab()
    tab.open(f"{front.url}/")
    tab.fill("#message", MESSAGE)
    tab.click("noscript button")
    link = tab.value("#link")
    assert "#" not in link
    tab.open(link)
    tab.click("noscript [name=present][value=yes]")
    tab.click("noscript button")
    assert tab.text("#text") == MESSAGE
    tab.open(link)
    tab.find("h1", "There is no message here")
    tab.close()


def test_a_message_that_the_server_sealed(front, tab):
    """The link of a client without a script opens in Firefox, with a / or a #."""
    for link in (leave(front.url, "from curl"), hashed(leave(front.url, "from curl"))):
        tab.open(link)
        assert reveal(tab) == "from curl"


def send(tab, front, path, content):
    """Write a message with a file from the disk, and open it."""
    path.write_bytes(content)
    tab.open(f"{front.url}/")
    tab.find("[data-send]:enabled")
    tab.fill("#message", MESSAGE)
    tab.choose("#files", path)
    tab.find("[data-files] li", path.name)
    tab.click("[data-send]:enabled")
    tab.find("h1[data-focus]", "sealed")
    tab.open(tab.value("#link"))
    assert reveal(tab) == MESSAGE


def test_a_file_from_disk_to_disk(front, firefox, tab, tmp_path):
    """A file that is chosen on the form arrives on the reader's disk as it was."""
    content = secrets.token_bytes(1_300_000)
    send(tab, front, tmp_path / "heron.bin", content)
    tab.click("[data-save]")
    tab.find("[data-saved]")
    assert firefox.downloaded("heron.bin") == content


def test_a_pdf_is_drawn(front, tab, tmp_path):
    """In a frame without an origin: its picture is not empty, and its text can be selected."""
    send(
        tab,
        front,
        tmp_path / "heron.pdf",
        pdf([f"{text('heron')} 1 0 0 rg 100 300 300 300 re f", text("feather")]),
    )
    tab.click("[data-look]")
    tab.find("[data-preview] iframe")
    frame = tab.frame()
    frame.find("figcaption", "Page 1 of 2")
    frame.find(".text span", "heron")
    assert frame.evaluate("() => origin") == "null"
    assert frame.evaluate("""() => {
            const canvas = document.querySelector("canvas");
            const { data } = canvas.getContext("2d").getImageData(canvas.width / 2, canvas.height / 2, 1, 1);
            return data.join();
        }""") == "255,0,0,255"
    tab.foreseen.append("Content-Security-Policy")
    asked = len(front.asked)
    for attempt in ("fetch('/leak')", "import('/leak.js')", "parent.location.href", "localStorage.length"):
        assert (
            frame.evaluate(
                f"async () => {{ try {{ await {attempt}; }} catch (error) {{ return 'refused'; }} }}"
            )
            == "refused"
        )
    frame.evaluate(f"() => {{ setTimeout(() => {{ location.href = '{front.url}/leak'; }}); }}")
    tab.evaluate("() => fetch('/robots.txt')")
    assert [path for _, path in front.asked[asked:]] == ["/robots.txt"]


def test_a_dropped_file(front, tab):
    """A file that is dropped on the form is sent, and the page stays."""
    tab.open(f"{front.url}/")
    tab.find("[data-send]:enabled")
    tab.fill("#message", MESSAGE)
    tab.evaluate("""() => {
            const dataTransfer = new DataTransfer();
            dataTransfer.items.add(new File(["feather"], "heron.txt"));
            document.querySelector("#message").dispatchEvent(
                new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer }));
        }""")
    tab.find("[data-files] li", "heron.txt")
    tab.click("[data-send]:enabled")
    tab.find("h1[data-focus]", "sealed")
    tab.open(tab.value("#link"))
    assert reveal(tab) == MESSAGE
    tab.find("[data-received] li", "heron.txt")
