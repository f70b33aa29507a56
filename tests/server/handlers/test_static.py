"""Static files where no nginx serves them."""

import gzip

import pytest

from server import pages
from tests.server.handlers.clients import TEXT_TYPE, table

pytestmark = pytest.mark.gen_test

NAME = "css/note-whisperer.css"


@table({"page.js": "js/page.js", "style": NAME, "icon": "favicon.svg"})
async def test_a_file_is_kept_for_ever_under_its_fingerprint_only(site, row):
    """With the right ?v= for ever, without one for a while; with another, there is an image but no script or style."""
    kept = await site.ask("GET", pages.asset(row))
    assert kept.headers["Cache-Control"] == "public, max-age=31536000, immutable"

    for query in ("", "?v="):
        answer = await site.ask("GET", f"/static/{row}{query}")
        assert answer.headers["Cache-Control"] == "public, max-age=3600"
    for query in ("?v=0123456789abcdef", "?v=%ff"):
        answer = await site.ask("GET", f"/static/{row}{query}")
        assert answer.code == (200 if row == "favicon.svg" else 404)
        assert answer.headers["Cache-Control"] == "no-store"


async def test_a_file_is_what_lies_there(site):
    """Whole, with its type, and the rest of the headers as everywhere."""
    answer = await site.ask("GET", f"/static/{NAME}")

    assert answer.body == (pages.STATIC / NAME).read_bytes()
    assert answer.headers["Content-Type"] == "text/css; charset=utf-8"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_robots_are_told_to_stay_away(site):
    """/robots.txt."""
    assert (await site.ask("GET", "/robots.txt")).body == b"User-agent: *\nDisallow: /\n"


@table(
    {
        "above": "../server/app.py",
        "above, encoded": "%2e%2e/server/app.py",
        "above, with an encoded slash": "..%2fserver%2fapp.py",
        "from the root": "/etc/passwd",
        "from the root, encoded": "%2fetc%2fpasswd",
        "with a backslash": "..%5cserver%5capp.py",
        "a folder": "css",
        "a folder with a slash": "css/",
        "nothing": "",
        "NUL": "%00",
        "NUL behind a name": "favicon.svg%00.css",
        "not UTF-8": "%ff",
        "a name that is too long": "x" * 300,
        "a path that is too long": "x/" * 5000,
        "a missing file": "nothing.css",
        "another way to write the path of a file": "js/../" + NAME,
    }
)
async def test_nothing_else_can_be_read(site, row):
    """400, 403 or 404 with a line of text, whatever the path tries."""
    answer = await site.ask("GET", f"/static/{row}")

    assert answer.code in (400, 403, 404)
    assert answer.headers["Content-Type"] == TEXT_TYPE
    assert answer.headers["Cache-Control"] == "no-store"
    assert len(answer.body) < 30


async def test_an_unchanged_file_is_not_sent_again(site):
    """304 for who has it already; also for dates that make no sense."""
    first = await site.ask("GET", f"/static/{NAME}")

    again = await site.ask("GET", f"/static/{NAME}", {"If-None-Match": first.headers["Etag"]})
    nonsense = await site.ask("GET", f"/static/{NAME}", {"If-Modified-Since": "yesterday"})

    assert (again.code, again.body) == (304, b"")
    assert nonsense.code == 200


@table({"page.js": "js/page.js", "style": NAME, "icon": "favicon.svg"})
async def test_a_file_is_compressed_for_a_client_that_takes_gzip(site, row):
    """The bytes are the file's in gzip, the length is theirs, and a cache learns what they depend on."""
    path = f"/static/{row}"
    plain = await site.ask("GET", path, as_sent=True)
    packed = await site.ask("GET", path, {"Accept-Encoding": "br, GZIP;q=0.5"}, as_sent=True)
    head = await site.ask("HEAD", path, {"Accept-Encoding": "gzip"}, as_sent=True)

    assert gzip.decompress(packed.body) == plain.body == (pages.STATIC / row).read_bytes()
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == head.headers["Content-Encoding"] == "gzip"
    assert packed.headers["Content-Length"] == head.headers["Content-Length"] == str(len(packed.body))
    assert plain.headers["Vary"] == packed.headers["Vary"] == "Accept-Encoding"
    assert plain.headers["Etag"] == packed.headers["Etag"]
    unchanged = {"Accept-Encoding": "gzip", "If-None-Match": packed.headers["Etag"]}
    assert (await site.ask("GET", path, unchanged)).code == 304


@table(
    {
        "no": "gzip;q=0",
        "no, at length": "br, gzip; q=0.000",
        "another": "br",
        "a longer name": "gzip2",
        "none": "",
    }
)
async def test_a_file_is_not_compressed_for_any_other_client(site, row):
    """A client that does not take gzip gets the file as it is."""
    answer = await site.ask("GET", f"/static/{NAME}", {"Accept-Encoding": row}, as_sent=True)

    assert "Content-Encoding" not in answer.headers
    assert answer.body == (pages.STATIC / NAME).read_bytes()


async def test_an_image_that_gzip_makes_no_smaller_is_sent_as_it_is(site):
    """A PNG is compressed already."""
    answer = await site.ask("GET", "/apple-touch-icon.png", {"Accept-Encoding": "gzip"}, as_sent=True)

    assert answer.headers["Content-Type"] == "image/png"
    assert "Content-Encoding" not in answer.headers


@table({"none": "bytes=5-2", "behind the end": "bytes=99999999-", "no numbers": "bytes=a-b", "no unit": "5-"})
async def test_ranges_that_make_no_sense_do_no_harm(site, row):
    """All of the file, or 416."""
    assert (await site.ask("GET", f"/static/{NAME}", {"Range": row})).code in (200, 416)
