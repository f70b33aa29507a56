"""The confirm page: it reveals a message once, on a click, and keeps it nowhere."""

import os
import signal

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import ask, hashed, leave
from tests.server_process import serving


@pytest.fixture
def link(url, recorder):
    """A link to a message sealed by the server, in the form that the browser makes."""
    made = hashed(leave(url, "read me once"))
    recorder.sent.clear()
    return made


def is_there(link):
    """Whether the note is still unread."""
    return ask(link.partition("#")[0], Accept="application/json")[0] == 200


def test_nothing_is_revealed_before_a_click(visitor, recorder, link):
    """Loading, hovering, focusing and reloading the page reveal nothing."""
    page = visitor.open(link)
    page.wait_for_selector("[data-send]:enabled")
    page.hover("[data-send]")
    page.focus("[data-send]")
    page.reload()
    page.wait_for_selector("[data-send]:enabled")
    assert b"POST" not in recorder.sent
    assert is_there(link)


def test_a_click_that_a_script_makes_up_reveals_nothing(visit, recorder, link):
    """A script in the page, such as an extension's, that clicks or submits gets no message."""
    visitor = visit()
    visitor.context.add_init_script("""
        setInterval(() => {
            const button = document.querySelector('[data-send]:enabled');
            if (!button) return;
            button.click();
            button.form.requestSubmit(button);
            button.form.dispatchEvent(new SubmitEvent('submit', {submitter: button, cancelable: true}));
            document.documentElement.dataset.tried = '';
        }, 10);
    """)
    page = visitor.open(link)
    page.wait_for_selector("html[data-tried]")
    assert b"POST" not in recorder.sent
    assert is_there(link)


def test_a_click_of_a_person_reveals_it_once(visitor, visit, link):
    """The page shows the message, the address bar no longer has the token, and the link no longer works."""
    first, second = visitor, visit()
    first.open(link)
    assert first.reveal() == "read me once"
    assert first.page.url == link.split("#")[0]
    assert first.page.evaluate("document.activeElement.tagName") == "H1"
    assert first.page.title() == "Your message · note-whisperer"
    second.foresee("404")
    second.open(link)
    assert second.page.text_content("h1") == "There is no message here"


@pytest.mark.parametrize("cut", [1, 24])
def test_a_link_that_was_cut_off_is_recognised_before_any_request(visitor, recorder, link, cut):
    """The page says that the link was cut off, without a request, and the note stays."""
    page = visitor.open(link[:-cut])
    page.wait_for_selector("h1:text('This link was cut off'):visible")
    assert page.is_hidden("[data-send]")
    assert b"POST" not in recorder.sent
    assert is_there(link)


def test_the_whole_link_in_the_same_tab_is_taken(visitor, link):
    """Completing the link in the address bar, which changes only the part after the #, works."""
    page = visitor.open(link[:-3])
    page.wait_for_selector("h1:text('This link was cut off'):visible")
    page.goto(link)
    page.wait_for_selector("[data-send]:enabled")
    assert visitor.reveal() == "read me once"


def test_a_wrong_passphrase_destroys_nothing(visitor):
    """The page says so beside the field and keeps what was typed, and the right passphrase still works."""
    visitor.foresee("403")
    page = visitor.open(hashed(leave(visitor.url, "hello", passphrase="sesame")))
    page.fill("#passphrase", "simsim")
    page.click("[data-send]")
    page.wait_for_selector("#problem-passphrase p")
    assert "passphrase is wrong" in page.text_content("#problem-passphrase")
    assert page.input_value("#passphrase") == "simsim"
    page.wait_for_selector("#passphrase[aria-invalid=true]:focus")
    assert visitor.reveal("sesame") == "hello"


def test_a_passphrase_in_another_unicode_form_fits(visitor):
    """A ligature or a composed letter equals its Unicode equivalents, which another keyboard may type."""
    visitor.open(visitor.write("hello", "ﬁancé"))
    assert visitor.reveal("fiance\u0301") == "hello"


def test_after_ten_wrong_passphrases_it_is_time_to_wait(visitor):
    """The eleventh try gets a 429 even if it is right, and another note can still be read."""
    visitor.foresee("429", "403")
    link = hashed(leave(visitor.url, "hello", passphrase="sesame"))
    key = link.split("/")[3].partition("#")[0]
    for number in range(10):
        fields = {"proof": "A" * 42 + "AEIMQUYcgk"[number]}
        assert ask(f"{visitor.url}/{key}/reveal", fields)[0] == 403
    page = visitor.open(link)
    page.fill("#passphrase", "sesame")
    page.click("[data-send]")
    page.wait_for_selector("#problem-passphrase p")
    assert "Too many" in page.text_content("#problem-passphrase")
    assert is_there(link)
    visitor.open(hashed(leave(visitor.url, "another", passphrase="sesame")))
    assert visitor.reveal("sesame") == "another"


def test_when_the_time_runs_out_while_the_page_is_open(visit):
    """The page says that the message is gone, and no longer has a button."""
    visitor = visit()
    link = hashed(leave(visitor.url, "hello", lifetime=300))
    visitor.page.clock.install()
    page = visitor.open(link)
    page.wait_for_selector("[data-send]:enabled")
    page.wait_for_selector(".countdown[data-attached]")
    page.focus("[data-send]")
    page.clock.fast_forward(301_000)
    page.wait_for_selector("h1:text('Too late')")
    assert page.is_hidden("[data-send]")
    assert page.text_content("#status") == "Too late: the message is gone"
    assert page.evaluate("document.activeElement.textContent") == "Too late: the message is gone"


def test_a_note_that_expired_behind_a_page_with_a_slow_clock_is_gone(visitor, link):
    """A click on a page that does not yet know that the note is gone gets the page that says so."""
    visitor.foresee("404")
    page = visitor.open(link)
    ask(link.replace("#", "/"), Accept="text/plain")
    page.click("[data-send]")
    page.wait_for_selector("h1:text('There is no message here'):focus")


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
    page = visitor.open("/")
    page.focus("#message")
    page.keyboard.press("Control+V")
    expect(page.locator("#message")).to_have_value(message)


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
    page.wait_for_selector("h1:text('There is no message here')")
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


def test_a_server_that_dies_between_click_and_answer_keeps_the_note(visit, databases):
    """If the server dies before it handles the click, the page says so, and the note survives."""
    with serving(databases) as (url, process):
        link = hashed(leave(url, "still here"))
        visitor = visit(url)
        visitor.foresee("Failed to fetch", "ERR_")
        page = visitor.open(link)
        page.wait_for_selector("[data-send]:enabled")
        os.kill(process.pid, signal.SIGSTOP)
        with page.expect_request("**/reveal"):
            page.click("[data-send]")
        process.kill()
        page.wait_for_selector("#problem p")
        assert "did not answer" in page.text_content("#problem")
    with serving({**databases, "PORT": url.rpartition(":")[2]}):
        assert visitor.reveal() == "still here"


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
