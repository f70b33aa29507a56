"""The log: lines of text or JSON, which name the route of a request but never its URL or body.

For an exception, the log has its type and its stack, but not its message, which may quote what a client
sent.
"""

from __future__ import annotations

import asyncio
import collections
import json
import logging
import math
import time
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Any

import tornado.web

from server import metrics

log = logging.getLogger(__name__)

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class TextFormatter(logging.Formatter):
    """A line for people: time, severity, message."""

    converter = staticmethod(time.gmtime)

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%SZ")

    def formatException(self, ei: ExcInfo) -> str:
        lines = traceback.format_tb(ei[2])
        return "".join(lines) + (ei[0].__qualname__ if ei[0] else "")


class JsonFormatter(TextFormatter):
    """The same for machines: one JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        members = {
            "time": self.formatTime(record, self.datefmt),
            "severity": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        members |= getattr(record, "members", {})
        if record.exc_info:
            members["exception"] = self.formatException(record.exc_info)
        return json.dumps(members, ensure_ascii=False)


def set_up(format_: str, level: str) -> None:
    """Log to standard error from now on.

    Args:
        format_: "text" or "json".
        level: the lowest severity that is logged, in lower case.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if format_ == "json" else TextFormatter())
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    logging.getLogger("server.audit").setLevel(logging.INFO)  # AUDIT_LOG turns it on, whatever the level
    # Tornado's messages quote request lines and URLs; asyncio's quote the arguments of a failed call.
    for name in ("tornado.access", "tornado.general", "tornado.application"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    logging.getLogger("momoko").setLevel(logging.CRITICAL)


def log_unhandled(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """The loop's exception handler: log the failure of a task that nothing waits for."""
    log.error("a background task failed", exc_info=context.get("exception"))


REFUSAL_INTERVAL = 60.0


class Refusals:
    """Logs why requests are refused: a new reason at once, then each reason at most once a minute, with a count."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._logged_at: dict[str, float] = {}
        self._since: collections.Counter[str] = collections.Counter()

    def log(self, reason: str, text: str) -> None:
        """
        Args:
            reason: names the kind of refusal, of which there are few.
            text: describes this refusal, and quotes nothing from its request.
        """
        now = self._clock()
        if now - self._logged_at.get(reason, -math.inf) < REFUSAL_INTERVAL:
            self._since[reason] += 1
            return
        more = self._since.pop(reason, 0)
        self._logged_at[reason] = now
        log.warning("%s%s", text, f" (and {more} more like it)" if more else "")


def log_request(handler: tornado.web.RequestHandler) -> None:
    """Count a finished request. Log it for debugging only: nginx keeps the access log at a tenth of the cost."""
    request = handler.request
    route = getattr(handler, "route", "other")
    method = request.method if request.method in handler.SUPPORTED_METHODS else "other"
    status = handler.get_status()
    seconds = request.request_time()
    metrics.requests(route, method, status).observe(seconds)
    log.debug("%s %s %d %.1f ms", method, route, status, seconds * 1000)
