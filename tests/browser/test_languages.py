"""The pages in the reader's language: a message's whole way, right-to-left scripts, and the choice in the footer."""

import pytest
from axe_playwright_python.sync_playwright import Axe

from server.languages import LANGUAGES

FORM = {"de": "Schreiben Sie eine Nachricht", "ar": "اكتب رسالة", "ja": "メッセージ"}


@pytest.fixture
def abroad(visit):
    """Starts a visitor whose browser prefers a language."""
    return lambda tag: visit(locale=tag)


@pytest.mark.parametrize("tag", FORM)
def test_a_message_goes_its_way_in_the_language(abroad, tag):
    """Written, shared and read in the language that the browser prefers: no fragment falls back to English."""
    language = LANGUAGES[tag]
    visitor = abroad(tag)
    page = visitor.open("/")
    visitor.wait_for_form()
    assert FORM[tag] in page.text_content("h1")
    headings = [page.text_content("h1")]
    link = visitor.write("Grüße, سلام, こんにちは")
    headings.append(page.text_content("h1"))
    assert page.evaluate("[document.documentElement.lang, document.documentElement.dir]") == [
        tag,
        language.direction,
    ]

    reader = abroad(tag)
    page = reader.open(link)
    reader.reveal()
    headings.append(page.text_content("h1"))
    assert page.text_content("#text") == "Grüße, سلام, こんにちは"
    for heading, english in zip(headings[1:], ("Your message is sealed", "Your message")):
        assert heading == language.gettext(english) != english


@pytest.mark.parametrize("tag", ["de", "ar"])
def test_pages_in_other_languages_are_accessible(abroad, tag):
    """axe finds nothing, from left to right or from right to left."""
    visitor = abroad(tag)
    page = visitor.open("/")
    visitor.wait_for_form()
    for state in ("form", "share", "confirm"):
        if state == "share":
            link = visitor.write("hello")
        if state == "confirm":
            visitor = abroad(tag)
            page = visitor.open(link)
            page.wait_for_selector("[data-send]:enabled")
        found = Axe().run(page).response["violations"]
        assert [(violation["id"], violation["nodes"][0]["target"]) for violation in found] == [], state


def test_the_footer_changes_the_language_and_keeps_the_secret(visit, visitor):
    """What stands behind the # goes along, and the links of the page keep the choice."""
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


@pytest.mark.parametrize("tag", LANGUAGES)
def test_no_page_is_wider_than_a_small_phone(abroad, tag):
    """At 320 pixels, nothing has to be scrolled sideways, in the form, the share panel and the confirm page."""
    visitor = abroad(tag)
    visitor.page.set_viewport_size({"width": 320, "height": 800})
    page = visitor.open("/")
    visitor.wait_for_form()
    widths = [page.evaluate("document.documentElement.scrollWidth")]
    link = visitor.write("hello")
    widths.append(page.evaluate("document.documentElement.scrollWidth"))
    reader = abroad(tag)
    reader.page.set_viewport_size({"width": 320, "height": 800})
    page = reader.open(link)
    page.wait_for_selector("[data-send]:enabled")
    widths.append(page.evaluate("document.documentElement.scrollWidth"))
    assert max(widths) <= 320


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
