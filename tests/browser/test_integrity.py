"""What browsers do with a changed file, in Chromium and in Firefox."""

import re

import pytest

from server.pages import STATIC, asset
from tests.browser.conftest import Visitor, new_context
from tests.tampering import changing_byte

# For each file of the form: whether the page can still seal.
OF_THE_FORM = {
    "css/note-whisperer.css": True,
    "vendor/htmx-4.0.1.min.js": False,
    "js/page.js": False,
    "js/compose.js": False,
    "js/seal.js": False,
}


class Chromium:
    """What these tests do, in Chromium."""

    def __init__(self, browser):
        self._context = new_context(browser)
        self._visitor = Visitor(self._context, "")
        self.troubles = self._visitor.troubles
        self._page = self._visitor.page

    def open(self, url):
        self._page.goto(url)

    def find(self, selector, text=""):
        self._page.locator(selector).filter(has_text=text, visible=True).first.wait_for()

    def fill(self, selector, text):
        self._page.fill(selector, text)

    def click(self, selector):
        self._page.click(selector)

    def evaluate(self, function, *arguments):
        return self._page.evaluate(function, *arguments)

    def close(self):
        self._page.close()
        self._context.close()


@pytest.fixture(params=["chromium", "firefox"])
def tab(request):
    """A tab of each browser."""
    if request.param == "chromium":
        tab = Chromium(request.getfixturevalue("browser"))
    else:
        tab = request.getfixturevalue("firefox").tab()
    yield tab
    tab.close()


NOT_MODULES = {"vendor/htmx-4.0.1.min.js", "js/page.js"}
FILES = {file.relative_to(STATIC).as_posix() for file in STATIC.rglob("*.js")}
MODULES = sorted(file for file in FILES - NOT_MODULES if not file.startswith("vendor/pdfjs"))


def imported(tab, urls):
    """Of these modules, those that the page can import now."""
    trying = """async (urls) => (await Promise.all(urls.split(" ").map(
        (url) => import(url).then(() => url, () => "")))).filter(Boolean).join(" ")"""
    return tab.evaluate(trying, " ".join(urls)).split()


def refused(tab):
    """Whether the console says that a hash does not fit. It names the computed one."""
    return any("integrity" in trouble and "omputed" in trouble for trouble in tab.troubles)


@pytest.mark.parametrize("file", OF_THE_FORM)
def test_a_changed_file_of_the_form_is_refused(front, tab, file):
    """Without its style the form works; without a script it seals nothing, sends nothing and says so."""
    front.change = changing_byte(f"/static/{file}")
    tab.open(front.url)
    if OF_THE_FORM[file]:
        tab.find("[data-send]:enabled")
        assert not tab.evaluate("() => document.styleSheets[0]?.cssRules.length > 0")
    else:
        tab.find("[data-waiting]", "If this message does not go away, reload the page.")
        assert tab.evaluate("() => document.querySelector('[data-send]').disabled")
    assert refused(tab)
    assert not any(method == "POST" for method, _ in front.asked)


@pytest.mark.parametrize("changed", [True, False], ids=["changed", "unchanged"])
def test_a_changed_module_is_refused(front, tab, changed):
    """Every page has the hash of every module, and the browser imports none that was changed."""
    urls = [str(asset(file)) for file in MODULES]

    def change(request, answer):
        for file in MODULES:
            changing_byte(f"/static/{file}")(request, answer)

    front.change = change if changed else None
    tab.open(f"{front.url}/zzzzz/receipt")
    assert imported(tab, urls) == ([] if changed else urls)
    assert refused(tab) == changed


def test_a_changed_list_of_words_is_refused(front, tab):
    """It would make passphrases that somebody else can guess."""
    front.change = changing_byte("/static/vendor/eff-short-wordlist-1.txt", at=100)
    tab.open(front.url)
    tab.find("[data-send]:enabled")
    tab.click("[data-new-words]")
    tab.find(".problem", "The list of words did not arrive.")
    assert tab.evaluate("() => document.querySelector('#passphrase').value") == ""


def test_a_script_without_a_hash_is_refused(front, tab):
    """A module that the import map does not name is not even asked for."""
    tab.open(f"{front.url}/")
    assert imported(tab, ["/static/js/copy.js", "/openapi.json"]) == []
    assert ("GET", "/static/js/copy.js") not in front.asked


def test_an_answer_of_another_version_uses_this_pages_modules(front, tab):
    """While a new version is rolled out, an answer names modules that the page has no hash of."""

    def change(request, answer):
        if request.path == "/post":
            answer.edit(lambda panel: re.sub(rb"\?v=[0-9a-f]{16}", b"?v=0123456789abcdef", panel))

    front.change = change
    tab.open(front.url)
    tab.find("[data-send]:enabled")
    tab.fill("#message", "hello")
    tab.click("[data-send]")
    tab.find("[data-copies=link][data-attached]")
    assert not any("0123456789abcdef" in path for _, path in front.asked)
