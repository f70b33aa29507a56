"""The pages in the reader's language: a message's whole way, room for every language, and the choice in the footer."""

import pytest

from server.languages import LANGUAGES
from tests.browser import test_accessibility as states
from tests.browser.test_look import A_SMALL_LAPTOP

FORM = {"de": "Schreiben Sie eine Nachricht", "ar": "اكتب رسالة", "ja": "メッセージ"}


@pytest.fixture
def abroad(visit):
    """Starts a visitor whose browser prefers a language."""
    return lambda tag: visit(locale=tag)


@pytest.mark.parametrize("tag", FORM)
def test_a_message_goes_its_way_in_the_language(abroad, tag):
    """Written, shared, read and gone in the language that the browser prefers: no fragment falls back to English."""
    language = LANGUAGES[tag]
    visitor = abroad(tag)
    page = visitor.open("/")
    visitor.wait_for_form()
    assert FORM[tag] in page.text_content("h1")
    headings = [page.text_content("h1")]
    link = visitor.write("Grüße, سلام, こんにちは", "Tür باب 扉")
    headings.append(page.text_content("h1"))
    assert page.evaluate("[document.documentElement.lang, document.documentElement.dir]") == [
        tag,
        language.direction,
    ]

    reader = abroad(tag)
    page = reader.open(link)
    page.wait_for_selector("#passphrase:visible")
    headings.append(page.text_content("h1"))
    assert reader.reveal("Tür باب 扉") == "Grüße, سلام, こんにちは"
    headings.append(page.text_content("h1"))

    late = abroad(tag)
    late.foresee("404")
    page = late.open(link)
    headings.append(page.text_content("[data-when=read] h1:visible"))
    sentences = (
        "Your message is sealed", "Someone sent you a message", "Your message", "This message was already read",
    )  # fmt: skip
    for heading, english in zip(headings[1:], sentences, strict=True):
        assert heading == language.gettext(english) != english


def test_the_footer_changes_the_language_and_keeps_the_secret(visit, visitor):
    """The part behind the # stays, and the links of the page keep the choice."""
    sender = visit()
    sender.open("/")
    link = sender.write("hello")
    page = visitor.open(link)
    page.wait_for_selector("[data-send]:enabled")
    page.click(".languages summary")
    page.click("a[hreflang=de]")
    page.wait_for_selector("html[lang=de] [data-send]:enabled")
    assert page.url == link.replace("#", "?lang=de#")
    assert page.get_attribute(".masthead a", "href") == "/?lang=de"
    visitor.reveal()
    assert page.text_content("h1") == LANGUAGES["de"].gettext("Your message")


# One of each layout.
LAYOUTS = [
    states.form, states.share_with_passphrase, states.receipt, states.confirm, states.revealed, states.ended,
    states.destroyed, states.gone, states.broken, states.error, states.how_it_works, states.share_for_several,
    states.confirm_with_passphrase,
]  # fmt: skip

# Where nobody has to scroll to the main button.
SHORT = [states.form, states.confirm, states.confirm_with_passphrase]

CUT = """() => [...document.querySelectorAll("button, .button")].filter((button) => {
    const { left, right } = button.getBoundingClientRect();
    return button.checkVisibility() && (button.scrollWidth > button.offsetWidth || left < 0 || right > innerWidth);
}).map((button) => button.textContent)"""


# Each label that stands under a button or a field.
OVERLAPS = """() => [...document.querySelectorAll("label")].filter((label) => {
    const text = document.createRange();
    text.selectNodeContents(label);
    const lines = label.checkVisibility() ? [...text.getClientRects()] : [];
    return [...document.querySelectorAll("button, input, select, textarea")].some((control) => {
        const { left, right, top, bottom } = control.getBoundingClientRect();
        return !label.contains(control) && control.checkVisibility() && lines.some((line) =>
            line.left < right && left < line.right && line.top < bottom && top < line.bottom);
    });
}).map((label) => label.textContent)"""


@pytest.mark.parametrize("tag", LANGUAGES)
def test_every_page_fits_a_phone_and_a_small_laptop(visit, tag):
    """No page is too wide and no button is cut off; on the laptop, the main button is above the fold."""
    visitor = visit(locale=tag, viewport=A_SMALL_LAPTOP)
    page = visitor.page
    for state in LAYOUTS:
        state(visitor)
        if state in SHORT:
            box = page.locator("[data-send]").bounding_box()
            assert box["y"] + box["height"] <= A_SMALL_LAPTOP["height"], state
            assert page.evaluate("scrollY") == 0, state
            assert page.evaluate(OVERLAPS) == [], state
        for width in (320, 1366):
            page.set_viewport_size(A_SMALL_LAPTOP | {"width": width})
            assert page.evaluate("document.documentElement.scrollWidth") <= width, (state, width)
            assert page.evaluate(CUT) == [], (state, width)


@pytest.mark.parametrize("tag", ["en", "tr", "ar"])
def test_the_table_of_links_shows_all_its_buttons(abroad, tag):
    """On a laptop, a tablet and a phone, no field or button is outside the sheet, which would cut it off."""
    visitor = abroad(tag)
    page = visitor.open("/")
    page.wait_for_selector("[data-send]:enabled")
    page.fill("#message", "hello")
    page.fill("#readers", "2")
    page.click("[data-send]")
    visitor.wait_for_swap()
    for width in (1366, 660, 320):
        page.set_viewport_size({"width": width, "height": 800})
        cut = page.evaluate("""() => {
            const sheet = document.querySelector(".sheet").getBoundingClientRect();
            return [...document.querySelectorAll(".links :is(input, button)")].filter((part) => {
                const { left, right } = part.getBoundingClientRect();
                return left < sheet.left || right > sheet.right;
            }).length;
        }""")
        assert cut == 0, width


def test_letters_without_italics_stand_upright(abroad):
    """Arabic is not slanted as Latin letters are; the footer's names of languages are not, either."""
    for tag, style in (("en", "italic"), ("ar", "normal")):
        page = abroad(tag).open("/")
        for part in ("h1 em", ".colophon"):
            assert page.locator(part).evaluate("(part) => getComputedStyle(part).fontStyle") == style
