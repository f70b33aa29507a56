"""What hands and programs do to the button of the confirm page, and a clock that stands still meanwhile."""

import re

from server.pages import STATIC

SEND = "[data-send]"
READY = f"{SEND}:enabled"
HOLD = int(re.search(r"const HOLD = (\d+);", (STATIC / "js" / "hold.js").read_text())[1])  # milliseconds


def stop_time(page):
    """From here on, no timer of the page ends before `page.clock` says so."""
    page.clock.install()
    now = page.evaluate("Date.now() / 1000")
    page.clock.pause_at(now + 60)  # in seconds, and still to come on a busy machine


# Runs in a page. `setTimer` is the browser's own; a number may come as a text.
HOLD_TAKES = f"""(milliseconds) => {{
    globalThis.setTimer ??= setTimeout;
    globalThis.setTimeout = (act, delay, ...rest) =>
        setTimer(act, delay === {HOLD} ? Number(milliseconds) : delay, ...rest);
}}"""
ONLY_SHORT_PRESSES = (
    2**30
)  # milliseconds: on a busy machine, a click can take long enough to open the message


def click_through_devtools(page):
    """Clicks with Input.dispatchMouseEvent of the DevTools protocol."""
    box = page.locator(SEND).bounding_box()
    devtools = page.context.new_cdp_session(page)
    place = {"x": box["x"] + 10, "y": box["y"] + 10, "button": "left", "clickCount": 1}
    for kind in ("mousePressed", "mouseReleased"):
        devtools.send("Input.dispatchMouseEvent", {"type": kind, **place})


def finger(page):
    """Puts a finger on the button; returns what moves it and what lifts it."""
    box = page.locator(SEND).bounding_box()
    devtools = page.context.new_cdp_session(page)
    point = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
    devtools.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [point]})

    def move(x, y):
        devtools.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [{"x": x, "y": y}]})

    return move, lambda: devtools.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
