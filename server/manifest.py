"""What an unchanged service answers under its settings: the bytes of its pages and files, and its pages' headers.

`note-whisperer verify` compares a running service with this. It has only pages that are the same for every client
and every key: a page with a message or a link differs each time.
"""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any, NamedTuple

from server import pages
from server.branding import Logo, Palette
from server.handlers.base import BaseHandler
from server.languages import LANGUAGES
from server.pages import Pages
from server.settings import Settings
from server.static_files import files_in

FORMAT = 1  # of the manifest itself


class Address(NamedTuple):
    """Where to find a page of `pages.CONSTANT`."""

    name: str
    path: str  # with {unread} for the key of an unread note, and {absent} for a key that has no note
    status: int = 200


PAGES = {
    "form.html": Address("form", "/"),
    "confirm.html": Address("confirm page", "/{unread}"),
    "gone.html": Address("gone page", "/{absent}", 404),
    "receipt.html": Address("receipt page", "/{absent}/receipt"),
    "how-it-works.html": Address("explanation", "/how-it-works"),
}


def manifest_of(settings: Settings) -> dict[str, Any]:
    """The manifest, in JSON values. A page has a hash for each language."""
    rendered = Pages(settings)
    static = files_in(pages.STATIC)
    files = {f"/static/{path}": file for path, file in static.items()}
    files |= {f"/{name}": static[path] for name, path in pages.AT_THE_ROOT.items()}
    files |= {f"/{name}": file for name, file in rendered.files.items()}
    return {
        "format": FORMAT,
        "version": pages.VERSION,
        "settings": {
            field.name.upper(): _in_json(getattr(settings, field.name))
            for field in dataclasses.fields(settings)
            if field.metadata["on_pages"]
        },
        "headers": dict(BaseHandler.first_headers) | {"Content-Type": pages.HTML},
        "pages": [
            {
                "name": address.name,
                "path": address.path,
                "status": address.status,
                "sha256": {
                    tag: _sha256(rendered.constant(template, True, language).content)
                    for tag, language in LANGUAGES.items()
                },
            }
            for template, address in PAGES.items()
        ],
        "files": {path: _sha256(file.content) for path, file in files.items()},
    }


def _in_json(value: Any) -> Any:
    match value:
        case Palette():
            return f"{value.accent},{value.background},{value.text}"
        case Logo():
            return f"sha256:{_sha256(value.content)}"
        case _:
            return value


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
