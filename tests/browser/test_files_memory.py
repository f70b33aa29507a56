"""A message with 100 MB of files needs less than 200 MB of a tab's memory, on its way up and down."""

import os
import secrets
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import ARGUMENTS, Visitor, launch, new_context
from tests.browser.firefox import Firefox, firefox_path
from tests.browser.memory import Peak
from tests.server_process import serving

MEGABYTE = 1_000_000
LIMIT = 200 * MEGABYTE
CHROMIUM_TABS, FIREFOX_TABS = "--type=renderer", r"\btab\W*$"

SAVE_TO_BLOB = "delete globalThis.showSaveFilePicker"
SAVE_TO_DISK = """globalThis.showSaveFilePicker = async () =>
    globalThis.chosen = await (await navigator.storage.getDirectory()).getFileHandle("chosen", { create: true });"""


@pytest.fixture(scope="module")
def origin(databases):
    with serving(databases) as (url, _):
        yield url


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A file of 100 MB."""
    path = tmp_path_factory.mktemp("large") / "heron.bin"
    path.write_bytes(secrets.token_bytes(MEGABYTE) * 100)
    return path


@pytest.mark.parametrize("saving", [SAVE_TO_BLOB, SAVE_TO_DISK], ids=["blob", "disk"])
def test_chromium_has_little_of_100_megabytes_in_memory(playwright, origin, large, saving):
    """Whether it may write to the disk itself or not."""
    browser = launch(playwright, ARGUMENTS)
    context = new_context(browser)
    context.add_init_script(saving)
    visitor = Visitor(context, origin)
    page = visitor.open("/")
    visitor.wait_for_form()
    with Peak(os.getpid(), CHROMIUM_TABS) as up:
        page.set_input_files("#files", large)
        page.click("[data-send]")
        visitor.wait_for_swap()
    visitor.open(page.input_value("#link"))
    visitor.press()
    page.wait_for_selector("[data-received] li")
    with Peak(os.getpid(), CHROMIUM_TABS) as down:
        if saving == SAVE_TO_BLOB:
            with page.expect_download() as download:
                page.get_by_label("Save heron.bin").click()
            saved = Path(download.value.path()).read_bytes()
        else:
            page.get_by_label("Save heron.bin").click()
            expect(page.locator("[data-saved]")).to_be_visible()
            saved = None
    print(f"Chromium: up {up.bytes / MEGABYTE:.0f} MB, down {down.bytes / MEGABYTE:.0f} MB")
    size = page.evaluate("globalThis.chosen?.getFile().then(({ size }) => size)")
    assert visitor.leave() == []
    browser.close()

    assert saved == large.read_bytes() if saved else size == large.stat().st_size
    assert 0 < up.bytes < LIMIT
    assert 0 < down.bytes < LIMIT


def test_firefox_has_little_of_100_megabytes_in_memory(origin, large, tmp_path):
    """What it saves is collected outside the tab."""
    if firefox_path() is None:
        pytest.skip("no Firefox: install firefox-esr")
    firefox = Firefox(tmp_path)
    tab = firefox.tab()
    tab.open(f"{origin}/")
    tab.find("[data-send]:enabled")
    with Peak(firefox.pid, FIREFOX_TABS) as up:
        tab.choose("#files", large)
        tab.find("[data-files] li", "heron.bin")
        tab.click("[data-send]:enabled")
        tab.find("h1[data-focus]", "sealed")
    tab.open(tab.value("#link"))
    tab.find("[data-send]:enabled")
    tab.click("[data-choice] [value=yes]")
    tab.hold("[data-send]:enabled", until="[data-received] li")
    with Peak(firefox.pid, FIREFOX_TABS) as down:
        tab.click("[data-save]")
        tab.find("[data-saved]")
        saved = firefox.downloaded("heron.bin")
    print(f"Firefox: up {up.bytes / MEGABYTE:.0f} MB, down {down.bytes / MEGABYTE:.0f} MB")
    tab.close()
    firefox.close()

    assert saved == large.read_bytes()
    assert 0 < up.bytes < LIMIT
    assert 0 < down.bytes < LIMIT
