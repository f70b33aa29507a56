"""Renders templates in each language: whole pages, or the fragment of a page that htmx swaps in."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jinja2
from jinja2.runtime import Context
from markupsafe import Markup, escape

from server.languages import DEFAULT, LANGUAGES, Language
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
            extensions=["jinja2.ext.i18n"],
        )
        environment.policies["ext.i18n.trimmed"] = True
        environment.install_gettext_callables(_gettext, _ngettext, newstyle=True)  # type: ignore[attr-defined]
        environment.globals.update(
            asset=asset,
            limits=SimpleNamespace(
                max_message_bytes=settings.max_message_bytes, max_passphrase_bytes=MAX_PASSPHRASE_BYTES
            ),
            lifetimes=settings.lifetimes,
            default_lifetime=settings.default_lifetime,
            languages=LANGUAGES.values(),
        )
        environment.filters.update(
            exactly=exactly,
            iso=datetime.isoformat,
            number=_number,
            duration=_duration,
            utc=_utc,
            translated=_translated,
        )
        self._templates: Mapping[str, jinja2.Template] = {
            name: environment.get_template(name) for name in environment.list_templates()
        }

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


@functools.cache
def asset(path: str) -> Markup:
    """The URL of a file in static/ with its fingerprint: it may be cached for ever."""
    return Markup(f"/static/{path}?v={fingerprint(path)}")  # nosec B704 # templates name the files


@functools.cache
def fingerprint(path: str) -> str:
    """The first 64 bits of the SHA-256 of a file in static/."""
    return hashlib.sha256((STATIC / path).read_bytes()).hexdigest()[:16]


def exactly(text: str) -> Markup:
    """Escaped so that a browser reads back the same text: a bare CR would come back as LF."""
    return Markup(escape(text).replace("\r", Markup("&#13;")))  # nosec B704 # escaped just before
