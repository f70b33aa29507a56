"""Which pages are compressed: those that are the same for everybody, and no others (BREACH)."""

import gzip
import re

import pytest

from server import pages
from tests.server.handlers.clients import BROWSER, HTMX, table
from tests.server.handlers.conftest import FORM

pytestmark = pytest.mark.gen_test

GZIP = {"Accept-Encoding": "gzip, br"}


@table(
    {
        "the form": ("/", 200),
        "the confirm page": ("/{key}", 200),
        "the confirm page of a link that the server opens": ("/{key}/{token}", 200),
        "a receipt": ("/{key}/receipt", 200),
        "a 404 without the link": ("/zzzzz", 404),
        "how it works": ("/how-it-works", 200),
    }
)
async def test_a_constant_page_is_compressed(site, row):
    """It is the same page, whole or as a fragment, with the length of what is sent; a HEAD tells the same."""
    path, status = row
    key, token = await site.put()
    path = path.format(key=key, token=token)

    for asker in (BROWSER, HTMX):
        plain = await site.ask("GET", path, asker, as_sent=True)
        packed = await site.ask("GET", path, {**asker, **GZIP}, as_sent=True)

        assert (plain.code, packed.code) == (status, status)
        assert gzip.decompress(packed.body) == plain.body
        assert packed.headers["Content-Encoding"] == "gzip"
        assert packed.headers["Content-Length"] == str(len(packed.body))
        assert plain.headers["Vary"] == packed.headers["Vary"] == "Accept-Language, Accept-Encoding"
        assert packed.headers["Cache-Control"] == "no-store"
        assert "Content-Encoding" not in plain.headers
    head = await site.ask("HEAD", path, {**BROWSER, **GZIP}, as_sent=True)
    whole = await site.ask("GET", path, {**BROWSER, **GZIP}, as_sent=True)
    for name in ("Content-Encoding", "Content-Length", "Vary"):
        assert head.headers[name] == whole.headers[name]


@table(
    {
        "shared text": ("/shared-text", "text=hello", 200),
        "a refused message": ("/post", "message=hello&lifetime=never", 400),
        "a message": ("/{key}/{token}", "present=yes&passphrase=", 200),
        "a wrong passphrase": ("/{locked}/{locked_token}", "present=yes&passphrase=simsim", 403),
        "an ending": ("/{read}/{read_token}", "present=yes&passphrase=", 404),
        "a destroyed message": ("/{key}/destroy", "token={token}", 200),
        "a problem": ("/{key}/reveal", "token=cut-off", 400),
    }
)
async def test_a_page_about_a_message_is_never_compressed(site, row):
    """Its compressed length would tell a secret in it to somebody who chooses other words in it."""
    path, body, status = row
    key, token = await site.put()
    locked, locked_token = await site.put(passphrase="sesame")
    read, read_token = await site.put()
    await site.ask("GET", f"/{read}/{read_token}", {"Accept": "application/json"})
    words = dict(
        key=key, token=token, locked=locked, locked_token=locked_token, read=read, read_token=read_token
    )
    headers = {**BROWSER, **GZIP, "Content-Type": FORM, "Sec-Fetch-Site": "same-origin"}

    answer = await site.ask("POST", path.format(**words), headers, body.format(**words), as_sent=True)

    assert answer.code == status
    assert "Content-Encoding" not in answer.headers
    assert b"<h1" in answer.body


@pytest.mark.parametrize("name", pages.CONSTANT)
def test_a_constant_page_takes_nothing_from_a_request(name):
    """A page that is compressed is rendered from literals alone."""
    assert re.search(r"secret|token|key", repr(pages.CONSTANT[name])) is None
