"""The operator's title, logo, colours and name, which every page shows."""

import pytest

from tests.browser import test_accessibility as states
from tests.browser.conftest import in_hex, recorded, style


@pytest.fixture(scope="module")
def branded(databases, tmp_path_factory):
    """A server with everything that an operator can set."""
    logo = tmp_path_factory.mktemp("brand") / "logo.svg"
    logo.write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8" width="8" height="8">'
        '<script>document.documentElement.setAttribute("data-ran", "")</script><rect width="8" height="8"/></svg>'
    )
    settings = {
        "BRAND_TITLE": "Example & Sons",
        "BRAND_LOGO": str(logo),
        "BRAND_COLORS": "#0b5394,#ffffff,#111111",
        "BRAND_COLORS_DARK": "#9ecbff,#0d1117,#e6edf3",
        "OPERATOR_NAME": "Example & Sons, Ltd.",
        "OPERATOR_CONTACT": "mailto:notes@example.org",
        "SOURCE_URL": "https://example.org/source",
    }
    with recorded({**databases, **settings}, "localhost") as recorder:
        yield recorder


@pytest.mark.parametrize("scheme, background, accent", [
    ("light", "#ffffff", "#0b5394"), ("dark", "#0d1117", "#9ecbff"),
])  # fmt: skip
def test_an_operator_s_title_logo_and_colours_are_everywhere(visit, branded, scheme, background, accent):
    """Each page has them, in both schemes, and axe finds nothing."""
    visitor = visit(branded.url, color_scheme=scheme)
    for state in (states.form, states.share, states.confirm, states.revealed, states.how_it_works):
        state(visitor)
        page = visitor.page
        assert page.title().endswith(" · Example & Sons")
        assert page.inner_text(".masthead").strip() == "Example & Sons"
        assert page.eval_on_selector(".masthead img", "(logo) => logo.complete && logo.naturalWidth") == 8
        assert in_hex(style(page, "body", "backgroundColor")) == background
        if state is not states.how_it_works:
            assert in_hex(style(page, "button:not(.quiet), .button:not(.quiet)", "backgroundColor")) == accent
        states.check(page)
        page.emulate_media(color_scheme=scheme)
    manifest = page.evaluate(
        "async () => (await fetch(document.querySelector('[rel=manifest]').href)).json()"
    )
    assert manifest["name"] == "Example & Sons"


def test_an_operator_says_who_they_are(visit, branded):
    """Name, contact and source are on the page that explains the service; the contact is in security.txt too."""
    visitor = visit(branded.url)
    page = visitor.open("/how-it-works")

    text = page.inner_text("main")
    links = page.eval_on_selector_all("dd a", "(links) => links.map((link) => link.getAttribute('href'))")

    assert "Example & Sons, Ltd." in text
    assert links == ["mailto:notes@example.org", "https://example.org/source"]
    assert "mailto:notes@example.org" in page.request.get(f"{branded.url}/.well-known/security.txt").text()


def test_a_logo_runs_no_script(visit, branded):
    """Opened by itself, an SVG is a page of this site."""
    visitor = visit(branded.url)
    visitor.foresee("script", "CSP")
    page = visitor.open("/branding-logo")

    assert page.evaluate("document.documentElement.hasAttribute('data-ran')") is False
