"""HEAD, OPTIONS, and everything that no route takes."""

import json

import pytest

from tests.server.handlers.clients import (
    BROWSER,
    CURL,
    JSON_CLIENT,
    REFUSED_CLIENTS,
    table,
)
from tests.server.handlers.conftest import (
    JSON,
)

pytestmark = pytest.mark.gen_test


# HEAD, OPTIONS and everything else that is not asked for


PATHS = {
    "/": ("GET", "HEAD"),
    "/post": ("POST",),
    "/upload": ("POST", "DELETE"),
    "/upload/chunks": ("POST",),
    "/shared-text": ("GET", "HEAD", "POST"),
    "/{key}": ("GET", "HEAD", "DELETE"),
    "/{key}/": ("GET", "HEAD"),
    "/{key}/{token}": ("GET", "HEAD", "POST"),
    "/{key}/reveal": ("POST",),
    "/{key}/received": ("POST",),
    "/{key}/status": ("POST",),
    "/{key}/chunks": ("POST",),
    "/{key}/receipt": ("GET", "HEAD"),
    "/{key}/destroy": ("POST",),
    "/{key}%23{token}": ("GET", "HEAD"),
    "/{key}/receipt%23{token}": ("GET", "HEAD"),
    "/{key}/{token}/sent/0123456789012345678901234567890123456789012": ("GET", "HEAD"),
    "/healthz": ("GET", "HEAD"),
    "/readyz": ("GET", "HEAD"),
    "/metrics": ("GET", "HEAD"),
    "/openapi.json": ("GET", "HEAD"),
    "/static/favicon.svg": ("GET", "HEAD"),
    "/robots.txt": ("GET", "HEAD"),
    "/favicon.ico": ("GET", "HEAD"),
    "/manifest.webmanifest": ("GET", "HEAD"),
    "/how-it-works": ("GET", "HEAD"),
}
REDIRECTS = {"/{key}/": 308, "/{key}%23{token}": 303, "/{key}/receipt%23{token}": 303}


@table({path: (path, allowed) for path, allowed in PATHS.items()})
async def test_head_and_options_destroy_nothing(site, row):
    """HEAD has no body, OPTIONS names the methods; the note stays, even for who plainly asks for data."""
    template, allowed = row
    key, token = await site.put()
    path = template.format(key=key, token=token)

    for headers in (CURL, JSON_CLIENT, BROWSER):
        head = await site.ask("HEAD", path, headers)
        options = await site.ask("OPTIONS", path, headers)

        expected = REDIRECTS.get(template, 200) if "HEAD" in allowed else 405
        assert head.code == expected
        assert head.body == b""
        assert (options.code, options.body) == (204, b"")
        assert options.headers["Allow"] == ", ".join((*allowed, "OPTIONS"))
    assert await site.holds(key)


@table({path: (path, allowed) for path, allowed in PATHS.items()})
async def test_other_methods_are_refused_and_told_which_are_not(site, row):
    """405 with Allow, in the asker's terms, and the note stays."""
    template, allowed = row
    key, token = await site.put()
    path = template.format(key=key, token=token)

    for method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"} - set(allowed):
        body = json.dumps({"token": token}) if method in ("POST", "PUT", "PATCH", "DELETE") else None
        answer = await site.ask(method, path, {**JSON_CLIENT, "Content-Type": JSON}, body)

        assert answer.code == 405, method
        assert answer.headers["Allow"] == ", ".join((*allowed, "OPTIONS")), method
        if template[:4] not in ("/sta", "/rob", "/fav", "/man") and method != "HEAD":
            assert json.loads(answer.body)["status"] == 405
    assert await site.holds(key)


@table(REFUSED_CLIENTS)
async def test_an_unknown_address_is_a_404(site, row):
    """Keys have five letters; what has fewer, more or others is no note's address."""
    headers, content_type = row
    for path in ("/AAAA", "/AAAAAA", "/AAA.A", "/AAAAA//", "/AAAAA/B/C", "/wp-login.php", "//", "/%41AAAA"):
        for method, body in (("GET", None), ("POST", "token=x")):
            answer = await site.ask(method, path, headers, body)

            assert answer.code == 404, path
            assert answer.headers["Content-Type"] == content_type
