"""The share panel: copying, sharing and drawing the link; the receipt; the countdown; destroying the note unread."""

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import PATIENCE, ask, leave


def test_the_heading_gets_the_focus_and_the_title_follows(visitor):
    """After the swap, the focus is on the new heading for screen readers, and the title has its text."""
    visitor.write("hello")
    assert visitor.page.evaluate("document.activeElement.tagName") == "H1"
    assert visitor.page.title() == "Your message is sealed · note-whisperer"


def test_the_link_is_selected_on_focus(visitor):
    """Focusing the field selects the whole link."""
    link = visitor.write("hello")
    visitor.page.focus("#link[data-attached]")
    assert visitor.page.evaluate("getSelection().toString()") == link


@pytest.mark.parametrize("way", ["clipboard", "selection", "none"])
def test_copy_link(visitor, way):
    """Copying uses the Clipboard API, else the selection; the page announces success, or what to do."""
    visitor.context.grant_permissions(["clipboard-write"])
    link = visitor.write("hello")
    page = visitor.page
    if way != "clipboard":
        page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    if way == "none":
        page.evaluate("() => { document.execCommand = () => false; }")
    page.click("[data-copies=link][data-attached]")
    page.wait_for_selector("#status:not(:empty)", state="attached")
    if way == "none":
        assert "press Ctrl+C" in page.text_content("#status")
        assert page.evaluate("getSelection().toString()") == link
        return
    assert page.text_content("#status") == "Copied."
    page = visitor.open("/")
    page.focus("#message")
    page.keyboard.press("Control+V")
    expect(page.locator("#message")).to_have_value(link)


def test_the_share_sheet_gets_the_link(visit):
    """If the system has a share sheet, a button opens it with the whole link."""
    visitor = visit()
    visitor.context.add_init_script("navigator.share = async (what) => { window.shared = what; };")
    link = visitor.write("hello")
    visitor.page.click("text=Share…")
    assert visitor.page.evaluate("window.shared") == {"url": link}


def test_without_a_share_sheet_there_is_no_button(visit):
    """Without a share sheet, the page shows no Share button."""
    visitor = visit()
    visitor.context.add_init_script("Object.defineProperty(navigator, 'share', {value: undefined})")
    visitor.write("hello")
    visitor.page.wait_for_selector("[data-shares][data-attached]", state="attached")
    assert visitor.page.is_hidden("text=Share…")


def test_the_qr_code_comes_when_it_is_asked_for(visitor):
    """The first click loads the library and shows the code; the second hides the code."""
    visitor.write("hello")
    page = visitor.page
    page.wait_for_selector("[data-draws][data-attached]")
    assert not any("lean-qr" in request.url for request in visitor.requests)
    page.click("text=QR code")
    page.wait_for_selector("#qr svg[role=img]")
    assert page.get_attribute("[data-draws]", "aria-expanded") == "true"
    assert any("lean-qr" in request.url for request in visitor.requests)
    page.click("text=QR code")
    assert page.is_hidden("#qr")


def test_destroying_it_unread(visitor, recorder):
    """Destroy it now destroys the note with a proof; the token is not sent."""
    link = visitor.write("hello", "sesame")
    visitor.page.click("text=Destroy it now")
    visitor.page.wait_for_selector("h1:text('Destroyed, unread')")
    assert not recorder.holds(link.split("#")[1])
    visitor.foresee("404")
    visitor.open(link)
    visitor.page.wait_for_selector("h1:text('This message was destroyed'):visible")


@pytest.mark.parametrize("passphrase", ["", "sesame"])
def test_destroying_it_without_scripts(visit, passphrase):
    """Without scripts, a plain form destroys the note, with a passphrase or without."""
    visitor = visit(java_script_enabled=False)
    page = visitor.open("/")
    page.fill("#message", "hello")
    page.fill("#passphrase", passphrase)
    page.click("noscript button")
    link = page.input_value("#link")
    page.click("text=Destroy it now")
    expect(page.locator("h1")).to_have_text("Destroyed, unread")
    status, _ = ask(link, Accept="application/json")
    assert status == 404


def test_destroying_what_was_read_says_so(visitor):
    """If somebody was faster, the page says when the message was read, and stays the sender's page."""
    visitor.foresee("409")
    link = visitor.write("hello")
    page = visitor.page
    page.wait_for_selector("[data-when=unread]:visible")
    read_behind_its_back(page, link)
    page.click("text=Destroy it now")
    page.wait_for_selector("[data-when=taken]:visible")
    assert page.text_content("h1") == "Your message was read"


def read_behind_its_back(page, link):
    """Read the message while the page does not ask."""
    page.evaluate("Object.defineProperty(document, 'hidden', {configurable: true, value: true})")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    assert ask(link.replace("#", "/"), Accept="text/plain")[0] == 200
    page.evaluate("Object.defineProperty(document, 'hidden', {configurable: true, value: false})")


def seconds_left(page):
    minutes, seconds = page.text_content(".countdown").removesuffix(" left.").split(":")
    return 60 * int(minutes) + int(seconds)


def test_the_countdown_runs_and_ends(visit, msg_db):
    """The page shows the time left; at the end it asks the server, says what it learned, and removes the link."""
    visitor = visit()
    visitor.page.clock.install()
    link = visitor.write("hello", lifetime="300")
    page = visitor.page
    page.wait_for_selector(".countdown:text-matches('^(5:00|4:..) left')")
    # No answer for now: the server's clock does not jump, so an answer would set the time right.
    page.route("**/status", lambda route: None)
    left = seconds_left(page)
    page.clock.fast_forward(100_000)
    assert left - 100 - PATIENCE / 1000 < seconds_left(page) <= left - 100
    page.unroute("**/status")
    key = link.split("#")[0][-5:]
    msg_db("UPDATE note SET expires_at = now() - interval '1 second' WHERE key = %s", [key])
    page.clock.fast_forward(201_000)
    page.wait_for_selector("[data-when=expired]:visible")
    assert page.text_content("h1") == "Your message has expired"
    assert page.locator("#link").count() == 0


def test_leaving_the_page_wipes_the_link(visitor):
    """The page that the browser may keep for its back button no longer has the link."""
    link = visitor.write("hello")
    visitor.page.wait_for_selector("section[data-attached]")
    visitor.page.evaluate("dispatchEvent(new PageTransitionEvent('pagehide', {persisted: true}))")
    values = visitor.page.evaluate("[...document.querySelectorAll('input')].map(({value}) => value).join()")
    assert link.split("#")[1] not in values
    assert "receipt" not in values
    visitor.foresee("404")
    visitor.open("/zzzzz")
    page = visitor.page
    page.go_back()
    visitor.wait_for_form()
    assert page.url == f"{visitor.url}/"
    assert page.locator("#link").count() == 0
    assert link.split("#")[1] not in page.content()


def test_a_message_sealed_by_the_server_shows_its_link_too(visit):
    """Without scripts, the panel shows the whole link, but no buttons that need scripts."""
    visitor = visit(java_script_enabled=False)
    page = visitor.open("/")
    page.fill("#message", "hello")
    page.click("noscript button")
    assert page.input_value("#link").count("/") == 4
    assert page.is_hidden("text=Copy link")
    assert leave(visitor.url, "hello").count("/") == 4
