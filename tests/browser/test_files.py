"""Files in the browser: their sealed format held to the vectors, and their way from one person's disk to another's."""

import hashlib
import json
import secrets
from pathlib import Path

import pytest
from playwright.sync_api import expect

from server.pages import asset
from tests.browser.conftest import open_without_script, status_of
from tests.browser.test_reveal import ARE_LOADED

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "files-v1.json").read_text("utf-8"))
STREAMS = VECTORS["streams"]

TOOLS = """const sealing = await import(urls[0]);
    const files = await import(urls[1]);
    files.useSealing(sealing);
    const content = (length) => Uint8Array.from({ length }, (_, i) => (7 * i + Math.floor(i / 256)) % 251);
    const hex = async (data) => Array.from(new Uint8Array(await crypto.subtle.digest("SHA-256", data)),
        (byte) => byte.toString(16).padStart(2, "0")).join("");
    async function sealed(vector) {
        const keys = await sealing.deriveKeys(vector.token);
        const key = await files.fileKeyOf(keys, vector.sealed);
        const stream = new Uint8Array(vector.stream_bytes);
        stream.set(content(vector.files.reduce((sum, { size }) => sum + size, 0)));
        const count = files.chunkCount(stream.length);
        const chunks = [];
        for (let n = 0; n < count; n++) {
            chunks.push(await files.sealChunk(key, n, n === count - 1, stream.subarray(n * 65536, (n + 1) * 65536)));
        }
        return { keys, key, stream, chunks };
    }"""

REPRODUCE = f"""async ([urls, vector]) => {{
    {TOOLS}
    const {{ keys, key, stream, chunks }} = await sealed(vector);
    const opened = [];
    for (const [n, chunk] of chunks.entries()) {{
        opened.push(await files.openChunk(key, n, n === chunks.length - 1, chunk));
    }}
    return {{
        sealed: await files.sealNote(keys, vector.message, vector.files, sealing.fromText(vector.nonce)),
        note: await files.openNote(keys, vector.sealed),
        stream_bytes: files.streamLength(vector.files),
        chunk_sha256: await Promise.all(chunks.map(hex)),
        same: (await hex(sealing.joined(...opened))) === (await hex(stream)),
    }};
}}"""


@pytest.fixture
def urls(visitor):
    """The URLs of seal.js and files.js on an open page."""
    visitor.open("/")
    return [visitor.url + asset(f"js/{name}.js") for name in ("seal", "files")]


@pytest.mark.parametrize("vector", STREAMS, ids=[vector["name"] for vector in STREAMS])
def test_the_browser_reproduces_every_vector(visitor, urls, vector):
    """Sealed note and chunks are the vectors', and open to the same files."""
    assert visitor.page.evaluate(REPRODUCE, [urls, vector]) == {
        "sealed": vector["sealed"],
        "note": {"message": vector["message"], "files": vector["files"]},
        "stream_bytes": vector["stream_bytes"],
        "chunk_sha256": vector["chunk_sha256"],
        "same": True,
    }


def test_the_browser_refuses_what_is_refused(visitor, urls):
    """A delivery whose chunks are left out, moved, repeated, changed or foreign gives no file."""
    outcomes = visitor.page.evaluate(
        f"""async ([urls, vectors]) => {{
            {TOOLS}
            const streams = await Promise.all(vectors.streams.map(sealed));
            const outcomes = {{}};
            for (const {{ name, stream, chunks }} of [{{ name: "whole", stream: 0, chunks: [[0, 0], [0, 1], [0, 2]] }},
                                                     ...vectors.refused]) {{
                const offered = chunks.map(([from, n]) => streams[from].chunks[n].slice());
                if (name === "one bit changed") offered[1][40_000] ^= 1;
                if (name === "last chunk cut off in the middle") offered.push(offered.pop().slice(0, -100));
                globalThis.fetch = async (_, {{ body }}) =>
                    new Response(new Blob(offered.slice(Number(body.get("first")))));
                const {{ key: fileKey }} = streams[stream];
                const whole = [{{ size: vectors.streams[stream].stream_bytes }}];
                let got = 0;
                try {{
                    const onLost = () => {{ throw new Error("would ask again"); }};
                    const delivery = {{ key: "AAAAA", reader: "x", fileKey, files: whole }};
                    for await (const piece of files.bytesOf(delivery, 0, {{ onLost }})) got += piece.length;
                    outcomes[name] = "opened";
                }} catch (error) {{
                    outcomes[name] = error instanceof sealing.SealingError ? "refused" : error.message;
                }}
            }}
            return outcomes;
        }}""",
        [urls, VECTORS],
    )
    assert outcomes.pop("whole") == "opened"
    # Where no chunk comes, the browser asks again.
    for name in ("no chunk", "last chunk left out"):
        assert outcomes.pop(name) == "would ask again"
    assert set(outcomes.values()) == {"refused"}


def test_lengths_and_names_are_those_of_the_vectors(visitor, urls):
    """Padded lengths, and names that are safe to save under."""
    padded, names = visitor.page.evaluate(
        f"""async ([urls, vectors]) => {{
            {TOOLS}
            return [vectors.padme.map((each) => files.paddedLength(each.length)),
                    vectors.names.map(({{ name }}) => files.safeName(name))];
        }}""",
        [urls, VECTORS],
    )
    assert padded == [each["padded"] for each in VECTORS["padme"]]
    assert names == [each["safe"] for each in VECTORS["names"]]


def a_file(name, content, type_="application/octet-stream"):
    return {"name": name, "mimeType": type_, "buffer": content}


def write(visitor, files, message="see the files", passphrase=""):
    """Write a message with files; returns the link."""
    page = visitor.open("/")
    visitor.wait_for_form()
    if message:
        page.fill("#message", message)
    page.fill("#passphrase", passphrase)
    page.set_input_files("#files", files)
    expect(page.locator("[data-files] li")).to_have_count(len(files))
    page.click("[data-send]")
    visitor.wait_for_swap()
    return page.input_value("#link")


def opened(visitor, link, passphrase=None):
    """Open a message with files; returns its text."""
    visitor.page.add_init_script("delete globalThis.showSaveFilePicker")
    visitor.open(link)
    if passphrase is not None:
        visitor.page.fill("#passphrase", passphrase)
    visitor.press()
    visitor.page.wait_for_selector("[data-received] li")
    return visitor.page.text_content("#text")


def saved(visitor, name):
    """Save a file; returns its name on the disk and its bytes."""
    with visitor.page.expect_download() as download:
        visitor.page.get_by_label(f"Save {name}", exact=True).click()
    return download.value.suggested_filename, Path(download.value.path()).read_bytes()


def test_files_arrive_as_they_were(visitor, visit, recorder, msg_db):
    """Text and files come back exactly, and neither content nor names leave a browser unsealed."""
    large, small = secrets.token_bytes(2_500_000), b"the heron stands at dawn, and so on"
    reader = visit()
    link = write(visitor, [a_file("large.bin", large), a_file("heron.txt", small), a_file("empty", b"")])

    assert opened(reader, link) == "see the files"
    assert saved(reader, "heron.txt") == ("heron.txt", small)
    assert saved(reader, "large.bin") == ("large.bin", large)
    for secret in ("the heron stands", "heron.txt", "large.bin"):
        assert not recorder.holds(secret)
    with reader.page.expect_response("**/received"):
        assert saved(reader, "empty") == ("empty", b"")
    assert status_of(link)["status"] == "read"


def test_files_alone_are_a_message(visitor, visit):
    """Without a text, the form can be sent, and the reader sees the files only; a passphrase protects them too."""
    reader = visit()
    link = write(visitor, [a_file("key.pem", b"secret key")], message="", passphrase="willow bark")

    opened(reader, link, "willow bark")

    expect(reader.page.locator("#text")).to_be_hidden()
    assert saved(reader, "key.pem") == ("key.pem", b"secret key")


def test_without_a_script_files_arrive_as_they_were(visit):
    """The server seals and opens them; the page with the message stays, and each button works again."""
    visitor = visit(java_script_enabled=False)
    content = secrets.token_bytes(500_000)
    page = visitor.open("/")
    page.fill("#message", "see the files")
    page.set_input_files("#file", [a_file("a.bin", content), a_file("<b>.html", b"<script>", "text/html")])
    page.click("noscript button")
    page = visitor.open(page.input_value("#link"))
    open_without_script(page)

    expect(page.locator("#text")).to_have_text("see the files")
    for name, kept in (("a.bin", content), ("_b_.html", b"<script>"), ("a.bin", content)):
        assert saved(visitor, name) == (name, kept)
    expect(page.locator("#text")).to_have_text("see the files")


def test_files_without_a_text_need_no_script(visit):
    """The form takes them; the reader sees no empty message."""
    visitor = visit(java_script_enabled=False)
    page = visitor.open("/")
    page.set_input_files("#file", [a_file("key.pem", b"secret key")])
    page.click("noscript button")
    page = visitor.open(page.input_value("#link"))
    open_without_script(page)
    expect(page.get_by_label("Save key.pem")).to_be_visible()
    expect(page.locator("#text")).to_be_hidden()


@pytest.mark.parametrize("scripts", [True, False])
def test_files_of_one_kind_of_browser_are_read_by_the_other(visitor, visit, scripts):
    """What a script has sealed, the server can open, and the other way round."""
    content = secrets.token_bytes(200_000)
    other = visit(java_script_enabled=False)
    if scripts:
        other.open(write(visitor, [a_file("a.bin", content)]).replace("#", "/"))
        open_without_script(other.page)
        assert saved(other, "a.bin") == ("a.bin", content)
    else:
        page = other.open("/")
        page.set_input_files("#file", [a_file("a.bin", content)])
        page.click("noscript button")
        opened(visitor, page.input_value("#link"))
        assert saved(visitor, "a.bin") == ("a.bin", content)


def test_files_that_are_too_large_stay_for_a_script(visitor, visit):
    """Without one, the page says so, and the message can still be read."""
    content = secrets.token_bytes(1_100_000)
    link = write(visitor, [a_file("a.bin", content)])
    reader = visit(java_script_enabled=False)
    reader.foresee("409")
    reader.open(link.replace("#", "/"))
    open_without_script(reader.page)
    expect(reader.page.locator("main")).to_contain_text("Open it in a browser with JavaScript")
    opened(visitor, link)
    assert saved(visitor, "a.bin") == ("a.bin", content)


def test_the_confirm_page_says_that_there_are_files(visitor):
    """And how large they are, before anybody opens them."""
    link = write(visitor, [a_file("a", bytes(3_000_000))])
    page = visitor.open(link)
    expect(page.locator("[data-with-files]")).to_have_text("With files: 3 MB")


def test_the_message_waits_for_the_scripts_of_its_files(visitor):
    """It can be opened once: the button works only when what opens files is there."""
    link = write(visitor, [a_file("heron.txt", b"feather")])
    page = visitor.page
    held = []
    page.route("**/received.js*", lambda route: held.append(route))
    page.goto(link)
    while not held:
        page.evaluate("0")
    page.wait_for_function(ARE_LOADED)
    assert page.is_disabled("[data-send]")

    for route in held:
        route.continue_()

    assert visitor.reveal() == "see the files"
    page.wait_for_selector("[data-received] li:has-text('heron.txt')")


def test_an_upload_goes_on_after_the_network_was_away(visitor, recorder):
    """Connections that break in the middle cost nothing but time."""
    visitor.foresee("net::ERR", "Failed to load resource")
    content, page = secrets.token_bytes(3_000_000), visitor.open("/")
    visitor.wait_for_form()
    page.set_input_files("#files", [a_file("a", content)])
    expect(page.locator("[data-files] li")).to_have_count(1)
    recorder.cut = True
    page.click("[data-send]")
    expect(page.locator("[data-files] [data-lost]")).to_be_visible()
    recorder.cut = False
    page.evaluate("dispatchEvent(new Event('online'))")
    visitor.wait_for_swap()

    assert opened(visitor, page.input_value("#link")) == ""
    assert saved(visitor, "a") == ("a", content)


def test_chunks_that_the_server_lost_are_sent_again(visitor, msg_db):
    """The put is refused, the chunks are sent from the first missing one on, and the put is repeated."""
    visitor.foresee("409")
    content, lost = secrets.token_bytes(2_500_000), []

    def lose(route):
        if not lost:
            lost.append(msg_db("DELETE FROM chunk WHERE number IN (17, 30)"))
        route.continue_()

    visitor.page.route("**/post", lose)
    link = write(visitor, [a_file("a", content)])
    assert len([request for request in visitor.requests if request.url.endswith("/post")]) == 2
    opened(visitor, link)
    assert saved(visitor, "a") == ("a", content)


def test_a_download_goes_on_after_its_answer_broke_off(visitor, recorder):
    """The browser asks for the same chunks again."""
    visitor.foresee("net::ERR", "Failed to load resource")
    content = secrets.token_bytes(3_000_000)
    opened(visitor, write(visitor, [a_file("a", content)]))
    recorder.cut_answer_after = 700_000
    assert saved(visitor, "a") == ("a", content)


def test_an_upload_can_be_cancelled(visitor, recorder, msg_db):
    """The message and the files are still there, and a second try sends them."""
    visitor.foresee("net::ERR", "Failed to load resource", "AbortError", "aborted")
    page = visitor.open("/")
    visitor.wait_for_form()
    page.fill("#message", "hello")
    page.set_input_files("#files", [a_file("a", bytes(2_000_000))])
    expect(page.locator("[data-files] li")).to_have_count(1)
    recorder.cut = True
    page.click("[data-send]")
    page.locator("[data-files] [data-cancel]").click()
    expect(page.locator("#problem-files")).to_have_text(
        "The upload was cancelled. Your message and the files are still here."
    )
    expect(page.locator("#problem")).to_be_empty()
    recorder.cut = False
    page.click("[data-send]:enabled")
    visitor.wait_for_swap()


def test_files_are_dropped_and_pasted_and_removed(visitor):
    """The list says what will be sent; removing the last file makes the text required again."""
    page = visitor.open("/")
    visitor.wait_for_form()
    for event in ("drop", "paste"):
        page.evaluate(
            """(type) => {
                const data = new DataTransfer();
                data.items.add(new File(["x"], `${type}.txt`));
                const how = { bubbles: true, cancelable: true, dataTransfer: data, clipboardData: data };
                const event = type === "drop" ? new DragEvent(type, how) : new ClipboardEvent(type, how);
                document.querySelector("#message").dispatchEvent(event);
            }""",
            event,
        )
        expect(page.get_by_label(f"Remove {event}.txt")).to_be_visible()
    assert page.get_attribute("#message", "required") is None
    page.get_by_label("Remove drop.txt").click()
    page.get_by_label("Remove paste.txt").click()
    expect(page.locator("[data-files] li")).to_have_count(0)
    assert page.get_attribute("#message", "required") is not None


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ([a_file(f"{n}", b"") for n in range(21)], "A message can have at most 20 files."),
        (None, "These files are too large together."),
    ],
)
def test_too_many_and_too_large_files_are_refused_at_once(visitor, files, words):
    """Before anything is read or sent."""
    page = visitor.open("/")
    visitor.wait_for_form()
    if files:
        page.set_input_files("#files", files)
    else:
        page.evaluate("document.querySelector('[data-files]').dataset.maxBytes = 5")
        page.set_input_files("#files", [a_file("a", b"123456")])
    expect(page.locator("#problem-files")).to_contain_text(words)
    expect(page.locator("[data-files] li")).to_have_count(0)


PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000 1f15c4890000000d49444154789c6360606060"
    "000000050001a5f645400000000049454e44ae426082".replace(" ", "")
)


def test_images_and_texts_can_be_looked_at(visitor):
    """A text is shown as text, an image as an image; an SVG has no preview, and nothing is executed."""
    hostile = b"<script>document.title = 'executed'</script><img src=x onerror=alert(1)>"
    svg = b'<svg xmlns="http://www.w3.org/2000/svg" onload="document.title = 1"/>'
    files = [
        a_file("hostile.html", hostile, "text/html"),
        a_file("pixel.png", PIXEL, "image/png"),
        a_file("drawing.svg", svg, "image/svg+xml"),
    ]
    link = write(visitor, files)
    opened(visitor, link)
    page, title = visitor.page, visitor.page.title()

    page.get_by_label("Look at hostile.html").click()
    expect(page.locator("[data-preview] pre")).to_have_text(hostile.decode())
    page.get_by_label("Look at pixel.png").click()
    expect(page.locator("[data-preview] img")).to_have_js_property("naturalWidth", 1)
    expect(page.get_by_label("Look at drawing.svg")).to_be_hidden()
    assert page.title() == title
    assert not [
        request for request in visitor.requests if "onerror" in request.url or request.url.endswith("/x")
    ]


def test_a_changed_chunk_is_not_saved(visitor, msg_db):
    """The page says that the file was damaged, and gives nothing to the disk."""
    link = write(visitor, [a_file("a", bytes(100_000))])
    msg_db(
        "UPDATE chunk SET sealed = set_byte(sealed, 1000, (get_byte(sealed, 1000) + 1) %% 256)"
        " WHERE number = 0 AND octet_length(sealed) > 65000"
    )
    opened(visitor, link)
    visitor.page.get_by_label("Save a").click()
    expect(visitor.page.locator("#problem-files")).to_contain_text("was damaged or changed")


def test_a_file_is_streamed_to_the_disk(visitor):
    """Where the browser lets the reader choose a file, its pieces are written as they arrive."""
    content = secrets.token_bytes(2_200_000)
    link = write(visitor, [a_file("../a:b.bin", content)])
    visitor.page.add_init_script("""globalThis.showSaveFilePicker = async ({ suggestedName }) => {
            const folder = await navigator.storage.getDirectory();
            globalThis.chosen = await folder.getFileHandle("chosen", { create: true });
            globalThis.suggested = suggestedName;
            return chosen;
        }""")
    visitor.open(link)
    visitor.press()
    visitor.page.get_by_role("button", name="Save", exact=False).locator("visible=true").last.click()
    expect(visitor.page.locator("[data-saved]")).to_be_visible()
    name, digest = visitor.page.evaluate("""async () => {
            const data = await (await chosen.getFile()).arrayBuffer();
            const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", data));
            return [suggested, Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("")];
        }""")
    assert (name, digest) == ("_a_b.bin", hashlib.sha256(content).hexdigest())
