"""The service as an app on a phone: its icons and manifest, and text that another app shares with it."""

from tests.browser import test_accessibility as states


def test_the_icons_and_the_manifest_are_there(visitor):
    """The browser finds no fault in the manifest; each icon has the size that is promised."""
    page = visitor.open("/")
    session = page.context.new_cdp_session(page)

    answer = session.send("Page.getAppManifest")
    manifest = page.evaluate("async (url) => (await fetch(url)).json()", answer["url"])
    sizes = page.evaluate(
        """(icons) => Promise.all(icons.map(async ({src}) => {
            const image = new Image(); image.src = src; await image.decode();
            return `${image.naturalWidth}x${image.naturalHeight}`;
        }))""",
        [icon for icon in manifest["icons"] if icon["sizes"] != "any"],
    )

    assert answer["errors"] == []
    assert manifest["start_url"] == "/"
    assert sizes == [icon["sizes"] for icon in manifest["icons"] if icon["sizes"] != "any"]
    for path, media_type in (("/favicon.ico", "image/x-icon"), ("/apple-touch-icon.png", "image/png")):
        assert page.request.get(visitor.url + path).headers["content-type"] == media_type


SHARE = """([text, url]) => {
    const form = document.createElement("form");
    Object.assign(form, {method: "post", action: "/shared-text"});
    for (const [name, value] of Object.entries({title: "", text, url})) {
        form.append(Object.assign(document.createElement("textarea"), {name, value}));
    }
    document.body.append(form);
    setTimeout(() => form.submit()); // after this script, whose page then ends
}"""


SHARED = '</textarea><b>not unsealed</b> & $& "words"'


def test_shared_text_stays_on_the_phone_until_it_is_sealed(visit, recorder):
    """Once the app is installed, its service worker puts the text into the form: the server sees nothing of it."""
    visitor = visit()
    page = visitor.open("/")
    page.evaluate("dispatchEvent(new Event('appinstalled'))")
    page.wait_for_function(
        "async () => (await navigator.serviceWorker.getRegistration('/shared-text'))?.active?.state === 'activated'"
    )

    page.goto(f"{visitor.url}/shared-text")
    while not page.evaluate("Boolean(navigator.serviceWorker.controller)"):
        page.reload()

    with page.expect_navigation(url="**/shared-text"):
        page.evaluate(SHARE, [SHARED, "https://example.org/"])
    visitor.wait_for_form()

    assert page.input_value("#message") == f"{SHARED}\nhttps://example.org/"
    assert b"POST /shared-text" not in recorder.sent
    page.click("[data-send]")
    visitor.wait_for_swap()
    page.goto(page.input_value("#link"))
    assert visitor.reveal() == f"{SHARED}\nhttps://example.org/"
    assert not recorder.holds("not unsealed")


def test_without_the_service_worker_the_form_says_that_the_server_saw_the_text(visit, recorder):
    """On a phone where no page was open since the app was installed."""
    visitor = visit()
    page = visitor.open("/")

    with page.expect_navigation(url="**/shared-text"):
        page.evaluate(SHARE, [SHARED, ""])
    visitor.wait_for_form()

    assert page.input_value("#message") == SHARED
    assert page.is_visible("text=The text came to this form through the server, unsealed")


def test_only_the_installed_app_has_a_service_worker(visitor):
    """A visit leaves nothing behind in the browser."""
    states.form(visitor)

    assert visitor.page.evaluate("async () => (await navigator.serviceWorker.getRegistrations()).length") == 0
