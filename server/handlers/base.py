"""What every handler has: hostile input made plain, answers and errors in the asker's format, headers."""

from __future__ import annotations

import dataclasses
import functools
import ipaddress
import json
import logging
from typing import Any
from urllib.parse import parse_qsl

import tornado.web
from tornado.httputil import HTTPServerRequest
from tornado.web import RequestHandler

from server.database import Database, Unavailable
from server.handlers.inputs import Fields, from_form
from server.httpd.handler import WholeHandler
from server.httpd.headers import Headers
from server.keys import KeyLeaser, OutOfKeys
from server.messages import Messages
from server.negotiation import Format, answer_format, plainly_asked
from server.pages import Pages
from server.passphrases import Busy
from server.problems import Problem, gone, unavailable
from server.settings import Network, Settings

log = logging.getLogger(__name__)

# OWASP's HTTP Headers Cheat Sheet; HSTS is nginx's, which alone knows whether TLS is on.
SECURITY_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
    " connect-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none';"
    " frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types htmx",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(),"
    " microphone=(), payment=(), usb=(), clipboard-read=(), clipboard-write=(self)",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Permitted-Cross-Domain-Policies": "none",
    "X-Robots-Tag": "noindex, nofollow, noarchive",
}

# Fields of the forms that have a place for their own problem beside them.
FIELDS_WITH_A_PLACE = ("message", "lifetime", "passphrase")

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"


@dataclasses.dataclass(frozen=True)
class Service:
    """What handlers work with."""

    settings: Settings
    key_db: Database
    msg_db: Database
    keys: KeyLeaser
    messages: Messages
    pages: Pages
    under_way: set[RequestHandler] = dataclasses.field(default_factory=set)


class BaseHandler(WholeHandler):
    """A handler whose errors are answered in the asker's format and logged without what was asked."""

    route = "other"  # what logs and metrics call it: never the URL
    allow: tuple[str, ...] = ("GET", "HEAD")

    first_headers = Headers.constant(SECURITY_HEADERS)
    service: Service

    def initialize(self, service: Service) -> None:
        self.service, self.under_way = service, service.under_way

    def prepare(self) -> None:
        request = self.request
        if len(request.body) > self.service.settings.max_body_bytes:
            limit = self.service.settings.max_message_bytes
            raise Problem(413, f"The message may have at most {limit} bytes.", "message")
        if request.method not in self.allow and request.method != "OPTIONS":
            raise Problem(405, f"This address takes {', '.join(self.allow)}.")
        if request.method not in ("GET", "HEAD", "OPTIONS"):
            refuse_cross_site(request, self.service.settings)

    def options(self, *_: str) -> None:
        self.set_status(204)
        self.set_header("Allow", ", ".join((*self.allow, "OPTIONS")))

    @property
    def address(self) -> str:
        """The client's address; of an IPv6 client its /64, since it has all of that."""
        peer = self.request.remote_ip or ""
        if is_trusted(peer, self.service.settings.trusted_proxies):
            peer = self.request.headers.get("X-Real-IP", peer)
        return network_of(peer)

    @property
    def media_type(self) -> str:
        """The body's media type, in lower case, without parameters."""
        return self.request.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    @property
    def format(self) -> Format:
        """How this request wants to be answered, if all goes well."""
        if self.request.method in ("GET", "HEAD"):
            if self.request.headers.get("HX-Request") == "true":
                return Format.FRAGMENT
            return plainly_asked(self.request.headers) or Format.PAGE
        return self.problem_format

    @property
    def problem_format(self) -> Format:
        """How this request wants to be told what went wrong: that destroys nothing, so robots may ask for it."""
        return answer_format(self.request.headers, Format.JSON if self.media_type == JSON else Format.PAGE)

    def fields(self, *known: str) -> Fields:
        """The body's members or fields, of those known here; a form's line ends become LF.

        Raises:
            Problem: 415, 400 or 413, naming the field.
        """
        fields: Fields
        if self.media_type == JSON:
            fields = _json_fields(self.request.body)
        elif self.media_type == FORM:
            fields = from_form(_form_fields(self.request.body))
        else:
            raise Problem(415, f"Content-Type must be {JSON} or {FORM}.")
        unknown = fields.keys() - set(known)
        if unknown:
            raise Problem(400, f"Unknown field; known here: {', '.join(known)}.")
        return fields

    def answer_json(self, members: dict[str, Any], status: int = 200) -> None:
        self.answer_json_text(_TO_JSON.encode(members), status)

    def answer_json_text(self, text: str, status: int = 200) -> None:
        self.set_status(status)
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.finish(text + "\n")

    def answer_text(self, text: str, status: int = 200) -> None:
        self.set_status(status)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(text)

    def answer_html(self, template: str, status: int = 200, **context: Any) -> None:
        """A whole page or, for htmx, its fragment."""
        self.set_status(status)
        self.set_header("Content-Type", "text/html; charset=utf-8")
        pages = self.service.pages
        render = pages.fragment if self.format is Format.FRAGMENT else pages.page
        self.finish(render(template, **context))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer an exception in the asker's format."""
        problem = problem_of(kwargs["exc_info"][1]) if "exc_info" in kwargs else Problem(status_code, "")
        self.set_status(problem.status)
        for name, value in problem.headers.items():
            self.set_header(name, value)
        if problem.status == 405:
            self.set_header("Allow", ", ".join((*self.allow, "OPTIONS")))
        self.answer_problem(problem)

    def answer_problem(self, problem: Problem) -> None:
        format_ = self.problem_format
        if format_ is Format.JSON:
            self.set_header("Content-Type", "application/problem+json; charset=utf-8")
            self.finish(json.dumps(problem.as_json()) + "\n")
        elif format_ is Format.TEXT:
            self.answer_text(problem.detail + "\n", problem.status)
        elif problem.status == 404 and problem.detail == gone().detail:
            self.answer_html("gone.html", 404, key=None)
        elif format_ is Format.FRAGMENT:
            target = f"problem-{problem.field}" if problem.field in FIELDS_WITH_A_PLACE else "problem"
            self.set_header("HX-Retarget", f"#{target}")
            self.set_header("HX-Reswap", "innerHTML")
            self.set_header("Content-Type", "text/html; charset=utf-8")
            self.finish(self.service.pages.page("_problem.html", problem=problem))
        else:
            self.answer_error_page(problem)

    def answer_error_page(self, problem: Problem) -> None:
        """A whole page; handlers with a form fill it in again."""
        self.answer_html("error.html", problem.status, problem=problem)

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Log what nobody foresaw, and what the operator has to know; never the request."""
        problem = problem_of(value)
        if problem.status == 500:
            log.error("%s %s failed", self.request.method, self.route, exc_info=(typ, value, tb))
        elif problem.status == 503:
            log.warning("%s %s refused: %s", self.request.method, self.route, value or typ.__name__)

    def compute_etag(self) -> None:
        """None: nothing but static files may be kept by anybody."""


class NotFoundHandler(BaseHandler):
    """Whatever no route fits."""

    allow = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")

    def prepare(self) -> None:
        super().prepare()
        raise Problem(404, "There is nothing at this address.")


def problem_of(error: BaseException | None) -> Problem:
    """What an exception is to the client."""
    match error:
        case Problem():
            return error
        case OutOfKeys():
            return unavailable("There are no keys for new notes right now. Please try again later.")
        case Unavailable() | Busy():
            return unavailable()
        case tornado.web.MissingArgumentError() | tornado.web.HTTPError(status_code=400):
            return Problem(400, "The request is malformed.")
        case tornado.web.HTTPError(status_code=status) if 400 <= status < 500:
            return Problem(status, "The request cannot be answered.")
        case _:
            return Problem(500, "Something went wrong here. It has been logged.")


def refuse_cross_site(request: HTTPServerRequest, settings: Settings) -> None:
    """Refuse what another site makes a browser send (docs/decisions/0006-cross-site-requests.md).

    Raises:
        Problem: 403.
    """
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        fits = site in ("same-origin", "none")
    else:
        origin = request.headers.get("Origin", "null")
        host = origin.partition("://")[2]
        fits = origin in ("null", settings.public_url) or host.lower() == request.host.lower()
    if not fits:
        raise Problem(403, "This was sent from another site, and is refused.")


@functools.lru_cache(1024)
def is_trusted(peer: str, proxies: tuple[Network, ...]) -> bool:
    """Whether the peer is a proxy whose X-Real-IP is believed."""
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return False
    return any(address in network for network in proxies)


@functools.lru_cache(1024)
def network_of(peer: str) -> str:
    """An address as limits count it: IPv4 whole, IPv6 by /64; "" where it is none."""
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


def _json_fields(body: bytes) -> dict[str, Any]:
    try:
        fields = _FROM_JSON.decode(body.decode("utf-8"))
    except UnicodeDecodeError:
        raise Problem(400, "The body is not UTF-8.") from None
    except (ValueError, RecursionError):
        raise Problem(400, "The body is not JSON.") from None
    if not isinstance(fields, dict):
        raise Problem(400, "The body must be a JSON object.")
    return fields


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise Problem(400, "A member stands twice in the JSON.")
    return members


# Made once: json.loads and json.dumps make them for each call that does not take their defaults.
_FROM_JSON = json.JSONDecoder(object_pairs_hook=_members)
_TO_JSON = json.JSONEncoder(ensure_ascii=False)


def _form_fields(body: bytes) -> dict[str, str]:
    if body.lstrip().startswith(b"{"):
        raise Problem(415, f"The body looks like JSON: send it with Content-Type: {JSON}.")
    try:
        pairs = parse_qsl(body.decode("utf-8"), keep_blank_values=True, errors="strict", max_num_fields=20)
    except UnicodeDecodeError:
        raise Problem(400, "The form is not UTF-8 in URL encoding.") from None
    except ValueError:
        raise Problem(400, "The form has too many fields.") from None
    fields = {name: value.replace("\r\n", "\n") for name, value in pairs}
    if len(fields) != len(pairs):
        raise Problem(400, "A field stands twice in the form.")
    return fields
