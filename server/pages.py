"""Renders templates: whole pages, or the fragment of a page that htmx swaps in.

Constant pages are rendered and compressed once. They hold no secret and repeat nothing of a request, so their
compressed length tells nothing (docs/decisions/0022-constant-pages-are-compressed.md).
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import re
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jinja2
from markupsafe import Markup, escape

from server import branding
from server.sealing import MAX_PASSPHRASE_BYTES
from server.settings import Settings
from server.static_files import File, files_in

ROOT = Path(__file__).resolve().parent.parent
TEMPLATES = ROOT / "templates"
STATIC = ROOT / "static"

VERSION: str = json.loads((ROOT / "server" / "openapi.json").read_text("utf-8"))["info"]["version"]

# Each is the same bytes for every client and every key.
CONSTANT: Mapping[str, Mapping[str, Any]] = {
    "form.html": {"values": {}, "problem": None},
    "confirm.html": {"problem": None, "asks_passphrase": False, "present": False},
    "receipt.html": {},
    "gone.html": {"ending": None},
    "how-it-works.html": {},
}

# Files of static/ that are also at the root, by their names there. In a folder, a service worker could answer for
# that folder alone.
AT_THE_ROOT = {
    "robots.txt": "robots.txt",
    "favicon.ico": "favicon.ico",
    "apple-touch-icon.png": "apple-touch-icon.png",
    "shared-text-worker.js": "js/shared-text-worker.js",
}

# Of the background in static/css/note-whisperer.css, for the bars of a browser or phone around the page.
THEME_COLORS = {"light": "#f3ece0", "dark": "#171412"}


HTML = "text/html; charset=utf-8"


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
                max_message_bytes=settings.max_message_bytes,
                max_file_bytes=settings.max_file_bytes,
                max_passphrase_bytes=MAX_PASSPHRASE_BYTES,
            ),
            lifetimes=settings.lifetimes,
            default_lifetime=settings.default_lifetime,
            version=VERSION,
            operator=SimpleNamespace(
                name=settings.operator_name, contact=settings.operator_contact, source=settings.source_url
            ),
            brand=SimpleNamespace(title=settings.brand_title, theme_colors=_theme_colors(settings)),
        )
        environment.filters.update(
            exactly=exactly, marked=marked, in_words=in_words, utc=utc, iso=datetime.isoformat
        )
        self._templates: Mapping[str, jinja2.Template] = {
            name: environment.get_template(name) for name in environment.list_templates()
        }
        self.files = self._branded_files(settings, environment.globals["brand"])
        self._constant = {
            (name, whole): File(render(name, place="problem", **context).encode(), HTML)
            for name, context in CONSTANT.items()
            for whole, render in ((True, self.page), (False, self.fragment))
        }

    def constant(self, name: str, whole: bool) -> File:
        """The constant page `name`, or its fragment."""
        return self._constant[name, whole]

    def _branded_files(self, settings: Settings, brand: Any) -> dict[str, File]:
        """What the settings make of the pages' other files, by their paths."""
        files = {}
        brand.colors = brand.logo = brand.logo_type = None
        if settings.brand_colors or settings.brand_colors_dark:
            style = branding.style_sheet(settings.brand_colors, settings.brand_colors_dark)
            files["branding.css"] = File(style.encode(), "text/css; charset=utf-8")
            brand.colors = _url("branding.css", files)
            brand.colors_integrity = files["branding.css"].integrity
        if settings.brand_logo:
            # Opened by itself, an SVG is a page: it may neither run a script nor load anything.
            policy = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox"}
            brand.logo_type = settings.brand_logo.media_type
            files["branding-logo"] = File(settings.brand_logo.content, brand.logo_type, policy)
            brand.logo = _url("branding-logo", files)
        manifest = self.page("manifest.webmanifest").encode()
        files["manifest.webmanifest"] = File(manifest, "application/manifest+json")
        brand.manifest = _url("manifest.webmanifest", files)
        return files

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


def _theme_colors(settings: Settings) -> dict[str, str]:
    palettes = {"light": settings.brand_colors, "dark": settings.brand_colors_dark}
    return THEME_COLORS | {scheme: palette.background for scheme, palette in palettes.items() if palette}


def _url(name: str, files: Mapping[str, File]) -> Markup:
    return Markup(f"/{name}?v={files[name].fingerprint}")  # nosec B704 # the names are above


@functools.cache
def asset(path: str) -> Markup:
    """The URL of a file in static/ with its fingerprint: it may be cached for ever."""
    return Markup(f"/static/{path}?v={fingerprint(path)}")  # nosec B704 # templates name the files


@functools.cache
def fingerprint(path: str) -> str:
    """The first 64 bits of the SHA-256 of a file in static/."""
    return hashlib.sha256((STATIC / path).read_bytes()).hexdigest()[:16]


def integrity(path: str) -> str:
    """The hash of a file in static/, for its attribute "integrity"."""
    return files_in(STATIC)[path].integrity


def _import_map() -> str:
    """The hash of every script: `import()` has no other place for it."""
    hashes = {asset(path): integrity(path) for path in files_in(STATIC) if path.endswith(".js")}
    return json.dumps({"integrity": hashes}, separators=(",", ":"))


# All scripts, for all pages: a page also needs the modules of the answers that it swaps in, and the policy that
# allows this inline script stays the same header everywhere.
IMPORT_MAP = _import_map()
IMPORT_MAP_SOURCE = f"'sha256-{base64.b64encode(hashlib.sha256(IMPORT_MAP.encode()).digest()).decode()}'"


def exactly(text: str) -> Markup:
    """Escaped so that a browser reads back the same text: a bare CR would come back as LF."""
    return Markup(escape(text).replace("\r", Markup("&#13;")))  # nosec B704 # escaped just before


_REVERSING = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def marked(text: str) -> Markup:
    """The text exactly; characters that reverse what follows them are marked and have no effect on it (text.js)."""
    return Markup(  # nosec B704 # escaped just before
        _REVERSING.sub(
            lambda found: f'<bdi data-code="U+{ord(found[0]):04X}">{found[0]}</bdi>', exactly(text)
        )
    )


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
