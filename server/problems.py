"""What went wrong, in the asker's terms: problem details for HTTP APIs (RFC 9457)."""

from __future__ import annotations

import http
from collections.abc import Mapping
from typing import Any


class Problem(Exception):
    """An answer other than what was asked for; `handlers/base.py` renders it in the asker's format."""

    def __init__(
        self, status: int, detail: str, field: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        """
        Args:
            status: HTTP status, 400 or above.
            detail: one sentence for a person, which names the field and the limit; never what was sent.
            field: the form field or JSON member that it is about.
            headers: further headers of the answer, such as Retry-After.
        """
        super().__init__(detail)
        self.status = status
        self.title = http.HTTPStatus(status).phrase
        self.detail = detail
        self.field = field
        self.headers = dict(headers or {})

    def as_json(self) -> dict[str, Any]:
        """The members of an application/problem+json document."""
        members = {"type": "about:blank", "title": self.title, "status": self.status, "detail": self.detail}
        return members | {"field": self.field} if self.field else members


def gone() -> Problem:
    """Never existed, was read, has expired, wrong token: one answer, in the same words."""
    return Problem(404, "There is no such note. It may have been read or have expired, or never existed.")


def unavailable(detail: str = "The service cannot do this right now. Please try again soon.") -> Problem:
    """The databases are away, or more is asked than they can take; nothing was lost."""
    return Problem(503, detail, headers={"Retry-After": "2"})
