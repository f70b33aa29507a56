"""The format of an answer: a page, a fragment of a page, JSON or text; and which clients may be robots.

A GET reveals only to a client that plainly asks for data. Previews, prefetchers and link scanners send
`Accept: */*` or the Accept header of a browser: they get the confirm page, which reveals nothing.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping

Headers = Mapping[str, str]


class Format(enum.Enum):
    """The format of an answer."""

    PAGE = "page"
    FRAGMENT = "fragment"  # a part of a page, for htmx to swap in
    JSON = "json"
    TEXT = "text"


_MEDIA_RANGES = {"application/json": Format.JSON, "text/plain": Format.TEXT}

_REFUSED = re.compile(r"\bq\s*=\s*0(\.0*)?\s*(;|$)", re.IGNORECASE)  # RFC 9110: q=0 is "not acceptable"

# Command-line clients by name: their Accept is `*/*`, or missing.
_COMMAND_LINE = re.compile(r"(curl|Wget|HTTPie|xh)/", re.IGNORECASE)

# Marks of previews, prefetches, robots and other requests that no person made.
_ROBOT_HEADERS = ("Range", "Sec-Purpose", "Purpose", "X-Moz", "Sec-Fetch-Mode", "Sec-Fetch-Dest")


def plainly_asked(headers: Headers) -> Format | None:
    """JSON or TEXT if the client asks for data and nothing else, and is no robot; otherwise None."""
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
    """Whether the client says that it is a command-line client."""
    return _COMMAND_LINE.match(headers.get("User-Agent", "")) is not None


def takes_gzip(headers: Headers) -> bool:
    """Whether the client says that it can read gzip (RFC 9110, section 12.5.3)."""
    for coding in headers.get("Accept-Encoding", "").lower().split(","):
        name, _, parameters = coding.partition(";")
        if name.strip() == "gzip":
            return _REFUSED.search(parameters) is None
    return False


def answer_format(headers: Headers, sent: Format = Format.PAGE) -> Format:
    """The format of the answer to a request that may change something, and of an error.

    Args:
        sent: the format of the request's own body, which decides if Accept does not.
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
    if sent is Format.PAGE and is_command_line(headers):
        return Format.TEXT
    return sent
