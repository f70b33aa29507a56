"""Text that a phone shares, where no service worker keeps it from the server."""

import html
from urllib.parse import urlencode

import pytest

from tests.server.handlers.clients import BROWSER, table
from tests.server.handlers.conftest import FORM

pytestmark = pytest.mark.gen_test

TEXT = '</textarea><script>alert(1)</script> & "words"\nsecond line'


async def test_shared_text_comes_back_in_the_form(site):
    """Escaped, with the address that was shared below it, and without the title."""
    body = urlencode({"title": "A page", "text": TEXT, "url": "https://example.org/?a=b&c"})

    answer = await site.ask("POST", "/shared-text", {**BROWSER, "Content-Type": FORM}, body)
    page = answer.body.decode()
    area = page.partition("<textarea")[2].partition(">\n")[2].partition("</textarea>")[0]

    assert answer.code == 200
    assert html.unescape(area) == f"{TEXT}\nhttps://example.org/?a=b&c"
    assert "A page" not in page
    assert "through the server, unsealed" in page
    assert answer.headers["Cache-Control"] == "no-store"


@table({"another site": "cross-site", "a neighbouring site": "same-site"})
async def test_another_site_cannot_fill_the_form(site, row):
    """Only a phone's own share sheet can, and this site."""
    headers = {**BROWSER, "Content-Type": FORM, "Sec-Fetch-Site": row}

    assert (await site.ask("POST", "/shared-text", headers, "text=hello")).code == 403


async def test_an_address_fills_no_form(site):
    """A GET with text in its query shows the empty form: addresses stay in histories and logs."""
    empty = await site.ask("GET", "/", BROWSER)
    asked = await site.ask("GET", "/shared-text?text=hello", BROWSER)

    assert asked.body == empty.body
