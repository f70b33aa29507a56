"""Metrics of one server process for Prometheus; none of them names a note."""

from __future__ import annotations

import functools

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

REGISTRY = CollectorRegistry()

REQUESTS = Histogram(
    "note_whisperer_request_seconds",
    "Time from a request's headers to the end of its answer.",
    ["route", "method", "status"],
    registry=REGISTRY,
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
NOTES_PUT = Counter("note_whisperer_notes_put", "Notes stored.", registry=REGISTRY)
NOTES_REVEALED = Counter("note_whisperer_notes_revealed", "Notes revealed.", registry=REGISTRY)
NOTES_DESTROYED = Counter("note_whisperer_notes_destroyed", "Notes destroyed unread.", registry=REGISTRY)
NOTES_REFUSED = Counter(
    "note_whisperer_notes_refused", "Reveals whose link matched no note.", registry=REGISTRY
)
NOTES_EXPIRED = Counter("note_whisperer_notes_expired", "Notes purged unread.", registry=REGISTRY)
KEYS_AHEAD = Gauge("note_whisperer_keys_ahead", "Keys that this process holds in memory.", registry=REGISTRY)
KEYS_LEFT = Gauge(
    "note_whisperer_keys_left", "Keys that can be leased from the key-db now.", registry=REGISTRY
)
LAST_PURGE = Gauge(
    "note_whisperer_last_purge_timestamp_seconds",
    "When this process last saw that nothing overdue was left to purge.",
    ["what"],
    registry=REGISTRY,
)
STORED_BYTES = Gauge("note_whisperer_stored_bytes", "Bytes of the msg-db on its disk.", registry=REGISTRY)
STORED_BYTES_LIMIT = Gauge(
    "note_whisperer_stored_bytes_limit", "MAX_STORED_BYTES; 0 means no limit.", registry=REGISTRY
)
CONNECTIONS = Gauge("note_whisperer_connections", "Connections in the pool.", ["database"], registry=REGISTRY)
CONNECTIONS_IN_USE = Gauge(
    "note_whisperer_connections_in_use", "Connections taken out of the pool.", ["database"], registry=REGISTRY
)
CONNECTIONS_LIMIT = Gauge(
    "note_whisperer_connections_limit", "Connections that the pool may open.", ["database"], registry=REGISTRY
)


@functools.cache  # because `labels` takes as long as `observe`
def requests(route: str, method: str, status: int) -> Histogram:
    """The histogram of one kind of request, of which there are a few dozen."""
    return REQUESTS.labels(route, method, status)


CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def exposition() -> bytes:
    """All metrics, in version 0.0.4 of Prometheus' text format."""
    return generate_latest(REGISTRY)
