"""Drives Debian's Firefox by WebDriver BiDi over a websocket: Playwright drives only a Firefox of its own.

https://w3c.github.io/webdriver-bidi/ describes the commands.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import re
import shutil
import subprocess
import threading
import time
from pathlib import Path

from tornado.websocket import websocket_connect

NAMES = ("firefox-esr", "firefox")
PATIENCE = 60  # seconds for what has to come

PREFERENCES = {
    "app.normandy.enabled": False,
    "app.update.disabledForTesting": True,
    "browser.download.alwaysOpenPanel": False,  # it would take the focus from the page
    "browser.shell.checkDefaultBrowser": False,
    "browser.region.network.url": "",
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "dom.disable_beforeunload": False,
    "extensions.getAddons.cache.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "",
    "toolkit.telemetry.reportingpolicy.firstRun": False,
    "ui.prefersReducedMotion": 1,
}

# As WebDriver names the keys that are no characters.
MODIFIERS = {"Control": "\ue009"}
BACKSPACE = "\ue003"

# Runs in the page: the first visible element that fits, or null. Text is compared without its line breaks.
FIND = """(selector, text) => [...document.querySelectorAll(selector)].find((element) =>
    element.checkVisibility() && element.textContent.replace(/\\s+/g, " ").includes(text)) ?? null"""


class BidiError(Exception):
    """The browser refused a command."""


class Firefox:
    """A headless Firefox with an empty profile, until `close`."""

    def __init__(self, profile: Path, **preferences):
        program = firefox_path()
        assert program, "firefox_path() tells whether there is one"
        self._downloads = profile / "downloads"
        saving = {"browser.download.folderList": 2, "browser.download.dir": str(self._downloads)}
        lines = (
            f"user_pref({json.dumps(name)}, {json.dumps(value)});"
            for name, value in {**PREFERENCES, **saving, **preferences}.items()
        )
        (profile / "user.js").write_text("\n".join(lines))
        self._process = subprocess.Popen(
            [program, "--headless", "--no-remote", "--profile", profile, "--remote-debugging-port", "0"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={"PATH": "/usr/bin:/bin", "HOME": str(profile), "MOZ_CRASHREPORTER_DISABLE": "1"},
        )
        self.pid = self._process.pid
        for line in self._process.stderr:
            if found := re.search(rb"BiDi listening on (ws://\S+)", line):
                break
        else:
            raise AssertionError(f"{program} ended with code {self._process.wait()}")
        threading.Thread(target=self._process.stderr.read, daemon=True).start()  # lest it fill up
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future] = {}
        self._tabs: dict[str, Tab] = {}
        self._run(self._connect(found[1].decode() + "/session"))
        self.call("session.new", capabilities={"alwaysMatch": {"unhandledPromptBehavior": "ignore"}})
        self.call("session.subscribe", events=["log.entryAdded"])

    def _run(self, work):
        return asyncio.run_coroutine_threadsafe(asyncio.wait_for(work, PATIENCE), self._loop).result()

    async def _connect(self, url):
        self._socket = await websocket_connect(url, max_message_size=1 << 28)
        self._listening = asyncio.ensure_future(self._listen())

    async def _listen(self):
        while text := await self._socket.read_message():
            message = json.loads(text)
            if message["type"] == "event":
                self._hear(message["method"], message["params"])
            else:
                self._waiting.pop(message["id"]).set_result(message)

    def _hear(self, event, params):
        tab = self._tabs.get(params.get("context") or params.get("source", {}).get("context"))
        if tab and event == "log.entryAdded" and params["level"] in ("error", "warn"):
            tab.troubles.append(params["text"])

    async def _call(self, method, params):
        number = next(self._numbers)
        answer = self._waiting[number] = self._loop.create_future()
        await self._socket.write_message(json.dumps({"id": number, "method": method, "params": params}))
        return await answer

    def call(self, method, **params):
        """Send a command; returns its result."""
        answer = self._run(self._call(method, params))
        if answer["type"] == "error":
            raise BidiError(f"{method}: {answer['error']}: {answer['message']}")
        return answer["result"]

    def tab(self):
        """A new tab, which shares nothing with the tabs before it."""
        user = self.call("browser.createUserContext")["userContext"]
        context = self.call("browsingContext.create", type="tab", userContext=user)["context"]
        self._tabs[context] = Tab(self, context)
        self.call("browsingContext.activate", context=context)  # a page without the focus opens no message
        return self._tabs[context]

    def downloaded(self, name):
        """Wait until a file is saved; returns its bytes."""
        path = self._downloads / name
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if path.exists() and path.stat().st_size and not list(self._downloads.glob("*.part")):
                return path.read_bytes()
            time.sleep(0.02)  # as for `find`
        raise AssertionError(f"no {name} in time: {list(self._downloads.glob('*'))}")

    def close(self):
        with contextlib.suppress(BidiError):
            self.call("browser.close")
        self._process.wait(PATIENCE)
        self._process.stderr.close()
        self._socket.close()
        self._run(self._listening)
        self._loop.call_soon_threadsafe(self._loop.stop)


class Tab:
    """A page, and what a person does with it."""

    def __init__(self, firefox, context):
        self._firefox, self._context = firefox, context
        self.troubles = []  # what the console said
        self.foreseen = []  # words of what it may say

    def _call(self, method, **params):
        return self._firefox.call(method, context=self._context, **params)

    def open(self, url):
        self._call("browsingContext.navigate", url=url, wait="complete")

    def evaluate(self, function, *arguments):
        """Call a function of the page's JavaScript with strings; returns a simple value or an element's reference."""
        answer = self._firefox.call(
            "script.callFunction",
            functionDeclaration=function,
            arguments=[{"type": "string", "value": argument} for argument in arguments],
            target={"context": self._context},
            awaitPromise=True,
        )
        if answer["type"] == "exception":
            raise BidiError(answer["exceptionDetails"]["text"])
        result = answer["result"]
        return {"sharedId": result["sharedId"]} if result["type"] == "node" else result.get("value")

    def find(self, selector, text=""):
        """Wait for a visible element with this text; returns its reference."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                if found := self.evaluate(FIND, selector, text):
                    return found
            except BidiError as error:  # the page was left in the meantime
                if "no such" not in str(error) and "realm" not in str(error):
                    raise
            time.sleep(0.02)  # a timer in the page would not run without JavaScript
        raise AssertionError(f"no {selector} {text!r} in time; the page: {self.text('body')}")

    def text(self, selector):
        """The text of a visible element, exactly."""
        self.find(selector)
        return self.evaluate("(selector) => document.querySelector(selector).textContent", selector)

    def value(self, selector):
        self.find(selector)
        return self.evaluate("(selector) => document.querySelector(selector).value", selector)

    def shows(self, selector, text=""):
        """Whether there is such a visible element now."""
        return self.evaluate(f"(...wanted) => ({FIND})(...wanted) !== null", selector, text)

    def click(self, selector, text=""):
        """Press the mouse on an element, and let it go at once."""
        self._press(self.find(selector, text), let_go=True)

    def hold(self, selector, until, text=""):
        """Press the mouse on an element until another one, with this text, is there."""
        self._press(self.find(selector), let_go=False)
        self.find(until, text)
        self._act("pointer", [{"type": "pointerUp", "button": 0}])

    def choose(self, selector, *paths):
        """Choose files in a field, as its dialog would."""
        self._call("input.setFiles", element=self.find(selector), files=[str(path) for path in paths])

    def _press(self, element, let_go):
        self._firefox.call(
            "script.callFunction",
            functionDeclaration="(element) => element.scrollIntoView({block: 'center'})",
            arguments=[element],
            target={"context": self._context},
            awaitPromise=False,
        )
        at = {"type": "element", "element": element}
        self._act(
            "pointer",
            [
                {"type": "pointerMove", "x": 0, "y": 0, "origin": at},
                {"type": "pointerDown", "button": 0},
                *([{"type": "pointerUp", "button": 0}] if let_go else []),
            ],
        )

    def type(self, keys):
        """Press the keys of these characters, one after the other."""
        self._act("key", [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")])

    def press(self, modifier, key):
        """Press a key while a modifier is held."""
        held = MODIFIERS[modifier]
        keys = (("keyDown", held), ("keyDown", key), ("keyUp", key), ("keyUp", held))
        self._act("key", [{"type": kind, "value": value} for kind, value in keys])

    def _act(self, kind, actions):
        self._call("input.performActions", actions=[{"type": kind, "id": kind, "actions": actions}])

    def fill(self, selector, text):
        self.click(selector)
        self.type(text)

    def clear(self, selector):
        """Remove what is in a field."""
        self.click(selector)
        self.press("Control", "a")
        self.type(BACKSPACE)

    def frame(self):
        """The document in the page's first frame."""
        (tree,) = self._firefox.call("browsingContext.getTree", root=self._context)["contexts"]
        return Tab(self._firefox, tree["children"][0]["context"])

    def close(self):
        self._call("browsingContext.close")


def firefox_path():
    """The first program of the usual names; None if there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)
