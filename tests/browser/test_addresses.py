"""What is behind the # changes under an open page, in each state of each page: nothing breaks, and nothing is lost.

A visitor's browser reports every error of a script (conftest.py), and any fails the test.
"""

import pytest
from playwright.sync_api import expect

from server import sealing
from tests.browser import test_accessibility as states
from tests.browser.conftest import ask, leaving
from tests.browser.gestures import READY, SEND, stop_time

CUT_OFF = "h1:text('This link was cut off'):visible"


def token_of(link):
    return link.partition("#")[2]


def change(page, behind):
    """What somebody does who edits the address: only the part behind the # changes, and the page stays."""
    page.evaluate("(behind) => { location.hash = behind; }", behind)


def wander(page, link):
    """Another token, a part of one, none, nonsense; then back through all of them, and forward again."""
    before = page.evaluate("location.hash")
    behinds = [sealing.new_token(), token_of(link)[:-1], "", "%ff<b>"]
    for behind in behinds:
        change(page, behind)
    page.evaluate("(steps) => history.go(-steps)", len(behinds))
    page.wait_for_function("(before) => location.hash === before", arg=before)
    page.evaluate("(steps) => history.go(steps)", len(behinds))
    page.wait_for_function("location.hash.startsWith('#%ff')")


class Held(list):
    """Keeps all requests of a page that fit, until `let_go`."""

    def __init__(self, page, pattern):
        super().__init__()
        self.over = False
        page.route(pattern, lambda route: route.continue_() if self.over else self.append(route))

    def let_go(self):
        self.over = True
        for route in self:
            route.continue_()


def wait_until(page, condition):
    """Until it is so, while the browser's events arrive."""
    while not condition():
        page.evaluate("0")


@pytest.mark.parametrize("what", ["page", "seal", "reveal", "status", "keep"])
def test_the_link_that_is_there_in_the_end_counts(visitor, link, what):
    """Whatever part of the page, or of the server's answer, is late: the page takes the link as it is then."""
    visitor.foresee("404")
    page = visitor.page
    pattern = "**/status" if what == "status" else f"**/js/{what}.js*"
    held = Held(page, pattern)
    page.goto(link, wait_until="commit")
    wait_until(page, lambda: held)
    wander(page, link)
    change(page, token_of(link))

    held.let_go()

    page.wait_for_selector(READY)
    assert page.title() == "Someone sent you a message · note-whisperer"
    assert visitor.reveal() == "read me once"


def test_a_check_that_ends_late_changes_nothing(visitor, link):
    """While one token is checked, the address gets another: what the check of the first one says is not shown."""
    page = visitor.page
    page.add_init_script("""
        const digest = crypto.subtle.digest.bind(crypto.subtle);
        const released = new Promise((resolve) => { globalThis.release = resolve; });
        globalThis.checks = [];
        crypto.subtle.digest = (...how) => {
            const check = released.then(() => digest(...how));
            checks.push(check);
            return check;
        };
    """)
    page.goto(link)
    page.wait_for_function("globalThis.checks.length")
    change(page, "abc")
    page.wait_for_selector(CUT_OFF)

    page.evaluate(
        "async () => { release(); await Promise.all(checks); await new Promise(requestAnimationFrame); }"
    )

    assert page.is_visible(CUT_OFF)
    assert page.is_hidden(SEND)
    assert not any(request.url.endswith("/status") for request in visitor.requests)


def test_a_press_is_meant_for_the_link_that_was_there(visit, link):
    """If the address changes while the button is held, or armed, the press is over and opens nothing."""
    visitor = visit()
    visitor.foresee("404")
    page = visitor.open(link)
    page.wait_for_selector(READY)
    page.hover(SEND)
    stop_time(page)
    page.mouse.down()
    page.clock.run_for(400)
    assert page.get_attribute("section", "data-press") == "held"
    change(page, "abc")
    page.wait_for_selector(CUT_OFF)
    page.clock.run_for(400)
    page.mouse.up()
    assert not any(request.url.endswith("/reveal") for request in visitor.requests)
    page.clock.resume()
    change(page, token_of(link))
    page.wait_for_selector(READY)
    assert page.get_attribute("section", "data-press") == "rest"
    assert visitor.reveal() == "read me once"


def test_the_message_arrives_whatever_the_address_says_by_then(visitor, link):
    """It was asked for with the right link: it is shown, and no address has the token afterwards."""
    visitor.foresee("404")
    page = visitor.open(link)
    page.wait_for_selector(READY)
    held = Held(page, "**/reveal")
    visitor.press()
    wait_until(page, lambda: held)
    wander(page, link)

    held.let_go()

    expect(page.locator("#text")).to_have_text("read me once")
    expect(page.locator("h1")).to_have_text("Your message")
    assert page.title() == "Your message · note-whisperer"
    assert page.url == link.partition("#")[0]
    page.on("dialog", lambda dialog: dialog.accept())


def test_a_message_stays_on_its_page(visitor, link):
    """After it was opened, the address may change as it likes; leaving still warns."""
    page = visitor.open(link)
    visitor.reveal()
    page.wait_for_selector("section[data-attached]")
    wander(page, link)
    assert page.text_content("#text") == "read me once"
    assert page.title() == "Your message · note-whisperer"
    assert leaving(page)


@pytest.mark.parametrize(
    "state",
    [
        states.form, states.form_waiting, states.form_refused, states.share, states.share_read,
        states.share_with_passphrase, states.share_for_several, states.confirm_armed, states.confirm_refused,
        states.confirm_waiting, states.destroyed, states.how_it_works, states.error,
    ],
    ids=lambda state: state.__name__,
)  # fmt: skip
def test_other_pages_do_not_mind(visitor, link, state):
    """Pages whose address has no secret, and those that have one in a special state, stay as they are."""
    visitor.foresee("404")
    state(visitor)
    page = visitor.page

    wander(page, link)
    change(page, "")

    assert page.locator("h1:visible").count() == 1
    page.on("dialog", lambda dialog: dialog.accept())


def test_a_receipt_is_read_anew(visitor):
    """Another receipt in the same tab, a part of one or none: the page says what is true of it."""
    visitor.foresee("404")
    states.receipt(visitor)
    page = visitor.page
    receipt = page.url
    other = f"{receipt.partition('#')[0]}#{'A' * 86}"
    for address, seen in (
        (receipt[:-1], "[data-broken]:visible"),
        (other, "[data-when=unknown]:visible"),
        (receipt.partition("#")[0] + "#", "[data-broken]:visible"),
        (receipt, "[data-when=unread]:visible"),
    ):
        page.goto(address)
        page.wait_for_selector(seen)
    page.go_back()
    page.wait_for_selector("[data-broken]:visible")
    page.go_forward()
    page.wait_for_selector("[data-when=unread]:visible")


def test_a_page_of_an_ended_message_is_read_anew(visitor, link):
    """With the link it tells how the message ended, without it nothing."""
    visitor.foresee("404")
    ask(link.replace("#", "/"), Accept="text/plain")
    page = visitor.open(link)
    read, nothing = (
        f"h1:text('{words}'):visible"
        for words in ("This message was already read", "There is no message here")
    )
    page.wait_for_selector(read)
    for behind, seen in (("abc", nothing), (token_of(link), read), ("", nothing)):
        page.goto(f"{link.partition('#')[0]}#{behind}")
        page.wait_for_selector(seen)
    page.go_back()
    page.wait_for_selector(read)


def test_a_slash_too_many_takes_every_change(visitor, link):
    """/KEY/#TOKEN leads to /KEY#TOKEN; from there, the address may change, be left, and be come back to."""
    visitor.foresee("404")
    page = visitor.open(link.replace("#", "/#"))
    page.wait_for_selector(READY)
    wander(page, link)
    change(page, token_of(link))
    page.wait_for_selector(READY)
    visitor.open("/how-it-works")
    page.go_back()
    page.wait_for_selector(READY)
    assert page.url == link
    assert visitor.reveal() == "read me once"
