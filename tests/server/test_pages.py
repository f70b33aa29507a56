"""server/pages.py, and what all templates and static files keep to; how they behave is tests/browser's."""

import base64
import hashlib
import json
import re
from datetime import datetime, timezone
from html import unescape

import jinja2
import pytest

from server import pages
from server.handlers.base import SECURITY_HEADERS
from server.pages import STATIC, TEMPLATES, Pages, asset, exactly, fingerprint, marked
from server.problems import Problem
from server.settings import Settings

LATER = datetime(2026, 11, 23, 14, 5, tzinfo=timezone.utc)
TOKEN = "8aspm4G7VmSUfOoD6V1vrOXo"
PROBLEM = Problem(413, "The message may have at most 65,536 bytes.", "message")

ENDINGS = ("read", "destroyed", "expired")
RECEIPT = f"https://x/Ab3_x/receipt#{'A' * 86}"
SHARED = {"key": "Ab3_x", "expires_at": LATER}
CONFIRM = {"problem": None, "asks_passphrase": False, "present": False}
CONTEXTS = {
    "form": ("form.html", {"values": {}, "problem": None}),
    "form with a problem": (
        "form.html",
        {"values": {"message": "hello"}, "problem": PROBLEM, "place": "problem-message"},
    ),
    "share": (
        "share.html",
        {**SHARED, "url": "https://x/Ab3_x", "token": None, "receipt": None, "has_passphrase": False},
    ),
    "share, server-sealed": (
        "share.html",
        {
            **SHARED,
            "url": f"https://x/Ab3_x/{TOKEN}",
            "token": TOKEN,
            "receipt": RECEIPT,
            "has_passphrase": True,
        },
    ),
    "confirm": ("confirm.html", CONFIRM),
    "confirm, asking for a passphrase": ("confirm.html", {**CONFIRM, "asks_passphrase": True}),
    "revealed": ("revealed.html", {"message": "hello", "sealed": None, "files": []}),
    "revealed, sealed": ("revealed.html", {"message": None, "sealed": "AQ", "files": []}),
    "gone": ("gone.html", {"ending": None}),
    **{f"gone, {how}": ("gone.html", {"ending": {"how": how, "at": LATER}}) for how in ENDINGS},
    "broken": ("broken.html", {}),
    "receipt": ("receipt.html", {}),
    **{f"ended, {how}": ("ended.html", {"how": how, "at": LATER}) for how in ENDINGS},
    "destroyed": ("destroyed.html", {}),
    "how it works": ("how-it-works.html", {}),
    "error": ("error.html", {"problem": PROBLEM}),
}

# A file in static/vendor is never edited: what it is named is what was published.
VENDORED = {
    "htmx-4.0.1.min.js": "a0abb04f2f45a1f89d1d4844023245537e5e6014c87b144553e0607b4cc32130",
    "htmx-LICENSE.txt": "d3d2456f76414f2456104660ebd65aff1c04cd7966b942bdabd63f3cdb316a38",
    "lean-qr-nano-2.7.4.min.js": "9f064e870e3ab537ca1f87fadbaa45dd7fa56d8c32440bbddb8b893201b951d7",
    "lean-qr-LICENSE.txt": "dc672b829e054d6c102da8776d327f26f27edc1f88740c1878a7ca5b9f74da73",
    "eff-short-wordlist-1.txt": "36ecca49e4fa20ca84b176c32f2e9c82f98f446585190e75f9879a95c08247bf",
    "eff-short-wordlist-1-LICENSE.txt": "40d205c232f0dd8e2ac2fc124fe86f70748427bac3b6d50c44b6fa79c9b9518c",
    "bip39-LICENSE.txt": "b9b58dda43d92ad00a095a0c41e97163e5712ffbcbbcbe209d5d22a8b6eeaa86",
    "bip39-czech-2.4.0.txt": "7e80e161c3e93d9554c2efb78d4e3cebf8fc727e9c52e03b83b94406bdcc95fc",
    "bip39-french-2.4.0.txt": "6c6b3fcbeda00aa8a31d9999d099bd30abdf0d73ab281089a6fc146f023d8bc9",
    "bip39-italian-2.4.0.txt": "d392c49fdb700a24cd1fceb237c1f65dcc128f6b34a8aacb58b59384b5c648c2",
    "bip39-portuguese-2.4.0.txt": "2685e9c194c82ae67e10ba59d9ea5345a23dc093e92276fc5361f6667d79cd3f",
    "bip39-spanish-2.4.0.txt": "565e3d94ce46d5983c42efd70c897a34f4a027b8d36c7cb76aee136b8a4b317d",
}


@pytest.fixture(scope="module")
def rendered():
    """Renders pages with the default limits."""
    return Pages(Settings(max_message_bytes=65536))


@pytest.mark.parametrize("name", CONTEXTS)
def test_a_fragment_is_a_part_of_its_page(rendered, name):
    """What htmx swaps in is exactly what stands in the main of the whole page."""
    template, context = CONTEXTS[name]
    page, fragment = rendered.page(template, **context), rendered.fragment(template, **context)
    assert page.startswith("<!doctype html>")
    assert "<head>" not in fragment
    assert page.count(fragment) == 1


@pytest.mark.parametrize("name", CONTEXTS)
def test_every_script_and_style_of_a_page_has_its_hash(rendered, name):
    """Each has "integrity" and "crossorigin"; the import map before the first module has those of all modules."""
    template, context = CONTEXTS[name]
    page = rendered.page(template, **context)
    tags = re.findall(r"<(?:script\b[^>]*\bsrc=|link\b[^>]*\brel=\"stylesheet\")[^>]*>", page)
    for tag in tags:
        url, hashes = re.search(r'(?:src|href)="([^"]+)" integrity="([^"]+)" crossorigin\b', tag).groups()
        assert hashes == sha256_of(url)
    assert len(tags) >= 3
    before, import_map, after = re.split(r'<script type="importmap">(.*?)</script>', page)
    hashes = json.loads(import_map)["integrity"]
    assert "modulepreload" not in before
    assert set(re.findall(r"/static/[^\s\"]+\.js\?v=\w+", after)) <= hashes.keys()
    assert hashes == {url: sha256_of(url) for url in hashes}


def test_the_style_of_a_brand_has_its_hash_too():
    """The colours of the settings are a style like any other."""
    branded = Pages(Settings.from_env({"BRAND_COLORS": "#9e2f2c,#ffffff,#2c2521"}))
    url, hashes = re.search(
        r'href="/([^"?]*branding[^"?]*)[^"]*" integrity="([^"]+)" crossorigin', branded.page("receipt.html")
    ).groups()
    assert hashes == branded.files[url].integrity
    digest = hashlib.sha256(branded.files[url].content).digest()
    assert hashes == "sha256-" + base64.b64encode(digest).decode()


def sha256_of(url):
    """Of the file that this URL names, as a browser computes it."""
    name, fingerprint_in_url = url.removeprefix("/static/").split("?v=")
    content = (STATIC / name).read_bytes()
    assert hashlib.sha256(content).hexdigest().startswith(fingerprint_in_url)
    return "sha256-" + base64.b64encode(hashlib.sha256(content).digest()).decode()


def test_the_policy_allows_the_import_map_and_no_other_inline_script(rendered):
    """Its one hash is that of what stands between the tags."""
    policy = SECURITY_HEADERS["Content-Security-Policy"]
    (import_map,) = re.findall(r'<script type="importmap">(.*?)</script>', rendered.page("receipt.html"))
    digest = base64.b64encode(hashlib.sha256(import_map.encode()).digest()).decode()
    assert re.findall(r"script-src ([^;]*);", policy) == [f"'self' 'sha256-{digest}'"]


@pytest.mark.parametrize("name", CONTEXTS)
def test_pages_have_no_inline_script_or_style(rendered, name):
    """Nothing that the Content-Security-Policy would refuse: no code, no style, no handler, but the import map."""
    template, context = CONTEXTS[name]
    page = rendered.page(template, **context).replace('<script type="importmap">', "")
    inline = r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=|hx-on|javascript:"
    assert re.findall(inline, page) == []


@pytest.mark.parametrize("name", CONTEXTS)
def test_every_form_works_as_a_form(rendered, name):
    """Each POSTs, whether htmx is there or not, and both to the same place: its action, or the page's own address."""
    template, context = CONTEXTS[name]
    for form in re.findall(r"<form[^>]*>", rendered.page(template, **context)):
        action = re.search(r' action="([^"]+)"', form)
        assert 'method="post"' in form
        assert f'hx-post="{action[1].removesuffix("?lang=en") if action else ""}"' in form


@pytest.mark.parametrize("name", CONTEXTS)
def test_everything_a_page_loads_exists_here(rendered, name):
    """Each URL of a script, style or image is a file in static/, with the fingerprint of what is in it."""
    template, context = CONTEXTS[name]
    page = rendered.page(template, **context)
    assert re.findall(r'(?:src|href|data-\w+)="(?:https?:)?//', page) == []
    urls = re.findall(r"/static/([^\"?\s]+)\?v=(\w+)", page)
    assert urls
    assert {path: version for path, version in urls} == {path: fingerprint(path) for path, _ in urls}


@pytest.mark.parametrize("name", CONTEXTS)
def test_ids_are_unique_and_references_lead_somewhere(rendered, name):
    """Labels, descriptions and targets name an id that is there, once."""
    template, context = CONTEXTS[name]
    page = rendered.page(template, **context)
    ids = re.findall(r'\sid="([^"]+)"', page)
    names = "for|aria-describedby|aria-controls|data-copies|data-shares|data-draws|data-count"
    references = re.findall(rf'\s(?:{names})="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert {one for many in references for one in many.split()} <= set(ids)


@pytest.mark.parametrize("name, digest", VENDORED.items())
def test_vendored_files_are_as_published(name, digest):
    """Each file's SHA-256 is that of the file in the package that it came from; the list's licence is our notice."""
    assert hashlib.sha256((STATIC / "vendor" / name).read_bytes()).hexdigest() == digest


def test_nothing_else_is_vendored():
    """No file in static/vendor goes unpinned."""
    assert {path.name for path in (STATIC / "vendor").iterdir()} == set(VENDORED)


def test_an_undefined_name_is_an_error(rendered):
    """A page that misses a part of its context is not rendered with a hole in it."""
    with pytest.raises(jinja2.UndefinedError):
        rendered.page("revealed.html", message=None)


def test_what_people_type_is_escaped(rendered):
    """Markup in a message is text."""
    page = rendered.page("revealed.html", message="<b>&\"'", sealed=None, files=[])
    assert "<b>" not in page
    assert "&lt;b&gt;&amp;&#34;&#39;" in page


def test_a_refused_message_is_filled_in_again(rendered):
    """Without JavaScript the form comes back with the message as it was, its lifetime and the problem."""
    values = {"message": "\nhello", "lifetime": "300"}
    page = rendered.page("form.html", values=values, problem=PROBLEM, place="problem-message")
    assert unescape(re.search(r"<textarea[^>]*>\n(.*?)</textarea>", page, re.DOTALL)[1]) == "\nhello"
    assert '<option value="300" selected>' in page
    assert re.search(r'id="problem-message"[^>]*>\s*<p>The message may have at most', page)
    assert page.count("at most 65,536 bytes") == 1


def test_a_problem_without_a_place_is_shown_above_the_form(rendered):
    """No problem is lost because the form has no place for it."""
    page = rendered.page(
        "form.html", values={}, problem=Problem(503, "Please try again soon."), place="problem"
    )
    assert re.search(r'id="problem"[^>]*>\s*<p>Please try again soon', page)


def test_the_confirm_page_can_tell_that_a_passphrase_was_wrong(rendered):
    """Without JavaScript the page comes back with the problem beside the field, which is shown and required."""
    problem = Problem(403, "The passphrase is wrong.", "passphrase")
    page = rendered.page(
        "confirm.html", problem=problem, place="problem-passphrase", asks_passphrase=True, present=True
    )
    assert re.search(r'id="problem-passphrase"[^>]*>\s*<p>The passphrase is wrong', page)
    assert re.search(r'<input id="passphrase"[^>]* required', page)
    assert not re.search(r"<div[^>]* data-passphrase[^>]* hidden", page)


def test_without_a_script_the_choice_is_made_once(rendered):
    """The page that comes back for a passphrase has the choice that the reader made; the first one has none."""
    first, again = (rendered.page("confirm.html", **{**CONFIRM, "present": made}) for made in (False, True))
    assert "checked" not in first
    assert re.findall(r'<input type="radio" name="present" value="(\w+)" required checked>', again) == ["yes"]


def test_until_it_is_asked_for_the_confirm_page_hides_the_passphrase(rendered):
    """A hidden field that is required would keep a form without a script from being sent."""
    page = rendered.page("confirm.html", **CONFIRM)
    assert re.search(r"<div[^>]* data-passphrase hidden", page)
    assert not re.search(r'<input id="passphrase"[^>]* required', page)


def test_the_panel_of_a_message_that_the_server_sealed_has_its_secrets(rendered):
    """Without JavaScript the receipt is there in full, and the form destroys with the token."""
    template, context = CONTEXTS["share, server-sealed"]
    fragment = rendered.fragment(template, **context)
    assert f'value="{RECEIPT}"' in fragment
    assert f'<input type="hidden" name="token" value="{TOKEN}"' in fragment
    assert not re.search(r"<button[^>]* disabled", fragment)


def test_the_secrets_of_a_sealed_message_are_in_no_page_as_served(rendered):
    """The panel of a message that the browser sealed has links that a script completes, and destroys by script."""
    template, context = CONTEXTS["share"]
    fragment = rendered.fragment(template, **context)
    assert 'value="https://x/Ab3_x"' in fragment
    assert 'value="https://x/Ab3_x/receipt"' in fragment
    assert 'name="token"' not in fragment
    assert re.search(r"<button[^>]* disabled>Yes, destroy it now", fragment)


@pytest.mark.parametrize("how", ENDINGS)
def test_an_ending_that_the_server_knows_is_told_alone(rendered, how):
    """With the ending in its context, the page says when it was, has one heading, and asks for nothing more."""
    fragment = rendered.fragment("gone.html", ending={"how": how, "at": LATER})
    assert "on 23 November 2026, 14:05 UTC" in re.sub(r"<time[^>]*>", "", fragment)
    assert fragment.count("<h1") == fragment.count("data-focus") == 1
    assert "data-behaviour" not in fragment


def test_without_an_ending_the_page_tells_nothing(rendered):
    """The 404 page shows one heading; the three endings wait hidden for a script that has the link."""
    fragment = rendered.fragment("gone.html", ending=None)
    assert len(re.findall(r'<div data-when="(?:read|destroyed|expired)" hidden>', fragment)) == len(ENDINGS)
    assert fragment.count("data-focus") == 1


def test_the_limit_on_the_page_is_the_setting():
    """MAX_MESSAGE_BYTES stands in the form, for the counter."""
    page = Pages(Settings(max_message_bytes=1500)).page("form.html", values={}, problem=None)
    assert 'data-limit="1500"' in page


def test_an_asset_is_named_by_what_is_in_it(tmp_path, monkeypatch):
    """Another content is another URL."""
    monkeypatch.setattr(pages, "STATIC", tmp_path)
    urls = set()
    for content in ("one", "two"):
        (tmp_path / "page.js").write_text(content)
        asset.cache_clear()
        fingerprint.cache_clear()
        urls.add(str(asset("page.js")))
    asset.cache_clear()
    fingerprint.cache_clear()
    assert len(urls) == 2
    assert all(re.fullmatch(r"/static/page\.js\?v=[0-9a-f]{16}", url) for url in urls)


@pytest.mark.parametrize("text", ["a\r\nb\rc\n", "\n\nlead", "&#13;<\r>"])
def test_exactly_keeps_carriage_returns(text):
    """A browser turns a bare CR in a page into LF, but not one that is written as a reference."""
    shown = str(exactly(text))
    assert "\r" not in shown
    assert unescape(shown) == text


@pytest.mark.parametrize("code", [0x61C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)])
def test_a_character_that_reverses_text_is_marked(code):
    """Its code stands beside it, and its effect ends with its element; the text stays the same."""
    shown = str(marked(f"<a{chr(code)}b>"))
    assert shown == f'&lt;a<bdi data-code="U+{code:04X}">{chr(code)}</bdi>b&gt;'


def test_other_characters_are_not_marked():
    """Letters of right-to-left scripts, joiners of emoji and variation selectors are plain text."""
    text = "שלום عربي \U0001f469\u200d\U0001f680 \u2764\ufe0f a\u200bb"
    assert marked(text) == text


def test_every_template_is_tested():
    """Each page of templates/ is in the list above."""
    names = {path.name for path in TEMPLATES.glob("[!_]*.html")} - {"base.html"}
    assert names == {template for template, _ in CONTEXTS.values()}
