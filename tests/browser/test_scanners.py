"""Link scanners in a browser: what they press opens nothing.

Mail gateways and antivirus programs open the links in messages in real browsers, and press buttons. Each behaviour
says what it imitates. Most scanners here are the hard ones: they hide that a program controls the browser (no
`navigator.webdriver`), and their clicks are trusted, as a person's. What gestures cannot tell from a person is at the
end, with browsers that do not hide it; SECURITY.md says what remains.
"""

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import ARGUMENTS, Visitor, hashed, is_unread, launch, leave, new_context
from tests.browser.gestures import (
    HOLD_TAKES,
    ONLY_SHORT_PRESSES,
    READY,
    SEND,
    click_through_devtools,
    stop_time,
)

# Each is on the confirm page, whose script has loaded.


def look(page):
    """Opens the page, waits until nothing loads any more, and takes a picture."""
    page.wait_for_load_state("networkidle")
    page.screenshot()


def scroll_and_hover(page):
    """Moves the mouse over everything and scrolls to the end."""
    for element in page.query_selector_all("a:visible, button:visible, input:visible"):
        element.hover()
    page.mouse.wheel(0, 5000)


def click_every_button(page):
    """Clicks every button once, with trusted events."""
    for button in page.query_selector_all("button:visible"):
        button.click()


def click_every_button_twice(page):
    """A blind double click."""
    for button in page.query_selector_all("button:visible"):
        button.dblclick()


def click_many_times(page):
    """Clicks without pause, in case that the first ones were lost."""
    page.click(SEND, click_count=20)


def click_again_and_again(page):
    """Clicks each half second, for as long as a scanner has time."""
    for _ in range(8):
        click_at_its_place(page)
        page.clock.run_for(500)


def click_everything(page):
    """Clicks everything that can be clicked, fields and headings too."""
    for element in page.query_selector_all(
        "button:visible, input:visible, summary:visible, h1:visible, p:visible"
    ):
        element.click(force=True)


def click_at_its_place(page):
    """Clicks where the button is, with a mouse that jumps there."""
    box = page.locator(SEND).bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)


def click_slowly(page):
    """Clicks with a pause of 100 ms between down and up, to look like a person."""
    page.hover(SEND)
    page.mouse.down()
    page.clock.run_for(100)
    page.mouse.up()


def tap_through_devtools(page):
    """Taps with Input.synthesizeTapGesture of the DevTools protocol."""
    box = page.locator(SEND).bounding_box()
    devtools = page.context.new_cdp_session(page)
    devtools.send("Input.synthesizeTapGesture", {"x": box["x"] + 10, "y": box["y"] + 10, "tapCount": 2})


def click_as_a_user(page):
    """element.click() in Runtime.evaluate with userGesture, which activates the page."""
    devtools = page.context.new_cdp_session(page)
    script = f"document.querySelector('{SEND}').click()"
    for _ in range(3):
        devtools.send("Runtime.evaluate", {"expression": script, "userGesture": True})


def click_by_script(page):
    """element.click() on every button, many times."""
    page.evaluate(
        "for (let i = 0; i < 50; i++) document.querySelectorAll('button').forEach((each) => each.click())"
    )


def hold_by_script(page):
    """Makes up the events of somebody who presses and holds."""
    dispatch = """(kind) => document.querySelector('[data-send]').dispatchEvent(
        new PointerEvent(kind, { bubbles: true, cancelable: true, isPrimary: true, pointerId: 1 }))"""
    page.evaluate(dispatch, "pointerdown")
    page.clock.run_for(1500)
    page.evaluate(dispatch, "pointerup")
    page.evaluate(dispatch, "click")
    page.evaluate("""document.querySelector('[data-send]').dispatchEvent(
        new KeyboardEvent('keydown', { bubbles: true, cancelable: true, key: 'Enter' }))""")
    page.clock.run_for(1500)


def submit_by_script(page):
    """form.submit(), which asks no script; the form goes to the page's own address."""
    with page.expect_navigation():
        page.evaluate("document.forms[0].submit()")


def request_submit_by_script(page):
    """form.requestSubmit(), with and without the button."""
    page.evaluate(
        "document.forms[0].requestSubmit(); document.forms[0].requestSubmit(document.querySelector('button'))"
    )


def dispatch_submit(page):
    """Makes up the submit event that htmx listens for."""
    page.evaluate(
        "document.forms[0].dispatchEvent(new SubmitEvent('submit', { bubbles: true, cancelable: true }))"
    )


def press_enter(page):
    """Puts the focus on the button and presses Enter."""
    page.press(SEND, "Enter")


def press_space_twice(page):
    """Puts the focus on the button and presses the space bar twice at once."""
    page.press(SEND, "Space")
    page.press(SEND, "Space")


def tab_and_press_enter(page):
    """Goes through the page with Tab and presses Enter on everything."""
    for _ in range(6):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('button')"):
            page.keyboard.press("Enter")


def click_then_press_enter(page):
    """Clicks, and presses Enter right after, in case that the click was lost."""
    page.click(SEND)
    page.keyboard.press("Enter")


def fill_and_click(page):
    """Fills in every field that it sees and clicks."""
    for field in page.query_selector_all("input:visible"):
        field.fill("test")
    page.click(SEND)


def tap(page):
    """Taps the button on what looks like a phone."""
    page.tap(SEND)


def tap_twice(page):
    """Taps the button twice at once."""
    page.tap(SEND)
    page.tap(SEND)


def right_click(page):
    """Opens the context menu of the button, for a long time."""
    page.hover(SEND)
    page.mouse.down(button="right")
    page.clock.run_for(700)
    page.mouse.up(button="right")


def drag(page):
    """Drags across the page with the button held, from the form's button to the foot of the page."""
    page.hover(SEND)
    page.mouse.down()
    page.mouse.move(5, 5, steps=5)
    page.clock.run_for(700)
    page.mouse.up()


def go_back_and_forth(page):
    """Clicks, reloads the page and clicks again."""
    page.click(SEND)
    page.reload()
    page.click(READY)


def click_in_another_tab(page):
    """Opens the link in two tabs and clicks once in each."""
    other = page.context.new_page()
    other.goto(page.url)
    other.click(READY)
    page.click(SEND)
    other.close()


def click_and_come_back_later(page):
    """Clicks, and clicks again when the page has long been alone."""
    page.click(SEND)
    page.clock.run_for(120_000)
    page.click(SEND)


IN_A_BROWSER = [
    look, scroll_and_hover, click_every_button, click_every_button_twice, click_many_times, click_again_and_again,
    click_everything, click_at_its_place, click_slowly, click_through_devtools, tap_through_devtools, click_as_a_user,
    click_by_script, hold_by_script, submit_by_script, request_submit_by_script, dispatch_submit, press_enter,
    press_space_twice, tab_and_press_enter, click_then_press_enter, fill_and_click, tap, tap_twice, right_click, drag,
    go_back_and_forth, click_in_another_tab, click_and_come_back_later,
]  # fmt: skip


@pytest.fixture
def scanned(browser, url):
    """A scanner's browser on the confirm page of an unread message, and the link. Time stands still for the page, so
    that a busy machine makes no long press of a short one; behaviours let it run."""
    link = hashed(leave(url, "read me once"))
    scanner = Visitor(new_context(browser, has_touch=True), url)
    scanner.open(link)
    scanner.page.wait_for_selector(READY)
    stop_time(scanner.page)
    yield scanner, link
    scanner.context.close()  # whatever it has caused in its console is its own


@pytest.mark.parametrize("behaviour", IN_A_BROWSER, ids=lambda behaviour: behaviour.__name__)
def test_a_scanner_in_a_browser_opens_nothing(scanned, behaviour):
    """Whatever it presses, no message is asked for, and the message is unread afterwards."""
    scanner, link = scanned
    behaviour(scanner.page)
    scanner.page.clock.run_for(400)  # less than a press takes
    assert not any(request.url.endswith("/reveal") for request in scanner.requests)
    assert is_unread(link)


@pytest.mark.parametrize(
    "act", ["click the button", "press Enter", "choose the first", "submit by DevTools"], ids=lambda act: act
)
def test_a_scanner_in_a_browser_without_scripts_opens_nothing(visit, url, act):
    """The browser does not send the form before something is chosen, and the server would refuse it."""
    scanner = visit(java_script_enabled=False)
    scanner.foresee("400")
    link = leave(url, "read me once")
    page = scanner.open(link)
    if act == "click the button":
        page.dblclick("noscript button")
    elif act == "press Enter":
        page.press("noscript button", "Enter")
    elif act == "choose the first":
        page.click("noscript input >> nth=0")
        page.click("noscript button")
        page.wait_for_selector("#problem-present:has-text('untouched')")
    else:
        with page.expect_navigation():
            page.evaluate("document.forms[0].noValidate = true, document.forms[0].submit()")
    assert is_unread(link)


# What no gesture can tell from a person: a browser that says that a program controls it is asked for a choice.


@pytest.fixture(scope="module")
def automated(playwright):
    """A context of a browser that tells pages that a program controls it, as every headless browser does by default."""
    launched = launch(
        playwright, [argument for argument in ARGUMENTS if "AutomationControlled" not in argument]
    )
    context = new_context(launched)
    yield context
    launched.close()


def hold_the_mouse(page):
    """Holds the button for a second, as a click with a long delay does."""
    page.click(SEND, delay=1000)


def click_twice_with_a_pause(page):
    """Clicks every button, waits for what happens, and clicks every button again."""
    page.evaluate(HOLD_TAKES, ONLY_SHORT_PRESSES)
    page.click(SEND)
    page.wait_for_selector("[data-press=ready]")
    page.click(SEND)


def hold_the_key(page):
    """Holds Enter for a second."""
    page.press(SEND, "Enter", delay=1000)


@pytest.mark.parametrize(
    "behaviour", [hold_the_mouse, hold_the_key, click_twice_with_a_pause], ids=lambda b: b.__name__
)
def test_a_browser_that_a_program_controls_opens_nothing_by_gestures(automated, url, behaviour):
    """It has to make the same choice as a reader without a script; a program that means it can."""
    link = hashed(leave(url, "read me once"))
    scanner = Visitor(automated, url)
    page = scanner.open(link)
    page.wait_for_selector(READY)
    behaviour(page)
    assert not any(request.url.endswith("/reveal") for request in scanner.requests)
    assert is_unread(link)
    page.check("text=Yes, I am here to read it now")
    scanner.press()
    expect(page.locator("#text")).to_have_text("read me once")
    scanner.page.close()
