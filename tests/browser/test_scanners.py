"""Link scanners and people at the confirm page: what scanners do opens nothing, what people do opens the message.

Mail gateways and antivirus programs open the links in messages in real browsers, and press buttons. Each behaviour
says what it imitates. The scanners in a browser here are the hard ones: they hide that a program controls the browser
(no `navigator.webdriver`), and their clicks are trusted, as a person's. What gestures cannot tell from a person is at
the end, with browsers that do not hide it; SECURITY.md says what remains.
"""

import re
import urllib.error
import urllib.request
from html import unescape
from html.parser import HTMLParser
from urllib.parse import urlencode, urljoin

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import (
    ARGUMENTS,
    Visitor,
    hashed,
    launch,
    leave,
    new_context,
    open_without_script,
    status_of,
)

SEND = "[data-send]"
READY = f"{SEND}:enabled"

OUTLOOK = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36"
PREVIEWS = {
    "Slack": "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
    "Facebook and WhatsApp": "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
    "WhatsApp": "WhatsApp/2.23.20.0 A",
    "Telegram": "TelegramBot (like TwitterBot)",
    "Discord": "Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)",
    "Teams": "Mozilla/5.0 (Windows NT 6.1; WOW64) SkypeUriPreview Preview/0.5",
    "Apple's Messages": "Mozilla/5.0 (Macintosh) AppleWebKit/601.2.4 facebookexternalhit/1.1 Facebot Twitterbot/1.0",
    "LinkedIn": "LinkedInBot/1.0 (compatible; Mozilla/5.0; Apache-HttpClient +http://www.linkedin.com)",
    "Google": "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "a mail gateway": OUTLOOK,
}
PAGE = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


def is_unread(link):
    """Whether the message is still there to be read."""
    return status_of(link)["status"] == "unread"


def send(method, url, fields=None, **headers):
    """A request without a browser; returns the answer's text, whatever its status."""
    data = None if fields is None else (fields if isinstance(fields, str) else urlencode(fields)).encode()
    named = {"User-Agent": OUTLOOK, "Accept": PAGE} | {
        name.replace("_", "-"): text for name, text in headers.items()
    }
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, named, method=method)) as answer:
            return answer.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        with error:
            return error.read().decode()


class Form(HTMLParser):
    """The fields of a page's forms, as a program without a browser finds them."""

    def __init__(self, page):
        super().__init__()
        self.inputs = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        if tag == "input":
            self.inputs.append(dict(attributes))


# Without a browser: each gets a link whose token the server sees, which is the kind that can be lost.


def get(link):
    """A scanner that follows the link."""
    send("GET", link)


def head(link):
    """A checker of links that asks for the head alone."""
    send("HEAD", link)


def options(link):
    """A scanner that asks which methods there are."""
    send("OPTIONS", link)


def get_of_anything(link):
    """A previewer that takes any format."""
    send("GET", link, Accept="*/*")


def get_a_part(link):
    """A previewer that takes the first kilobytes."""
    send("GET", link, Accept="*/*", Range="bytes=0-65535")


def prefetch(link):
    """A browser that fetches a link before anybody clicks on it."""
    send("GET", link, Sec_Purpose="prefetch", Purpose="prefetch")


def prerender(link):
    """A browser that renders a link before anybody clicks on it."""
    send("GET", link, Sec_Purpose="prefetch;prerender")


def pairs(link):
    """A gateway that asks for the head and then for the page, twice at once, from two machines."""
    for _ in range(2):
        send("HEAD", link, User_Agent="Mozilla/5.0 (compatible; URLScanner)")
        send("GET", link)


def get_and_post_nothing(link):
    """A scanner that posts to each address that it finds."""
    send("GET", link)
    send("POST", link, "")


def submit_the_form(link):
    """A scanner that parses the page and submits its form as it stands."""
    fields = {
        field["name"]: field.get("value", "") for field in Form(send("GET", link)).inputs if is_sent(field)
    }
    send("POST", link, fields)


def is_sent(field):
    return "name" in field and (field.get("type") not in ("radio", "checkbox") or "checked" in field)


def submit_the_form_filled_in(link):
    """The same, with a word in every field for text."""
    send("GET", link)
    send("POST", link, {"passphrase": "test"})


def submit_the_first_choices(link):
    """A scanner that answers each question with the first choice."""
    fields = {}
    for field in Form(send("GET", link)).inputs:
        fields.setdefault(field.get("name", ""), field.get("value", "test"))
    fields.pop("", None)
    send("POST", link, fields)


def submit_every_field(link):
    """A scanner that sends every field with its value."""
    send(
        "POST", link, [(f["name"], f.get("value", "")) for f in Form(send("GET", link)).inputs if "name" in f]
    )


def post_json(link):
    """A scanner of interfaces that posts an empty object and asks for a page."""
    send("POST", link, "{}", Content_Type="application/json")


def follow_every_link(link):
    """A crawler that follows all links of the page."""
    for path in re.findall(r'(?:href|src)="([/?][^"]*)"', send("GET", link)):
        send("GET", urljoin(link, unescape(path)))


def post_to_every_action(link):
    """A scanner that posts to the usual addresses below the link."""
    for act in ("", "/", "/reveal", "/destroy", "/confirm", "/view"):
        send("POST", link.rsplit("/", 1)[0] + act, "")


WITHOUT_A_BROWSER = [
    get, head, options, get_of_anything, get_a_part, prefetch, prerender, pairs, get_and_post_nothing, submit_the_form,
    submit_the_form_filled_in, submit_the_first_choices, submit_every_field, post_json, follow_every_link,
    post_to_every_action,
]  # fmt: skip


@pytest.mark.parametrize("behaviour", WITHOUT_A_BROWSER, ids=lambda behaviour: behaviour.__name__)
def test_a_scanner_without_a_browser_opens_nothing(url, behaviour):
    """Whatever it asks for or submits, the message is unread afterwards."""
    link = leave(url, "read me once")
    behaviour(link)
    assert is_unread(link)


@pytest.mark.parametrize("agent", PREVIEWS.values(), ids=PREVIEWS)
def test_a_preview_opens_nothing(url, agent):
    """A chat program or a search engine that fetches the link, as it calls itself."""
    link = leave(url, "read me once")
    for accept in (PAGE, "*/*", ""):
        assert "read me once" not in send("GET", link, User_Agent=agent, Accept=accept)
    assert is_unread(link)


# In a browser: each is on the confirm page, whose script has loaded.


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


def click_through_devtools(page):
    """Clicks with Input.dispatchMouseEvent of the DevTools protocol."""
    box = page.locator(SEND).bounding_box()
    devtools = page.context.new_cdp_session(page)
    place = {"x": box["x"] + 10, "y": box["y"] + 10, "button": "left", "clickCount": 1}
    for kind in ("mousePressed", "mouseReleased"):
        devtools.send("Input.dispatchMouseEvent", {"type": kind, **place})


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


def stop_time(page):
    """From here on, no timer of the page ends before `page.clock` says so."""
    page.clock.install()
    now = page.evaluate("Date.now() / 1000")
    page.clock.pause_at(now + 60)  # in seconds, and still to come on a busy machine


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


# People


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


def test_a_person_holds_the_mouse(person):
    """Press and hold, and the message opens, with nothing else to do."""
    page = person()
    page.hover(SEND)
    page.mouse.down()
    assert_read(page)
    page.mouse.up()


def finger(page):
    """Puts a finger on the button; returns what lifts it."""
    box = page.locator(SEND).bounding_box()
    devtools = page.context.new_cdp_session(page)
    point = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
    devtools.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [point]})

    def move(x, y):
        devtools.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [{"x": x, "y": y}]})

    return move, lambda: devtools.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


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
    press()
    page.wait_for_selector("[data-press=ready] [data-step=ready]")
    expect(page.locator("#status")).to_have_text(re.compile("Press again"))
    press()
    assert_read(page)


def test_a_person_clicks_and_clicks_again(person):
    """A short click arms the button, and the page says so; a second one opens the message."""
    page = person()
    press_again(page, lambda: page.click(SEND))


def test_a_person_taps_and_taps_again(person):
    """The same by touch."""
    page = person(has_touch=True)
    press_again(page, lambda: page.tap(SEND))


def test_a_person_presses_a_key_and_presses_it_again(person):
    """The same with a switch or a keyboard that sends short presses of Enter."""
    page = person()
    page.focus(SEND)
    press_again(page, lambda: page.keyboard.press("Enter"))


def test_a_person_mixes_a_click_and_a_key(person):
    """The second press may be of another kind."""
    page = person()
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


def test_a_screen_reader_clicks_at_once(person):
    """A screen reader's click is a mouse that goes down and up within a millisecond."""
    page = person()
    press_again(page, lambda: click_through_devtools(page))


def test_a_person_at_400_percent(person):
    """At a zoom of 400 % the button is in the page and can be held."""
    page = person(viewport={"width": 320, "height": 256}, device_scale_factor=4)
    page.hover(SEND)
    page.mouse.down()
    assert_read(page)
    page.mouse.up()


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


@pytest.mark.parametrize("way", ["mouse", "finger", "key"])
def test_a_person_lets_go(person, way):
    """Letting go, or sliding off the button, leaves the message sealed and the button ready."""
    page = person(has_touch=True)
    page.hover(SEND)
    page.focus(SEND)
    stop_time(page)
    if way == "mouse":
        page.mouse.down()
        page.clock.run_for(400)
        assert page.get_attribute("section", "data-press") == "held"
        page.mouse.move(5, 5)
        assert page.get_attribute("section", "data-press") == "rest"
        page.mouse.up()
    elif way == "finger":
        move, lift = finger(page)
        page.clock.run_for(400)
        assert page.get_attribute("section", "data-press") == "held"
        move(5, 5)
        page.wait_for_selector("[data-press=rest]")
        lift()
    else:
        page.keyboard.down("Space")
        page.clock.run_for(400)
        assert page.get_attribute("section", "data-press") == "held"
        page.keyboard.up("Space")
        assert page.get_attribute("section", "data-press") == "wait"
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
    page.hover(SEND)
    page.focus(SEND)
    stop_time(page)
    if way == "key":
        page.keyboard.down("Space")
        page.clock.run_for(400)
        page.focus("footer a")
        page.keyboard.up("Space")
    elif way == "finger":
        move, lift = finger(page)
        page.clock.run_for(400)
        move(5, 5)
        page.wait_for_selector("[data-press=rest]")
        lift()
    else:
        page.mouse.down()
        page.clock.run_for(400)
        page.mouse.move(5, 5)
        if way == "mouse that comes back":
            page.hover(SEND)  # and is let go there, which is a short press
        page.mouse.up()
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
    assert_read(page)
    scanner.page.close()
