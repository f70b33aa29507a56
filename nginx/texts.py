"""Writes snippets/texts.conf: what nginx's own error pages say, in every language. `make messages` runs it.

nginx chooses the language by the rules of `server/languages.py`, but takes a browser's languages in the order of the
header, whatever their quality: browsers list them by preference.
"""

from pathlib import Path

from server.languages import DEFAULT, LANGUAGES

FILE = Path(__file__).parent / "snippets" / "texts.conf"


def _(sentence: str) -> str:
    """Marks a sentence for the catalogues."""
    return sentence


# By $problem_kind in snippets/problems.conf. English has a sentence for each status there.
WORDS = {
    "refused": _("The request cannot be answered."),
    "nothing": _("There is nothing at this URL."),
    "long": _("This message is too long."),
    "busy": _("Too many requests at the moment. Please wait a few seconds and try again."),
    "away": _("The service cannot do this right now. Please try again soon."),
    "late": _("The service did not answer in time. It may have done what you asked for."),
}
HEADING = _("Something went wrong")
ADVICE = _('Go back in your browser to try again, or <a href="%(start)s">start over</a>.')
FOOTER = _("Read once, then gone.")

OTHERS = {tag: language for tag, language in LANGUAGES.items() if tag != DEFAULT}

# The first part of a browser's tag, and what the pages have for it.
CLOSEST = {tag.partition("-")[0]: tag for tag in LANGUAGES} | {"iw": "he"}


def texts() -> str:
    """The configuration: the language of a request, and maps with a line for each language."""
    words = {
        f"{tag} {kind}": language.gettext(sentence)
        for tag, language in OTHERS.items()
        for kind, sentence in WORDS.items()
    }
    directions = {tag: language.direction for tag, language in OTHERS.items() if language.direction == "rtl"}
    return "\n".join(
        [
            "# Written by nginx/texts.py (`make messages`): do not edit.\n",
            *_language(),
            _map("$language", "$problem_direction", {"default": "ltr", **directions}),
            _map("$language", "$problem_heading", _in_each(HEADING)),
            _map("$language $problem_kind", "$problem_words", {"default": "$problem_detail", **words}),
            _map("$language", "$problem_advice", _in_each(ADVICE)),
            _map("$language", "$problem_footer", _in_each(FOOTER)),
        ]
    )


def _language() -> list[str]:
    # By $request_uri: nginx drops the query when it makes an error page.
    named = rf"~^[^?]*\?lang=(?<a_tag>{'|'.join(LANGUAGES)})$"
    # Skips the languages that there are not; the pages have no traditional Chinese.
    accepted = (
        r"~*^(?:[^,]*,)*?\s*(?!zh-(?:hant|tw|hk|mo)\b)"
        rf"(?<a_language>{'|'.join(CLOSEST)})(?:-[a-z0-9-]+)?\s*(?:[;,]|$)"
    )
    return [
        _map("$request_uri", "$named_language", {"default": "", named: "$a_tag"}),
        _map("$http_accept_language", "$accepted_language", {"default": DEFAULT, accepted: "$a_language"}),
        _map(
            "$named_language|$accepted_language",
            "$language",
            {
                "default": DEFAULT,
                r"~^(?<chosen_tag>[^|]+)\|": "$chosen_tag",
                **{f"|{part}": tag for part, tag in CLOSEST.items()},
            },
        ),
        _map("$named_language", "$problem_start", {"default": "/?lang=$named_language", "": "/"}),
    ]


def _in_each(sentence: str) -> dict[str, str]:
    lines = {"default": sentence, **{tag: language.gettext(sentence) for tag, language in OTHERS.items()}}
    return {tag: line.replace("%(start)s", "$problem_start") for tag, line in lines.items()}


def _map(source: str, name: str, lines: dict[str, str]) -> str:
    body = "".join(f"    {_quoted(key)} {_quoted(value)};\n" for key, value in lines.items())
    return f"map {_quoted(source)} {name} {{\n{body}}}\n"


def _quoted(text: str) -> str:
    assert "'" not in text, text
    return f"'{text}'"


if __name__ == "__main__":
    FILE.write_text(texts(), encoding="utf-8")
