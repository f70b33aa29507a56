"""The page with the message: it is copied and saved exactly, warns before it is left, and keeps nothing."""

import pytest

from tests.browser.conftest import hashed, leave, open_without_script, pasted


def test_the_page_warns_until_the_message_is_copied(visitor, link):
    """Closing the page asks for confirmation until the message has been copied."""
    visitor.context.grant_permissions(["clipboard-write"])
    page = visitor.open(link)
    visitor.reveal()
    page.wait_for_selector("section[data-attached]")
    with page.expect_event("dialog") as dialog:
        page.close(run_before_unload=True)
    assert dialog.value.type == "beforeunload"
    dialog.value.dismiss()
    page.click("[data-copies][data-attached]")
    page.wait_for_selector("#text[data-copied]")
    asked = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept()))
    visitor.open("/")
    assert asked == []


def test_copying_by_hand_counts_too(visitor, link):
    """After the message is copied with Ctrl+C, the page no longer warns."""
    page = visitor.open(link)
    visitor.reveal()
    page.wait_for_selector("section[data-attached]")
    page.evaluate("getSelection().selectAllChildren(document.querySelector('#text'))")
    page.keyboard.press("Control+C")
    page.wait_for_selector("#text[data-copied]")


def test_copy_message_copies_it_exactly(visitor):
    """The pasted text equals the typed text, including spaces at its ends."""
    visitor.context.grant_permissions(["clipboard-write"])
    message = "  two\n\n\tlines \U0001f642 <b> \n"
    page = visitor.open(hashed(leave(visitor.url, message)))
    visitor.reveal()
    page.click("[data-copies][data-attached]")
    page.wait_for_selector("#text[data-copied]")
    assert pasted(visitor) == message


def test_save_as_file(visitor):
    """The file has the message exactly, and the page no longer warns."""
    message = "  two\n\n\tlines \U0001f642 <b> \u202e \n"
    page = visitor.open(hashed(leave(visitor.url, message)))
    visitor.reveal()
    with page.expect_download() as download:
        page.click("[data-saves][data-attached]")
    assert download.value.suggested_filename == "message.txt"
    assert download.value.path().read_bytes().decode() == message
    page.wait_for_selector("#text[data-copied]")


REVERSED = "pay 12\u202e34\u202c5 to \u2067abc\u2069, not \u200fxyz\u061c"


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without scripts"])
def test_characters_that_reverse_text_are_marked(visit, scripts):
    """Each shows its code and has no effect: the letters stand in the order in which they are copied."""
    reader = visit(java_script_enabled=scripts, permissions=["clipboard-write"])
    made = leave(reader.url, REVERSED)
    page = reader.open(hashed(made) if scripts else made)
    if scripts:
        reader.reveal()
    else:
        open_without_script(page)
    codes = page.locator("#text bdi").evaluate_all("(marks) => marks.map(({ dataset }) => dataset.code)")
    assert codes == ["U+202E", "U+202C", "U+2067", "U+2069", "U+200F", "U+061C"]
    assert page.text_content("#text") == REVERSED
    assert page.is_visible("text=characters that turn text around")
    order = """(text) => {
        const nodes = [...text.childNodes].filter(({ nodeType }) => nodeType === Node.TEXT_NODE);
        return nodes.flatMap((node) => [...node.data].map((letter, at) => {
            const range = document.createRange();
            range.setStart(node, at);
            range.setEnd(node, at + 1);
            return range.getBoundingClientRect().left;
        }));
    }"""
    places = page.locator("#text").evaluate(order)
    assert places == sorted(places)


def test_what_is_marked_is_copied_without_the_marks(visitor):
    """Copied by hand or with the button, the text is exact."""
    visitor.context.grant_permissions(["clipboard-write"])
    for copy in ("by hand", "with the button"):
        page = visitor.open(hashed(leave(visitor.url, REVERSED)))
        visitor.reveal()
        if copy == "by hand":
            page.wait_for_selector("section[data-attached]")
            page.evaluate("getSelection().selectAllChildren(document.querySelector('#text'))")
            page.keyboard.press("Control+C")
        else:
            page.click("[data-copies][data-attached]")
        page.wait_for_selector("#text[data-copied]")
        assert pasted(visitor) == REVERSED
        page.on("dialog", lambda dialog: dialog.accept())


@pytest.mark.parametrize("script", ["copy", "keep", "save"])
def test_a_script_that_does_not_load_is_told(visitor, link, script):
    """The message is shown all the same, the page says what is missing, and no button does nothing."""
    visitor.foresee("ERR_FAILED")
    visitor.page.route(f"**/{script}.js*", lambda route: route.abort())
    page = visitor.open(link)
    assert visitor.reveal() == "read me once"
    page.wait_for_selector("text=A part of this page did not load >> visible=true")
    if script != "keep":
        assert page.locator("#text + .actions button:disabled").count() == 1
    page.on("dialog", lambda dialog: dialog.accept())


def test_the_envelope_opens_where_motion_is_welcome(visit, link):
    """The flap and the wax move for at most 600 ms; the text is there at once, for everybody."""
    visitor = visit(reduced_motion="no-preference")
    page = visitor.open(link)
    page.evaluate("""() => {
        document.addEventListener('animationstart', ({ animationName, pseudoElement, target }) => {
            const all = target.getAnimations({ subtree: true });
            const time = all.find((each) => each.animationName === animationName)?.effect.getComputedTiming().endTime;
            document.documentElement.dataset[animationName.replace('-', '')] = `${pseudoElement} ${time}`;
        });
    }""")
    visitor.reveal()
    page.wait_for_selector("html[data-openflap][data-breakwax]")
    for name in ("data-openflap", "data-breakwax"):
        _, time = page.get_attribute("html", name).split()
        assert 400 <= float(time) <= 600


def test_nothing_moves_where_motion_is_not_welcome(visitor, link):
    """With prefers-reduced-motion, no part of the opened envelope is animated."""
    page = visitor.open(link)
    visitor.reveal()
    assert page.evaluate("document.getAnimations().length") == 0


@pytest.mark.parametrize("leaving", ["link", "address"])
def test_the_back_button_shows_nothing(visitor, link, leaving):
    """After leaving and going back, the page does not have the message, and no address has the token."""
    page = visitor.open(link)
    visitor.reveal()
    visitor.foresee("404")
    page.on("dialog", lambda dialog: dialog.accept())
    if leaving == "link":
        page.click("text=Write your own message")
    else:
        visitor.open("/")
    page.wait_for_selector("#message")
    page.go_back()
    page.wait_for_selector("h1:text('There is no message here'):visible")
    assert "read me once" not in page.content()
    assert link.split("#")[1] not in page.evaluate("location.href + JSON.stringify(history.state)")


def test_leaving_the_page_wipes_the_message(visitor, link):
    """Even if a browser keeps the page in memory, the message is no longer in it."""
    page = visitor.open(link)
    visitor.reveal()
    page.wait_for_selector("section[data-attached]")
    page.evaluate("dispatchEvent(new PageTransitionEvent('pagehide', {persisted: true}))")
    assert page.text_content("#text") == ""
    assert "read me once" not in page.content()


def test_nothing_is_kept_in_the_browsers_storage(visitor, link):
    """No cookie, storage, cache or history entry has the message or the token."""
    page = visitor.open(link)
    visitor.reveal()
    kept = page.evaluate("""async () => [
        document.cookie, localStorage.length, sessionStorage.length,
        (await caches.keys()).length, (await indexedDB.databases()).length, history.state,
    ]""")
    assert kept == ["", 0, 0, 0, 0, None]
    assert visitor.context.cookies() == []
