"""The form: it sends nothing unsealed by accident, loses nothing that was typed, and is small."""

from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from server.languages import LANGUAGES, WORD_LISTS
from server.pages import STATIC
from tests.browser.conftest import leaving


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
    # The rest is the same in every language.
    forms = {
        tag: int(
            page.request.get(f"{visitor.url}/?lang={tag}", headers={"Accept-Encoding": "gzip"}).headers[
                "content-length"
            ]
        )
        for tag in LANGUAGES
    }
    rest = sum(sizes.values()) - sizes[f"{visitor.url}/"]
    assert rest + max(forms.values()) <= 34 * 1024, forms


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


def test_the_counter_warns_near_the_limit_and_refuses_more(visitor, recorder):
    """It counts characters, but by the bytes that they take. A byte too many is refused beside the field at once."""
    page = visitor.open("/")
    visitor.wait_for_form()
    page.fill("#message", "x" * 58_000)
    assert page.is_hidden("#count")
    page.fill("#message", "é" * 32_000)
    assert page.inner_text("#count") == "Characters left, at most: 1,536"
    page.fill("#message", "x" * 65_535 + "é\U0001f511")
    assert page.inner_text("#count") == "Characters to remove: 2"
    page.fill("#message", "x" * 65537)
    page.click("[data-send]")
    assert page.text_content("#problem-message") == "This message is too long."
    assert page.inner_text("#count") == "Characters to remove: 1"
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


def test_a_refusal_of_the_server_is_shown_beside_its_field(visitor):
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
    headers = {"Content-Type": "text/html", "Note-Whisperer": "1"}
    answer = {"status": 201, "body": body, "headers": headers}
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


# Errors appear where people look


def is_in_view(page, selector):
    box, size = page.locator(selector).bounding_box(), page.viewport_size
    return 0 <= box["y"] and box["y"] + box["height"] <= size["height"]


def test_a_failure_is_shown_beside_the_button_and_in_view(visit, recorder):
    """On a small phone, with a long message, what went wrong is seen without scrolling."""
    visitor = visit(viewport={"width": 320, "height": 568}, has_touch=True, is_mobile=True)
    visitor.foresee("ERR_EMPTY_RESPONSE", "Failed to fetch", "ERR_CONNECTION")
    page = visitor.open("/")
    page.fill("#message", "line\n" * 200)
    recorder.cut = True
    page.tap("[data-send]")
    page.wait_for_selector("#problem p")
    assert is_in_view(page, "#problem")
    assert page.evaluate("document.querySelector('#problem').nextElementSibling.matches('.actions')")


@pytest.mark.parametrize("readers", ["1", "2"])
def test_being_offline_differs_from_a_server_that_does_not_answer(visit, readers):
    """The page says whether the network is the cause."""
    visitor = visit()
    visitor.foresee("ERR_INTERNET_DISCONNECTED", "Failed to fetch")
    page = visitor.open("/")
    page.wait_for_selector("[data-send]:enabled")
    page.fill("#readers", "2")
    page.fill("#message", "hello")
    page.click("[data-new-words]")  # whose script and list are then there
    page.wait_for_function("() => document.querySelector('#passphrase').value")
    page.fill("#passphrase", "")
    page.evaluate("import(document.querySelector('form').dataset.several)")
    page.fill("#readers", readers)
    visitor.context.set_offline(True)
    page.click("[data-send]")
    page.wait_for_selector("#problem p:text('You are offline')")
    visitor.context.set_offline(False)
    page.click("[data-send]")
    page.wait_for_selector("h1[data-focus]")


@pytest.mark.parametrize("readers", ["1", "3"])
def test_a_captive_portal_does_not_replace_the_form(visitor, readers):
    """A page that another server sends with status 200 is not shown, and the message stays."""
    page = visitor.open("/")
    page.fill("#message", "still here")
    page.fill("#readers", readers)
    portal = {"status": 200, "body": "<h1>Welcome to the hotel</h1>", "content_type": "text/html"}
    page.route("**/post", lambda route: route.fulfill(**portal))
    page.click("[data-send]")
    page.wait_for_selector("#problem p:text('sign-in page')")
    assert "hotel" not in page.content()
    assert page.input_value("#message") == "still here"
    expect(page.locator("[data-send]")).to_have_text("Seal and get a link")


# Nothing is lost silently


def test_leaving_a_form_with_text_warns(visitor):
    """The browser asks before it leaves what was typed."""
    page = visitor.open("/")
    visitor.wait_for_form()
    page.keyboard.type("a long message")
    assert leaving(page)


def test_leaving_an_empty_form_does_not_warn(visitor):
    """Text that was deleted again causes no warning."""
    page = visitor.open("/")
    visitor.wait_for_form()
    page.keyboard.type("x")
    page.keyboard.press("Backspace")
    assert not leaving(page)


GIVE_FILE = """([target, type]) => {
    const data = new DataTransfer();
    data.items.add(new File(["x"], "picture.png", {type: "image/png"}));
    const event = type === "paste"
        ? new ClipboardEvent(type, {clipboardData: data, bubbles: true, cancelable: true})
        : new DragEvent(type, {dataTransfer: data, bubbles: true, cancelable: true});
    document.querySelector(target).dispatchEvent(event);
    return event.defaultPrevented;
}"""


@pytest.mark.parametrize("target, kind", [("#message", "paste"), ("#message", "drop"), ("h1", "drop")])
def test_if_files_cannot_be_sealed_a_picture_is_refused_with_advice(visit, target, kind):
    """Pasting or dropping a file says that only text can be sent, until something is typed."""
    visitor = visit()
    visitor.context.add_init_script("Object.defineProperty(crypto, 'subtle', {value: undefined})")
    page = visitor.open("/")
    page.wait_for_selector("[data-server-seals]:visible")
    page.evaluate(GIVE_FILE, [target, kind])
    assert "Copy the text out of the file" in page.text_content("#problem-message")
    page.fill("#message", "x")
    assert page.text_content("#problem-message") == ""


def test_a_dropped_file_never_replaces_a_page(visitor):
    """Neither the form nor the share panel lets the browser open it."""
    visitor.open("/")
    visitor.wait_for_form()
    assert visitor.page.evaluate(GIVE_FILE, ["h1", "dragover"])
    assert visitor.page.evaluate(GIVE_FILE, ["h1", "drop"])
    visitor.write("hello")
    assert visitor.page.evaluate(GIVE_FILE, ["h1", "drop"])


def test_the_next_page_s_scripts_load_in_advance(visitor):
    """They load while the message is written, so that no click on the share panel is too early."""
    page = visitor.open("/")
    visitor.wait_for_form()
    with page.expect_response("**/leave.js*"), page.expect_response("**/copy.js*"):
        page.keyboard.type("x")
    assert not any(request.method == "POST" for request in visitor.requests)


# Passphrases


def words_of(page):
    page.click("[data-new-words]")
    page.wait_for_function("() => document.querySelector('#passphrase').value")
    return page.input_value("#passphrase").split(" ")


def test_new_words_makes_a_passphrase(visitor):
    """Five words of EFF's list, others with each click; the list is loaded only then."""
    known = set((STATIC / "vendor" / "eff-short-wordlist-1.txt").read_text().split())
    page = visitor.open("/")
    visitor.wait_for_form()
    assert not any("wordlist" in request.url for request in visitor.requests)
    first = words_of(page)
    page.fill("#passphrase", "")
    second = words_of(page)
    assert len(first) == len(second) == 5
    assert set(first + second) <= known
    assert first != second


@pytest.mark.parametrize("tag", sorted(WORD_LISTS.keys() - {"en"}))
def test_new_words_are_of_the_language(visit, tag):
    """A page in a language that has a list draws from it."""
    known = set((STATIC / WORD_LISTS[tag]).read_text().split())
    visitor = visit(locale=tag)
    page = visitor.open("/")
    visitor.wait_for_form()
    words = words_of(page)
    assert len(words) == 5
    assert set(words) <= known


def test_words_are_drawn_evenly(visitor):
    """Numbers that would favour the first words of the list are drawn again."""
    page = visitor.open("/")
    visitor.wait_for_form()
    page.evaluate("""() => {
        const numbers = [65535, 64800, 64799, 0, 1, 1296, 64800, 2];
        crypto.getRandomValues = (array) => { array[0] = numbers.shift(); return array; };
    }""")
    assert words_of(page) == ["zoom", "acid", "acorn", "acid", "acre"]


def test_a_missing_list_of_words_is_reported(visitor):
    """The button says so beside the field, and works once the list can be loaded."""
    visitor.foresee("ERR_FAILED")
    page = visitor.open("/")
    visitor.wait_for_form()
    page.route("**/eff-short*", lambda route: route.abort())
    page.click("[data-new-words]")
    page.wait_for_selector("#problem-passphrase:text('did not arrive')")
    page.unroute("**/eff-short*")
    assert len(words_of(page)) == 5
    assert page.text_content("#problem-passphrase") == ""


def test_without_scripts_the_form_says_who_seals(visit):
    """The server sees the message while it seals it; the form says so before it is sent."""
    page = visit(java_script_enabled=False).open("/")
    assert "the server seals your message. It sees the" in " ".join(page.inner_text("form").split())
    assert page.is_hidden("#readers")
