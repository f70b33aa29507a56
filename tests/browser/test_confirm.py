"""The confirm page before its message is opened: broken links, passphrases, waits, countdowns, and endings."""

import pytest

from server import sealing
from tests.browser.conftest import ask, hashed, is_unread, leave


@pytest.mark.parametrize("cut", [1, 24])
def test_a_link_that_was_cut_off_is_recognised_before_any_request(visitor, link, cut):
    """The page says that the link was cut off, without a request, and the note stays."""
    page = visitor.open(link[:-cut])
    page.wait_for_selector("h1:text('This link was cut off'):visible")
    assert page.is_hidden("[data-send]")
    assert not any(request.method == "POST" for request in visitor.requests)
    assert is_unread(link)


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
    assert is_unread(link)
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
    assert is_unread(link) and is_unread(other)


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


def test_the_confirm_page_says_when_its_own_script_does_not_load(visitor, link):
    """It tells to reload, and the message is untouched."""
    visitor.foresee("ERR_FAILED")
    visitor.page.route("**/hold.js*", lambda route: route.abort())
    page = visitor.open(link)
    page.wait_for_selector("text=Reload the page >> visible=true")
    assert page.is_disabled("[data-send]")
    assert is_unread(link)


@pytest.mark.parametrize("separator", ["/#", "//"])
def test_a_slash_too_many_does_no_harm(visitor, link, separator):
    """/KEY/#TOKEN leads to the confirm page with its token; /KEY//TOKEN is no link, and destroys nothing."""
    if separator == "//":
        visitor.foresee("404")
        visitor.open(link.replace("#", "//"))
        assert is_unread(link)
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
