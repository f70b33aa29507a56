"""A message for several readers: a link and a receipt for each, as a table and as a file."""

import csv
import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import leaving, no_clipboard, pasted, status_of


def seal_for(visitor, readers, message="hello", passphrase=""):
    """Seal a message for several readers; returns the links."""
    page = visitor.open("/")
    page.wait_for_selector("[data-send]:enabled")
    page.fill("#message", message)
    page.fill("#passphrase", passphrase)
    page.fill("#readers", str(readers))
    page.click("[data-send]")
    page.wait_for_selector("[data-focus]:focus")
    return values(page, "[data-link]")


def values(page, selector):
    return page.eval_on_selector_all(f"table {selector}", "(fields) => fields.map(({value}) => value)")


def test_each_reader_gets_a_separate_link(visitor, visit):
    """Three links, three tokens, three receipts; reading one leaves the others."""
    links = seal_for(visitor, 3, passphrase="sesame")
    receipts = values(visitor.page, "[data-receipt]")
    assert len(set(links)) == len({link.split("#")[1] for link in links}) == len(set(receipts)) == 3
    assert all(re.fullmatch(r".*/receipt#[\w-]{86}", receipt) for receipt in receipts)
    assert visitor.page.input_value("#shared-passphrase") == "sesame"
    reader = visit()
    reader.open(links[1])
    assert reader.reveal("sesame") == "hello"
    assert [status_of(link)["status"] for link in links] == ["unread", "read", "unread"]
    reader.open(receipts[1])
    reader.page.wait_for_selector("[data-when=confirmed]:visible")


def test_twenty_links_as_a_table_and_as_csv(visitor):
    """The most that there can be; the table and the file have all of them, and the page then warns no more."""
    visitor.context.grant_permissions(["clipboard-write"])
    links = seal_for(visitor, 20)
    page = visitor.page
    receipts = values(page, "[data-receipt]")
    page.click("[data-copies-all]")
    page.wait_for_selector("#status:text('Copied')", state="attached")
    rows = [[str(number), *pair] for number, pair in enumerate(zip(links, receipts), 1)]
    with page.expect_download() as saving:
        page.click("[data-saves]")
    assert saving.value.suggested_filename == "links.csv"
    with open(saving.value.path(), newline="") as file:
        assert list(csv.reader(file))[1:] == rows
    assert [row.split("\t") for row in pasted(visitor).split("\n")] == rows


def test_a_table_that_was_saved_has_left_the_page(visit):
    """Afterwards the page does not warn."""
    visitor = visit()
    no_clipboard(visitor)
    seal_for(visitor, 2)
    with visitor.page.expect_download():
        visitor.page.click("[data-saves]")
    assert not leaving(visitor.page)


def test_one_link_of_several_that_stays_behind_is_warned_of(visit):
    """Copying the first of two is not enough."""
    visitor = visit()
    no_clipboard(visitor)
    seal_for(visitor, 2)
    page = visitor.page
    page.wait_for_selector("section[data-attached]")
    page.click("#copy-link-1")
    page.wait_for_selector("#link-1[data-copied]")
    assert leaving(page)


def test_what_was_made_before_a_failure_is_shown_and_the_rest_can_be_made(visitor, recorder):
    """Two of four are there; a click makes the others, and the first two stay as they are."""
    visitor.foresee("ERR_FAILED", "Failed to fetch")
    page = visitor.page
    seen = []

    def pass_two(route):
        seen.append(route)
        route.continue_() if len(seen) <= 2 else route.abort()

    page.route("**/post", pass_two)
    first = seal_for(visitor, 4)
    assert len(first) == 2
    assert "Links made: 2 of 4." in page.inner_text("[data-incomplete]")
    assert "The server did not answer." in page.inner_text("[data-incomplete]")
    page.unroute("**/post")
    page.click("[data-more]")
    page.wait_for_selector("#link-4")
    links = values(page, "[data-link]")
    assert links[:2] == first
    assert [status_of(link)["status"] for link in links] == ["unread"] * 4
    assert page.is_hidden("[data-incomplete]")


@pytest.mark.parametrize("status", [429, 503])
def test_a_server_with_too_many_requests_is_asked_again_later(visitor, status):
    """After as many seconds as it says."""
    visitor.foresee(str(status))
    page = visitor.page
    headers = {"Retry-After": "1", "Note-Whisperer": "1"}
    refusals = [{"status": status, "headers": headers, "body": "{}"}]
    page.route("**/post", lambda route: route.fulfill(**refusals.pop()) if refusals else route.continue_())
    assert len(seal_for(visitor, 2)) == 2
    assert refusals == []


def test_a_server_that_takes_no_more_is_not_asked_again(visitor):
    """Without a time to wait, or with a long one, the form says at once that the message is still here."""
    visitor.foresee("503", "429")
    page = visitor.page
    answers = [(503, {}), (429, {"Retry-After": "3600"})]
    left = iter(answers)

    def refuse(route):
        status, headers = next(left)
        route.fulfill(status=status, headers={**headers, "Note-Whisperer": "1"}, body="{}")

    page.route("**/post", refuse)
    page.on("dialog", lambda dialog: dialog.accept())
    for _ in answers:
        page.goto(visitor.url)
        visitor.wait_for_form()
        page.fill("#message", "hello")
        page.fill("#readers", "2")
        page.click("[data-send]")
        expect(page.locator("#problem")).to_contain_text("takes no more messages at the moment")
        assert page.input_value("#message") == "hello"
    assert list(left) == []
