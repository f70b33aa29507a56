"""What every handler does: answer in the client's format, also with errors, set headers, and refuse early."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any

import tornado.web

from server import audit, pages
from server.clients import address_of, refuse_cross_site, refuse_other_host
from server.database import Unavailable
from server.handlers import bodies, inputs
from server.httpd.handler import Handler
from server.httpd.headers import Headers
from server.keys import OutOfKeys
from server.languages import Language, chosen, preferred, text
from server.negotiation import Format, answer_format, plainly_asked, takes_gzip
from server.passphrases import Busy
from server.problems import Problem, unavailable
from server.service import Service
from server.static_files import File

log = logging.getLogger(__name__)

# From OWASP's HTTP Headers Cheat Sheet. nginx adds HSTS, because only nginx knows whether TLS is on.
SECURITY_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": f"default-src 'none'; script-src 'self' {pages.IMPORT_MAP_SOURCE};"
    " style-src 'self'; img-src 'self' blob:;"
    " connect-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none';"
    " frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types htmx",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Integrity-Policy": "blocked-destinations=(script)",
    "Permissions-Policy": "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(),"
    " microphone=(), payment=(), usb=(), clipboard-read=(), clipboard-write=(self)",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Permitted-Cross-Domain-Policies": "none",
    "X-Robots-Tag": "noindex, nofollow, noarchive",
}

_TO_JSON = json.JSONEncoder(ensure_ascii=False)  # made once: json.dumps makes one for each call


class BaseHandler(Handler):
    """A handler that answers in the client's format, also with errors, and logs nothing from the request."""

    route = "other"  # its name in logs and metrics, never the URL
    allow: tuple[str, ...] = ("GET", "HEAD")
    any_host = False  # health checks and Prometheus name the machine, not the service

    act: str | None = None  # "put", "reveal" or "destroy", once the handler attempts it

    # Scripts show no answer without it: that answer may come from a proxy or a captive portal.
    first_headers = Headers.constant(SECURITY_HEADERS | {"Note-Whisperer": "1"})
    service: Service

    def initialize(self, service: Service) -> None:
        self.service, self.in_progress = service, service.in_progress

    def prepare(self) -> None:
        request = self.request
        if len(request.body) > self.max_body_bytes:
            raise self.too_long
        if not self.any_host:
            refuse_other_host(request, self.public_url)
        if request.method not in self.allow and request.method != "OPTIONS":
            raise Problem(405, text("This URL accepts only %(methods)s.", methods=", ".join(self.allow)))
        if request.method not in ("GET", "HEAD", "OPTIONS"):
            refuse_cross_site(request, self.public_url)

    @property
    def max_body_bytes(self) -> int:
        return self.service.settings.max_body_bytes

    @property
    def too_long(self) -> Problem:
        """The problem with a longer body."""
        limit = self.service.settings.max_message_bytes
        return Problem(
            413, text("The message may have at most %(limit)s bytes.", limit=limit), inputs.MESSAGE.name
        )

    def options(self, *_: str) -> None:
        self.set_status(204)
        self.set_header("Allow", ", ".join((*self.allow, "OPTIONS")))

    @property
    def public_url(self) -> str:
        assert self.service.settings.public_url
        return self.service.settings.public_url

    @property
    def address(self) -> str:
        """The client's address, as limits count it."""
        return address_of(self.request, self.service.settings.trusted_proxies)

    @property
    def format(self) -> Format:
        """The format of a successful answer."""
        if self.request.method in ("GET", "HEAD"):
            if self.request.headers.get("HX-Request") == "true":
                return Format.FRAGMENT
            return plainly_asked(self.request.headers) or Format.PAGE
        return self.problem_format

    @property
    def problem_format(self) -> Format:
        """The format of a problem. A problem reveals nothing, so robots may get any format."""
        sent_json = bodies.media_type_of(self.request) == bodies.JSON
        return answer_format(self.request.headers, Format.JSON if sent_json else Format.PAGE)

    @property
    def language(self) -> Language:
        """The language of the page: the one that its URL names (?lang=de), or the one that the browser prefers."""
        query = self.request.query
        named = chosen(query.removeprefix("lang=")) if query.startswith("lang=") else None
        return named or preferred(self.request.headers.get("Accept-Language", ""))

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
        self._name_language()
        render = self.service.pages.fragment if self.format is Format.FRAGMENT else self.service.pages.page
        self.finish(render(template, self.language, place=place_of(context.get("problem")), **context))

    def answer_constant(self, template: str, status: int = 200) -> None:
        """A page of `pages.CONSTANT` or, for htmx, its fragment."""
        self.set_status(status)
        self._name_language()
        whole = self.format is not Format.FRAGMENT
        file = self.service.pages.constant(template, whole, self.language)
        self.answer_file(file, "Accept-Language, Accept-Encoding")

    def _name_language(self) -> None:
        self.set_header("Content-Language", self.language.tag)
        self.set_header("Vary", "Accept-Language")

    def answer_file(self, file: File, vary: str = "Accept-Encoding") -> None:
        """The bytes of a file, compressed if the client accepts that."""
        compressed = file.compressed if takes_gzip(self.request.headers) else None
        self.set_header("Content-Type", file.media_type)
        if file.compressed is not None:
            self.set_header("Vary", vary)
        if compressed is not None:
            self.set_header("Content-Encoding", "gzip")
        for name, value in file.headers.items():
            self.set_header(name, value)
        self.finish(file.content if compressed is None else compressed)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer an exception in the client's format."""
        problem = (
            problem_of(kwargs["exc_info"][1])
            if "exc_info" in kwargs
            else Problem(status_code, "The request cannot be answered.")
        )
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
        elif problem.kind in ("gone", "ended"):
            self.answer_gone(problem.members.get("ending"))
        elif format_ is Format.FRAGMENT:
            self.set_header("HX-Retarget", f"#{place_of(problem)}")
            self.set_header("HX-Reswap", "innerHTML")
            self.set_header("Content-Type", "text/html; charset=utf-8")
            self.finish(self.service.pages.page("_problem.html", self.language, problem=problem))
        else:
            self.answer_error_page(problem)

    def answer_gone(self, ending: dict[str, str] | None) -> None:
        """The 404 page. Without an ending, it is the same bytes for every key."""
        if ending is None:
            return self.answer_constant("gone.html", 404)
        at = datetime.fromisoformat(ending["at"])
        self.answer_html("gone.html", 404, ending={"how": ending["status"], "at": at})

    def answer_error_page(self, problem: Problem) -> None:
        """A whole page. Handlers with a form fill it in again."""
        self.answer_html("error.html", problem.status, problem=problem)

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Log unexpected errors and what the operator must know, never the request."""
        problem = problem_of(value)
        if problem.status == 500:
            log.error("%s %s failed", self.request.method, self.route, exc_info=(typ, value, tb))
        elif problem.status == 503:
            self.service.refusals.log(
                typ.__name__, f"{self.request.method} {self.route} refused: {value or typ.__name__}"
            )

    def on_finish(self) -> None:
        """Log an act if AUDIT_LOG is on."""
        if self.act and self.service.settings.audit_log:
            by = self.service.posting.poster_of(self.request) if self.act == "put" else None
            audit.log_act(self.act, self.request.method or "", self.route, self.get_status(), by)

    def compute_etag(self) -> None:
        """None: only static files may be cached."""


class NotFoundHandler(BaseHandler):
    """Any path without a route."""

    allow = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")

    def prepare(self) -> None:
        super().prepare()
        raise Problem(404, "There is nothing at this URL.")


def place_of(problem: Problem | None) -> str:
    """The id of the element that shows the problem: beside its field, or above the form."""
    return f"problem-{problem.field}" if problem and problem.field in inputs.PLACES else "problem"


def problem_of(error: BaseException | None) -> Problem:
    """What the client is told about an exception."""
    match error:
        case Problem():
            return error
        case OutOfKeys():
            return unavailable("There are no keys for new messages right now. Please try again later.")
        case Unavailable() | Busy():
            return unavailable()
        case tornado.web.MissingArgumentError() | tornado.web.HTTPError(status_code=400):
            return Problem(400, "The request is malformed.")
        case tornado.web.HTTPError(status_code=status) if 400 <= status < 500:
            return Problem(status, "The request cannot be answered.")
        case _:
            return Problem(500, "Something went wrong on the server. It has been logged.")


def timestamp(time: datetime) -> str:
    """RFC 3339, UTC, whole seconds."""
    return time.astimezone(UTC).isoformat()[:19] + "Z"
