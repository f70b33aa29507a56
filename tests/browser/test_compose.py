"""The form: it sends nothing unsealed by accident, loses nothing that was typed, and is small."""

from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect


def test_the_first_visit_is_small(visit):
    """The form takes at most 10 requests and 34 KB, as they are sent, all from this server."""
    visitor, answers = visit(), []
    visitor.context.on("response", lambda answer: answers.append(answer))
    page = visitor.open("/")
    visitor.wait_for_form()
    page.wait_for_load_state("networkidle")
    sizes = {answer.url: int(answer.headers["content-length"]) for answer in answers}
    for late in page.eval_on_selector_all(
        "[rel=icon], [rel=manifest]", "(links) => links.map(({href}) => href)"
    ):
        headers = page.request.get(late, headers={"Accept-Encoding": "gzip"}).headers
        sizes.setdefault(late, int(headers["content-length"]))  # browsers load it late or never
    assert {urlsplit(url).netloc for url in sizes} == {urlsplit(visitor.url).netloc}
    assert len(sizes) <= 10, sizes
    assert sum(sizes.values()) <= 34 * 1024, sizes


def test_the_button_waits_for_the_sealing_script(visitor, recorder):
    """Until seal.js has loaded, neither a click nor Enter nor Ctrl+Enter sends anything."""
    page = visitor.page
    held = []
    page.route("**/seal.js*", lambda route: held.append(route))
    page.goto(visitor.url, wait_until="domcontentloaded")  # which waits for the style sheet
    page.fill("#message", "not unsealed")
    page.press("#passphrase", "Enter")
    page.press("#message", "Control+Enter")
    page.click("[data-send]", force=True)
    page.evaluate("document.getAnimations().forEach((animation) => animation.finish())")
    assert page.is_visible("[data-waiting]")
    assert b"POST /post" not in recorder.sent
    for route in held:
        route.continue_()
    page.wait_for_selector("[data-send]:enabled")
    assert page.is_hidden("[data-waiting]")
    assert page.input_value("#message") == "not unsealed"


@pytest.mark.parametrize("script", ["seal", "compose", "page", "vendor/htmx"])
def test_a_script_that_never_comes_sends_nothing(visitor, recorder, script):
    """If any script is missing, the form stays and sends nothing."""
    visitor.foresee("ERR_FAILED", "Failed to fetch", "htmx is not defined", "")
    page = visitor.page
    page.route(f"**/*{script}*", lambda route: route.abort())
    page.goto(visitor.url)
    page.fill("#message", "not unsealed")
    page.press("#passphrase", "Enter")
    page.press("#message", "Control+Enter")
    page.click("[data-send]", force=True)
    page.evaluate("fetch('/healthz')")
    assert b"GET /healthz" in recorder.sent
    assert b"POST /post" not in recorder.sent


def test_sealing_that_fails_sends_nothing(visitor, recorder):
    """If WebCrypto fails, the message stays in the form, and no request is sent."""
    visitor.foresee("htmx:error")
    page = visitor.open("/")
    page.evaluate("() => { crypto.subtle.encrypt = () => Promise.reject(new Error('no')); }")
    page.fill("#message", "not unsealed")
    page.click("[data-send]")
    page.wait_for_selector("#problem p")
    assert page.input_value("#message") == "not unsealed"
    assert b"POST /post" not in recorder.sent


def test_control_enter_sends(visitor):
    """Ctrl+Enter in the message seals and sends it."""
    page = visitor.open("/")
    visitor.wait_for_form()
    page.keyboard.type("hello")  # the field has the focus
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("#link")


def test_the_counter_counts_bytes_and_refuses_more_than_the_limit(visitor, recorder):
    """A message that is a byte too long is refused beside the field at once; one at the limit is sealed."""
    page = visitor.open("/")
    visitor.wait_for_form()
    page.fill("#message", "é")
    assert page.text_content("#count") == "2 of 65,536 bytes"
    page.fill("#message", "x" * 65537)
    page.click("[data-send]")
    assert "the limit is 65,536 bytes" in page.text_content("#problem-message")
    assert page.get_attribute("#message", "aria-invalid") == "true"
    assert b"POST /post" not in recorder.sent
    page.fill("#message", "x" * 65536)
    assert page.text_content("#problem-message") == ""
    page.click("[data-send]")
    page.wait_for_selector("#link")


def test_a_passphrase_over_its_limit_is_refused(visitor, recorder):
    """A passphrase may have at most 1,024 bytes."""
    page = visitor.open("/")
    visitor.wait_for_form()
    page.fill("#message", "hello")
    page.fill("#passphrase", "é" * 513)
    page.click("[data-send]")
    assert "the limit is 1,024 bytes" in page.text_content("#problem-passphrase")
    assert b"POST /post" not in recorder.sent


def test_an_empty_message_is_not_sent(visitor, recorder):
    """The browser asks for a message and sends nothing."""
    page = visitor.open("/")
    page.click("[data-send]")
    assert page.evaluate("document.activeElement.id") == "message"
    assert b"POST /post" not in recorder.sent


def test_a_server_that_does_not_answer_loses_nothing(visitor, recorder):
    """If the connection breaks, the page says so, the message stays, and the next try works."""
    visitor.foresee("ERR_EMPTY_RESPONSE", "Failed to fetch", "ERR_CONNECTION")
    page = visitor.open("/")
    page.fill("#message", "still here")
    recorder.cut = True
    page.click("[data-send]")
    page.wait_for_selector("#problem p")
    assert "did not answer" in page.text_content("#problem")
    assert page.input_value("#message") == "still here"
    expect(page.locator("[data-send]")).to_have_text("Seal and get a link")
    recorder.cut = False
    page.click("[data-send]")
    page.wait_for_selector("#link")


@pytest.mark.parametrize("status", [429, 502])
def test_an_error_page_of_a_proxy_does_not_replace_the_form(visitor, status):
    """The page does not swap in an error page from nginx or a load balancer."""
    visitor.foresee(str(status))
    page = visitor.open("/")
    page.fill("#message", "still here")
    answer = {"status": status, "body": "<h1>nginx</h1>", "content_type": "text/html"}
    page.route("**/post", lambda route: route.fulfill(**answer))
    page.click("[data-send]")
    page.wait_for_selector("#problem p")
    assert "nginx" not in page.content()
    assert page.input_value("#message") == "still here"


def test_a_refusal_of_the_server_is_told_beside_its_field(visitor):
    """The page shows the server's text beside the field, which gets the focus, and keeps what was typed."""
    visitor.foresee("400")
    page = visitor.open("/")
    page.fill("#message", "hello")
    page.evaluate("document.querySelector('#lifetime').options[0].value = '0'")
    page.select_option("#lifetime", index=0)
    page.click("[data-send]")
    page.wait_for_selector("#problem-lifetime p")
    assert "lifetime" in page.text_content("#problem-lifetime")
    page.wait_for_selector("#lifetime[aria-invalid=true]:focus")
    assert page.input_value("#message") == "hello"


def test_an_answer_with_a_script_is_not_taken(visitor):
    """A fragment that contains a script is refused before it is parsed."""
    visitor.foresee("must not contain a script")
    page = visitor.open("/")
    page.fill("#message", "hello")
    body = "<p id=bad></p><script>window.bad = 1</script>"
    answer = {"status": 201, "body": body, "content_type": "text/html"}
    page.route("**/post", lambda route: route.fulfill(**answer))
    page.click("[data-send]")
    page.wait_for_selector("#problem p")
    assert page.evaluate("[window.bad, document.querySelector('#bad')]") == [None, None]


def test_while_sealing_the_button_says_so(visitor):
    """Until the answer comes, the form is busy, the button says Sealing…, and a second click does nothing."""
    page = visitor.open("/")
    page.fill("#message", "hello")
    held = []
    page.route("**/post", lambda route: held.append(route))
    with page.expect_request("**/post"):
        page.click("[data-send]")
    assert page.text_content("[data-send]") == "Sealing…"
    assert page.get_attribute("form", "aria-busy") == "true"
    page.click("[data-send]")
    held[0].continue_()
    page.wait_for_selector("#link")
    assert len(held) == 1


def test_every_page_has_the_same_card_for_previews(visitor):
    """A chat's preview of a link looks like that of any page here, and robots are told not to index it."""
    cards = []
    for path in ("/", visitor.write("hello").split("#")[0]):
        page = visitor.open(path)
        cards.append(page.eval_on_selector_all("meta", "(all) => all.map((meta) => meta.outerHTML)"))
    assert cards[0] == cards[1]
    assert any("noindex" in meta for meta in cards[0])
    assert any("og:description" in meta for meta in cards[0])
