"""People at the confirm page: whatever they press with, the message opens; if they let go early, it stays sealed."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import hashed, leave, open_without_script
from tests.browser.gestures import (
    HOLD_TAKES,
    ONLY_SHORT_PRESSES,
    READY,
    SEND,
    click_through_devtools,
    finger,
    stop_time,
)


@pytest.fixture
def person(visit):
    """A person who opens a link: `person(**context_options)` returns the page, whose button is ready."""

    def arrive(**options):
        visitor = visit(**options)
        visitor.open(hashed(leave(visitor.url, "read me once")))
        visitor.page.wait_for_selector(READY)
        return visitor.page

    return arrive


def assert_read(page):
    expect(page.locator("#text")).to_have_text("read me once")


@pytest.mark.parametrize(
    "options",
    [{}, {"viewport": {"width": 320, "height": 256}, "device_scale_factor": 4}],
    ids=["as usual", "at a zoom of 400 %"],
)
def test_a_person_holds_the_mouse(person, options):
    """Press and hold, and the message opens, with nothing else to do."""
    page = person(**options)
    page.hover(SEND)
    page.mouse.down()
    assert_read(page)
    page.mouse.up()


def test_a_person_holds_a_finger_on_it(person):
    """The same by touch."""
    page = person(has_touch=True, is_mobile=True, viewport={"width": 390, "height": 700})
    _, lift = finger(page)
    assert_read(page)
    lift()


@pytest.mark.parametrize("key", ["Enter", "Space"])
def test_a_person_holds_a_key(person, key):
    """Tab to the button, and hold Enter or the space bar, which repeats meanwhile."""
    page = person()
    page.focus(SEND)
    page.keyboard.down(key)
    page.keyboard.down(key)
    assert_read(page)
    page.keyboard.down(key)
    page.keyboard.up(key)
    assert page.evaluate("scrollY") == 0


def press_again(page, press):
    """Press once, wait until the page says that the next press counts, and press once more."""
    page.evaluate(HOLD_TAKES, ONLY_SHORT_PRESSES)
    press()
    page.wait_for_selector("[data-press=ready] [data-step=ready]")
    expect(page.locator("#status")).to_have_text(re.compile("Press again"))
    press()
    assert_read(page)


SHORT_PRESSES = {
    "a mouse": lambda page: page.click(SEND),
    "a finger": lambda page: page.tap(SEND),
    "a key, or a switch that sends it": lambda page: page.press(SEND, "Enter"),
    "a screen reader, whose mouse goes down and up within a millisecond": click_through_devtools,
}


@pytest.mark.parametrize("press", SHORT_PRESSES.values(), ids=SHORT_PRESSES)
def test_a_person_presses_and_presses_again(person, press):
    """A short press arms the button, and the page says so; a second one opens the message."""
    page = person(has_touch=True)
    press_again(page, lambda: press(page))


def test_a_person_mixes_a_click_and_a_key(person):
    """The second press may be of another kind."""
    page = person()
    page.evaluate(HOLD_TAKES, ONLY_SHORT_PRESSES)
    page.click(SEND)
    page.wait_for_selector("[data-press=ready]")
    page.keyboard.press("Space")
    assert_read(page)


def test_assistive_technology_activates_it(person):
    """A screen reader, a voice or a switch activates the button through the accessibility tree, without a pointer.

    Chromium then simulates a click of its own. It does the same for the click on a button's label.
    """
    page = person()
    page.evaluate("""() => {
        const label = document.createElement('label');
        label.textContent = 'Open';
        document.querySelector('h1').before(label);
        document.querySelector('[data-send]').id = label.htmlFor = 'activated';
    }""")
    press_again(page, lambda: page.click("[for=activated]"))


def test_a_person_who_clicks_too_early_clicks_once_more(person):
    """A double click only arms; a click after a moment opens the message."""
    page = person()
    page.hover(SEND)
    stop_time(page)
    for _ in range(2):
        page.mouse.down()
        page.mouse.up()
    page.clock.resume()
    page.wait_for_selector("[data-press=ready]")
    page.click(SEND)
    assert_read(page)


def hold(page, way):
    """Press the button for a moment that is too short; returns what slides off it and what lets go."""
    page.hover(SEND)
    page.focus(SEND)
    stop_time(page)
    if way == "finger":
        move, let_go = finger(page)
        slide_off = lambda: (move(5, 5), page.wait_for_selector("[data-press=rest]"))  # noqa: E731
    elif way == "key":
        page.keyboard.down("Space")
        slide_off, let_go = lambda: page.focus("footer a"), lambda: page.keyboard.up("Space")
    else:
        page.mouse.down()
        slide_off, let_go = lambda: page.mouse.move(5, 5), page.mouse.up
    page.clock.run_for(400)
    assert page.get_attribute("section", "data-press") == "held"
    return slide_off, let_go


@pytest.mark.parametrize("way", ["mouse", "finger", "key"])
def test_a_person_lets_go(person, way):
    """Letting go, or sliding off the button, leaves the message sealed and the button ready."""
    page = person(has_touch=True)
    slide_off, let_go = hold(page, way)
    if way != "key":
        slide_off()
        assert page.get_attribute("section", "data-press") == "rest"
    let_go()
    assert page.get_attribute("section", "data-press") == ("wait" if way == "key" else "rest")
    page.clock.run_for(800)
    assert page.get_attribute("section", "data-press") in ("rest", "wait")
    assert page.is_enabled(SEND)


def test_a_person_holds_it_while_the_first_press_expires(person):
    """The second press began in time, so it opens the message."""
    page = person()
    page.hover(SEND)
    stop_time(page)
    page.mouse.down()
    page.mouse.up()
    page.clock.run_for(30_900)  # of the 31 seconds
    page.mouse.down()
    page.clock.run_for(300)
    assert page.get_attribute("section", "data-press") == "held"
    page.clock.resume()
    assert_read(page)


@pytest.mark.parametrize("way", ["mouse", "mouse that comes back", "finger", "key"])
def test_a_person_who_slid_off_holds_it_again(person, way):
    """Nothing is left of the first press: the next one opens the message as if it were the first."""
    page = person(has_touch=True)
    slide_off, let_go = hold(page, way)
    slide_off()
    if way == "mouse that comes back":
        page.hover(SEND)  # and is let go there, which is a short press
    let_go()
    assert page.get_attribute("section", "data-press") == ("wait" if "back" in way else "rest")
    page.clock.resume()

    if way == "key":
        page.focus(SEND)
        page.keyboard.down("Space")
    elif way == "finger":
        _, lift = finger(page)
    else:
        page.hover(SEND)
        page.mouse.down()

    assert_read(page)
    if way == "finger":
        lift()


def test_a_passphrase_is_proof_enough(visitor):
    """With a passphrase, Enter in its field or one click on the button opens the message."""
    for press in ("Enter", "click"):
        page = visitor.open(hashed(leave(visitor.url, "read me once", passphrase="sesame")))
        page.wait_for_selector("#passphrase:focus")
        page.keyboard.type("sesame")
        if press == "Enter":
            page.keyboard.press("Enter")
        else:
            page.click(SEND)
        assert_read(page)
        page.on("dialog", lambda dialog: dialog.accept())


def test_without_a_script_a_person_chooses(visit, url):
    """The choice and one click open the message."""
    reader = visit(java_script_enabled=False)
    page = reader.open(leave(url, "read me once"))
    open_without_script(page)
    assert_read(page)
