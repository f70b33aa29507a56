"""A real Chromium and a real server; between them, a recorder of every byte that the browser sends."""

import base64
import contextlib
import json
import os
import re
import shutil
import socket
import socketserver
import threading
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
from playwright.sync_api import Error, expect, sync_playwright

from server import schema
from tests.browser.firefox import Firefox, firefox_path
from tests.browser.gestures import HOLD_TAKES, READY
from tests.conftest import fresh_database, statements
from tests.server_process import serving
from tests.tampering import Front

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome")

# Names of another site, and of this one over plain http, where browsers have no WebCrypto.
OTHER_SITE = "other.test"
INSECURE_HOST = "notes.test"

# Milliseconds for what has to come; a busy machine may need many of them.
PATIENCE = 60_000
expect.set_options(timeout=PATIENCE)

ARGUMENTS = [
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-blink-features=AutomationControlled",  # as a person's browser: no navigator.webdriver
    "--renderer-process-limit=1",  # a process for each page takes longer than the rest of a test
    f"--host-resolver-rules=MAP {OTHER_SITE} 127.0.0.1, MAP {INSECURE_HOST} 127.0.0.1",
]


def chromium_path(playwright):
    """The first that exists of $CHROMIUM, the usual names, and Playwright's own; None if there is none."""
    named = os.environ.get("CHROMIUM")
    if named:
        return named
    for name in NAMES:
        if path := shutil.which(name):
            return path
    own = playwright.chromium.executable_path
    return own if Path(own).exists() else None


# Package scope, not session: while Playwright runs, no other event loop can run in this thread.
@pytest.fixture(scope="package")
def playwright():
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="package")
def browser(playwright):
    launched = launch(playwright, ARGUMENTS)
    yield launched
    launched.close()


def launch(playwright, arguments):
    """A Chromium with these arguments; skips the test if there is none."""
    path = chromium_path(playwright)
    if path is None:
        pytest.skip(f"no Chromium: set CHROMIUM, or install one of {', '.join(NAMES)}")
    as_root = ["--no-sandbox"] if os.geteuid() == 0 else []
    return playwright.chromium.launch(
        executable_path=path,
        args=arguments + as_root,
        # Playwright turns the back-forward cache off, but these tests check what it keeps.
        ignore_default_args=["--disable-back-forward-cache"],
    )


class Recorder:
    """A proxy in front of the server that records what the browser sends, and can cut the connection."""

    def __init__(self, host="localhost"):
        self.sent = bytearray()  # extended by a thread for each connection, which is atomic
        self.cut = False
        self.cut_answer_after = None  # bytes of the next answer, which then breaks off
        self.upstream = None
        outer = self

        class Connection(socketserver.BaseRequestHandler):
            def handle(self):
                outer._forward(self.request)

        self._listener = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Connection)
        self._listener.daemon_threads = True
        self.port = self._listener.server_address[1]
        self.url = f"http://{host}:{self.port}"
        threading.Thread(target=self._listener.serve_forever, daemon=True).start()

    def _forward(self, browser):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.upstream)) as server:
            back = threading.Thread(target=self._pump, args=(server, browser), daemon=True)
            back.start()
            while data := browser.recv(65536):
                self.sent.extend(data)
                if self.cut:
                    return
                server.sendall(data)
            back.join()

    def _pump(self, source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                length, self.cut_answer_after = self.cut_answer_after, None
                sink.sendall(data[:length])
                if length is not None:
                    break
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)

    def holds(self, text):
        """Whether the text left the browser: as it is, in URL encoding, or in base64 at any offset."""
        raw = text.encode()
        forms = {raw, urllib.parse.quote(text).encode(), urllib.parse.quote_plus(text).encode()}
        for shift in range(3):
            coded = base64.b64encode(b"\0" * shift + raw)[4 if shift else 0 : -4]
            forms |= {coded, coded.translate(bytes.maketrans(b"+/", b"-_"))}
        return any(form in self.sent for form in forms if len(form) > 5)

    def close(self):
        self._listener.shutdown()
        self._listener.server_close()


@pytest.fixture(scope="package")
def databases(postgres, seeded_key_db_url):
    """The settings that name the databases; all browser tests share them."""
    return {
        "KEY_DB_URL": seeded_key_db_url,
        "MSG_DB_URL": fresh_database(postgres, schema.MSG_DB),
        "DB_TIMEOUT": str(PATIENCE // 1000),
        "LOG_LEVEL": "warning",
    }


@pytest.fixture
def msg_db(databases):
    """Runs a statement in the msg-db: `msg_db(statement, parameters)`."""
    with statements(databases["MSG_DB_URL"]) as run:
        yield run


@contextlib.contextmanager
def recorded(databases, host):
    """A recorder in front of a server whose public name is `host`."""
    recorder = Recorder(host)
    with serving({**databases, "PUBLIC_URL": recorder.url}) as (url, _):
        recorder.upstream = urllib.parse.urlsplit(url).port
        yield recorder
    recorder.close()


@pytest.fixture(scope="package")
def _way(databases):
    with recorded(databases, "localhost") as recorder:
        yield recorder


@pytest.fixture
def recorder(_way):
    """The way to the server: what the browser sends in this test is kept."""
    _way.sent.clear()
    _way.cut, _way.cut_answer_after = False, None
    return _way


@pytest.fixture
def url(recorder):
    """The service's origin, as the browser sees it."""
    return recorder.url


class Visitor:
    """A person with a browser. An error in the browser fails the test, unless the test has foreseen it."""

    def __init__(self, context, url):
        self.url = url
        self.troubles = []
        self.foreseen = []
        self.requests = []
        self.context = context
        self.page = context.new_page()
        self.page.on("console", self._listen)
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request))

    def _listen(self, message):
        if message.type in ("error", "warning"):
            self.troubles.append(message.text)

    def foresee(self, *words):
        """Expect errors in the console that contain these words."""
        self.foreseen += words

    def open(self, path="/"):
        """Go to a path, or to a link."""
        self.page.goto(path if path.startswith("http") else self.url + path)
        return self.page

    def write(self, message, passphrase="", lifetime=None):
        """Write a message in the form and seal it; returns the link."""
        page = self.open("/")
        page.fill("#message", message)
        page.fill("#passphrase", passphrase)
        if lifetime:
            page.select_option("#lifetime", lifetime)
        page.click("[data-send]")
        self.wait_for_swap()
        return page.input_value("#link")

    def reveal(self, passphrase=None):
        """On a confirm page, open the message; returns its text."""
        if passphrase is not None:
            self.page.fill("#passphrase", passphrase)  # which waits until the page asks for it
        self.press()
        self.wait_for_swap()
        self.page.wait_for_selector("#text:not(:empty)")
        return self.page.text_content("#text")

    def press(self):
        """Press the button of a confirm page and hold it until the page asks for the message.

        The page takes any press for a long one here: test_people.py holds the button for as long as people have to.
        """
        self.page.hover(READY)
        self.page.evaluate(HOLD_TAKES, 0)
        with self.page.expect_request("**/reveal"):
            self.page.mouse.down()
        self.page.mouse.up()

    def wait_for_swap(self):
        """Until an answer has taken the page's place: the last act of that is to give its heading the focus."""
        self.page.wait_for_selector("[data-focus]:focus")

    def wait_for_form(self):
        """Until everything on the form works: scripts attach one by one, and the first frame gives the focus."""
        for part in ("[data-send]:enabled", "#message[data-attached]:focus", "#passphrase[data-attached]"):
            self.page.wait_for_selector(part)

    def leave(self):
        """Close the page; returns the errors that were not foreseen."""
        with contextlib.suppress(Error):
            self.page.evaluate("0")  # lets pending console events arrive
        self.page.close()
        return [trouble for trouble in self.troubles if not any(words in trouble for words in self.foreseen)]


def new_context(browser, **options):
    context = browser.new_context(**{"locale": "en-GB", "reduced_motion": "reduce", **options})
    context.set_default_timeout(PATIENCE)
    context.add_init_script(
        "addEventListener('securitypolicyviolation', (event) =>"
        " console.error('CSP', event.violatedDirective, event.blockedURI, event.sample))"
    )
    return context


@pytest.fixture
def visit(browser, url):
    """Make visitors, each with a separate browser context: `visit(origin, **context_options)`."""
    visitors = []

    def arrive(origin=url, **options):
        visitors.append(Visitor(new_context(browser, **options), origin))
        return visitors[-1]

    yield arrive
    troubles = [trouble for visitor in visitors for trouble in visitor.leave()]
    for visitor in visitors:
        visitor.context.close()
    assert troubles == []


@pytest.fixture(scope="package")
def _context(browser):
    return new_context(browser)


@pytest.fixture
def visitor(_context, url):
    """A visitor with a new tab. Tests that set up more than a page use `visit`."""
    visitor = Visitor(_context, url)
    yield visitor
    _context.clear_permissions()
    assert visitor.leave() == []


def ask(url, fields=None, **headers):
    """Send a request without a browser; returns (status, body)."""
    data = None if fields is None else urllib.parse.urlencode(fields).encode()
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, headers)) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def destroy(page):
    """On a page of the sender's, destroy the message: the page asks once."""
    page.click(".asks summary")
    page.click(".asks button")


def no_clipboard(visitor):
    """Take the Clipboard API away from the pages that this visitor opens from now on."""
    visitor.context.add_init_script("Object.defineProperty(navigator, 'clipboard', {value: undefined});")


def pasted(visitor):
    """What is in the clipboard."""
    page = visitor.open("/")
    visitor.wait_for_form()
    page.keyboard.press("Control+V")
    expect(page.locator("#message")).not_to_have_value("")
    return page.input_value("#message")


def leaving(page):
    """Whether the page warns somebody who leaves it."""
    asked = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept()))
    page.goto("about:blank")
    return asked == ["beforeunload"]


def leave(url, message, **fields):
    """Put a message without a browser, sealed by the server; returns the link, which has a /."""
    status, link = ask(f"{url}/post", {"message": message, **fields}, Accept="text/plain")
    assert status == 201
    return link.strip()


def open_without_script(page):
    """On a confirm page without a script: say that somebody is there to read, and open the message."""
    page.check("noscript [value=yes]")
    page.click("noscript button")


def status_of(link):
    """What the server says of a link, either with a / or with a #, to a client that has its token."""
    address, token = link.replace("#", "/").rsplit("/", 1)
    status, body = ask(f"{address}/status", {"token": token}, Accept="application/json")
    return json.loads(body) if status == 200 else None


def is_unread(link):
    """Whether the message is still there to be read."""
    return status_of(link)["status"] == "unread"


def hashed(link):
    """Change the / before the token in a link to a #."""
    return "#".join(link.rsplit("/", 1))


@pytest.fixture
def link(url, recorder):
    """A link to a message sealed by the server, in the form that the browser makes."""
    made = hashed(leave(url, "read me once"))
    recorder.sent.clear()
    return made


def style(page, selector, name):
    """A computed property of the first element that fits."""
    return page.eval_on_selector(selector, "(element, name) => getComputedStyle(element)[name]", name)


def in_hex(colour):
    """#rrggbb of a computed colour."""
    return "#" + "".join(f"{int(channel):02x}" for channel in re.findall(r"\d+", colour)[:3])


@pytest.fixture(scope="package")
def _front(databases):
    front = Front()
    with serving({**databases, "PUBLIC_URL": front.url}) as (url, _):
        front.upstream = urllib.parse.urlsplit(url).port
        yield front
    front.close()


@pytest.fixture
def front(_front):
    """A front that may change the answers of a server: it knows what this test asked for."""
    _front.change = None
    _front.asked.clear()
    return _front


@pytest.fixture(scope="package")
def firefox(tmp_path_factory):
    """Debian's Firefox; all its tests share it."""
    if firefox_path() is None:
        pytest.skip("no Firefox: install firefox-esr")
    firefox = Firefox(tmp_path_factory.mktemp("firefox"))
    yield firefox
    firefox.close()
