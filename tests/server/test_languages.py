"""server/languages.py: which language a client gets, and whether each catalogue is complete."""

import io
import math
import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import pytest
from babel import localedata
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

from nginx import texts
from server.languages import LANGUAGES, LOCALES, NAMES, WORD_LISTS, chosen, preferred, text
from server.pages import STATIC

TRANSLATED = [tag for tag in NAMES if tag != "en"]
TEMPLATE = "messages.pot"


@pytest.mark.parametrize(
    ("header", "tag"),
    [
        ("", "en"),
        ("de", "de"),
        ("de-AT", "de"),
        ("DE-at;q=0.9", "de"),
        ("fr;q=0.5, de;q=0.8, en;q=0.1", "de"),
        ("xx, de;q=0.1", "de"),
        ("en-US,en;q=0.9,de;q=0.8", "en"),
        ("pt", "pt-BR"),
        ("pt-PT", "pt-BR"),
        ("zh-CN", "zh-Hans"),
        ("zh", "zh-Hans"),
        ("zh-Hans-SG", "zh-Hans"),
        ("zh-TW, ja;q=0.5", "ja"),
        ("zh-Hant-HK", "en"),
        ("de;q=0", "en"),
        ("*", "en"),
        (", ;q=1, de;q=x, \x00, ja", "ja"),
        ("x" * 10_000, "en"),
        ("xx," * 20 + "de", "en"),
    ],
)
def test_a_client_gets_the_language_that_it_likes_best(header, tag):
    """By quality, then by order; a language of another region or script only if it can be read."""
    assert preferred(header).tag == tag


def test_a_url_may_choose_a_language_that_there_is():
    assert chosen("de").name == "Deutsch"
    assert chosen("de-AT") is None
    assert chosen("../de") is None


def test_a_text_knows_what_it_was_made_from():
    """In English it is an ordinary string; its values are written as each language writes them."""
    limit = text("The message may have at most %(limit)s bytes.", limit=65536)
    assert limit == "The message may have at most 65,536 bytes."
    german = LANGUAGES["de"].translated(limit)
    assert "65.536" in german and german != limit
    assert LANGUAGES["de"].translated("plain") == "plain"


def test_times_and_durations_are_written_as_in_the_language():
    moment = datetime(2026, 11, 23, 14, 5, tzinfo=UTC)
    assert LANGUAGES["en"].utc(moment) == "23 November 2026, 14:05 UTC"
    assert LANGUAGES["de"].utc(moment) == "23. November 2026, 14:05 UTC"
    durations = [timedelta(seconds=seconds) for seconds in (0, 1, 90, 300, 3600, 7200, 86400)]
    assert [LANGUAGES["en"].duration(duration) for duration in durations] == [
        "0 seconds", "1 second", "90 seconds", "5 minutes", "1 hour", "2 hours", "1 day",
    ]  # fmt: skip
    assert LANGUAGES["pl"].duration(timedelta(minutes=5)) == "5 minut"
    assert [LANGUAGES["ar"].duration(timedelta(days=days)) for days in (1, 2, 3, 11, 100)] == [
        "يوم واحد", "يومين", "3 أيام", "11 يومًا", "100 يوم",
    ]  # fmt: skip


@pytest.mark.parametrize("tag", NAMES)
def test_babel_keeps_what_a_language_needs_and_no_more(tag):
    """Every month and hour is written in its own way; the names of currencies take no memory."""
    language, start = LANGUAGES[tag], datetime(2026, 1, 1, tzinfo=UTC)

    assert len({language.utc(start + timedelta(days=31 * month)) for month in range(12)}) == 12
    assert len({language.utc(start + timedelta(hours=hour)) for hour in range(24)}) == 24
    assert len({language.number(10**digits) for digits in range(10)}) == 10
    assert "currency_names" not in localedata.load(tag.replace("-", "_"))


@pytest.mark.parametrize("tag", WORD_LISTS)
def test_five_words_of_a_list_are_51_bits(tag):
    """At least; each is typed without a thought: a few letters of the Latin alphabet, none twice in the list."""
    words = (STATIC / WORD_LISTS[tag]).read_text("ascii").split("\n")[:-1]
    assert len(words) == len(set(words)) and 5 * math.log2(len(words)) > 51
    assert [word for word in words if not re.fullmatch("[a-z]{3,9}|yo-yo", word)] == []


@pytest.mark.parametrize("tag", TRANSLATED)
def test_a_catalogue_has_every_sentence(tag):
    """No sentence is missing, fuzzy or left over, and the compiled catalogue is up to date."""
    catalogue, template = read(f"{tag}.po"), read(TEMPLATE)
    assert {message.id for message in catalogue} == {message.id for message in template}
    assert [message.id for message in catalogue if message.fuzzy and message.id] == []
    assert [message.id for message in catalogue if message.id and not all(strings(message))] == []
    compiled = io.BytesIO()
    write_mo(compiled, catalogue)
    assert (LOCALES / f"{tag}.mo").read_bytes() == compiled.getvalue(), "run `make messages`"


def test_nginx_says_what_the_catalogues_say():
    """The sentences of its own error pages are made from these catalogues."""
    assert texts.FILE.read_text(encoding="utf-8") == texts.texts(), "run `make messages`"


@pytest.mark.parametrize("tag", TRANSLATED)
def test_a_translation_keeps_placeholders_and_markup(tag):
    """Each translation has the values, tags and attributes of its original, in any order; a form may spell its number.

    No straight quotation mark, because translations stand in attributes.
    """
    for message in read(f"{tag}.po"):
        if not message.id:
            continue
        original = message.id if isinstance(message.id, str) else message.id[0]
        for translation in strings(message):
            whole = (
                translation
                if isinstance(message.id, str) or "%(count)s" in translation
                else f"{translation}%(count)s"
            )
            assert parts_of(whole) == parts_of(original), (original, translation)
            assert '"' not in re.sub("<[^>]*>", "", translation), translation


def read(name):
    with open(LOCALES / name, "rb") as file:
        return read_po(file)


def strings(message):
    return [message.string] if isinstance(message.string, str) else list(message.string)


def parts_of(text):
    """What a translation must not change: placeholders, and tags with their attributes."""
    tags = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: tags.append((tag, *attributes))
    parser.handle_endtag = lambda tag: tags.append(f"/{tag}")
    parser.feed(text)
    parser.close()
    return sorted(re.findall(r"%\(\w+\)s|%%", text)), sorted(map(str, tags))
