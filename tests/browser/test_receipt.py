"""What the sender learns: the live status on the share panel and on the receipt's page, and destroying by receipt."""

import re

import pytest

from server import sealing
from tests.browser.conftest import ask, destroy, leave, status_of
from tests.browser.gestures import stop_time

RECEIPT = re.compile(r"http://localhost:\d+/[0-9A-Za-z_-]{5}/receipt#[0-9A-Za-z_-]{86}")


def read_without_confirmation(link):
    """Let the server open the message: no browser confirms that."""
    assert ask(link.replace("#", "/"), Accept="text/plain")[0] == 200


def guess(link, times):
    """Send wrong passphrases for a link."""
    address, token = link.split("#")
    fields = {"link_proof": sealing.to_text(sealing.link_proof_of(token)), "reveal_proof": "A" * 43}
    for _ in range(times):
        assert ask(f"{address}/reveal", fields)[0] == 403


def show_again(page):
    """What a browser does when a tab comes back: the page asks at once."""
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


@pytest.fixture(params=["panel", "receipt"])
def watched(request, visitor):
    """The sender's page for an unread message with a passphrase, and its link."""
    link = visitor.write("hello", "sesame")
    if request.param == "receipt":
        visitor.open(visitor.page.input_value("#receipt"))
    visitor.page.wait_for_selector("[data-when=unread]:visible")
    return visitor.page, link


def test_the_receipt_is_a_link_of_its_own(visitor):
    """It has the key, the link proof and the verifier of the mark, but neither the token nor the seal key."""
    link = visitor.write("hello")
    receipt = visitor.page.input_value("#receipt")
    keys = sealing.derive_keys(link.split("#")[1])
    assert RECEIPT.fullmatch(receipt)
    assert receipt == f"{link.split('#')[0]}/receipt#{keys.receipt}"
    assert receipt.split("#")[1] not in visitor.page.content()


def test_copy_receipt(visitor):
    """The button copies the receipt and not the link."""
    visitor.context.grant_permissions(["clipboard-write"])
    visitor.write("hello")
    page = visitor.page
    receipt = page.input_value("#receipt")
    page.click("[data-copies=receipt][data-attached]")
    page.wait_for_selector("#receipt[data-copied]")
    page = visitor.open("/")
    page.focus("#message")
    page.keyboard.press("Control+V")
    page.wait_for_function("(text) => document.querySelector('#message').value === text", arg=receipt)


def test_the_status_follows_a_reader_who_confirms(watched, visit):
    """From unread to read: the reader's browser sends the mark, the sender's page checks it and says so."""
    page, link = watched
    reader = visit()
    reader.open(link)
    with reader.page.expect_response("**/received"):
        assert reader.reveal("sesame") == "hello"
    page.wait_for_selector("[data-when=confirmed]:visible")
    text = " ".join(page.text_content("[data-when=confirmed]").split())
    assert re.search(r"^Read on .* \d\d:\d\d, confirmed\.", text)
    assert page.text_content("h1") == "Your message was read"
    assert page.title() == "Your message was read · note-whisperer"
    assert page.locator("text=Destroy it…").count() == page.locator("#link").count() == 0


def test_without_a_confirmation_only_the_server_says_so(visitor):
    """A message that the server opened was read, in the words that fit what the page knows."""
    link = visitor.write("hello")
    page = visitor.page
    page.wait_for_selector("[data-when=unread]:visible")
    read_without_confirmation(link)
    page.wait_for_selector("[data-when=taken]:visible")
    text = " ".join(page.text_content("[data-when=taken]").split())
    assert re.search(r"^Read on .* \d\d:\d\d, says the server\.", text)
    assert page.is_hidden("[data-when=confirmed]")


def test_a_mark_that_does_not_fit_confirms_nothing(visitor, msg_db):
    """A server cannot make the page say that a message was opened."""
    link = visitor.write("hello")
    page = visitor.page
    page.wait_for_selector("[data-when=unread]:visible")
    read_without_confirmation(link)
    msg_db("UPDATE ending SET mark = %s WHERE key = %s", [b"x" * 32, link.split("#")[0][-5:]])
    assert "mark" in status_of(link)
    page.wait_for_selector("[data-when=taken]:visible")
    assert page.is_hidden("[data-when=confirmed]")


def test_a_confirmation_that_comes_later_is_shown(visitor, visit):
    """The page first says what the server says, and then that it is confirmed."""
    link = visitor.write("hello")
    reader = visit()
    held = []
    reader.page.route("**/received", lambda route: held.append(route))
    reader.open(link)
    with reader.page.expect_request("**/received"):
        reader.reveal()
    visitor.page.wait_for_selector("[data-when=taken]:visible")
    while not held:
        reader.page.evaluate("0")
    held[0].continue_()
    visitor.page.wait_for_selector("[data-when=confirmed]:visible")


def test_wrong_passphrases_are_shown(watched):
    """The sender sees that somebody tries passphrases, and how many."""
    page, link = watched
    assert page.is_hidden("[data-wrong]")
    guess(link, 1)
    show_again(page)
    page.wait_for_selector("[data-wrong]:text('Wrong passphrases tried: 1.')")
    guess(link, 2)
    show_again(page)
    page.wait_for_selector("[data-wrong]:text('Wrong passphrases tried: 3.')")


def test_an_expired_message_is_told_from_a_read_one(watched, msg_db):
    """The page says that it expired unread, as the server does."""
    page, link = watched
    key = link.split("#")[0][-5:]
    msg_db("UPDATE note SET expires_at = now() - interval '1 second' WHERE key = %s", [key])
    show_again(page)
    page.wait_for_selector("[data-when=expired]:visible")
    assert page.text_content("h1") == "Your message has expired"


def test_the_receipt_destroys(watched, visit):
    """Without the passphrase; a reader who comes later learns that it was destroyed."""
    page, link = watched
    destroy(page)
    page.wait_for_selector("h1:text('Destroyed, unread')")
    reader = visit()
    reader.foresee("404")
    reader.open(link)
    reader.page.wait_for_selector("h1:text('This message was destroyed'):visible")


def test_the_receipt_opens_nothing(visitor, visit):
    """Its page sends only the link proof, and nothing that the receipt holds is a reveal proof."""
    link = visitor.write("hello")
    receipt = visitor.page.input_value("#receipt")
    owner = visit()
    owner.open(receipt)
    owner.page.wait_for_selector("[data-when=unread]:visible")
    proof, mark_verifier = receipt[-86:-43], receipt[-43:]
    assert {request.post_data for request in owner.requests} == {None, f"link_proof={proof}"}
    for guessed in (proof, mark_verifier):
        fields = {"link_proof": proof, "reveal_proof": guessed}
        assert ask(f"{link.split('#')[0]}/reveal", fields)[0] == 403
    visitor.open(link)
    assert visitor.reveal() == "hello"


def test_a_receipt_that_was_cut_off_says_so(visitor):
    """Without a whole receipt the page asks for nothing."""
    page = visitor.open(f"/zzzzz/receipt#{'A' * 85}")
    page.wait_for_selector("[data-broken]:visible")
    assert page.is_hidden("text=Destroy it…")
    assert page.is_hidden("[data-status]")
    assert not any(request.method == "POST" for request in visitor.requests)


def test_a_receipt_of_no_message(visitor):
    """A receipt whose message ended more than a week ago, or that was changed, says what the page knows."""
    visitor.foresee("404")
    page = visitor.open(f"/zzzzz/receipt#{'A' * 86}")
    page.wait_for_selector("[data-when=unknown]:visible")
    assert page.text_content("h1") == "There is no such message"
    assert page.locator("text=Destroy it…").count() == 0


def test_the_receipt_of_a_message_that_the_server_sealed(visit):
    """Without scripts the panel has the receipt; with scripts its page shows the status."""
    sender, owner = visit(java_script_enabled=False), visit()
    page = sender.open("/")
    page.fill("#message", "hello")
    page.click("noscript button")
    receipt = page.input_value("#receipt")
    assert RECEIPT.fullmatch(receipt)
    owner.open(receipt)
    owner.page.wait_for_selector("[data-when=unread]:visible")


def test_the_receipts_page_is_the_same_bytes_for_every_key(url):
    """It does not tell whether there is a message."""
    key = leave(url, "hello").split("/")[3]
    pages = {ask(f"{url}/{one}/receipt", Accept="text/html") for one in (key, "zzzzz")}
    assert len(pages) == 1
    assert pages.pop()[0] == 200


def test_without_scripts_the_receipts_page_says_what_it_needs(visit):
    """It shows no status that it cannot have."""
    visitor = visit(java_script_enabled=False)
    page = visitor.open("/zzzzz/receipt")
    assert "JavaScript is turned off" in page.text_content("main")
    assert page.is_hidden("[data-status]")
    assert page.is_hidden("text=Destroy it…")


def asked(visitor):
    return sum(request.url.endswith("/status") for request in visitor.requests)


def test_the_page_asks_less_and_less_often(visit):
    """After two seconds, then after twice as long each time, up to a minute; at once when its tab comes back."""
    visitor = visit()
    page = visitor.page
    page.clock.install()
    visitor.write("hello", lifetime="86400")
    page.wait_for_selector("[data-status][data-pause]")
    stop_time(page)  # or a pause could pass on a busy machine before it is looked for
    page.evaluate("delete document.querySelector('[data-status]').dataset.pause")
    show_again(page)
    for pause in (2_000, 4_000, 8_000, 16_000, 32_000, 60_000):
        page.wait_for_selector(f"[data-status][data-pause='{pause}']")
        before = asked(visitor)
        with page.expect_response("**/status"):
            page.clock.fast_forward(pause)
        assert asked(visitor) == before + 1
    with page.expect_response("**/status"):
        show_again(page)
    page.wait_for_selector("[data-status][data-pause='2000']")


def test_a_hidden_page_does_not_ask(visit):
    """While its tab is in the background the page leaves the server alone."""
    visitor = visit()
    page = visitor.page
    page.clock.install()
    visitor.write("hello", lifetime="86400")
    page.wait_for_selector("[data-status][data-pause]")
    page.evaluate("Object.defineProperty(document, 'hidden', {configurable: true, value: true})")
    show_again(page)
    before = asked(visitor)
    page.clock.fast_forward(600_000)
    page.evaluate("fetch('/healthz')")
    assert asked(visitor) == before
    page.evaluate("Object.defineProperty(document, 'hidden', {configurable: true, value: false})")
    with page.expect_response("**/status"):
        show_again(page)


def test_after_the_end_the_page_stops_asking(visit):
    """What cannot change any more is not asked for."""
    visitor = visit()
    page = visitor.page
    page.clock.install()
    link = visitor.write("hello", lifetime="86400")
    page.wait_for_selector("[data-when=unread]:visible")
    address, token = link.split("#")
    ask(f"{address}/destroy", {"token": token}, Accept="application/json")
    show_again(page)
    page.wait_for_selector("[data-when=destroyed]:visible")
    before = asked(visitor)
    page.clock.fast_forward(600_000)
    page.evaluate("fetch('/healthz')")
    assert asked(visitor) == before


def test_a_server_that_does_not_answer_is_said_to_be_silent(visit):
    """The page does not go on showing an old status, and recovers."""
    visitor = visit()
    visitor.foresee("ERR_FAILED", "502")
    visitor.write("hello")
    page = visitor.page
    page.wait_for_selector("[data-when=unread]:visible")
    page.route("**/status", lambda route: route.abort())
    show_again(page)
    page.wait_for_selector("[data-when=silent]:visible")
    assert page.is_hidden("[data-when=unread]")
    page.unroute("**/status")
    page.route("**/status", lambda route: route.fulfill(status=502, body="<h1>nginx</h1>"))
    show_again(page)
    page.wait_for_selector("[data-when=silent]:visible")
    page.unroute("**/status")
    show_again(page)
    page.wait_for_selector("[data-when=unread]:visible")
