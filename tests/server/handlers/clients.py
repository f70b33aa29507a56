"""The headers that real clients send, and the kind of answer that each must get."""

import pytest

PAGE_TYPE = "text/html; charset=utf-8"
JSON_TYPE = "application/json; charset=utf-8"
TEXT_TYPE = "text/plain; charset=utf-8"
PROBLEM_TYPE = "application/problem+json; charset=utf-8"

BROWSER = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Sec-Fetch-Site": "none",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
}
OLD_BROWSER = {
    "User-Agent": "Mozilla/5.0 (Windows NT 6.1) AppleWebKit/537.36 Chrome/49.0 Safari/537.36",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8",
}
HTMX = {
    "User-Agent": BROWSER["User-Agent"],
    "Accept": "text/html, */*",
    "HX-Request": "true",
    "Sec-Fetch-Site": "same-origin",
    "Sec-Fetch-Mode": "cors",
    "Sec-Fetch-Dest": "empty",
}
JSON_CLIENT = {"Accept": "application/json"}
TEXT_CLIENT = {"Accept": "text/plain"}
CURL = {"User-Agent": "curl/8.14.1", "Accept": "*/*"}
WGET = {"User-Agent": "Wget/1.25.0", "Accept": "*/*", "Accept-Encoding": "identity"}
HTTPIE = {"User-Agent": "HTTPie/3.2.4", "Accept": "*/*", "Accept-Encoding": "gzip, deflate"}
CURL_WITHOUT_ACCEPT = {"User-Agent": "curl/8.14.1"}

# Each plainly asks for data and for nothing else: a GET reveals to it.
DATA_CLIENTS = {
    "JSON alone": (JSON_CLIENT, JSON_TYPE),
    "JSON alone, in capitals": ({"Accept": "Application/JSON"}, JSON_TYPE),
    "JSON alone, with parameters": (
        {"Accept": " application/json ; charset=utf-8; q=0.9"},
        JSON_TYPE,
    ),
    "text alone": (TEXT_CLIENT, TEXT_TYPE),
    "curl": (CURL, TEXT_TYPE),
    "curl that was told to send no Accept": (CURL_WITHOUT_ACCEPT, TEXT_TYPE),
    "curl that asks for JSON": ({**CURL, **JSON_CLIENT}, JSON_TYPE),
    "Wget": (WGET, TEXT_TYPE),
    "HTTPie": (HTTPIE, TEXT_TYPE),
}

# Each may be a browser, a preview, a prefetch or a robot: a GET shows it the confirm page.
OTHER_CLIENTS = {
    "a browser": BROWSER,
    "an old browser": OLD_BROWSER,
    "a bare request": {"User-Agent": ""},
    "Zulip's and Rocket.Chat's previews": {"Accept": "*/*"},
    "axios": {"Accept": "application/json, text/plain, */*"},
    "HTTPie that sends JSON": {**HTTPIE, "Accept": "application/json, */*;q=0.5"},
    "JSON and text": {"Accept": "application/json,text/plain"},
    "any text": {"Accept": "text/*"},
    "a suffix of JSON": {"Accept": "application/problem+json"},
    "JSON that is refused": {"Accept": "application/json;q=0"},
    "JSON that is refused at length": {"Accept": "application/json; Q=0.000; charset=utf-8"},
    "an empty Accept": {"Accept": "", "User-Agent": "curl/8.14.1"},
    "a robot that names curl later": {"User-Agent": "Slackbot (like curl/8.0)", "Accept": "*/*"},
    "curl that asks for a page": {**CURL, "Accept": "text/html"},
    "WhatsApp": {"User-Agent": "WhatsApp/2.23.20.0", "Accept": "*/*"},
    "a part of JSON": {**JSON_CLIENT, "Range": "bytes=0-1023"},
    "a part for curl": {**CURL, "Range": "bytes=0-"},
    "Chrome's prefetch": {**JSON_CLIENT, "Sec-Purpose": "prefetch;prerender"},
    "an older prefetch": {**JSON_CLIENT, "Purpose": "prefetch"},
    "Firefox's prefetch": {"Accept": "*/*", "X-Moz": "prefetch", "Sec-Purpose": "prefetch"},
    "a prefetch that calls itself curl": {**CURL, "X-Moz": "prefetch"},
    "a script in a page": {**JSON_CLIENT, "Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-origin"},
    "an image in a page": {**JSON_CLIENT, "Sec-Fetch-Dest": "image"},
    "htmx": HTMX,
    "htmx that asks for JSON": {**JSON_CLIENT, "HX-Request": "true"},
}

# The Content-Type with which each is told what went wrong.
REFUSED_CLIENTS = {
    "a browser": (BROWSER, PAGE_TYPE),
    "htmx": (HTMX, PAGE_TYPE),
    "axios": ({"Accept": "application/json, text/plain, */*"}, PROBLEM_TYPE),
    "JSON alone": (JSON_CLIENT, PROBLEM_TYPE),
    "problem details alone": (
        {"Accept": "application/problem+json"},
        PROBLEM_TYPE,
    ),
    "a script in a page": (
        {**JSON_CLIENT, "Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-origin"},
        PROBLEM_TYPE,
    ),
    "text alone": (TEXT_CLIENT, TEXT_TYPE),
    "curl": (CURL, TEXT_TYPE),
    "somebody unknown": ({"Accept": "*/*"}, PAGE_TYPE),
}


def table(rows):
    """Parametrize by the rows of a table, named by its keys."""
    return pytest.mark.parametrize("row", rows.values(), ids=rows)
