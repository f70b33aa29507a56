"""What programs are told of the interface: server/openapi.json, an OpenAPI 3.1 document kept by hand."""

from __future__ import annotations

from pathlib import Path

from server.handlers.base import BaseHandler

DOCUMENT = (Path(__file__).resolve().parent.parent / "openapi.json").read_bytes()


class OpenApiHandler(BaseHandler):
    """GET /openapi.json : the document."""

    route = "/openapi.json"

    def get(self) -> None:
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.finish(DOCUMENT)

    head = get
