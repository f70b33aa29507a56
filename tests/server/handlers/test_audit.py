"""The audit lines: acts and their outcomes, who put, and nothing that names a note."""

import contextlib
import hashlib
import json

import pytest

from server.app import make_app
from server.audit import outcome_of
from tests.server.handlers.clients import CURL, TEXT_CLIENT
from tests.server.handlers.conftest import Site, link_of, listening, proofs_of, serviced, wrong_guess
from tests.server.test_logs import logged  # noqa: F401
from tests.server_process import free_port


@contextlib.asynccontextmanager
async def audited(http_client, key_db_url, msg_db_url, **environment):
    """A service that writes audit lines, behind a proxy that is trusted."""
    environment = {"AUDIT_LOG": "true", "TRUSTED_PROXIES": "127.0.0.0/8", **environment}
    async with serviced(key_db_url, msg_db_url, **environment) as service:
        await service.keys.start()
        async with listening(make_app(service), service, port := free_port()):
            yield Site(http_client, f"http://127.0.0.1:{port}")


def acts_in(stream):
    """The audit lines that were written."""
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    return [line for line in lines if line["logger"] == "server.audit"]


def told(line):
    """What a line says but for its time."""
    return {
        name: line[name] for name in ("act", "outcome", "method", "route", "status", "by") if name in line
    }


@pytest.mark.gen_test
async def test_each_act_is_a_line(http_client, seeded_key_db_url, handlers_msg_db_url, logged):  # noqa: F811
    """Puts, reveals and destroys, done or refused, with their route and time, whatever LOG_LEVEL is."""
    stream = logged("json", "error")
    async with audited(http_client, seeded_key_db_url, handlers_msg_db_url) as site:
        key, token = await site.put()
        await site.ask("GET", f"/{key}", TEXT_CLIENT)
        await site.ask("GET", f"/{key}/{token}", CURL)
        await site.ask("GET", f"/{key}/{token}", CURL)
        key, token, keys = await site.put_sealed(has_passphrase=True)
        await site.ask("POST", f"/{key}/reveal", TEXT_CLIENT, wrong_guess(keys))
        await site.ask("POST", f"/{key}/reveal", TEXT_CLIENT, proofs_of(keys))
        await site.ask("DELETE", f"/{key}", TEXT_CLIENT, link_of(keys))
        key, token, keys = await site.put_sealed()
        await site.ask("POST", f"/{key}/destroy", TEXT_CLIENT, link_of(keys))

    put = {
        "act": "put",
        "outcome": "done",
        "method": "POST",
        "route": "/post",
        "status": 201,
        "by": "anybody",
    }
    lines = acts_in(stream)
    assert [told(line) for line in lines] == [
        put,
        {"act": "reveal", "outcome": "done", "method": "GET", "route": "/KEY/TOKEN", "status": 200},
        {"act": "reveal", "outcome": "refused", "method": "GET", "route": "/KEY/TOKEN", "status": 404},
        put,
        {"act": "reveal", "outcome": "refused", "method": "POST", "route": "/KEY/reveal", "status": 403},
        {"act": "reveal", "outcome": "done", "method": "POST", "route": "/KEY/reveal", "status": 200},
        {"act": "destroy", "outcome": "refused", "method": "DELETE", "route": "/KEY", "status": 409},
        put,
        {"act": "destroy", "outcome": "done", "method": "POST", "route": "/KEY/destroy", "status": 204},
    ]
    assert all(line["time"].endswith("Z") and line["severity"] == "info" for line in lines)


@pytest.mark.gen_test
async def test_a_line_says_who_put(
    http_client, seeded_key_db_url, handlers_msg_db_url, logged, tmp_path  # noqa: F811
):
    """The token's name and never the token; the user that the proxy names; that the network may."""
    stream = logged("json")
    file = tmp_path / "tokens"
    file.write_text(f"deploy {hashlib.sha256(b'open sesame').hexdigest()}\n")
    rules = {
        "POST_TOKENS_FILE": str(file),
        "POST_USER_HEADER": "X-Forwarded-User",
        "POST_NETWORKS": "198.51.100.0/24",
    }
    async with audited(http_client, seeded_key_db_url, handlers_msg_db_url, **rules) as site:
        for headers in (
            {"Authorization": "Bearer open sesame", "X-Real-IP": "198.51.100.7"},
            {"X-Forwarded-User": "ann@example.org"},
            {"X-Forwarded-User": "a" * 1000},
            {"X-Real-IP": "198.51.100.7"},
            {"Authorization": "Bearer open says me"},
        ):
            await site.ask("POST", "/post", {**TEXT_CLIENT, **headers}, "message=hello")

    assert [(line.get("by"), line["outcome"]) for line in acts_in(stream)] == [
        ("token:deploy", "done"),
        ("user:ann@example.org", "done"),
        ("user:" + "a" * 128, "done"),
        ("network", "done"),
        (None, "refused"),
    ]
    assert "open sesame" not in stream.getvalue() and "198.51.100" not in stream.getvalue()


@pytest.mark.gen_test
async def test_a_line_of_text(http_client, seeded_key_db_url, handlers_msg_db_url, logged):  # noqa: F811
    """With LOG_FORMAT=text, the same in words, one line even if a user's name is strange."""
    stream = logged("text", "error")
    rules = {"POST_USER_HEADER": "X-Forwarded-User"}
    async with audited(http_client, seeded_key_db_url, handlers_msg_db_url, **rules) as site:
        await site.ask("POST", "/post", {**TEXT_CLIENT, "X-Forwarded-User": "a\x85b"}, "message=hello")

    (line,) = stream.getvalue().splitlines()
    assert line.partition(" ")[2].startswith("INFO put done: POST /post 201 by 'user:a\\x85b'")


@pytest.mark.gen_test
async def test_off_by_default(http_client, seeded_key_db_url, handlers_msg_db_url, logged):  # noqa: F811
    """Without AUDIT_LOG=true there is no line."""
    stream = logged("json")
    async with audited(http_client, seeded_key_db_url, handlers_msg_db_url, AUDIT_LOG="false") as site:
        await site.put()

    assert acts_in(stream) == []


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(201, "done"), (204, "done"), (404, "refused"), (422, "refused"), (499, "left"), (503, "failed")],
)
def test_outcomes(status, outcome):
    """The status of the answer says what became of the act; 499 is a client that hung up."""
    assert outcome_of(status) == outcome
