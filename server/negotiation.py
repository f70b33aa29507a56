"""Who asks, and for what: a page, a fragment of one, JSON or text; and who may be a robot.

A GET may only reveal to somebody who plainly asks for data. Previews, prefetchers and link scanners
send `Accept: */*` or the accept header of a browser: they get the confirm page, which destroys nothing.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping

Headers = Mapping[str, str]


class Format(enum.Enum):
    """How an answer is written."""

    PAGE = "page"
    FRAGMENT = "fragment"  # a part of a page, for htmx to swap in
    JSON = "json"
    TEXT = "text"


_MEDIA_RANGES = {"application/json": Format.JSON, "text/plain": Format.TEXT}

_REFUSED = re.compile(r"\bq\s*=\s*0(\.0*)?\s*(;|$)", re.IGNORECASE)  # RFC 9110: q=0 is "not acceptable"

# Command-line clients by name: what a person types `-X GET` into. Their Accept is `*/*`, or missing.
_COMMAND_LINE = re.compile(r"(curl|Wget|HTTPie|xh)/", re.IGNORECASE)

# Marks of a preview, a prefetch or anything else that a browser does on its own, or a robot does.
_ROBOT_HEADERS = ("Range", "Sec-Purpose", "Purpose", "X-Moz", "Sec-Fetch-Mode", "Sec-Fetch-Dest")


def plainly_asked(headers: Headers) -> Format | None:
    """JSON or TEXT where data is asked for and nothing else, by something that is no robot; else None."""
    if any(name in headers for name in _ROBOT_HEADERS):
        return None
    accept = headers.get("Accept", "*/*").strip()
    media_range, _, parameters = accept.partition(";")
    if "," not in accept and _REFUSED.search(parameters) is None:
        asked = _MEDIA_RANGES.get(media_range.strip().lower())
        if asked is not None:
            return asked
    if accept == "*/*" and is_command_line(headers):
        return Format.TEXT
    return None


def is_command_line(headers: Headers) -> bool:
    """Whether a command-line client gives its name."""
    return _COMMAND_LINE.match(headers.get("User-Agent", "")) is not None


def answer_format(headers: Headers, asks_by: Format = Format.PAGE) -> Format:
    """How to answer a request that may change something, or to report an error.

    Args:
        asks_by: how the request itself is written, which decides where Accept leaves it open.
    """
    if headers.get("HX-Request") == "true":
        return Format.FRAGMENT
    accept = headers.get("Accept", "*/*").lower()
    if "text/html" in accept:
        return Format.PAGE
    if "json" in accept:
        return Format.JSON
    if "text/plain" in accept:
        return Format.TEXT
    if asks_by is Format.PAGE and is_command_line(headers):
        return Format.TEXT
    return asks_by
