"""`verify`, with a real service behind a front that changes its answers."""

import gzip
import itertools
import json
import zlib

import pytest

from server.manifest import PAGES, manifest_of
from server.settings import Settings
from tests.tampering import Front, changing_byte

MANIFEST = manifest_of(Settings.from_env({}))
# For tests that need no more: two pages and one script.
SHORT = MANIFEST | {
    "pages": [
        page | {"sha256": {"en": page["sha256"]["en"]}}
        for page in MANIFEST["pages"]
        if page["name"] in ("form", "confirm page")
    ],
    "files": {"/static/js/page.js": MANIFEST["files"]["/static/js/page.js"]},
}


@pytest.fixture
def front(way):
    """A front of the service, which is unchanged but for what a test changes."""
    front = Front(way.upstream)
    yield front
    front.close()


@pytest.fixture
def manifest(tmp_path):
    """Writes a manifest into a file; returns its path."""

    def write(content=SHORT):
        path = tmp_path / "MANIFEST.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return str(path)

    return write


@pytest.fixture
def verify(nw, front, manifest):
    """Fetches everything: the exit code, and the differences as {what: difference}."""

    def run(content=SHORT, rounds=1):
        done = nw("verify", "--json", "--rounds", str(rounds), "--manifest", manifest(content), front.url)
        assert done.stderr == b""
        found = json.loads(done.stdout)["differences"]
        return done.returncode, {one["what"]: one["difference"] for one in found}

    return run


def is_form(request):
    return request.command == "GET" and request.path == "/"


def changing_header(name, value):
    """A change of a header of the form."""

    def change(request, answer):
        if is_form(request):
            answer.set_header(name, value)

    return change


def test_an_unchanged_service(nw, front, manifest):
    """Exit code 0, and a line that says what was compared."""
    done = nw("verify", "--rounds", "2", "--manifest", manifest(MANIFEST), front.url)

    assert (done.returncode, done.stderr) == (0, b"")
    count = len(MANIFEST["pages"]) + len(MANIFEST["files"])
    answers = sum(len(page["sha256"]) for page in MANIFEST["pages"]) + 3 * len(MANIFEST["files"])
    assert done.stdout.decode() == (
        f"{front.url} sends release {MANIFEST['version']} unchanged:"
        f" {count} pages and files, {answers * 2} answers.\n"
    )


def test_a_changed_byte_of_every_page_and_file_is_found(verify, front):
    """The command finds it in any of them."""

    def change(request, answer):
        if request.command == "GET":
            changing_byte(request.path.split("?")[0])(request, answer)

    front.change = change
    code, differences = verify(MANIFEST)

    assert code == 11
    names = [page["name"] for page in MANIFEST["pages"]]
    assert differences == dict.fromkeys([*names, *MANIFEST["files"]], "its bytes differ")


def test_one_byte_is_one_line(nw, front, manifest):
    """For people: what differs, and how often it did."""
    front.change = changing_byte("/static/js/page.js")

    done = nw("verify", "--rounds", "2", "--manifest", manifest(), front.url)

    assert done.returncode == 11
    assert done.stdout == b"/static/js/page.js: its bytes differ (in 6 of 6 answers).\n"


def test_bytes_that_only_some_browsers_get_are_found(verify, front):
    """A service may change what it sends to one kind of browser, and only if it is compressed."""

    def change(request, answer):
        if is_form(request) and "Firefox" in request.headers.get("User-Agent", ""):
            answer.edit(lambda page: page.replace(b"</body>", b"<p></p></body>"))

    front.change = change
    assert verify() == (11, {"form": "its bytes differ"})


@pytest.mark.parametrize(
    ("name", "value", "difference"),
    [
        ("Content-Security-Policy", None, "its header content-security-policy is missing"),
        (
            "Content-Security-Policy",
            MANIFEST["headers"]["Content-Security-Policy"].replace("'self' 'sha256", "'self' https: 'sha256"),
            "its header content-security-policy differs",
        ),
        ("Integrity-Policy", None, "its header integrity-policy is missing"),
        ("Referrer-Policy", "unsafe-url", "its header referrer-policy differs"),
        ("Content-Type", "text/html; charset=utf-7", "its header content-type differs"),
        ("Content-Language", "ar", "its header content-language differs"),
        ("Link", "</x.js>; rel=modulepreload", "it has the header link, which no release sends"),
        ("Set-Cookie", "id=1", "it has the header set-cookie, which no release sends"),
    ],
)
def test_a_changed_header_is_found(verify, front, name, value, difference):
    """A policy that is missing or different, and a header that no release sends."""
    front.change = changing_header(name, value)
    assert verify() == (11, {"form": difference})


def test_a_header_of_a_script_is_found(verify, front):
    """In another character set, the same bytes are different code."""

    def change(request, answer):
        if request.path.startswith("/static/js/page.js"):
            answer.set_header("Content-Type", "text/javascript; charset=utf-16")

    front.change = change
    assert verify() == (11, {"/static/js/page.js": "its character set is not UTF-8"})


def test_one_of_four_processes_is_found(nw, front, manifest):
    """Each fetch of a page can reach another process: among twelve, each process of four answers."""
    turn = itertools.count()

    def change(request, answer):
        if is_form(request) and next(turn) % 4 == 3:
            answer.set_header("X-Frame-Options", None)

    front.change = change
    done = nw("verify", "--rounds", "4", "--manifest", manifest(), front.url)

    assert done.returncode == 11
    assert done.stdout == b"form: its header x-frame-options is missing (in 3 of 12 answers).\n"


def test_each_page_is_fetched_over_a_connection_of_its_own(verify, front):
    """A load balancer sends a connection to one process."""
    connections = []
    front.change = lambda request, answer: connections.append((request.path, request.client_address))
    assert verify(MANIFEST) == (0, {})
    pages = [address for path, address in connections if path in ("/", "/how-it-works")]
    languages = len(MANIFEST["pages"][0]["sha256"])
    assert len(pages) == len(set(pages)) == 2 * languages


def test_three_rounds_have_every_page_in_every_language_as_every_client(verify, front):
    """One round has each language once, and a third of them as each client."""
    asked = []

    def change(request, answer):
        if is_form(request):
            asked.append((request.headers["Accept-Language"], request.headers.get("User-Agent")))

    front.change = change
    form = next(page for page in MANIFEST["pages"] if page["name"] == "form")
    languages = set(form["sha256"])

    assert verify(MANIFEST | {"pages": [form], "files": {}}, rounds=3) == (0, {})
    first = asked[: len(languages)]
    assert {language for language, _ in first} == languages
    assert len({client for _, client in first}) == 3
    assert len(asked) == len(set(asked)) == 3 * len(languages)


def test_what_one_client_gets_in_one_language_is_found_in_three_rounds(nw, front, manifest):
    """Three rounds include each combination once."""

    def change(request, answer):
        if is_form(request) and "Firefox" in request.headers.get("User-Agent", ""):
            if request.headers["Accept-Language"] == "fr":
                answer.edit(lambda page: page.replace(b"</body>", b"<p></p></body>"))

    front.change = change
    done = nw("verify", "--rounds", "3", "--manifest", manifest(MANIFEST | {"files": {}}), front.url)

    languages = len(MANIFEST["pages"][0]["sha256"])
    assert (done.returncode, done.stdout.decode()) == (
        11,
        f"form: its bytes differ (in 1 of {3 * languages} answers).\n",
    )


def test_each_round_has_a_note_of_its_own(verify, front):
    """A note expires after ten minutes, and many rounds take longer."""
    assert verify(rounds=2) == (0, {})
    assert front.asked.count(("POST", "/post")) == 2
    assert len({path for method, path in front.asked if path.endswith("/destroy")}) == 2


@pytest.mark.parametrize(
    "body", [b"no gzip", gzip.compress(b"x")[:-4], gzip.compress(b"x") + b"y", gzip.compress(bytes(20 << 20))],
    ids=["not gzip", "cut off", "with a tail", "a bomb"],
)  # fmt: skip
def test_odd_compression_is_a_difference(verify, front, body):
    """The command does not stumble over what is no gzip, and does not inflate it without end."""

    def change(request, answer):
        if is_form(request) and "Accept-Encoding" in request.headers:
            answer.set_header("Content-Encoding", "gzip")
            answer.body = body

    front.change = change
    assert verify() == (11, {"form": "its bytes cannot be decompressed as gzip"})


def test_another_compression_is_a_difference(verify, front):
    """A release compresses with gzip alone."""

    def change(request, answer):
        if is_form(request) and "Accept-Encoding" in request.headers:
            answer.set_header("Content-Encoding", "deflate")
            answer.body = zlib.compress(answer.body)

    front.change = change
    assert verify() == (11, {"form": "its bytes cannot be decompressed as gzip"})


def test_another_status_is_a_difference(verify, front):
    """A redirect is a difference too: the command does not follow it."""

    def change(request, answer):
        if is_form(request):
            answer.status = 302
            answer.set_header("Location", "https://example.org/")

    front.change = change
    assert verify() == (11, {"form": "its status is 302, not 200"})


def test_other_settings_need_their_own_manifest(verify):
    """The form of a service with other lifetimes differs from the default one; its own manifest says what is right."""
    other = manifest_of(Settings.from_env({"LIFETIMES": "1h,1d"})) | {"files": {}}

    assert verify(other) == (11, {"form": "its bytes differ"})


def test_the_note_is_destroyed_afterwards(verify, front, msg_db):
    """No unread note stays, even if something differs."""
    front.change = changing_header("Integrity-Policy", None)
    assert verify()[0] == 11
    (destroyed,) = [path for method, path in front.asked if method == "POST" and path.endswith("/destroy")]
    key = destroyed.split("/")[1]
    assert [path for method, path in front.asked if path == f"/{key}"]
    msg_db("SELECT 1 / (count(*) = 0)::int FROM note WHERE key = %s", [key])
    msg_db("SELECT 1 / (count(*) = 1)::int FROM ending WHERE key = %s", [key])


def test_a_limit_is_waited_for(verify, front):
    """429 is no difference: the command asks again when the service allows it."""
    refusals = itertools.count()

    def change(request, answer):
        if is_form(request) and next(refusals) == 0:
            answer.status, answer.body = 429, b""
            answer.set_header("Retry-After", "0")

    front.change = change
    assert verify() == (0, {})
    assert front.asked.count(("GET", "/")) == 4


def test_a_limit_that_lasts_long_is_not_waited_for(nw, front, manifest):
    """Exit code 6, and the note is destroyed."""

    def change(request, answer):
        if is_form(request):
            answer.status, answer.body = 429, b""
            answer.set_header("Retry-After", "3600")

    front.change = change
    done = nw("verify", "--json", "--manifest", manifest(), front.url)

    error = json.loads(done.stderr)
    assert (done.returncode, error["status"], error["retry_after"]) == (6, 429, 3600)
    assert front.asked[-1][1].endswith("/destroy")


def test_a_note_that_cannot_be_destroyed_does_not_hide_what_differs(nw, front, manifest):
    """The differences are printed all the same."""

    def change(request, answer):
        changing_byte("/static/js/page.js")(request, answer)
        if request.path.endswith("/destroy"):
            answer.status, answer.body = 429, b"{}"
            answer.set_header("Content-Type", "application/problem+json")

    front.change = change
    done = nw("verify", "--manifest", manifest(), front.url)

    assert (done.returncode, done.stdout) == (
        11,
        b"/static/js/page.js: its bytes differ (in 3 of 3 answers).\n",
    )
    assert b"ten minutes" in done.stderr


@pytest.mark.parametrize("length", [0, 100, 3000], ids=["at the start", "in its headers", "in its body"])
def test_an_answer_that_is_lost_is_fetched_again(nw, way, manifest, length):
    """A connection that breaks says nothing about the service."""
    way.cuts[b"GET / HTTP"] = length

    done = nw("verify", "--manifest", manifest(), way.url)

    assert (done.returncode, done.stderr) == (0, b"")


def test_a_person_sees_how_far_it_is(terminal, front, manifest):
    """On one line, which the result replaces."""
    person = terminal("verify", "--manifest", manifest(), front.url)
    person.wait_for("Comparing: 11 %")
    person.wait_for("Comparing: 100 %")
    person.wait_for("\r\x1b[K")

    assert person.end() == 0
    assert b" unchanged: 3 pages and files, 9 answers." in person.screen


def test_a_person_sees_that_a_limit_is_waited_for(terminal, front, manifest):
    """And for how long."""
    refusals = itertools.count()

    def change(request, answer):
        if is_form(request) and next(refusals) == 0:
            answer.status, answer.body = 429, b""
            answer.set_header("Retry-After", "0")

    front.change = change
    person = terminal("verify", "--manifest", manifest(), front.url)
    person.wait_for("The service takes no more requests for 0 s. Waiting.")
    person.wait_for("Comparing: 100 %")

    assert person.end() == 0


def test_a_service_that_cannot_be_reached(nw, front, manifest):
    """Exit code 5: nothing is known."""
    front.close()
    assert nw("verify", "--manifest", manifest(), front.url).returncode == 5


def test_without_a_manifest(nw, front):
    """A checkout has no manifest, and the command says where to get one."""
    done = nw("verify", front.url)
    assert done.returncode == 2
    assert b"--manifest" in done.stderr
    assert front.asked == []


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"format": 2}',
        "\xff",
        json.dumps({**MANIFEST, "pages": [{}]}),
        json.dumps({**MANIFEST, "pages": [{**MANIFEST["pages"][0], "sha256": {}}]}),
    ],
)
def test_a_file_that_is_no_manifest(nw, front, manifest, content):
    """A usage error, before anything is asked."""
    done = nw("verify", "--manifest", manifest(content), front.url)
    assert done.returncode == 2
    assert b"manifest" in done.stderr
    assert front.asked == []


def test_every_page_is_compared(front, verify):
    """What the manifest lists is what the service is asked for."""
    assert verify(MANIFEST) == (0, {})
    asked = {path for method, path in front.asked if method == "GET"}
    assert {address.path for address in PAGES.values() if "{" not in address.path} < asked
    assert len({path for path in asked if len(path) == 6}) >= 2
