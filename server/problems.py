"""What the client is told if a request fails: problem details for HTTP APIs (RFC 9457)."""

from __future__ import annotations

import http
from collections.abc import Mapping
from typing import Any

from server.languages import text

# The kinds of problems that need no further distinction, by status. A kind never changes its meaning.
KINDS = {
    400: "bad-request",
    401: "not-allowed",
    403: "refused",
    404: "not-found",
    405: "wrong-method",
    409: "conflict",
    413: "too-long",
    415: "wrong-type",
    421: "wrong-host",
    422: "sealed-wrongly",
    429: "too-many",
    500: "failed",
    503: "unavailable",
    507: "full",
}


class Problem(Exception):
    """An error to report to the client; `handlers/base.py` renders it in the client's format."""

    def __init__(
        self,
        status: int,
        detail: str,
        field: str | None = None,
        headers: Mapping[str, str] | None = None,
        kind: str | None = None,
        **members: Any,
    ) -> None:
        """
        Args:
            status: HTTP status, 400 or above.
            detail: a sentence for a person that names the field and its limit, and quotes nothing from the request.
                In English; a page shows it in its language (`languages.text`).
            field: the form field or JSON member with the error.
            headers: further headers of the answer, such as Retry-After.
            kind: tells problems of the same status apart; part of the URI in `type`.
            members: further members of the JSON document.
        """
        super().__init__(detail)
        self.status = status
        self.title = http.HTTPStatus(status).phrase
        self.detail = detail
        self.field = field
        self.headers = dict(headers or {})
        self.kind = kind or KINDS.get(status, "other")
        self.members = members

    def as_json(self) -> dict[str, Any]:
        """The members of an application/problem+json document."""
        members = {
            "type": f"urn:note-whisperer:problem:{self.kind}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }
        if self.field:
            members["field"] = self.field
        return members | self.members


def gone() -> Problem:
    """The same answer for a note that never existed, was read or has expired, and for a wrong token."""
    return Problem(
        404, "There is no such message. It was read, it expired, or it never existed.", kind="gone"
    )


def unavailable(
    detail: str = text("The service cannot do this right now. Please try again soon."),
) -> Problem:
    """The databases are unavailable or overloaded. Nothing was lost."""
    return Problem(503, detail, headers={"Retry-After": "2"})
