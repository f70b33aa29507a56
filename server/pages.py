"""Renders templates in each language: whole pages, or the fragment of a page that htmx swaps in.

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
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jinja2
from jinja2.ext import Extension
from jinja2.runtime import Context
from markupsafe import Markup, escape

from server import branding
from server.languages import DEFAULT, LANGUAGES, Language
from server.sealing import MAX_PASSPHRASE_BYTES
from server.settings import Settings
from server.static_files import File, files_in

ROOT = Path(__file__).resolve().parent.parent
TEMPLATES = ROOT / "templates"
STATIC = ROOT / "static"

VERSION: str = json.loads((ROOT / "server" / "openapi.json").read_text("utf-8"))["info"]["version"]

# Pages that are the same bytes for every client and every key.
CONSTANT: Mapping[str, Mapping[str, Any]] = {
    "form.html": {"values": {}, "problem": None},
    "confirm.html": {"problem": None, "asks_passphrase": False, "present": False},
    "receipt.html": {},
    "gone.html": {"ending": None},
    "how-it-works.html": {},
}

# Files of static/ that are also at the root, by their names there. In a folder, a service worker could only answer
# for that folder.
AT_THE_ROOT = {
    "robots.txt": "robots.txt",
    "favicon.ico": "favicon.ico",
    "apple-touch-icon.png": "apple-touch-icon.png",
    "shared-text-worker.js": "js/shared-text-worker.js",
}

# The background in static/css/note-whisperer.css, for the bars of a browser or phone around the page.
THEME_COLORS = {"light": "#f3ece0", "dark": "#171412"}

HTML = "text/html; charset=utf-8"


class _Unindented(Extension):
    """Removes the spaces at the start of a template's lines: browsers skip them, but each page would have them."""

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        return re.sub("^[ \t]+", "", source, flags=re.MULTILINE)


class Pages:
    """All templates, compiled at the start, so that mistakes show at once and no request waits."""

    def __init__(self, settings: Settings) -> None:
        environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(TEMPLATES),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            auto_reload=False,
            trim_blocks=True,
            extensions=["jinja2.ext.i18n", _Unindented],
        )
        environment.policies["ext.i18n.trimmed"] = True
        # The extension adds the method.
        environment.install_gettext_callables(_gettext, _ngettext, newstyle=True)  # type: ignore[attr-defined]
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
            languages=LANGUAGES.values(),
            in_language=_in_language,
            version=VERSION,
            operator=SimpleNamespace(
                name=settings.operator_name, contact=settings.operator_contact, source=settings.source_url
            ),
            brand=SimpleNamespace(title=settings.brand_title, theme_colors=_theme_colors(settings)),
        )
        environment.filters.update(
            exactly=exactly,
            marked=marked,
            iso=datetime.isoformat,
            number=_number,
            duration=_duration,
            utc=_utc,
            translated=_translated,
        )
        self._templates: Mapping[str, jinja2.Template] = {
            name: environment.get_template(name) for name in environment.list_templates()
        }
        self.files = self._branded_files(settings, environment.globals["brand"])
        self._constant: dict[tuple[str, bool, str], File] = {}

    def constant(self, name: str, whole: bool, language: Language = LANGUAGES[DEFAULT]) -> File:
        """The constant page `name`, or its fragment. Rendered and compressed when it is first needed."""
        file = self._constant.get((name, whole, language.tag))
        if file is None:
            render = self.page if whole else self.fragment
            content = render(name, language, place="problem", **CONSTANT[name]).encode()
            file = self._constant[name, whole, language.tag] = File(content, HTML)
        return file

    def _branded_files(self, settings: Settings, brand: Any) -> dict[str, File]:
        """Files that depend on the settings, by their paths."""
        files = {}
        brand.colors = brand.logo = brand.logo_type = None
        if settings.brand_colors or settings.brand_colors_dark:
            style = branding.style_sheet(settings.brand_colors, settings.brand_colors_dark)
            files["branding.css"] = File(style.encode(), "text/css; charset=utf-8")
            brand.colors = _url("branding.css", files)
            brand.colors_integrity = files["branding.css"].integrity
        if settings.brand_logo:
            # An SVG that is opened by itself is a page: it must not run scripts or load anything.
            policy = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox"}
            brand.logo_type = settings.brand_logo.media_type
            files["branding-logo"] = File(settings.brand_logo.content, brand.logo_type, policy)
            brand.logo = _url("branding-logo", files)
        manifest = self.page("manifest.webmanifest").encode()
        files["manifest.webmanifest"] = File(manifest, "application/manifest+json")
        brand.manifest = _url("manifest.webmanifest", files)
        return files

    def page(self, name: str, /, language: Language = LANGUAGES[DEFAULT], **context: Any) -> str:
        """The whole page `name`, such as "form.html"."""
        return self._templates[name].render(context, language=language)

    def fragment(self, name: str, /, language: Language = LANGUAGES[DEFAULT], **context: Any) -> str:
        """The content of the page's `main`: its block "fragment"."""
        template = self._templates[name]
        block = template.blocks.get("fragment")
        if block is None:
            return template.render(context, language=language)
        return "".join(block(template.new_context({**context, "language": language})))


# All languages share the compiled templates: the context of each rendering names its language.


def _language(context: Context) -> Language:
    language: Language = context["language"]
    return language


@jinja2.pass_context
def _in_language(context: Context, path: str) -> str:
    """The URL of another page in the same language."""
    return f"{path}?lang={_language(context).tag}"


@jinja2.pass_context
def _gettext(context: Context, message: str) -> str:
    return _language(context).gettext(message)


@jinja2.pass_context
def _ngettext(context: Context, singular: str, plural: str, count: int) -> str:
    return _language(context).ngettext(singular, plural, count)


@jinja2.pass_context
def _translated(context: Context, text: str) -> str:
    return _language(context).translated(text)


@jinja2.pass_context
def _number(context: Context, number: int) -> str:
    return _language(context).number(number)


@jinja2.pass_context
def _duration(context: Context, seconds: int) -> str:
    return _language(context).duration(timedelta(seconds=seconds))


@jinja2.pass_context
def _utc(context: Context, moment: datetime) -> str:
    return _language(context).utc(moment)


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
    """The hash of every script, because `import()` has no attribute for it."""
    hashes = {asset(path): integrity(path) for path in files_in(STATIC) if path.endswith(".js")}
    return json.dumps({"integrity": hashes}, separators=(",", ":"))


# All scripts, for all pages: a page also needs the modules of the answers that it swaps in, and the policy that
# allows this inline script stays the same header everywhere.
IMPORT_MAP = _import_map()
IMPORT_MAP_SOURCE = f"'sha256-{base64.b64encode(hashlib.sha256(IMPORT_MAP.encode()).digest()).decode()}'"


def exactly(text: str) -> Markup:
    """The text, escaped so that a browser reads back the same text: a bare CR would come back as LF."""
    return Markup(escape(text).replace("\r", Markup("&#13;")))  # nosec B704 # escaped just before


_REVERSING = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def marked(text: str) -> Markup:
    """The exact text. Characters that reverse what follows them are marked, and reverse nothing (text.js)."""
    return Markup(  # nosec B704 # escaped just before
        _REVERSING.sub(
            lambda found: f'<bdi data-code="U+{ord(found[0]):04X}">{found[0]}</bdi>', exactly(text)
        )
    )
