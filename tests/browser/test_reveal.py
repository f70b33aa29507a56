"""Opening a message: a press reveals it once, and no lost answer loses it."""

import os
import re
import signal
from urllib.parse import parse_qs

import pytest

from server import sealing
from tests.browser.conftest import hashed, is_unread, leave, status_of
from tests.server_process import serving

ARE_LOADED = """() => document.querySelector("[data-next]").dataset.next.trim().split(" ").every(
    (url) => performance.getEntriesByName(new URL(url, location)).length)"""


def test_nothing_is_revealed_before_a_press(visitor, recorder, link):
    """Loading, hovering, focusing and reloading the page reveal nothing."""
    page = visitor.open(link)
    page.wait_for_selector("[data-send]:enabled")
    page.hover("[data-send]")
    page.focus("[data-send]")
    page.reload()
    page.wait_for_selector("[data-send]:enabled")
    assert b"/reveal HTTP" not in recorder.sent
    assert is_unread(link)


def test_a_click_that_a_script_makes_up_reveals_nothing(visit, recorder, link):
    """A script in the page, such as an extension's, that clicks or submits gets no message."""
    visitor = visit()
    visitor.context.add_init_script("""
        setInterval(() => {
            const button = document.querySelector('[data-send]:enabled');
            if (!button) return;
            button.click();
            button.form.requestSubmit(button);
            button.form.dispatchEvent(new SubmitEvent('submit', {submitter: button, cancelable: true}));
            document.documentElement.dataset.tried = '';
        }, 10);
    """)
    page = visitor.open(link)
    page.wait_for_selector("html[data-tried]")
    assert b"/reveal HTTP" not in recorder.sent
    assert is_unread(link)


def test_a_press_of_a_person_reveals_it_once(visitor, visit, link):
    """The page shows the message, the address bar no longer has the token, and the link no longer works."""
    first, second = visitor, visit()
    first.open(link)
    assert first.reveal() == "read me once"
    assert first.page.url == link.split("#")[0]
    assert first.page.evaluate("document.activeElement.tagName") == "H1"
    assert first.page.title() == "Your message · note-whisperer"
    second.foresee("404")
    second.open(link)
    second.page.wait_for_selector("h1:text('This message was already read'):visible")


def test_a_lost_answer_is_asked_for_again(visitor, link):
    """The server's answer is lost after the reveal: the page gets the message by itself, as the same reader."""
    visitor.foresee("ERR_FAILED")
    sent = []

    def lose_the_first(route):
        sent.append(parse_qs(route.request.post_data))
        if len(sent) > 1:
            return route.continue_()
        assert route.fetch().status == 200
        route.abort()

    page = visitor.open(link)
    page.route("**/reveal", lose_the_first)
    with page.expect_response("**/received") as received:
        assert visitor.reveal() == "read me once"
    assert len(sent) == 2
    assert sent[0] == sent[1]
    assert page.is_hidden("text=somebody else")
    assert received.value.status == 204


@pytest.mark.parametrize("length", [0, 9, 12, 20, 150, 300, 1000])
def test_an_answer_that_breaks_off_is_asked_for_again(visitor, recorder, link, length):
    """Wherever the connection breaks within the answer, the page gets the message by itself."""
    visitor.foresee("ERR_", "Failed to fetch")
    page = visitor.open(link)
    page.wait_for_selector("[data-send]:enabled")
    recorder.cut_answer_after = length
    with page.expect_response(lambda answer: answer.url.endswith("/received")):
        assert visitor.reveal() == "read me once"
    assert recorder.sent.count(b"/reveal HTTP") > 1


def test_an_answer_that_stays_lost_is_not_blamed_on_somebody_else(visitor, link, msg_db):
    """If the server has forgotten the delivery, the page says that it may have been its own reader."""
    visitor.foresee("ERR_FAILED", "404")
    lost = []

    def lose_the_first(route):
        if lost:
            return route.continue_()
        lost.append(route.fetch().status)
        msg_db("DELETE FROM delivery WHERE key = %s", [link.split("#")[0][-5:]])
        route.abort()

    page = visitor.open(link)
    page.route("**/reveal", lose_the_first)
    visitor.press()
    page.wait_for_selector("h1:text('This message was already read'):focus")
    assert lost == [200]
    assert page.is_visible("text=It may have been this page that got it")
    assert page.is_hidden("text=somebody else has opened your link")


def test_the_reader_acknowledges_and_confirms(visitor, link):
    """The page sends the mark, so that the server forgets the sealed bytes and the sender can check it."""
    page = visitor.open(link)
    with page.expect_response("**/received") as received:
        visitor.reveal()
    assert received.value.status == 204
    assert status_of(link)["mark"] == sealing.to_text(sealing.derive_keys(link.split("#")[1]).mark)


def test_a_lost_acknowledgement_is_repeated(visitor, link):
    """The message is shown at once; the acknowledgement follows when the server answers again."""
    visitor.foresee("503")
    page = visitor.open(link)
    refused = []

    def refuse_the_first(route):
        if refused:
            return route.continue_()
        refused.append(route)
        route.fulfill(status=503)

    page.route("**/received", refuse_the_first)
    with page.expect_response(lambda answer: answer.url.endswith("/received") and answer.status == 204):
        assert visitor.reveal() == "read me once"


def test_a_server_that_stays_away_is_reported_and_can_be_tried_again(visit, link):
    """After a minute of tries the page says so; a later click, as the same reader, gets the message."""
    visitor = visit()
    visitor.foresee("ERR_FAILED", "Failed to fetch")
    visitor.page.clock.install()
    page = visitor.open(link)
    page.wait_for_selector("[data-send]:enabled")
    page.route("**/reveal", lambda route: route.abort())
    visitor.press()
    while not page.is_visible("#problem p"):
        page.clock.fast_forward(16_000)
    assert "did not answer" in page.text_content("#problem")
    page.unroute("**/reveal")
    assert visitor.reveal() == "read me once"


def test_the_scripts_of_the_next_page_load_before_the_reveal(visitor, link):
    """When the network fails right after the message has arrived, everything on its page works."""
    visitor.context.grant_permissions(["clipboard-write"])
    page = visitor.open(link)
    page.wait_for_selector("[data-send]:enabled")
    page.wait_for_function(ARE_LOADED)  # a slow machine enables the button without them, after ten seconds
    # Browsers may load the icon again when the address changes.
    page.route(re.compile("/static/(?!favicon)"), lambda route: route.abort())
    visitor.reveal()
    page.click("[data-copies][data-attached]")
    page.wait_for_selector("#text[data-copied]")
    page.wait_for_selector("section[data-attached]")


@pytest.mark.parametrize("act", ["status", "reveal"])
def test_the_page_of_a_captive_portal_is_no_answer(visit, link, act):
    """A 200 without this server's header is as lost as no answer: the page stays, and asks again until it is over."""
    visitor = visit()
    portal = []

    def log_in_first(route):
        if len(portal) == 2:
            return route.continue_()
        portal.append(route.request.url)
        route.fulfill(status=200, content_type="text/html", body="<h1>Welcome to our hotel</h1>")

    visitor.page.route(f"**/{act}", log_in_first)
    page = visitor.open(link)
    assert visitor.reveal() == "read me once"
    assert len(portal) == 2
    assert "hotel" not in page.content()


def test_a_server_that_dies_between_click_and_answer_loses_nothing(visit, databases):
    """If the server dies at the click and comes back soon, the page shows the message without another click."""
    with serving(databases) as (url, process):
        link = hashed(leave(url, "still here"))
        visitor = visit(url)
        visitor.foresee("Failed to fetch", "ERR_")
        page = visitor.open(link)
        page.wait_for_selector("[data-send]:enabled")
        os.kill(process.pid, signal.SIGSTOP)
        visitor.press()
        process.kill()
    with serving({**databases, "PORT": url.rpartition(":")[2]}):
        page.wait_for_selector("#text:not(:empty)")
        assert page.text_content("#text") == "still here"
        page.wait_for_load_state("networkidle")  # the acknowledgement
