"""What an unchanged service answers under its settings: the bytes of its pages and files, and the headers of its pages.

`note-whisperer verify` compares a running service with this. Pages of one note, such as a message or a link, are not
in it: they differ each time.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

from server import pages
from server.handlers.base import SECURITY_HEADERS, place_of
from server.pages import Pages
from server.settings import Settings

FORMAT = 1  # of the manifest itself
LANGUAGE = "en"  # of all pages


class Page(NamedTuple):
    """A page that is the same for every client and every key."""

    name: str
    path: str  # with {unread} for the key of an unread note, and {absent} for a key without a note
    status: int
    template: str
    context: dict[str, Any]


PAGES = (
    Page("form", "/", 200, "form.html", {"values": {}, "problem": None}),
    Page("confirm page", "/{unread}", 200, "confirm.html", {"problem": None, "asks_passphrase": False}),
    Page("gone page", "/{absent}", 404, "gone.html", {"ending": None}),
    Page("receipt page", "/{absent}/receipt", 200, "receipt.html", {}),
)


def manifest_of(settings: Settings) -> dict[str, Any]:
    """The manifest, as `python -m server manifest` prints it. A key "sha256" of a page has one hash for each language."""
    templates = Pages(settings)
    return {
        "format": FORMAT,
        "version": version(),
        "settings": {
            field.name.upper(): getattr(settings, field.name)
            for field in dataclasses.fields(settings)
            if field.metadata["on_pages"]
        },
        "headers": {**SECURITY_HEADERS, "Content-Type": "text/html; charset=utf-8"},
        "pages": [
            {
                "name": page.name,
                "path": page.path,
                "status": page.status,
                "sha256": {
                    LANGUAGE: _sha256(
                        templates.page(page.template, place=place_of(None), **page.context).encode()
                    )
                },
            }
            for page in PAGES
        ],
        "files": {
            file.relative_to(pages.STATIC).as_posix(): _sha256(file.read_bytes())
            for file in sorted(pages.STATIC.rglob("*"))
            if file.is_file()
        },
    }


def version() -> str:
    """Of this program."""
    described: dict[str, Any] = json.loads(Path(__file__).with_name("openapi.json").read_text())
    return str(described["info"]["version"])


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
