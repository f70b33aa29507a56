"""Renders templates: whole pages, or the fragment of a page that htmx swaps in."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jinja2
from markupsafe import Markup, escape

from server.sealing import MAX_PASSPHRASE_BYTES
from server.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
TEMPLATES = ROOT / "templates"
STATIC = ROOT / "static"


class Pages:
    """All templates, compiled at the start: a mistake shows at once, and no request waits."""

    def __init__(self, settings: Settings) -> None:
        environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(TEMPLATES),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            auto_reload=False,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.globals.update(
            asset=asset,
            integrity=integrity,
            import_map=Markup(IMPORT_MAP),  # nosec B704 # file names and hashes
            limits=SimpleNamespace(
                max_message_bytes=settings.max_message_bytes, max_passphrase_bytes=MAX_PASSPHRASE_BYTES
            ),
            lifetimes=settings.lifetimes,
            default_lifetime=settings.default_lifetime,
        )
        environment.filters.update(exactly=exactly, in_words=in_words, utc=utc, iso=datetime.isoformat)
        self._templates: Mapping[str, jinja2.Template] = {
            name: environment.get_template(name) for name in environment.list_templates()
        }

    def page(self, name: str, /, **context: Any) -> str:
        """The whole page `name`, such as "form.html"."""
        return self._templates[name].render(context)

    def fragment(self, name: str, /, **context: Any) -> str:
        """The content of the page's `main`: its block "fragment"."""
        template = self._templates[name]
        block = template.blocks.get("fragment")
        if block is None:
            return template.render(context)
        return "".join(block(template.new_context(context)))


@functools.cache
def asset(path: str) -> Markup:
    """The URL of a file in static/ with its fingerprint: it may be cached for ever."""
    return Markup(f"/static/{path}?v={fingerprint(path)}")  # nosec B704 # templates name the files


@functools.cache
def fingerprint(path: str) -> str:
    """The first 64 bits of the SHA-256 of a file in static/."""
    return hashlib.sha256((STATIC / path).read_bytes()).hexdigest()[:16]


@functools.cache
def integrity(path: str) -> str:
    """What a browser compares a file in static/ with before it uses it (Subresource Integrity)."""
    return "sha384-" + _base64(hashlib.sha384((STATIC / path).read_bytes()).digest())


def _import_map() -> str:
    """The integrity of every module: `import()` has no other place for it."""
    modules = sorted(file.relative_to(STATIC).as_posix() for file in STATIC.rglob("*.js"))
    return json.dumps(
        {"integrity": {asset(path): integrity(path) for path in modules}}, separators=(",", ":")
    )


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


# All scripts, for all pages: a page also needs the modules of the answers that it swaps in, and the policy that
# allows this inline script stays the same header everywhere.
IMPORT_MAP = _import_map()
IMPORT_MAP_SOURCE = f"'sha256-{_base64(hashlib.sha256(IMPORT_MAP.encode()).digest())}'"


def exactly(text: str) -> Markup:
    """Escaped so that a browser reads back the same text: a bare CR would come back as LF."""
    return Markup(escape(text).replace("\r", Markup("&#13;")))  # nosec B704 # escaped just before


def in_words(seconds: int) -> str:
    """A duration as people say it: "5 minutes", "1 day", "90 seconds"."""
    for length, name in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= length and seconds % length == 0:
            return _counted(seconds // length, name)
    return _counted(seconds, "second")


def _counted(count: int, name: str) -> str:
    return f"{count} {name}" if count == 1 else f"{count} {name}s"


def utc(moment: datetime) -> str:
    """A time for people in an unknown time zone: "23 November 2026, 14:05 UTC"."""
    there = moment.astimezone(timezone.utc)
    return f"{there.day} {there:%B %Y, %H:%M} UTC"
