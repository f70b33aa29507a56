"""About the service: health, readiness, metrics, the description of the interface, and how it works."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

from server import metrics
from server.handlers.base import BaseHandler
from server.problems import Problem

OPENAPI = (Path(__file__).resolve().parent.parent / "openapi.json").read_bytes()


class HealthHandler(BaseHandler):
    """GET /healthz : the process answers."""

    route = "/healthz"
    any_host = True

    def get(self) -> None:
        self.answer_text("ok\n")

    head = get


class ReadyHandler(BaseHandler):
    """GET /readyz : notes can be put and revealed now."""

    route = "/readyz"
    any_host = True

    async def get(self) -> None:
        service = self.service
        msg_db, key_db = await asyncio.gather(service.msg_db.answers(), service.key_db.answers())
        keys_ahead = service.keys.available
        # The key-db may be unavailable as long as the keys ahead last.
        ready = msg_db and keys_ahead > 0
        members = {"ready": ready, "msg_db": msg_db, "key_db": key_db, "keys_ahead": keys_ahead}
        self.answer_json(members, 200 if ready else 503)

    head = get


class MetricsHandler(BaseHandler):
    """GET /metrics : for Prometheus."""

    route = "/metrics"
    any_host = True

    def get(self) -> None:
        service = self.service
        metrics.KEYS_AHEAD.set(service.keys.available)
        for name, database in (("key_db", service.key_db), ("msg_db", service.msg_db)):
            metrics.CONNECTIONS.labels(name).set(database.open)
            metrics.CONNECTIONS_IN_USE.labels(name).set(database.in_use)
            metrics.CONNECTIONS_LIMIT.labels(name).set(database.size)
        self.set_header("Content-Type", metrics.CONTENT_TYPE)
        self.finish(metrics.exposition())

    head = get


class OpenApiHandler(BaseHandler):
    """GET /openapi.json : the interface for programs, an OpenAPI 3.1 document that is maintained by hand."""

    route = "/openapi.json"

    def get(self) -> None:
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.finish(OPENAPI)

    head = get


class HowItWorksHandler(BaseHandler):
    """GET /how-it-works : what the service is, what it can see, and who runs it."""

    route = "/how-it-works"

    def get(self) -> None:
        self.answer_constant("how-it-works.html")

    head = get


class SecurityTxtHandler(BaseHandler):
    """GET /.well-known/security.txt : where to report a vulnerability (RFC 9116)."""

    route = "/.well-known/security.txt"

    def get(self) -> None:
        contact = self.service.settings.operator_contact
        if contact is None:
            raise Problem(404, "There is nothing at this URL.")
        expires = (datetime.now(UTC) + timedelta(days=180)).strftime("%Y-%m-%dT00:00:00Z")
        canonical = f"{self.public_url}{self.route}"
        self.answer_text(f"Contact: {contact}\nExpires: {expires}\nCanonical: {canonical}\n")

    head = get
