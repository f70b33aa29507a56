"""nginx/snippets/routes.conf, headers.conf, problems.conf: who answers, with which headers and words."""

import gzip
import http
import json
import re
import socket

import pytest

from nginx.texts import ADVICE
from server.handlers.base import SECURITY_HEADERS
from server.languages import LANGUAGES, preferred
from server.pages import asset, integrity
from server.sealed_files import MAX_REQUEST_BYTES
from tests.deploy.nginx.conftest import REPOSITORY

PAGE = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
JSON = {"Accept": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
TOO_LONG = "x" * (17 * 65536 + 32769)

# What nginx writes itself, and what nginx passes on: each must have every header, once.
ANSWERS = {
    "the form": ("GET", "/", None, {}, 200),
    "a note that is not there": ("GET", "/AAAAA", None, {}, 404),
    "a problem of the server's": ("POST", "/post", "{", {"Content-Type": "application/json"}, 400),
    "how it works": ("GET", "/how-it-works", None, {}, 200),
    "the manifest": ("GET", "/manifest.webmanifest", None, {}, 200),
    "an icon": ("GET", "/favicon.ico", None, {}, 200),
    "an unknown address": ("GET", "/wp-login.php", None, {}, 404),
    "a static file": ("GET", asset("favicon.svg"), None, {}, 200),
    "a static file that is not there": ("GET", "/static/nothing.js", None, {}, 404),
    "a folder": ("GET", "/static/js/", None, {}, 403),
    "a static file posted to": ("POST", "/static/favicon.svg", "", {}, 405),
    "a part of a static file": ("GET", "/static/favicon.svg", None, {"Range": "bytes=999999-"}, 200),
    "a static file that has changed": ("GET", "/static/favicon.svg", None, {"If-Match": '"other"'}, 412),
    "health": ("GET", "/healthz", None, {}, 404),
    "a message that is too long": ("POST", "/post", TOO_LONG, FORM, 413),
    "headers that are too long": ("GET", "/", None, {"X-Long": "x" * 9000}, 431),
    "an address that is too long": ("GET", "/" + "x" * 9000, None, {}, 414),
    "an unknown method": ("TRACE", "/", None, {}, 405),
    "a bad header": ("GET", "/", None, {"Transfer-Encoding": "nonsense"}, 501),
    "nginx's own files": ("GET", "/errors/problem.html", None, {}, 404),
}


@pytest.mark.parametrize(("method", "path", "body", "headers", "status"), ANSWERS.values(), ids=ANSWERS)
def test_every_answer_has_every_security_header_once(site, method, path, body, headers, status):
    """Answers of nginx and of the server, good and bad, carry the same security headers, each once."""
    got, answered, _ = site.ask(method, path, body, headers)
    assert got == status
    for name in [*SECURITY_HEADERS, "Strict-Transport-Security", "Note-Whisperer"]:
        assert len(answered.get_all(name, [])) == 1, name
    for name in SECURITY_HEADERS.keys() - {"Content-Security-Policy", "Permissions-Policy", "Cache-Control"}:
        assert answered[name] == SECURITY_HEADERS[name], name
    assert "unsafe" not in answered["Content-Security-Policy"]
    assert answered["Server"] == "nginx"


def test_the_servers_own_policy_stands(site):
    """A page of the server's keeps the Content-Security-Policy and caching that the server gave it."""
    answered = site.ask("GET", "/")[1]
    assert answered["Content-Security-Policy"] == SECURITY_HEADERS["Content-Security-Policy"]
    assert answered["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/post",
        "/AAAAA",
        "/AAAAA?x",
        "/AAAAA/x",
        "/AAAAA%23",
        "/AAAAA/reveal",
        "/AAAAA/destroy",
        "/static/favicon.svg",
        "/robots.txt",
        "/openapi.json",
    ],
)
def test_a_refused_method_is_told_which_are_not(site, path):
    """Whether nginx refuses a method or the server, the 405 lists exactly what the address takes."""
    methods = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
    answers = {method: site.ask(method, path)[:2] for method in methods}
    refused = {method: headers for method, (status, headers) in answers.items() if status == 405}
    taken = ", ".join(method for method in methods if method not in refused)
    assert {"PUT", "TRACE"} <= refused.keys()
    for method, headers in refused.items():
        assert headers.get_all("Allow") == [taken], method
    assert not any("Allow" in headers for status, headers in answers.values() if status not in (204, 405))


@pytest.mark.parametrize(
    "path", ["/healthz", "/readyz", "/metrics", "//metrics", "/x/../readyz", "/%6detrics"]
)
def test_the_operators_addresses_are_hidden_from_the_world(site, path):
    """Health, readiness and metrics are a 404 from outside, in every spelling of the address."""
    status, _, body = site.ask("GET", path)
    assert status == 404
    assert b"ready" not in body and b"# HELP" not in body


def test_the_operations_port_tells_health_and_readiness(site):
    """What is a 404 for the world is answered on the port that only the operator reaches."""

    def ask(path):
        connection = http.client.HTTPConnection("127.0.0.1", site.operations_port)
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read().decode()
        connection.close()
        return response.status, body

    assert ask("/healthz") == (200, "ok\n")
    assert json.loads(ask("/readyz")[1])["ready"] is True
    assert "handled" in ask("/nginx_status")[1]
    assert ask("/metrics")[0] == 404


def test_a_static_file_is_kept_for_ever_only_under_its_own_fingerprint(site):
    """With its fingerprint for ever, and without one for an hour. Under another one there is no style, but an icon."""
    path = asset("css/note-whisperer.css")
    for_ever = "public, max-age=31536000, immutable"
    assert site.ask("GET", path)[1]["Cache-Control"] == for_ever
    for other in (path[:-1], path.replace("v=", "v=0")):
        status, headers, _ = site.ask("GET", other)
        assert (status, headers["Cache-Control"]) == (404, "no-store")
    status, headers, _ = site.ask("GET", "/static/favicon.svg?v=0123456789abcdef")
    assert (status, headers["Cache-Control"]) == (200, "no-store")
    assert site.ask("GET", path.partition("?")[0])[1]["Cache-Control"] == "public, max-age=3600"


def test_the_error_page_names_the_hash_of_its_style(site):
    """nginx's own page asks the browser to refuse a changed style, as every page of the server does."""
    _, _, page = site.ask("GET", "/errors/problem.html", headers={"Accept": "text/html"})
    style = "css/note-whisperer.css"
    assert f'href="{asset(style)}" integrity="{integrity(style)}" crossorigin>' in page.decode()


def test_static_files_are_compressed_beforehand(site):
    """A client that takes gzip gets the file that was compressed beforehand, with the same media type."""
    path = asset("css/note-whisperer.css")
    original = (REPOSITORY / "static/css/note-whisperer.css").read_bytes()
    plain_status, plain, plain_body = site.ask("GET", path)
    status, headers, body = site.ask("GET", path, headers={"Accept-Encoding": "gzip"})
    assert (plain_status, plain_body, plain["Content-Encoding"]) == (200, original, None)
    assert (status, gzip.decompress(body), headers["Content-Encoding"]) == (200, original, "gzip")
    assert plain["Content-Type"] == headers["Content-Type"] == "text/css; charset=utf-8"
    assert plain["Vary"] == headers["Vary"] == "Accept-Encoding"


def test_a_static_file_that_has_not_changed_is_not_sent_again(site):
    """A conditional request for a static file is answered with 304."""
    etag = site.ask("GET", "/static/favicon.svg")[1]["ETag"]
    assert site.ask("GET", "/static/favicon.svg", headers={"If-None-Match": etag})[0] == 304


def test_a_constant_page_passes_as_the_server_has_compressed_it(site):
    """nginx does not compress it again, and keeps the headers that describe it."""
    plain, packed = (
        site.ask("GET", "/", headers={**PAGE, "Accept-Encoding": coding})
        for coding in ("identity", "gzip, br")
    )
    assert gzip.decompress(packed[2]) == plain[2]
    assert (plain[1]["Content-Encoding"], packed[1]["Content-Encoding"]) == (None, "gzip")
    assert plain[1]["Vary"] == packed[1]["Vary"] == "Accept-Language, Accept-Encoding"
    assert packed[1]["Content-Length"] == str(len(packed[2]))


def test_a_page_about_a_message_is_never_compressed(site):
    """It may hold a secret beside words of somebody else's choice: its compressed length would tell."""
    headers = {**PAGE, **FORM, "Accept-Encoding": "gzip, br"}
    for body in ("message=hello&lifetime=never", "message=hello"):
        _, answer, page = site.ask("POST", "/post", body, headers)
        assert answer["Content-Encoding"] is None
        assert b"<h1" in page or answer["Location"]


def test_the_first_visit_is_small(site):
    """The form and all that it loads are at most 10 answers with 34 KB, as nginx sends them, in every language."""
    gzipped = {"Accept-Encoding": "gzip, br"}
    _, _, page = site.ask("GET", "/", headers=PAGE)
    urls = set(
        re.findall(
            r'<(?:link rel="(?:stylesheet|modulepreload|icon|manifest)"|script)[^>]* (?:href|src)="([^"]+)"',
            page.decode(),
        )
    )
    sizes = {url: len(site.ask("GET", url, headers=gzipped)[2]) for url in urls}
    # The largest: only the page differs between languages.
    sizes["/"] = max(
        len(site.ask("GET", f"/?lang={tag}", headers={**PAGE, **gzipped})[2]) for tag in LANGUAGES
    )
    assert len(sizes) <= 10, sizes
    assert sum(sizes.values()) <= 34 * 1024, sizes


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        (PAGE, "text/html; charset=utf-8"),
        (JSON, "application/problem+json; charset=utf-8"),
        ({"Accept": "application/problem+json"}, "application/problem+json; charset=utf-8"),
        ({"Accept": "*/*", "Content-Type": "application/json"}, "application/problem+json; charset=utf-8"),
        ({"Accept": "text/plain"}, "text/plain; charset=utf-8"),
        ({"Accept": "*/*", "User-Agent": "curl/8.5.0"}, "text/plain; charset=utf-8"),
        ({"Accept": "text/html", "HX-Request": "true"}, "text/html; charset=utf-8"),
        ({}, "text/html; charset=utf-8"),
    ],
)
def test_a_problem_of_nginx_is_written_as_the_server_would(site, accept, media_type):
    """nginx picks page, fragment, JSON or text for its own errors by the rules of the server."""
    status, headers, body = site.ask("POST", "/post", TOO_LONG, {**FORM, **accept})
    detail = "The message may have at most 65,536 bytes."
    assert (status, headers["Content-Type"]) == (413, media_type)
    assert detail in body.decode()
    assert "<!--#" not in body.decode()
    if "json" in media_type:
        assert json.loads(body) == {
            "type": "about:blank",
            "title": "Content Too Large",
            "status": 413,
            "detail": detail,
        }


def test_a_problem_page_looks_like_the_servers(site):
    """nginx's error page has the server's frame: the same stylesheet, masthead and landmarks."""
    servers_page = site.ask("PUT", "/post", headers=PAGE)[2].decode()
    own_page = site.ask("GET", "/static/nothing", headers=PAGE)[2].decode()
    for part in (
        '<header class="masthead">',
        '<main id="main">',
        '<section class="sheet">',
        '<footer class="colophon">',
    ):
        assert part in servers_page and part in own_page
    stylesheet = re.search(r'rel="stylesheet" href="([^"?]+)', own_page)[1]
    assert f'href="{stylesheet}?v=' in servers_page
    assert site.ask("GET", stylesheet)[0] == 200
    assert "<script" not in own_page and "style=" not in own_page


def test_a_problem_of_nginx_is_in_the_readers_language(site):
    """Page and fragment have the sentences of the catalogue and the language's direction; programs get English."""
    for tag, language in LANGUAGES.items():
        page = site.ask("GET", "/static/nothing", headers={**PAGE, "Accept-Language": tag})[2].decode()
        assert f'<html lang="{tag}" dir="{language.direction}">' in page
        for sentence in ("Something went wrong", "There is nothing at this URL.", "Read once, then gone."):
            assert f">{language.gettext(sentence)}<" in page
        assert language.gettext(ADVICE).replace("%(start)s", "/") in page
    arabic = {**FORM, "Accept-Language": "ar"}
    fragment = site.ask("POST", "/post", TOO_LONG, {**arabic, "HX-Request": "true"})[2].decode()
    assert fragment == f"<p>{LANGUAGES['ar'].gettext('This message is too long.')}</p>\n"
    answer = json.loads(site.ask("POST", "/post", TOO_LONG, {**arabic, **JSON})[2])
    assert answer["detail"] == "The message may have at most 65,536 bytes."


@pytest.mark.parametrize(
    "header",
    [
        "",
        "DE-at;q=0.9",
        "fr-CH, fr;q=0.9, en;q=0.8, de;q=0.7, *;q=0.5",
        "xx, de;q=0.1",
        "ca,es;q=0.5",
        "pt-PT",
        "iw",
        "zh",
        "zh-CN,en;q=0.5",
        "zh-Hans-SG",
        "zh-TW, ja;q=0.5",
        "zh-Hant-HK",
        "*",
        "deu",
    ],
)
def test_nginx_chooses_the_language_as_the_server_does(site, header):
    """From the same header, the same language."""
    page = site.ask("GET", "/static/nothing", headers={**PAGE, "Accept-Language": header})[2].decode()
    assert f'<html lang="{preferred(header).tag}" ' in page


def test_a_url_names_the_language_of_a_problem_of_nginx(site):
    """Before what the browser prefers; then the links of the page name it, too."""
    headers = {**PAGE, "Accept-Language": "de"}
    page = site.ask("GET", "/static/nothing?lang=pt-BR", headers=headers)[2].decode()
    assert '<html lang="pt-BR" ' in page
    assert page.count('href="/?lang=pt-BR"') == 2
    for query in ("lang=xx", "lang=pt-br", "lang=fr&x", 'lang=fr"><script>'):
        page = site.ask("GET", f"/static/nothing?{query}", headers=headers)[2].decode()
        assert '<html lang="de" ' in page
        assert page.count('href="/"') == 2


def test_a_problem_of_nginx_finds_its_place_in_the_page(site):
    """For htmx the problem is a fragment that replaces what stands at the form's place for problems."""
    status, headers, body = site.ask("POST", "/post", TOO_LONG, {**FORM, "HX-Request": "true"})
    assert status == 413
    assert (headers["HX-Retarget"], headers["HX-Reswap"]) == ("#problem-message", "innerHTML")
    assert body == b"<p>The message may have at most 65,536 bytes.</p>\n"
    assert site.ask("GET", "/healthz", headers={"HX-Request": "true"})[1]["HX-Retarget"] == "#problem"
    assert site.ask("GET", "/healthz")[1]["HX-Retarget"] is None


def test_the_longest_legal_message_passes(site):
    """A message of the full length passes even where every character is escaped in JSON."""
    message = "\x01" * 65536
    body = json.dumps({"message": message})
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    status, _, answer = site.ask("POST", "/post", body, headers)
    assert len(body) > 6 * 65536 and status == 201
    key, token = json.loads(answer)["url"].split("/")[-2:]
    assert json.loads(site.ask("GET", f"/{key}/{token}", headers=JSON)[2]) == {"message": message}


def test_what_is_not_http_is_refused_without_a_crash(site):
    """Bytes that are not a request get a 400 or nothing, and nginx keeps running."""
    for junk in (
        b"\x00\xff\x16\x03\n\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET\r\n\r\n",
        b"get / HTTP/1.1\r\n\r\n",
        b"GET /\r\n",
    ):
        with socket.create_connection(("localhost", site.https_port)) as plain:
            with site.tls_context().wrap_socket(plain, server_hostname="localhost") as connection:
                connection.sendall(junk)
                connection.shutdown(socket.SHUT_WR)
                answer = connection.recv(65536)
                assert b" 20" not in answer[:12]
    assert site.ask("GET", "/")[0] == 200


def test_as_many_chunks_pass_as_the_server_takes(site):
    """nginx lets through what the server accepts of files in a request, and refuses a byte more."""
    headers = {"Content-Type": "application/octet-stream", **JSON}
    for size, expected in ((MAX_REQUEST_BYTES, 400), (MAX_REQUEST_BYTES + 1, 413)):
        status, _, body = site.ask("POST", "/upload/chunks", "x" * size, headers)
        assert (status, json.loads(body)["status"]) == (expected, expected)
