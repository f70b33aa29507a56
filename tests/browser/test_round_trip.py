"""A message's whole way, from one person's browser to another's, in each mode."""

import re
from urllib.parse import parse_qsl

import pytest
from playwright.sync_api import expect

from server import sealing
from tests.browser.conftest import INSECURE_HOST, ask, hashed, leave, open_without_script, recorded, status_of

LINK = re.compile(r"http://localhost:\d+/[0-9A-Za-z_-]{5}#[0-9A-Za-z]{24}")

ODD = (
    "\n\n  two spaces,\ttab \U0001f642\U0001f469\u200d\U0001f680 שלום עולם\n"
    "<script>alert(1)</script> &amp; \ufeffend \n "
)
FULL = "many bytes ünto " * 3854 + "." * 6 + "\u202eשלום\n"


def test_message_passphrase_and_token_never_leave_the_browser(visitor, visit, recorder):
    """Nothing that either browser sends contains the message, the passphrase or the token."""
    sender, reader = visitor, visit()
    link = sender.write("the heron stands at dawn", "willow bark tea")
    reader.open(link)
    text = reader.reveal("willow bark tea")
    assert text == "the heron stands at dawn"
    assert b"POST /post" in recorder.sent and b"/reveal" in recorder.sent
    token = link.split("#")[1]
    for secret in ("the heron stands at dawn", "willow bark tea", token, token[:22]):
        assert not recorder.holds(secret)


def test_only_five_fields_are_posted(visitor):
    """The form posts sealed, both verifiers, has_passphrase and lifetime."""
    visitor.write("hello", lifetime="300")
    (body,) = [request.post_data for request in visitor.requests if request.url.endswith("/post")]
    fields = dict(parse_qsl(body))
    assert set(fields) == {"sealed", "link_verifier", "reveal_verifier", "has_passphrase", "lifetime"}
    assert (fields["has_passphrase"], fields["lifetime"]) == ("false", "300")


def test_the_recorder_finds_an_unsealed_message(visitor, recorder):
    """The recorder works: it finds a message that a client sends without sealing it."""
    leave(visitor.url, "the heron stands at dawn")
    assert recorder.holds("the heron stands at dawn")


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without scripts"])
@pytest.mark.parametrize("message", [ODD, FULL], ids=["odd", "64 KiB"])
def test_a_message_comes_back_exactly(visitor, visit, message, scripts):
    """White space, emoji, markup, right-to-left text and 64 KiB come back as they were typed."""
    writer = visitor if scripts else visit(java_script_enabled=False)
    if scripts:
        link = writer.write(message)
    else:
        page = writer.open("/")
        page.fill("#message", message)
        page.click("noscript button")
        link = page.input_value("#link")
    page = writer.open(link)
    if scripts:
        writer.press()
    else:
        open_without_script(page)
    page.wait_for_selector("#text:not(:empty)")
    assert page.text_content("#text") == message


def test_with_scripts_the_link_has_its_token_behind_a_hash(visitor):
    """The token is behind the # of the link, but in no attribute of the page and not in the address bar."""
    link = visitor.write("hello")
    assert LINK.fullmatch(link)
    assert link.split("#")[1] not in visitor.page.content()
    assert visitor.page.url == f"{visitor.url}/"


def test_without_scripts_whole_pages_do_the_same(visit):
    """Without JavaScript, each step works: link, confirm page, wrong passphrase, message, gone."""
    visitor = visit(java_script_enabled=False)
    page = visitor.open("/")
    assert not page.is_visible("[data-send]")
    page.fill("#message", "hello")
    page.fill("#passphrase", "sesame")
    page.click("noscript button")
    link = page.input_value("#link")
    page = visitor.open(link)
    visitor.foresee("403", "404")
    assert page.is_hidden("#passphrase")  # the page does not know yet that the message needs one
    open_without_script(page)
    expect(page.locator("main")).to_contain_text("needs a passphrase")
    page.fill("#passphrase", "simsim")
    open_without_script(page)
    expect(page.locator("main")).to_contain_text("The passphrase is wrong")
    page.fill("#passphrase", "sesame")
    open_without_script(page)
    assert page.text_content("#text") == "hello"
    visitor.open(link)
    assert page.text_content("h1:visible") == "There is no message here"


def test_without_scripts_an_open_page_learns_of_the_ending(visit):
    """The server knows the token that the form was sent to, and says when the message was read."""
    visitor = visit(java_script_enabled=False)
    visitor.foresee("404")
    link = leave(visitor.url, "hello")
    page = visitor.open(link)
    ask(link, Accept="text/plain")
    open_without_script(page)
    expect(page.locator("h1:visible")).to_have_text("This message was already read")
    assert re.search(r"It was read on \d+ \w+ \d{4}, \d\d:\d\d UTC", page.text_content("main"))


def test_without_scripts_a_link_with_a_hash_says_what_to_do(visitor, visit):
    """The page says how to let the server open the note, and that works."""
    link = visitor.write("hello")
    reader = visit(java_script_enabled=False)
    page = reader.open(link)
    assert "has a #, change it to a / first" in " ".join(page.text_content("main").split())
    page = reader.open(link.replace("#", "/"))
    open_without_script(page)
    assert page.text_content("#text") == "hello"


def test_with_scripts_a_link_with_a_slash_is_opened_in_the_browser(visitor, recorder):
    """The browser opens a note that the server sealed; it sends only a proof and hides the token."""
    link = leave(visitor.url, "from a terminal", passphrase="sesame")
    page = visitor.open(link)
    page.wait_for_selector("#passphrase:visible")
    recorder.sent.clear()
    assert visitor.reveal("sesame") == "from a terminal"
    assert page.url == link.rsplit("/", 1)[0]
    assert not recorder.holds(link.rsplit("/", 1)[1])


def test_a_link_whose_hash_was_encoded_opens(visitor):
    """A mail program that turns # into %23 does not break the link."""
    link = hashed(leave(visitor.url, "hello"))
    page = visitor.open(link.replace("#", "%23"))
    assert page.url == link
    assert visitor.reveal() == "hello"


def test_what_a_chat_program_appends_to_a_link_does_no_harm(visitor):
    """A full stop or a bracket after the token is ignored."""
    visitor.open(hashed(leave(visitor.url, "hello")) + ").")
    assert visitor.reveal() == "hello"


def test_one_of_two_racing_tabs_reads(visitor, visit):
    """Of two tabs that reveal at once, one shows the message; the other says that there is none."""
    link = visitor.write("only for one")
    readers = [visitor, visit()]
    held = []
    for reader in readers:
        reader.foresee("404")
        reader.open(link)
        reader.page.route("**/reveal", lambda route: held.append(route))
        reader.press()
    while len(held) < 2:
        reader.page.evaluate("0")
    for route in held:
        route.continue_()
    for reader in readers:
        reader.wait_for_swap()
    headings = sorted(reader.page.text_content("h1") for reader in readers)
    assert headings == ["This message was already read", "Your message"]


def test_on_a_phone(visit, playwright):
    """Writing and reading a message works on a phone, by touch."""
    phone = {**playwright.devices["iPhone 13"]}
    phone.pop("default_browser_type")
    visitor = visit(**phone)
    page = visitor.open(visitor.write("hello", "sesame"))
    page.fill("#passphrase", "sesame")
    page.tap("[data-send]")
    page.wait_for_selector("#text:not(:empty)")
    assert page.text_content("#text") == "hello"


@pytest.fixture
def insecure(databases):
    """A recorder in front of a server that is reached by plain http and a name that is not localhost."""
    with recorded(databases, INSECURE_HOST) as recorder:
        yield recorder


def test_without_webcrypto_the_server_seals_only_after_a_choice(insecure, visit):
    """On plain http, nothing is sent until the person agrees that the server seals or opens the message."""
    visitor = visit(insecure.url)
    visitor.foresee("Cross-Origin-Opener-Policy header has been ignored")
    page = visitor.open("/")
    page.wait_for_selector("[data-server-seals]:visible")
    page.fill("#message", "the heron stands at dawn")
    page.press("#message", "Control+Enter")
    page.press("#passphrase", "Enter")
    assert page.is_disabled("[data-send]")
    assert not insecure.holds("the heron stands at dawn")
    page.check("text=Let the server seal")
    page.click("[data-send]")
    page.wait_for_selector("#link")
    link = page.input_value("#link")
    assert link.count("/") == 4

    page = visitor.open(hashed(link))
    page.wait_for_selector("[data-server-opens]:visible")
    assert page.is_disabled("[data-send]")
    assert not insecure.holds(link.rsplit("/", 1)[1])
    page.check("text=Let the server open")
    assert visitor.reveal() == "the heron stands at dawn"


def test_a_note_that_was_sealed_wrongly_says_so(visitor):
    """If the sealed bytes do not open, the page says that the message is destroyed and cannot be opened."""
    token = sealing.new_token()
    keys = sealing.derive_keys(token)
    fields = {
        "sealed": sealing.to_text(b"\x02" + bytes(284)),
        "link_verifier": sealing.to_text(keys.link_verifier),
        "reveal_verifier": sealing.to_text(keys.reveal_verifier),
    }
    status, link = ask(f"{visitor.url}/post", fields, Accept="text/plain")
    assert status == 201
    page = visitor.open(f"{link.strip()}#{token}")
    with page.expect_response("**/received") as received:
        visitor.press()
    page.wait_for_selector("[data-unopenable]:visible")
    assert received.value.status == 204
    assert "mark" not in status_of(f"{link.strip()}#{token}")
    assert not page.is_visible("#text")
