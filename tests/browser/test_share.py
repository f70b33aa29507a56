"""The share panel: copying, sharing and drawing the link; the receipt; the countdown; destroying the note unread."""

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import (
    PATIENCE,
    ask,
    destroy,
    leave,
    leaving,
    no_clipboard,
    pasted,
    status_of,
)


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
        assert "Press Ctrl+C" in page.text_content("#status")
        assert page.evaluate("getSelection().toString()") == link
        return
    assert page.text_content("#status") == "Copied"
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
    destroy(visitor.page)
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
    destroy(page)
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
    destroy(page)
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


# Nothing is lost without a word


def test_the_link_is_copied_by_the_click_that_seals(visitor):
    """Where the browser permits it, the panel says that the link can be pasted, and it can."""
    visitor.context.grant_permissions(["clipboard-write"])
    link = visitor.write("hello")
    page = visitor.page
    page.wait_for_selector("[data-was-copied]:visible")
    assert pasted(visitor) == link


def test_a_link_that_was_not_copied_is_not_said_to_be(visit):
    """If the browser refuses, the panel says nothing, and warns as before."""
    visitor = visit()
    visitor.context.add_init_script(
        "if (globalThis.Clipboard) Clipboard.prototype.write = () => Promise.reject(new Error('no'));"
    )
    visitor.write("hello")
    visitor.page.wait_for_selector("section[data-attached]")
    assert visitor.page.is_hidden("[data-was-copied]")
    assert leaving(visitor.page)


@pytest.mark.parametrize("way", ["button", "by hand", "share", "qr"])
def test_leaving_with_the_link_in_hand_does_not_warn(visit, way):
    """Copied, shared or drawn: the link has left the page."""
    visitor = visit()
    no_clipboard(visitor)
    visitor.context.add_init_script("navigator.share = async () => {};")
    visitor.write("hello")
    page = visitor.page
    page.wait_for_selector("section[data-attached]")
    if way == "by hand":
        page.focus("#link[data-attached]")
        page.keyboard.press("Control+C")
    else:
        page.click({"button": "[data-copies=link]", "share": "[data-shares]", "qr": "[data-draws]"}[way])
    page.wait_for_selector("#link[data-copied]")
    assert not leaving(page)


def test_a_share_sheet_that_was_closed_has_shared_nothing(visit):
    """The page still warns."""
    visitor = visit()
    no_clipboard(visitor)
    visitor.context.add_init_script(
        "navigator.share = () => Promise.reject(new DOMException('', 'AbortError'));"
    )
    visitor.write("hello")
    visitor.page.wait_for_selector("section[data-attached]")
    visitor.page.click("[data-shares]")
    assert leaving(visitor.page)


@pytest.mark.parametrize("script", ["copy", "leave", "vendor/lean-qr"])
def test_a_script_that_does_not_load_is_told_and_the_link_is_there(visit, script):
    """No button is dead without a word."""
    visitor = visit()
    visitor.foresee("ERR_FAILED")
    page = visitor.page
    page.route(f"**/{script}*", lambda route: route.abort())
    link = visitor.write("hello")
    if script == "vendor/lean-qr":
        page.click("text=QR code")
    page.wait_for_selector("[data-if-broken]:visible")
    assert "#" in link
    assert page.is_disabled("[data-copies=link]") == (script == "copy")


def test_reloading_the_page_of_a_plain_form_puts_nothing_again(visit, recorder):
    """It shows the same link again, and after a reading it says so."""
    visitor = visit(java_script_enabled=False)
    page = visitor.open("/")
    page.fill("#message", "hello")
    page.click("noscript button")
    link = page.input_value("#link")
    page.reload()
    assert page.input_value("#link") == link
    assert recorder.sent.count(b"POST /post") == 1
    ask(link, Accept="text/plain")
    page.reload()
    assert page.text_content("h1") == "Your message was read"


def test_the_page_of_a_plain_form_tells_its_address_to_nobody(visit, recorder):
    """Without a script, the address of the sender's page has the token: no other request repeats it."""
    visitor = visit(java_script_enabled=False)
    page = visitor.open("/")
    page.fill("#message", "hello")
    page.click("noscript button")
    token = page.input_value("#link").rpartition("/")[2]
    assert f"/{token}/sent/" in page.url
    page.wait_for_load_state("networkidle")
    recorder.sent.clear()
    page.click("text=Write another message")
    page.wait_for_selector("#message")
    assert b"GET /?lang=en" in recorder.sent
    assert not recorder.holds(token)


# Touch


def on_a_phone(visit, **options):
    return visit(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True, **options)


def test_on_touch_share_comes_first(visit):
    """It stands before Copy and is the main button."""
    visitor = on_a_phone(visit)
    visitor.context.add_init_script("navigator.share = async () => {};")
    visitor.write("hello")
    page = visitor.page
    page.wait_for_selector("[data-shares][data-attached]")
    buttons = page.locator("section .actions").first.locator("button")
    assert buttons.all_inner_texts() == ["Share…", "Copy link", "QR code"]
    assert "quiet" not in page.get_attribute("[data-shares]", "class")
    assert "quiet" in page.get_attribute("[data-copies=link]", "class")


def test_on_touch_copying_by_hand_is_a_long_press(visit):
    """There is no Ctrl key."""
    visitor = on_a_phone(visit)
    no_clipboard(visitor)
    visitor.context.add_init_script("document.execCommand = () => false;")
    visitor.write("hello")
    visitor.page.tap("[data-copies=link][data-attached]")
    expect(visitor.page.locator("[data-copies=link]")).to_have_text("Long-press, then Copy")


def test_the_copy_button_keeps_its_width(visitor):
    """Nothing beside it moves when its label changes."""
    visitor.write("hello")
    page = visitor.page
    page.wait_for_selector("[data-copies=link][data-attached]")
    before = page.locator("[data-draws]").bounding_box()
    page.click("[data-copies=link]")
    page.wait_for_selector("[data-copies=link]:text('Copied')")
    assert page.locator("[data-draws]").bounding_box() == before


def test_destroying_asks_once(visitor):
    """The first click destroys nothing; it says what the second one will do."""
    link = visitor.write("hello")
    page = visitor.page
    page.click("text=Destroy it…")
    assert page.is_visible("text=Nobody will be able to read the message")
    assert status_of(link)["status"] == "unread"
    page.click("text=Destroy it…")
    assert page.is_hidden("text=Yes, destroy it now")


# A passphrase goes another way


def test_the_passphrase_and_two_texts_are_ready_to_copy(visitor):
    """The text with the link does not have the passphrase, nor the other way round."""
    link = visitor.write("hello", "correct horse")
    page = visitor.page
    assert page.input_value("#shared-passphrase") == "correct horse"
    page.click(".texts summary")
    with_link, with_passphrase = page.input_value("#text-link"), page.input_value("#text-passphrase")
    assert link in with_link
    assert "correct horse" not in with_link
    assert "correct horse" in with_passphrase
    assert link.split("#")[1] not in with_passphrase
    assert "correct horse" not in page.content()


def test_copying_the_text_with_the_link_hands_the_link_over(visit):
    """Afterwards the page does not warn."""
    visitor = visit()
    no_clipboard(visitor)
    visitor.write("hello", "sesame")
    page = visitor.page
    page.wait_for_selector("section[data-attached]")
    page.click(".texts summary")
    page.click("text=Copy text with the passphrase")
    page.wait_for_selector("#text-passphrase[data-copied]")
    assert page.locator("#link[data-copied]").count() == 0
    page.click("text=Copy text with the link")
    page.wait_for_selector("#link[data-copied]")
    assert not leaving(page)
