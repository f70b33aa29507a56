"""PDFs that are looked at: drawn in a frame that executes nothing of them, reads nothing and sends nothing."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.pdfs import hostile, locked, pdf, stream, text
from tests.browser.test_accessibility import AXE, RUN
from tests.browser.test_files import a_file, opened, write
from tests.tampering import changing_byte

PDF = "application/pdf"
RED_SQUARE = "1 0 0 rg 100 300 300 300 re f"
THREE_PAGES = pdf([f"{text(f'heron on page {number}')} {RED_SQUARE}" for number in (1, 2, 3)])
NOT_SHOWN = "This file cannot be shown here. Save it, and open it with another program."

# How many pixels of a canvas are red, and how many are neither red nor white.
PIXELS = """(canvas) => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    let red = 0, other = 0;
    for (let at = 0; at < data.length; at += 4) {
        if (data[at] > 250 && data[at + 1] < 5) red++;
        else if (data[at] < 200) other++;
    }
    return [red / (data.length / 4), other];
}"""


def look(visitor, content, name="heron.pdf"):
    """Send a PDF, open the message, and look at it; returns the frame when the first page is drawn."""
    opened(visitor, write(visitor, [a_file(name, content, PDF)]))
    visitor.page.get_by_label(f"Look at {name}").click()
    frame = visitor.page.wait_for_selector("[data-preview] iframe").content_frame()
    frame.wait_for_selector("figure:first-child canvas")
    expect(visitor.page.locator("#status")).to_contain_text("Page 1 of")
    return frame


def drawn(frame, page):
    """Wait until a page is drawn, with its text; returns its text."""
    frame.evaluate("(page) => document.querySelectorAll('figure')[page - 1].scrollIntoView()", page)
    frame.wait_for_selector(f"figure:nth-child({page}) .text span >> nth=0", state="attached")
    return frame.text_content(f"figure:nth-child({page}) .text")


def test_a_pdf_is_drawn(visitor):
    """Its pages are pictures with their text over them, and each says which page it is, of how many."""
    frame = look(visitor, THREE_PAGES)

    for page in (1, 2, 3):
        assert drawn(frame, page) == f"heron on page {page}"
        red, other = frame.evaluate(PIXELS, frame.query_selector(f"figure:nth-child({page}) canvas"))
        assert red == pytest.approx(300 * 300 / (595 * 842), rel=0.05)
        assert other > 100  # of the letters
    assert frame.locator("figcaption").all_text_contents() == [f"Page {page} of 3" for page in (1, 2, 3)]
    expect(visitor.page.locator("#status")).to_have_text("Page 1 of 3")


def test_the_text_lies_where_it_is_drawn(visitor):
    """A person selects what they see: the place of each text is that of its letters in the picture."""
    frame = look(visitor, pdf([text("heron", at=(200, 500), size=40)]))
    drawn(frame, 1)
    letters, page = (frame.query_selector(selector).bounding_box() for selector in (".text span", ".page"))

    assert (letters["x"] - page["x"]) / page["width"] == pytest.approx(200 / 595, abs=0.01)
    assert (letters["y"] + letters["height"] - page["y"]) / page["height"] == pytest.approx(
        342 / 842, abs=0.02
    )
    assert letters["width"] / page["width"] == pytest.approx(105 / 595, rel=0.1)


def test_scans_are_drawn(visitor):
    """Their pictures are often in a fax encoding, whose decoder the frame has to have before it gets the PDF."""
    black = stream(
        "26A2FFFE>",
        "/Type /XObject /Subtype /Image /Width 8 /Height 8 /BitsPerComponent 1 /ColorSpace /DeviceGray"
        " /Filter [/ASCIIHexDecode /CCITTFaxDecode] /DecodeParms [null << /K -1 /Columns 8 /Rows 8 >>]",
    )
    scan = pdf(
        [f"{text('scan')} 595 0 0 842 0 0 cm /I Do"], resources="/XObject << /I 4 0 R >>", more=[black]
    )
    frame = look(visitor, scan)

    assert drawn(frame, 1) == "scan"
    whole = frame.evaluate(
        "() => document.querySelector('canvas').width * document.querySelector('canvas').height"
    )
    assert frame.evaluate(PIXELS, frame.query_selector("canvas")) == [0, pytest.approx(whole, rel=0.01)]


def test_only_pages_in_sight_are_in_memory(visitor):
    """Of many pages, few have a picture; where the reader scrolls to, there is one."""
    frame = look(visitor, pdf([text(f"page {number}") for number in range(1, 201)]))

    assert drawn(frame, 200) == "page 200"
    expect(frame.locator("figure:first-child canvas")).to_have_count(0)
    assert frame.locator("canvas").count() < 10


@pytest.mark.parametrize(
    "size", ["0 0 14400000 14400000", "0 0 10 100000000", "0 0 100000000 10", "0 0 0.001 0.001", "5 5 5 5"]
)
def test_a_page_of_any_size_takes_little_memory(visitor, size):
    """Its picture has four million pixels at most, and it is not much taller than the window."""
    frame = look(visitor, pdf(["1 0 0 rg 0 0 100000000 100000000 re f"], size=size))
    # Draw the page again, as wide as it is on sharp screens: nothing emulates those within a sandboxed frame.
    frame.evaluate("""() => {
        const page = document.querySelector(".page");
        document.documentElement.style.inlineSize = "3000px";
        page.style.display = "none";
    }""")
    expect(frame.locator("canvas")).to_have_count(0)
    frame.evaluate("document.querySelector('.page').style.display = ''")
    expect(frame.locator("canvas")).to_have_count(1)
    width, height, shown = frame.evaluate("""() => {
            const canvas = document.querySelector("canvas");
            return [canvas.width, canvas.height, document.querySelector(".page").clientHeight];
        }""")

    assert 1 <= width * height <= 4_100_000
    assert shown < 4_100


def test_a_hostile_pdf_does_nothing(visitor, recorder):
    """Scripts, links, launches, forms, files in it and elsewhere: nothing is executed, and nothing is asked for."""
    visitor.open("/")
    before = visitor.page.title()
    content = hostile(visitor.url)
    frame = look(visitor, content)
    address, asked = visitor.page.url, len(visitor.requests)
    tabs = len(visitor.context.pages)
    assert drawn(frame, 1) == "hostile"

    frame.click(".page", position={"x": 50, "y": 50})
    frame.click(".page", position={"x": 2, "y": 2})
    visitor.page.keyboard.press("Enter")

    assert frame.query_selector_all("a, form, input, button, iframe, object, embed, [href]:not(link)") == []
    assert [request.url for request in visitor.requests[asked:]] == []
    assert b"leak" not in recorder.sent
    assert (visitor.page.url, len(visitor.context.pages)) == (address, tabs)
    assert "executed" not in before + visitor.page.title()
    assert frame.title() == "PDF"


# What a script in the frame would try if a PDF could make PDF.js execute one. Each says what came of it.


def loads(tag, attributes):
    """An attempt to load something by an element."""
    return f"""new Promise((done) => {{
        const element = Object.assign(document.createElement("{tag}"), {attributes});
        element.onload = () => done("sent");
        element.onerror = () => done("refused");
        document.head.append(element);
    }})"""


ATTEMPTS = {
    "fetch": "fetch(url).then(() => 'sent')",
    "fetch without CORS": "fetch(url, { mode: 'no-cors' }).then(() => 'sent')",
    "beacon": "navigator.sendBeacon(url, 'x') && 'refused'",  # some browsers return true
    "image": loads("img", "{ src: url }"),
    "script": loads("script", "{ type: 'module', crossOrigin: '', src: url }"),
    "preload": loads("link", "{ rel: 'modulepreload', crossOrigin: '', href: url }"),
    "style": loads("link", "{ rel: 'stylesheet', crossOrigin: '', href: url }"),
    "import": "import(url).then(() => 'sent')",
    "worker": "new Worker(URL.createObjectURL(new Blob([''])))",
    "socket": "new Promise((done) => { const socket = new WebSocket(url.replace('http', 'ws'));"
    " socket.onopen = () => done('sent'); socket.onerror = () => done('refused'); })",
    "call": "new RTCPeerConnection()",
    "popup": "open(url) ?? 'refused'",
    # A debugger may use eval, but nothing that runs later may.
    "eval": "new Promise((done) => setTimeout(done)).then(() => eval('1'))",
    "storage": "localStorage.length",
    "cookies": "document.cookie",
    "page": "parent.document.title",
    "address of the page": "parent.location.href",
    "another page": "top.location = url",
}
REFUSED = {"refused", "TypeError", "EvalError", "SecurityError", "ReferenceError"}


def test_the_frame_cannot_reach_anything(visitor, recorder):
    """Even if a PDF could execute a script, that script could read no page, keep nothing and send nothing."""
    visitor.foresee("CSP", "Content Security Policy", "Content-Security-Policy", "TrustedScript", "trusted")
    visitor.foresee("sandboxed", "Unsafe attempt", "Blocked opening", "WebSocket connection")
    frame = look(visitor, THREE_PAGES)
    recorder.sent.clear()

    outcomes = {}
    for name, attempt in ATTEMPTS.items():
        attempted = f"""async (url) => {{
            try {{
                return await ({attempt});
            }} catch (error) {{
                return error.name;
            }}
        }}"""
        outcomes[name] = frame.evaluate(attempted, f"{visitor.url}/static/robots.txt?leak")

    assert frame.evaluate("origin") == "null"
    assert {name: came for name, came in outcomes.items() if came not in REFUSED} == {}
    visitor.page.evaluate("fetch('/robots.txt')")  # whatever was sent before this is recorded, too
    assert b"leak" not in recorder.sent


def test_the_frame_cannot_leave(visitor, recorder):
    """Its address could carry what it has read: the page's policy lets no frame go anywhere, even to this server."""
    visitor.foresee(
        "CSP", "Content Security Policy", "Content-Security-Policy", "Framing", "ERR_BLOCKED_BY_CSP"
    )
    frame = look(visitor, THREE_PAGES)
    recorder.sent.clear()
    visitor.page.evaluate("""() => {
            globalThis.refused = new Promise((done) => {
                addEventListener("securitypolicyviolation", (event) => done(event.effectiveDirective));
                document.querySelector("iframe").addEventListener("load", () => done("it is elsewhere"));
            });
        }""")
    frame.evaluate("(url) => { setTimeout(() => { location.href = url; }); }", f"{visitor.url}/leak")

    assert visitor.page.evaluate("refused") == "frame-src"
    assert b"leak" not in recorder.sent


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"%PDF-1.7",
        b"%PDF-1.7\n" + b"\x00" * 100_000,
        THREE_PAGES[:400],
        b"<h1>no PDF</h1>",
        locked(text("x")),
    ],
    ids=["empty", "only its first line", "zeros", "cut off", "something else", "wants a password"],
)
def test_a_pdf_that_cannot_be_drawn_can_only_be_saved(visitor, content):
    """The page says so, and the frame is gone."""
    opened(visitor, write(visitor, [a_file("broken.pdf", content, PDF)]))
    visitor.page.get_by_label("Look at broken.pdf").click()

    expect(visitor.page.locator("#problem-files")).to_have_text(NOT_SHOWN)
    expect(visitor.page.locator("[data-preview]")).to_be_hidden()
    assert visitor.page.query_selector("iframe") is None


@pytest.mark.parametrize(
    "file", ["vendor/pdfjs-6.5.438/pdf.min.mjs", "vendor/pdfjs-6.5.438/pdf.worker.min.mjs", "pdf/frame.mjs"]
)
def test_a_changed_script_of_the_frame_is_refused(front, visit, file):
    """The confirm page has the hash of each: the browser executes no other, and the PDF can only be saved."""
    visitor = visit(front.url)
    visitor.foresee("integrity", "ntegrity", "Failed to")
    visitor.page.add_init_script("""{
            const later = globalThis.setTimeout; // nobody waits half a minute for an answer of the frame
            globalThis.setTimeout = (what, when) => later(what, when === 30_000 ? 500 : when);
        }""")
    front.change = changing_byte(f"/static/{file}")
    opened(visitor, write(visitor, [a_file("heron.pdf", THREE_PAGES, PDF)]))
    visitor.page.get_by_label("Look at heron.pdf").click()

    expect(visitor.page.locator("#problem-files")).to_have_text(NOT_SHOWN)


def test_nothing_is_loaded_for_pdfs_before_somebody_looks_at_one(visit, recorder):
    """Neither the form nor the confirm page nor the message needs a byte of it."""
    visitor = visit()
    opened(visitor, write(visitor, [a_file("heron.pdf", THREE_PAGES, PDF)]))
    assert b"pdf" not in recorder.sent

    visitor.page.get_by_label("Look at heron.pdf").click()
    visitor.page.wait_for_selector("[data-preview] iframe").content_frame().wait_for_selector("canvas")

    asked = set(re.findall(rb"GET (/static/\S*pdf[^\s?]*)", recorder.sent))
    assert {path.decode() for path in asked} == {
        "/static/pdf/frame.css",
        "/static/pdf/frame.mjs",
        "/static/vendor/pdfjs-6.5.438/jbig2_nowasm_fallback.js",
        "/static/vendor/pdfjs-6.5.438/openjpeg_nowasm_fallback.js",
        "/static/vendor/pdfjs-6.5.438/pdf.min.mjs",
        "/static/vendor/pdfjs-6.5.438/pdf.worker.min.mjs",
    }


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_the_frame(visitor, scheme):
    """It has a name, its pages too, and a keyboard scrolls it."""
    visitor.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    frame = look(visitor, THREE_PAGES)
    drawn(frame, 1)
    for part in (visitor.page, frame):
        part.evaluate(AXE)
        assert part.evaluate(RUN) == []
    assert visitor.page.get_attribute("iframe", "title") == "heron.pdf"
    assert frame.get_attribute("section", "aria-label") == "heron.pdf"


def test_a_keyboard_scrolls_the_pages(visitor):
    """Tab leads from the button into the frame, and the usual keys move in it."""
    frame = look(visitor, THREE_PAGES)
    drawn(frame, 1)
    visitor.page.focus("[data-look]:visible")
    visitor.page.keyboard.press("Tab")
    assert frame.evaluate("document.activeElement.localName") == "section"

    visitor.page.keyboard.press("End")

    frame.wait_for_selector("figure:nth-child(3) .text span", state="attached")


def test_a_second_look_and_a_small_phone(visit):
    """The frame fits a window of 320 pixels, and looking again shows the same."""
    visitor = visit(viewport={"width": 320, "height": 640})
    look(visitor, THREE_PAGES)
    visitor.page.evaluate("document.querySelector('iframe').id = 'first'")
    visitor.page.get_by_label("Look at heron.pdf").click()
    frame = visitor.page.wait_for_selector("iframe:not(#first)").content_frame()
    frame.wait_for_selector("canvas")
    assert drawn(frame, 1) == "heron on page 1"
    assert visitor.page.evaluate("document.documentElement.scrollWidth") <= 320
    assert frame.evaluate("document.querySelector('section').scrollWidth <= innerWidth")
