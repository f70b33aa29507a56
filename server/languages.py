"""The languages of the pages: which one a client gets, and its sentences, dates and numbers.

The code and the templates are in English; `locales/` has a catalogue for each other language, and
`make messages` keeps them complete. Programs get English, and go by the `type` of a problem.
"""

from __future__ import annotations

import functools
import gettext
import re
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from babel import Locale, localedata
from babel.dates import format_date, format_time, get_datetime_format
from babel.numbers import format_decimal

LOCALES = Path(__file__).parent / "locales"

# In the order of the footer. Each language has its own name for itself, so readers find it on any page.
NAMES = {
    "en": "English",
    "de": "Deutsch",
    "fr": "Français",
    "es": "Español",
    "pt-BR": "Português (Brasil)",
    "it": "Italiano",
    "nl": "Nederlands",
    "pl": "Polski",
    "cs": "Čeština",
    "sv": "Svenska",
    "da": "Dansk",
    "uk": "Українська",
    "ru": "Русский",
    "tr": "Türkçe",
    "ar": "العربية",
    "he": "עברית",
    "fa": "فارسی",
    "hi": "हिन्दी",
    "zh-Hans": "简体中文",
    "ja": "日本語",
}
DEFAULT = "en"

# Word lists for generated passphrases, in static/. Languages without a free list of easily typed words use English.
WORD_LISTS = {
    "en": "vendor/eff-short-wordlist-1.txt",
    "fr": "vendor/bip39-french-2.4.0.txt",
    "es": "vendor/bip39-spanish-2.4.0.txt",
    "pt-BR": "vendor/bip39-portuguese-2.4.0.txt",
    "it": "vendor/bip39-italian-2.4.0.txt",
    "cs": "vendor/bip39-czech-2.4.0.txt",
}
MAX_RANGES = 20  # read from an Accept-Language header; browsers send up to ten

# The language that comes closest to a tag; RFC 4647 does not say.
_CLOSEST = {"pt": "pt-BR", "zh": "zh-Hans", "zh-cn": "zh-Hans", "zh-sg": "zh-Hans", "iw": "he"}
# The parts of Babel's data for dates, times and numbers. All parts would take a megabyte for each language.
_NEEDED = frozenset(
    "character_order date_formats datetime_formats day_period_rules day_periods days decimal_formats"
    " default_numbering_system eras months number_symbols numbering_systems time_formats".split()
)
_OTHER_SCRIPTS = ("zh-hant", "zh-tw", "zh-hk", "zh-mo")
_RANGE = re.compile(r"\s*([A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*)\s*(?:;\s*q\s*=\s*([01](?:\.\d{0,3})?)\s*)?")


class Text(str):
    """An English text that can be translated, because it carries what it was formatted from."""

    message: str
    plural: str | None  # for any number except one; `values` has the number as `count`
    values: dict[str, Any]


def text(message: str, /, **values: Any) -> Text:
    """A text that can be translated. One without values is a plain string in the code.

    Args:
        message: in English, with %(name)s for each value.
        values: numbers, times (datetime), durations (timedelta), and anything else, which stays as it is.
    """
    return _text(message, None, values)


def counted(message: str, plural: str, /, **values: Any) -> Text:
    """The same for a text about a number of things, `count`; `plural` is for any number except one."""
    return _text(message, plural, values)


def _text(message: str, plural: str | None, values: dict[str, Any]) -> Text:
    english = LANGUAGES[DEFAULT].formatted(message, plural, values)
    made = Text(english)
    made.message, made.plural, made.values = message, plural, values
    return made


class Language:
    """One language: its sentences, and how it writes times, durations and numbers."""

    def __init__(self, tag: str) -> None:
        self.tag = tag  # BCP 47
        self.name = NAMES[tag]
        self.word_list = WORD_LISTS.get(tag, WORD_LISTS[DEFAULT])
        self._locale = _lean_locale("en-GB" if tag == DEFAULT else tag)
        self.direction = self._locale.text_direction  # "ltr" or "rtl"
        catalogue = gettext.NullTranslations()
        if tag != DEFAULT:
            with open(LOCALES / f"{tag}.mo", "rb") as file:
                catalogue = gettext.GNUTranslations(file)
        self.gettext, self.ngettext = catalogue.gettext, catalogue.ngettext

    def translated(self, text: str) -> str:
        """An English text from the code in this language, if the catalogue has it."""
        if isinstance(text, Text):
            return self.formatted(text.message, text.plural, text.values)
        return self.gettext(text) if text else ""

    def formatted(self, message: str, plural: str | None, values: dict[str, Any]) -> str:
        """A message in this language with its values."""
        translated = (
            self.gettext(message) if plural is None else self.ngettext(message, plural, values["count"])
        )
        return translated % {name: self._shown(value) for name, value in values.items()}

    def _shown(self, value: Any) -> str:
        match value:
            case int():
                return self.number(value)
            case timedelta():
                return self.duration(value)
            case datetime():
                return self.utc(value)
            case _:
                return str(value)

    def number(self, number: int) -> str:
        """A whole number with the language's separators."""
        return str(format_decimal(number, locale=self._locale))

    def duration(self, duration: timedelta) -> str:
        """A duration in its largest whole unit: "5 minutes", "1 day", "90 seconds"."""
        seconds = int(duration.total_seconds())
        if seconds and seconds % 86400 == 0:
            count = seconds // 86400
            pattern = self.ngettext("%(count)s day", "%(count)s days", count)
        elif seconds and seconds % 3600 == 0:
            count = seconds // 3600
            pattern = self.ngettext("%(count)s hour", "%(count)s hours", count)
        elif seconds and seconds % 60 == 0:
            count = seconds // 60
            pattern = self.ngettext("%(count)s minute", "%(count)s minutes", count)
        else:
            count = seconds
            pattern = self.ngettext("%(count)s second", "%(count)s seconds", count)
        return pattern % {"count": self.number(count)}

    def utc(self, moment: datetime) -> str:
        """A time for people in an unknown time zone: "23 November 2026, 14:05 UTC"."""
        there = moment.astimezone(timezone.utc)
        day = format_date(there, "long", locale=self._locale)
        hour = format_time(there, "short", locale=self._locale)
        both = str(get_datetime_format("medium", locale=self._locale))
        return both.replace("'", "").replace("{1}", day).replace("{0}", f"{hour} UTC")


def _lean_locale(tag: str) -> Locale:
    """Babel's locale, without unneeded data: Babel keeps the data of a locale and of its parents for ever."""
    locale = Locale.parse(tag, sep="-")
    for name in ("root", locale.language, str(locale)):
        data = localedata.load(name)
        for unneeded in data.keys() - _NEEDED:
            del data[unneeded]
    return locale


LANGUAGES = {tag: Language(tag) for tag in NAMES}
_BY_TAG = {tag.lower(): language for tag, language in LANGUAGES.items()}


def chosen(tag: str) -> Language | None:
    """The language that a URL names; None if there is no such language."""
    return LANGUAGES.get(tag)


@functools.lru_cache(maxsize=1024)
def preferred(accept_language: str) -> Language:
    """The language for a client (RFC 4647, section 3.4: lookup); English if it accepts none of these.

    Args:
        accept_language: the header (RFC 9110, section 12.5.4), "" if there is none. Malformed parts are skipped.
    """
    ranges = [match for part in accept_language.split(",")[:MAX_RANGES] if (match := _RANGE.fullmatch(part))]
    wanted = [(float(match[2] or 1), match[1].lower()) for match in ranges]
    for quality, tag in sorted(wanted, key=lambda pair: -pair[0]):
        language = _closest_to(tag)
        if quality and language:
            return language
    return LANGUAGES[DEFAULT]


def _closest_to(tag: str) -> Language | None:
    if tag.startswith(_OTHER_SCRIPTS):
        return None
    while tag:
        language = LANGUAGES.get(_CLOSEST.get(tag, "")) or _BY_TAG.get(tag)
        if language:
            return language
        tag = tag.rpartition("-")[0]
    return None
