"""The confirm page: it reveals a message once, on a click, keeps it nowhere, and loses it to no lost answer."""

import os
import re
import signal
from urllib.parse import parse_qs

import pytest
from playwright.sync_api import expect

from server import sealing
from tests.browser.conftest import ask, hashed, leave, open_without_script, status_of
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


def test_nothing_is_revealed_before_a_press(visitor, recorder, link):
    """Loading, hovering, focusing and reloading the page reveal nothing."""
    page = visitor.open(link)
    page.wait_for_selector("[data-send]:enabled")
    page.hover("[data-send]")
    page.focus("[data-send]")
    page.reload()
    page.wait_for_selector("[data-send]:enabled")
    assert b"/reveal HTTP" not in recorder.sent
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
    assert b"/reveal HTTP" not in recorder.sent
    assert is_there(link)


def test_a_press_of_a_person_reveals_it_once(visitor, visit, link):
    """The page shows the message, the address bar no longer has the token, and the link no longer works."""
    first, second = visitor, visit()
    first.open(link)
    assert first.reveal() == "read me once"
    assert first.page.url == link.split("#")[0]
    assert first.page.evaluate("document.activeElement.tagName") == "H1"
    assert first.page.title() == "Your message · note-whisperer"
    second.foresee("404")
    second.open(link)
    second.page.wait_for_selector("h1:text('This message was already read'):visible")


@pytest.mark.parametrize("cut", [1, 24])
def test_a_link_that_was_cut_off_is_recognised_before_any_request(visitor, link, cut):
    """The page says that the link was cut off, without a request, and the note stays."""
    page = visitor.open(link[:-cut])
    page.wait_for_selector("h1:text('This link was cut off'):visible")
    assert page.is_hidden("[data-send]")
    assert not any(request.method == "POST" for request in visitor.requests)
    assert is_there(link)


def test_the_whole_link_in_the_same_tab_is_taken(visitor, link):
    """Completing the link in the address bar, which changes only the part after the #, works."""
    page = visitor.open(link[:-3])
    page.wait_for_selector("h1:text('This link was cut off'):visible")
    page.goto(link)
    page.wait_for_selector("[data-send]:enabled")
    assert visitor.reveal() == "read me once"


def test_a_wrong_passphrase_destroys_nothing(visitor):
    """The page says so beside the field, with the tries left, and the right passphrase still works."""
    visitor.foresee("403")
    page = visitor.open(hashed(leave(visitor.url, "hello", passphrase="sesame")))
    page.fill("#passphrase", "simsim")
    page.click("[data-send]")
    page.wait_for_selector("#problem-passphrase p")
    assert "is wrong" in page.text_content("#problem-passphrase")
    assert "9 tries are left" in page.text_content("#problem-passphrase")
    assert page.input_value("#passphrase") == "simsim"
    page.wait_for_selector("#passphrase[aria-invalid=true]:focus")
    assert visitor.reveal("sesame") == "hello"


def test_the_page_asks_for_a_passphrase_only_if_the_message_has_one(visitor):
    """The field comes with the server's answer to the link proof."""
    page = visitor.open(hashed(leave(visitor.url, "hello")))
    page.wait_for_selector("[data-send]:enabled")
    assert page.is_hidden("#passphrase")
    page = visitor.open(hashed(leave(visitor.url, "hello", passphrase="sesame")))
    page.wait_for_selector("#passphrase:visible")


def test_a_passphrase_in_another_unicode_form_fits(visitor):
    """A ligature or a composed letter equals its Unicode equivalents, which another keyboard may type."""
    visitor.open(visitor.write("hello", "ﬁancé"))
    assert visitor.reveal("fiance\u0301") == "hello"


def guess_ten_times(link):
    """Send ten wrong passphrases for a link without a browser."""
    address, token = link.split("#")
    link_proof = sealing.to_text(sealing.link_proof_of(token))
    for _ in range(10):
        status, _ = ask(f"{address}/reveal", {"link_proof": link_proof, "reveal_proof": "A" * 43})
        assert status == 403


def let_the_wait_pass(page, msg_db, link):
    """Move the clocks of the page and of the database past the time to wait."""
    key = link.split("#")[0][-5:]
    msg_db("UPDATE note SET next_try_at = now() - interval '1 second' WHERE key = %s", [key])
    page.clock.fast_forward(61_000)


def test_after_ten_wrong_passphrases_it_is_time_to_wait(visit, msg_db):
    """Even the right passphrase gets a 429; the page counts down, and then the button works again."""
    visitor = visit()
    visitor.foresee("429")
    link = hashed(leave(visitor.url, "hello", passphrase="sesame"))
    visitor.page.clock.install()
    page = visitor.open(link)
    page.fill("#passphrase", "sesame")
    guess_ten_times(link)
    page.click("[data-send]")
    page.wait_for_selector(
        "[data-wait]:text-matches('Too many'):text-matches('try again in (1:00|0:..)'):visible"
    )
    assert page.text_content("#problem-passphrase") == ""
    assert page.is_disabled("[data-send]")
    assert is_there(link)
    let_the_wait_pass(page, msg_db, link)
    page.wait_for_selector("[data-send]:enabled")
    assert page.is_hidden("[data-wait]")
    assert page.text_content("#problem-passphrase") == ""
    assert visitor.reveal("sesame") == "hello"


def test_a_page_that_opens_during_the_wait_counts_down_too(visit, msg_db):
    """The server says with the status how long the wait is."""
    visitor = visit()
    link = hashed(leave(visitor.url, "hello", passphrase="sesame"))
    guess_ten_times(link)
    visitor.page.clock.install()
    page = visitor.open(link)
    page.wait_for_selector("[data-wait]:text-matches('try again in (1:00|0:..)'):visible")
    assert page.is_disabled("[data-send]")
    let_the_wait_pass(page, msg_db, link)
    assert visitor.reveal("sesame") == "hello"


def test_when_the_time_runs_out_while_the_page_is_open(visit, msg_db):
    """The page asks the server again, says that the message has expired, and no longer has a button."""
    visitor = visit()
    link = hashed(leave(visitor.url, "hello", lifetime=300))
    visitor.page.clock.install()
    page = visitor.open(link)
    page.wait_for_selector("[data-send]:enabled")
    page.focus("[data-send]")
    key = link.split("#")[0][-5:]
    msg_db("UPDATE note SET expires_at = now() - interval '1 second' WHERE key = %s", [key])
    page.clock.fast_forward(301_000)
    page.wait_for_selector("h1:text('This message has expired'):visible")
    assert page.is_hidden("[data-send]")
    assert page.text_content("#status") == "This message has expired"


def test_a_countdown_that_is_over_too_early_opens_nothing_and_hides_nothing(visit):
    """If this computer's clock jumps, the server still has the message, and so does the page."""
    visitor = visit()
    link = hashed(leave(visitor.url, "hello", lifetime=300))
    visitor.page.clock.install()
    page = visitor.open(link)
    page.wait_for_selector("[data-send]:enabled")
    with page.expect_response("**/status"):
        page.clock.fast_forward(301_000)
    page.wait_for_selector("[data-send]:enabled")
    assert visitor.reveal() == "hello"


def test_a_message_that_was_read_behind_an_open_page_is_gone(visitor, link):
    """A click on a page that does not yet know of the ending gets the page that tells it."""
    visitor.foresee("404")
    page = visitor.open(link)
    page.wait_for_selector("[data-send]:enabled")
    ask(link.replace("#", "/"), Accept="text/plain")
    visitor.press()
    page.wait_for_selector("h1:text('This message was already read'):focus")
    assert page.is_visible("text=somebody else has opened your link")


def read_it(link, msg_db):
    ask(link.replace("#", "/"), Accept="text/plain")


def destroy_it(link, msg_db):
    address, token = link.split("#")
    ask(f"{address}/destroy", {"token": token}, Accept="application/json")


def expire_it(link, msg_db):
    key = link.split("#")[0][-5:]
    msg_db("UPDATE note SET expires_at = now() - interval '1 second' WHERE key = %s", [key])


ENDINGS = {
    read_it: "This message was already read",
    destroy_it: "This message was destroyed",
    expire_it: "This message has expired",
}


@pytest.mark.parametrize("separator", ["#", "/"])
@pytest.mark.parametrize("end, heading", ENDINGS.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_who_comes_too_late_with_the_link_learns_what_happened(
    visitor, link, msg_db, end, heading, separator
):
    """The page says how and when the message ended, in its heading, its title and its text."""
    visitor.foresee("404")
    end(link, msg_db)
    page = visitor.open(link.replace("#", separator))
    page.wait_for_selector(f"h1:text('{heading}'):visible")
    assert page.title() == f"{heading} · note-whisperer"
    assert page.text_content("#status") == heading
    assert page.is_visible("time:text-matches('[0-9]{4}, [0-9]{2}:[0-9]{2}$')")
    assert page.is_hidden("text=There is no message here")
    assert page.is_visible("text=somebody else has opened your link") == (end is read_it)


def test_who_has_only_the_key_learns_nothing(visitor, url, link, msg_db):
    """The 404 page is the same bytes for a key that was read and one that never was, and asks for nothing."""
    visitor.foresee("404")
    read_it(link, msg_db)
    address = link.split("#")[0]
    assert ask(address, Accept="text/html") == ask(f"{url}/zzzzz", Accept="text/html")
    page = visitor.open(address)
    page.wait_for_selector("section[data-attached]")
    assert page.text_content("h1:visible") == "There is no message here"
    assert not any(request.url.endswith("/status") for request in visitor.requests)


def test_the_confirm_page_is_the_same_bytes_for_every_key_and_token(url):
    """Passphrase or not, short life or long, sealed here or there: the page does not differ."""
    links = [leave(url, "a"), leave(url, "b", passphrase="sesame"), leave(url, "c", lifetime=60)]
    addresses = [*links, *(link.rsplit("/", 1)[0] for link in links)]
    pages = {ask(address, Accept="text/html") for address in addresses}
    assert len(pages) == 1
    assert pages.pop()[0] == 200


def test_a_token_of_another_message_fits_nothing(visitor, link):
    """A whole token behind the wrong key is told so, and both messages stay."""
    visitor.foresee("404")
    other = hashed(leave(visitor.url, "another"))
    page = visitor.open(f"{link.split('#')[0]}#{other.split('#')[1]}")
    page.wait_for_selector("h1:text('No message fits this link'):visible")
    assert page.is_hidden("[data-send]")
    assert is_there(link) and is_there(other)


def test_a_lost_answer_is_asked_for_again(visitor, link):
    """The server's answer is lost after the reveal: the page gets the message by itself, as the same reader."""
    visitor.foresee("ERR_FAILED")
    sent = []

    def lose_the_first(route):
        sent.append(parse_qs(route.request.post_data))
        if len(sent) > 1:
            return route.continue_()
        assert route.fetch().status == 200
        route.abort()

    page = visitor.open(link)
    page.route("**/reveal", lose_the_first)
    with page.expect_response("**/received") as received:
        assert visitor.reveal() == "read me once"
    assert len(sent) == 2
    assert sent[0] == sent[1]
    assert page.is_hidden("text=somebody else")
    assert received.value.status == 204


@pytest.mark.parametrize("length", [0, 9, 12, 20, 150, 300, 1000])
def test_an_answer_that_breaks_off_is_asked_for_again(visitor, recorder, link, length):
    """Wherever the connection breaks within the answer, the page gets the message by itself."""
    visitor.foresee("ERR_", "Failed to fetch")
    page = visitor.open(link)
    page.wait_for_selector("[data-send]:enabled")
    recorder.cut_answer_after = length
    with page.expect_response(lambda answer: answer.url.endswith("/received")):
        assert visitor.reveal() == "read me once"
    assert recorder.sent.count(b"/reveal HTTP") > 1


def test_an_answer_that_stays_lost_is_not_blamed_on_somebody_else(visitor, link, msg_db):
    """If the server has forgotten the delivery, the page says that it may have been its own reader."""
    visitor.foresee("ERR_FAILED", "404")
    lost = []

    def lose_the_first(route):
        if lost:
            return route.continue_()
        lost.append(route.fetch().status)
        msg_db("DELETE FROM delivery WHERE key = %s", [link.split("#")[0][-5:]])
        route.abort()

    page = visitor.open(link)
    page.route("**/reveal", lose_the_first)
    visitor.press()
    page.wait_for_selector("h1:text('This message was already read'):focus")
    assert lost == [200]
    assert page.is_visible("text=It may have been this page that got it")
    assert page.is_hidden("text=somebody else has opened your link")


def test_the_reader_acknowledges_and_confirms(visitor, link):
    """The page sends the mark, so that the server forgets the sealed bytes and the sender can check it."""
    page = visitor.open(link)
    with page.expect_response("**/received") as received:
        visitor.reveal()
    assert received.value.status == 204
    assert status_of(link)["mark"] == sealing.to_text(sealing.derive_keys(link.split("#")[1]).mark)


def test_a_lost_acknowledgement_is_repeated(visitor, link):
    """The message is shown at once; the acknowledgement follows when the server answers again."""
    visitor.foresee("503")
    page = visitor.open(link)
    refused = []

    def refuse_the_first(route):
        if refused:
            return route.continue_()
        refused.append(route)
        route.fulfill(status=503)

    page.route("**/received", refuse_the_first)
    with page.expect_response(lambda answer: answer.url.endswith("/received") and answer.status == 204):
        assert visitor.reveal() == "read me once"


def test_a_server_that_stays_away_is_reported_and_can_be_tried_again(visit, link):
    """After a minute of tries the page says so; a later click, as the same reader, gets the message."""
    visitor = visit()
    visitor.foresee("ERR_FAILED", "Failed to fetch")
    visitor.page.clock.install()
    page = visitor.open(link)
    page.wait_for_selector("[data-send]:enabled")
    page.route("**/reveal", lambda route: route.abort())
    visitor.press()
    while not page.is_visible("#problem p"):
        page.clock.fast_forward(16_000)
    assert "did not answer" in page.text_content("#problem")
    page.unroute("**/reveal")
    assert visitor.reveal() == "read me once"


def test_without_the_servers_answer_the_page_does_not_guess(visit, link):
    """If the status cannot be had, the page says so and opens nothing."""
    visitor = visit()
    visitor.foresee("ERR_FAILED", "Failed to fetch")
    visitor.page.clock.install()
    visitor.page.route("**/status", lambda route: route.abort())
    page = visitor.open(link)
    while page.text_content("#problem") == "":
        page.clock.fast_forward(16_000)
    assert "did not answer" in page.text_content("#problem")
    assert page.is_disabled("[data-send]")


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
        page = visitor.open("/")
        page.focus("#message")
        page.keyboard.press("Control+V")
        expect(page.locator("#message")).to_have_value(REVERSED)
        page.on("dialog", lambda dialog: dialog.accept())


ARE_LOADED = """() => document.querySelector("[data-next]").dataset.next.trim().split(" ").every(
    (url) => performance.getEntriesByName(new URL(url, location)).length)"""


def test_the_scripts_of_the_next_page_load_before_the_reveal(visitor, link):
    """When the network fails right after the message has arrived, everything on its page works."""
    visitor.context.grant_permissions(["clipboard-write"])
    page = visitor.open(link)
    page.wait_for_selector("[data-send]:enabled")
    page.wait_for_function(ARE_LOADED)  # a slow machine enables the button without them, after ten seconds
    # Browsers may load the icon again when the address changes.
    page.route(re.compile("/static/(?!favicon)"), lambda route: route.abort())
    visitor.reveal()
    page.click("[data-copies][data-attached]")
    page.wait_for_selector("#text[data-copied]")
    page.wait_for_selector("section[data-attached]")


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


def test_the_confirm_page_says_when_its_own_script_does_not_load(visitor, link):
    """It tells to reload, and the message is untouched."""
    visitor.foresee("ERR_FAILED")
    visitor.page.route("**/hold.js*", lambda route: route.abort())
    page = visitor.open(link)
    page.wait_for_selector("text=Reload the page >> visible=true")
    assert page.is_disabled("[data-send]")
    assert is_there(link)


@pytest.mark.parametrize("act", ["status", "reveal"])
def test_the_page_of_a_captive_portal_is_no_answer(visit, link, act):
    """A 200 without this server's header is as lost as no answer: the page stays, and asks again until it is over."""
    visitor = visit()
    portal = []

    def log_in_first(route):
        if len(portal) == 2:
            return route.continue_()
        portal.append(route.request.url)
        route.fulfill(status=200, content_type="text/html", body="<h1>Welcome to our hotel</h1>")

    visitor.page.route(f"**/{act}", log_in_first)
    page = visitor.open(link)
    assert visitor.reveal() == "read me once"
    assert len(portal) == 2
    assert "hotel" not in page.content()


@pytest.mark.parametrize("separator", ["/#", "//"])
def test_a_slash_too_many_does_no_harm(visitor, link, separator):
    """/KEY/#TOKEN leads to the confirm page with its token; /KEY//TOKEN is no link, and destroys nothing."""
    if separator == "//":
        visitor.foresee("404")
        visitor.open(link.replace("#", "//"))
        assert is_there(link)
        return
    page = visitor.open(link.replace("#", "/#"))
    assert page.url == link
    assert visitor.reveal() == "read me once"


def test_changes_behind_the_hash_break_nothing(visitor, link, msg_db):
    """In every state of the page, another token or none is taken in, without an error in the console."""
    visitor.foresee("404")
    page = visitor.open(link)
    page.wait_for_selector("[data-send]:enabled")
    for change in ("#", "#abc", f"#{sealing.new_token()}", link[-25:], "#%ff"):
        page.evaluate("(hash) => { location.hash = hash; }", change)
    page.goto(link)
    page.wait_for_selector("[data-send]:enabled")
    assert page.title() == "Someone sent you a message · note-whisperer"
    visitor.reveal()
    page.evaluate("location.hash = 'abc'")
    assert page.text_content("#text") == "read me once"
    page.on("dialog", lambda dialog: dialog.accept())
    page.goto(link)
    page.reload()
    page.wait_for_selector("h1:text('This message was already read'):visible")
    page.evaluate("location.hash = ''")
    page.wait_for_selector("h1:text('There is no message here'):visible")


def test_a_link_that_was_cut_off_without_a_script_says_so(visit, url):
    """The server sees the token in the path: the page has the words, the title and the look of a broken link."""
    visitor = visit(java_script_enabled=False)
    visitor.foresee("404")
    link = leave(url, "read me once")
    page = visitor.open(link[:-1])
    assert page.text_content("h1:visible") == "This link was cut off"
    assert page.title() == "This link was cut off · note-whisperer"
    assert ask(link, Accept="text/plain") == (200, "read me once")


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


def test_a_server_that_dies_between_click_and_answer_loses_nothing(visit, databases):
    """If the server dies at the click and comes back soon, the page shows the message without another click."""
    with serving(databases) as (url, process):
        link = hashed(leave(url, "still here"))
        visitor = visit(url)
        visitor.foresee("Failed to fetch", "ERR_")
        page = visitor.open(link)
        page.wait_for_selector("[data-send]:enabled")
        os.kill(process.pid, signal.SIGSTOP)
        visitor.press()
        process.kill()
    with serving({**databases, "PORT": url.rpartition(":")[2]}):
        page.wait_for_selector("#text:not(:empty)")
        assert page.text_content("#text") == "still here"
        page.wait_for_load_state("networkidle")  # the acknowledgement


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
