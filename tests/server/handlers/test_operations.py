"""The operator's questions: health, readiness and metrics."""

import json

import pytest

from server.app import make_app
from tests.server.handlers.clients import JSON_TYPE, TEXT_TYPE
from tests.server.handlers.conftest import Site, listening, serviced
from tests.server_process import free_port

pytestmark = pytest.mark.gen_test


async def test_health_asks_no_database(site):
    """/healthz is "ok" as long as the process answers."""
    answer = await site.ask("GET", "/healthz")

    assert (answer.code, answer.body) == (200, b"ok\n")
    assert answer.headers["Content-Type"] == TEXT_TYPE


async def test_ready_means_database_and_keys(site, service):
    """/readyz says what it has found."""
    answer = await site.ask("GET", "/readyz")

    assert answer.code == 200
    assert answer.headers["Content-Type"] == JSON_TYPE
    told = json.loads(answer.body)
    assert told == {"ready": True, "msg_db": True, "key_db": True, "keys_ahead": service.keys.available}


async def test_not_ready_without_the_msg_db(http_client, seeded_key_db_url):
    """503, and what is missing."""
    away = f"postgresql://127.0.0.1:{free_port()}/away"
    async with serviced(seeded_key_db_url, away, DB_TIMEOUT="0.1") as service:
        async with listening(make_app(service), service, port := free_port()):
            answer = await Site(http_client, f"http://127.0.0.1:{port}").ask("GET", "/readyz")

    assert answer.code == 503
    told = json.loads(answer.body)
    assert told == {"ready": False, "msg_db": False, "key_db": True, "keys_ahead": 0}


async def test_metrics_tell_counts_and_no_notes(site):
    """Requests by route, method and status; what is unknown is "other", so that nobody can make up series."""
    key, token = await site.put()
    await site.ask("GET", f"/{key}/{token}", {"Accept": "text/plain"})
    await site.ask("GET", "/made-up-address")
    await site.ask("TRACE", "/")

    answer = await site.ask("GET", "/metrics")

    assert answer.code == 200
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    text = answer.body.decode()
    assert '_seconds_count{method="GET",route="/KEY/TOKEN",status="200"}' in text
    assert '_seconds_count{method="other",route="/",status="405"}' in text
    assert "made-up" not in text
    assert "TRACE" not in text
    assert key not in text
    assert token not in text
