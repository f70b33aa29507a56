"""What all pages have in common: print, layout, colours, and "How this works"."""

import re
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from server.branding import contrast
from tests.browser import test_accessibility as states
from tests.browser.conftest import hashed, in_hex, leave, style

A_SMALL_LAPTOP = {"width": 1366, "height": 657}
A_PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}


LOOKS = {
    "120 lines": "\n".join(f"line {n}" for n in range(120)),
    "64 KB": "\n".join(f"{n:07d}" for n in range(8000)),
    "one long line": "x" * 20_000,
}


# What of an element is hidden because it, or an element around it, has too little room.
HIDDEN = """(element) => {
    const hidden = [];
    for (let box = element; box; box = box.parentElement) {
        if (getComputedStyle(box).overflowY !== "visible" && box.scrollHeight > box.clientHeight + 1
            && box !== document.documentElement) hidden.push(box.className || box.tagName);
    }
    return hidden;
}"""


# Each word that stands on two lines. A hyphen that stands in the text is a place to break.
BROKEN_WORDS = """() => {
    document.documentElement.style.fontSize = "32px";
    const broken = [], texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
        const text = texts.currentNode;
        const around = text.parentElement;
        if (!around.checkVisibility() || around.closest(".message, .unseen, option, textarea")) continue;
        for (const word of text.data.matchAll(/[^\\s-]+-?/g)) {
            const range = document.createRange();
            range.setStart(text, word.index);
            range.setEnd(text, word.index + word[0].length);
            const lines = new Set([...range.getClientRects()].map((rect) => Math.round(rect.top)));
            if (lines.size > 1) broken.push(word[0]);
        }
    }
    return broken;
}"""


# What reaches beyond the sheet that it stands on, which cuts it off.
CUT_OFF = """(elements) => elements.filter((element) => {
    const sheet = element.closest(".sheet")?.getBoundingClientRect(), box = element.getBoundingClientRect();
    return sheet && element.checkVisibility() && !element.matches(".unseen") && box.right > sheet.right;
}).map((element) => element.outerHTML)"""


def revealed(visitor, message):
    visitor.open(hashed(leave(visitor.url, message)))
    assert visitor.reveal() == message
    return visitor.page


# Print


@pytest.mark.parametrize("message", LOOKS.values(), ids=LOOKS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_message_is_printed_whole(visit, message, scheme):
    """Black on white, with no shadow, nothing cut off, on as many pages as it takes."""
    page = revealed(visit(color_scheme=scheme), message)
    page.emulate_media(media="print", color_scheme=scheme)

    assert page.eval_on_selector("#text", HIDDEN) == []
    for selector in ("body", ".sheet", "#text"):
        assert style(page, selector, "color") == "rgb(0, 0, 0)"
        assert style(page, selector, "backgroundColor") in ("rgb(255, 255, 255)", "rgba(0, 0, 0, 0)")
        assert style(page, selector, "boxShadow") == "none"
    assert page.is_hidden(".actions")
    assert page.is_hidden(".colophon")
    page.set_viewport_size({"width": 680, "height": 1000})  # about a page of A4 without its margins
    pages = page.eval_on_selector("#text", "(text) => text.getBoundingClientRect().height") / 1000
    printed = len(re.findall(rb"/Type\s*/Page\b", page.pdf(format="A4")))
    assert printed >= 0.8 * pages
    assert printed <= 1.3 * pages + 1


def test_links_and_receipts_are_printed_whole(visitor):
    """Without the buttons beside them, for one reader and for several."""
    for state in (states.share_with_passphrase, states.share_for_several):
        state(visitor)
        page = visitor.page
        page.emulate_media(media="print")
        page.set_viewport_size({"width": 680, "height": 1000})
        cut = "(fields) => fields.filter((field) => field.scrollWidth > field.clientWidth).map(({value}) => value)"

        assert page.locator("button:visible").count() == 0
        assert page.eval_on_selector_all("input[readonly]", cut) == []
        page.emulate_media(media="screen")


# Layout


@pytest.mark.parametrize("width", [320, 700, 1366])
def test_nothing_of_the_table_of_links_is_cut_off(visit, width):
    """Each link and each receipt has its button beside it, and on a phone the words that tell them apart."""
    visitor = visit(viewport={"width": width, "height": 657})
    states.share_for_several(visitor)
    page = visitor.page

    assert page.eval_on_selector_all("table :is(th, input, button)", CUT_OFF) == []
    links = page.eval_on_selector_all(
        "tbody td", "(cells) => cells.map((cell) => getComputedStyle(cell, '::before').content)"
    )
    told = ['"Link"', '"Receipt, for you to keep"'] * 3
    assert links == (told if width == 320 else ["none"] * 6)


@pytest.mark.parametrize("state", [states.form, states.confirm], ids=lambda state: state.__name__)
def test_the_main_button_is_as_wide_as_the_sheet_on_a_phone(visit, state):
    """A thumb finds it from either side."""
    visitor = visit(**A_PHONE)
    state(visitor)
    page = visitor.page

    width = page.locator("[data-send]").bounding_box()["width"]

    assert width == pytest.approx(page.locator(".actions:has([data-send])").bounding_box()["width"], abs=1)


def test_copy_stays_in_sight_beside_a_long_message(visit):
    """Wherever the reader has scrolled to, the button that copies the message is on the screen."""
    for options in ({"viewport": A_SMALL_LAPTOP}, A_PHONE):
        page = revealed(visit(**options), LOOKS["64 KB"])
        copy = page.locator("[data-copies=text]")
        for end in ("start", "end"):
            page.eval_on_selector("#text", f"(text) => text.scrollIntoView({{block: '{end}'}})")
            expect(copy).to_be_in_viewport(ratio=1)


def test_a_button_keeps_its_width_while_it_is_busy(visitor):
    """The label changes to "Sealing…", and nothing moves."""
    page = visitor.page
    states.form(visitor)
    held = []
    page.route("**/post", lambda route: held.append(route))
    page.fill("#message", "hello")
    send = page.locator("[data-send]")
    before, label = send.bounding_box(), send.inner_text()

    send.click()
    page.wait_for_selector("form[aria-busy=true]")

    assert send.inner_text() != label
    assert send.bounding_box()["width"] == pytest.approx(before["width"], abs=1)
    visitor.foresee("ERR_FAILED", "Failed to fetch")
    for route in held:
        route.abort()


def test_a_scrollbar_moves_nothing(visitor):
    """A page that is longer than the window is as wide as a short one."""
    visitor.open("/")

    assert style(visitor.page, "html", "scrollbarGutter") == "stable"


@pytest.mark.parametrize(
    "state",
    [states.form, states.share, states.confirm, states.revealed, states.gone, states.receipt],
    ids=lambda state: state.__name__,
)
def test_no_word_is_broken_on_a_phone_with_large_letters(visit, state):
    """At 360 px with letters of 32 px, words stay whole, and nothing scrolls sideways."""
    visitor = visit(viewport={"width": 360, "height": 740})
    state(visitor)

    assert visitor.page.evaluate(BROKEN_WORDS) == []
    assert visitor.page.eval_on_selector_all("button, .button, input, p, h1", CUT_OFF) == []
    assert visitor.page.evaluate("document.documentElement.scrollWidth") <= 360


# Colours


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_has_the_focus_does_not_look_like_an_error(visit, scheme):
    """The ring around the field that has the focus is of another colour than a refused field, and stands out."""
    visitor = visit(color_scheme=scheme)
    states.form(visitor)
    page = visitor.page
    ring = style(page, "#message:focus", "outlineColor")
    desk = in_hex(style(page, "body", "backgroundColor"))

    states.form_refused(visitor)

    assert page.get_attribute("#message", "aria-invalid") == "true"
    assert ring != style(page, "#message", "borderColor")
    assert ring != style(page, "#problem-message", "color")
    assert contrast(in_hex(ring), desk) >= 3


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    "state", [states.form, states.share, states.revealed], ids=lambda state: state.__name__
)
def test_borders_of_fields_and_buttons_stand_out(visit, state, scheme):
    """With a contrast of at least 3 to the paper (WCAG 2.2, 1.4.11)."""
    visitor = visit(color_scheme=scheme)
    state(visitor)
    page = visitor.page
    paper = in_hex(style(page, ".sheet", "backgroundColor"))
    controls = page.query_selector_all(
        ":is(input:not([type=checkbox], [type=hidden]), textarea, select, .message, .quiet):not(:disabled)"
    )

    borders = [control.evaluate("(one) => getComputedStyle(one).borderBottomColor") for control in controls]

    assert borders
    for border in borders:
        assert contrast(in_hex(border), paper) >= 3


def test_buttons_differ_in_forced_colours(visit):
    """The main, a quiet and a dangerous button are told apart by more than colours that are gone."""
    visitor = visit(forced_colors="active")
    states.share(visitor)
    page = visitor.page
    looks = [
        tuple(style(page, selector, name) for name in ("backgroundColor", "borderTopStyle", "borderTopWidth"))
        for selector in ("[data-copies=link]", "[data-draws]", ".danger")
    ]

    assert len(set(looks)) == 3


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_browser_s_bars_have_the_colour_of_the_page(visit, scheme):
    """theme-color is the background, in both schemes."""
    visitor = visit(color_scheme=scheme)
    page = visitor.open("/")

    colours = page.eval_on_selector_all(
        "meta[name=theme-color]",
        "(all) => all.filter(({media}) => matchMedia(media).matches).map((one) => one.content)",
    )

    assert colours == [in_hex(style(page, "body", "backgroundColor"))]


@pytest.mark.parametrize(
    "state, fields", [(states.form, ["message", "passphrase"]), (states.confirm, ["passphrase"])]
)
def test_password_managers_are_told_to_stay_away(visitor, state, fields):
    """From the message and the passphrase, in the words of 1Password, LastPass, Bitwarden and Dashlane."""
    state(visitor)
    for field in fields:
        attributes = visitor.page.eval_on_selector(f"#{field}", "(field) => ({...field.dataset})")

        assert {"1pIgnore", "lpignore", "bwignore", "formType"} <= attributes.keys()
        assert (attributes["lpignore"], attributes["formType"]) == ("true", "other")


# How this works


def test_the_footer_explains_the_service_and_nothing_is_lost(visitor):
    """The page opens in a tab of its own; what was being written stays."""
    states.form(visitor)
    page = visitor.page
    page.fill("#message", "half a message")

    with visitor.context.expect_page() as opened:
        page.click("footer >> text=How this works")

    opened.value.wait_for_load_state()
    assert urlsplit(opened.value.url).path == "/how-it-works"
    assert opened.value.title().startswith("How this works · ")
    assert opened.value.evaluate("opener") is None
    assert page.input_value("#message") == "half a message"
    opened.value.close()


def test_a_wary_reader_finds_the_explanation_beside_the_button(visitor):
    """The confirm page links to it, and the message stays unread and can be opened afterwards."""
    states.confirm(visitor)
    page = visitor.page

    with visitor.context.expect_page() as opened:
        page.click("main >> text=How this works")

    opened.value.wait_for_load_state()
    assert "Opening a message installs nothing" in opened.value.inner_text("main")
    opened.value.close()
    assert visitor.reveal() == "hello"


def test_the_explanation_needs_no_script(visit):
    """It is a page of text, with the version."""
    visitor = visit(java_script_enabled=False)
    page = visitor.open("/how-it-works")

    assert re.search(r"note-whisperer \d+\.\d+\.\d+", page.inner_text("main"))
    assert "has not said who they are" in page.inner_text("main")
