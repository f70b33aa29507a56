"""Accessibility: axe finds nothing on any page in any state; a keyboard is enough; so are 320 px."""

from importlib.resources import files

import axe_playwright_python
import pytest

from server import sealing
from tests.browser.conftest import ask, destroy, hashed, leave
from tests.browser.gestures import HOLD_TAKES, ONLY_SHORT_PRESSES

AXE = files(axe_playwright_python).joinpath("axe.min.js").read_text("utf-8")
RUN = """async () => {
    const rules = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
    const {violations} = await axe.run(document, {runOnly: rules, resultTypes: ["violations"]});
    return violations.flatMap(({id, nodes}) => nodes.map((node) => [id, node.html, node.failureSummary]));
}"""


def check(page, schemes=("light", "dark")):
    """Run axe in these colour schemes, and check that nothing scrolls sideways at 320 px."""
    page.evaluate(AXE)
    for scheme in schemes:
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        assert page.evaluate(RUN) == []
    size = page.viewport_size
    page.set_viewport_size({"width": 320, "height": 640})
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    page.set_viewport_size(size)


def form(visitor):
    visitor.open("/")
    visitor.wait_for_form()


def form_refused(visitor):
    form(visitor)
    visitor.page.fill("#message", "x" * 70000)
    visitor.page.wait_for_selector("#problem-message:not(:empty)")


def form_waiting(visitor):
    visitor.page.route("**/seal.js*", lambda route: None)
    visitor.page.goto(visitor.url, wait_until="domcontentloaded")  # which waits for the style sheet
    visitor.page.evaluate("document.getAnimations().forEach((animation) => animation.finish())")


def form_insecure(visitor):
    visitor.page.add_init_script("Object.defineProperty(crypto, 'subtle', {value: undefined})")
    visitor.open("/")
    visitor.page.wait_for_selector("[data-server-seals]:visible")


def share(visitor):
    visitor.write("hello")
    visitor.page.click("[data-draws][data-attached]")
    visitor.page.wait_for_selector("#qr svg")


def share_read(visitor):
    link = visitor.write("hello")
    ask(link.replace("#", "/"), Accept="text/plain")
    visitor.page.wait_for_selector("[data-when=taken]:visible")


def share_with_passphrase(visitor):
    visitor.write("hello", "sesame")
    visitor.page.click(".texts summary")
    visitor.page.click(".asks summary")


def share_for_several(visitor):
    visitor.open("/")
    visitor.page.wait_for_selector("[data-send]:enabled")
    visitor.page.fill("#message", "hello")
    visitor.page.fill("#passphrase", "sesame")
    visitor.page.fill("#readers", "3")
    visitor.page.click("[data-send]")
    visitor.wait_for_swap()
    visitor.page.evaluate("document.querySelector('[data-incomplete]').hidden = false")


def form_near_the_limit(visitor):
    form(visitor)
    visitor.page.fill("#message", "x" * 65000)
    visitor.page.wait_for_selector("#count:visible")


def sent(visitor):
    """The page that a form without a script leads to."""
    visitor.open(f"{leave(visitor.url, 'hello')}/sent/{'A' * 43}")


def sent_and_read(visitor):
    link = leave(visitor.url, "hello")
    ask(link, Accept="text/plain")
    visitor.open(f"{link}/sent/{'A' * 43}")
    visitor.page.wait_for_selector(".gone h1")


def form_with_files(visitor):
    form(visitor)
    files = [
        {"name": f"{name}.txt", "mimeType": "text/plain", "buffer": b"feather"}
        for name in ("heron", "x" * 90)
    ]
    visitor.page.set_input_files("#files", files)
    visitor.page.wait_for_selector("[data-files] li")


def revealed_with_files(visitor):
    form_with_files(visitor)
    visitor.page.click("[data-send]")
    visitor.wait_for_swap()
    visitor.open(visitor.page.input_value("#link"))
    visitor.press()
    visitor.page.click("[data-look]:visible >> nth=0")
    visitor.page.wait_for_selector("[data-preview] pre")


def languages(visitor):
    visitor.open("/how-it-works")
    visitor.page.click(".languages summary")


def receipt(visitor):
    visitor.write("hello")
    visitor.open(visitor.page.input_value("#receipt"))
    visitor.page.wait_for_selector("[data-when=unread]:visible")


def receipt_cut_off(visitor):
    visitor.open("/zzzzz/receipt#abc")
    visitor.page.wait_for_selector("[data-broken]:visible")


def confirm(visitor):
    visitor.open(hashed(leave(visitor.url, "hello")))
    visitor.page.wait_for_selector("[data-send]:enabled")


def confirm_with_passphrase(visitor):
    visitor.open(hashed(leave(visitor.url, "hello", passphrase="sesame")))
    visitor.page.wait_for_selector("#passphrase:visible")
    visitor.page.wait_for_selector("[data-send]:enabled")


def confirm_armed(visitor):
    confirm(visitor)
    visitor.page.evaluate(HOLD_TAKES, ONLY_SHORT_PRESSES)
    visitor.page.click("[data-send]")
    visitor.page.wait_for_selector("[data-press=ready]")


def confirm_by_a_program(visitor):
    visitor.page.add_init_script("Object.defineProperty(navigator, 'webdriver', {value: true})")
    confirm(visitor)
    visitor.page.wait_for_selector("[data-choice]:visible")


def broken(visitor):
    visitor.foresee("404")
    visitor.open(leave(visitor.url, "hello")[:-1])


def confirm_refused(visitor):
    visitor.foresee("403")
    visitor.open(hashed(leave(visitor.url, "hello", passphrase="sesame")))
    visitor.page.fill("#passphrase", "simsim")
    visitor.page.click("[data-send]")
    visitor.page.wait_for_selector("#problem-passphrase p")


def confirm_cut_off(visitor):
    visitor.open(hashed(leave(visitor.url, "hello"))[:-1])
    visitor.page.wait_for_selector("[data-when=broken] h1:visible")


def confirm_waiting(visitor):
    link = hashed(leave(visitor.url, "hello", passphrase="sesame"))
    link_proof = sealing.to_text(sealing.link_proof_of(link.split("#")[1]))
    for _ in range(10):
        ask(f"{link.split('#')[0]}/reveal", {"link_proof": link_proof, "reveal_proof": "A" * 43})
    visitor.open(link)
    visitor.page.wait_for_selector("[data-wait]:visible")


def confirm_of_another(visitor):
    visitor.foresee("404")
    visitor.open(f"{leave(visitor.url, 'hello').rsplit('/', 1)[0]}#{sealing.new_token()}")
    visitor.page.wait_for_selector("[data-when=unknown] h1:visible")


def ended(visitor):
    visitor.foresee("404")
    link = hashed(leave(visitor.url, "hello"))
    ask(link.replace("#", "/"), Accept="text/plain")
    visitor.open(link)
    visitor.page.wait_for_selector("[data-when=read] h1:visible")


def revealed(visitor):
    visitor.open(hashed(leave(visitor.url, "hello\n" * 100 + "x" * 400 + "\u202e")))
    visitor.reveal()


def gone(visitor):
    visitor.foresee("404")
    visitor.open("/zzzzz")


def destroyed(visitor):
    visitor.write("hello")
    destroy(visitor.page)
    visitor.page.wait_for_selector(".gone h1")


def how_it_works(visitor):
    visitor.open("/how-it-works")


def error(visitor):
    visitor.foresee("405")
    visitor.open("/post")


STATES = [
    form, form_refused, form_near_the_limit, form_waiting, form_insecure, form_with_files, share, share_read,
    share_with_passphrase, share_for_several, sent, sent_and_read, receipt, receipt_cut_off, confirm, confirm_armed,
    confirm_by_a_program, broken, confirm_refused, confirm_cut_off, confirm_waiting, confirm_of_another, revealed,
    revealed_with_files, gone, ended, destroyed, how_it_works, languages, error,
]  # fmt: skip


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
def test_axe_finds_nothing(visitor, state):
    """Each page meets WCAG 2.2 AA and axe's best practices in both colour schemes, and fits a small phone."""
    state(visitor)
    check(visitor.page)


@pytest.mark.parametrize("tag", ["ar", "de"])
@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
def test_axe_finds_nothing_in_other_languages(visit, state, tag):
    """From right to left, and with long words. Colours do not depend on the language."""
    visitor = visit(locale=tag)
    state(visitor)
    assert visitor.page.evaluate("document.documentElement.lang") == tag
    check(visitor.page, schemes=["light"])


def tab_to(page, name):
    """Press Tab until the element with this id has the focus."""
    for _ in range(10):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == name:
            return
    raise AssertionError(f"Tab does not lead to {name}")


def test_the_whole_way_by_keyboard_alone(visitor):
    """A person can seal, copy the link, and open the message with a passphrase, all without a mouse."""
    page = visitor.open("/")
    visitor.wait_for_form()
    press = page.keyboard.press
    page.keyboard.type("hello")
    tab_to(page, "lifetime")
    press("ArrowUp")  # 5 minutes
    tab_to(page, "passphrase")
    page.keyboard.type("sesame")
    press("Enter")
    visitor.wait_for_swap()
    page.wait_for_selector("#link[data-attached]")
    tab_to(page, "link")
    link = page.evaluate("getSelection().toString()")
    press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Copy link"

    page.goto(link)
    page.wait_for_selector("[data-send]:enabled")
    page.wait_for_selector("#passphrase:focus")
    page.keyboard.type("sesame")
    press("Enter")
    visitor.wait_for_swap()
    page.wait_for_selector("#text:not(:empty)")
    press("Tab")  # the text itself, which may have to be scrolled
    press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Copy message"


def test_text_twice_as_large_still_fits(visit):
    """With text at 200 percent on a small phone, nothing scrolls sideways."""
    visitor = visit(viewport={"width": 320, "height": 640})
    for state in (form, share, receipt, confirm, ended):
        state(visitor)
        visitor.page.evaluate("document.documentElement.style.fontSize = '200%'")
        assert visitor.page.evaluate("document.documentElement.scrollWidth") <= 320
