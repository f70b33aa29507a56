"""Who may put notes is the operator's choice, and how many; everybody may read."""

import contextlib
import hashlib
import json

import pytest

from server.app import make_app
from tests.server.handlers.clients import BROWSER, JSON_CLIENT, TEXT_CLIENT
from tests.server.handlers.conftest import Site, listening, serviced
from tests.server_process import free_port

pytestmark = pytest.mark.gen_test

OUTSIDE, INSIDE = {"X-Real-IP": "192.0.2.9"}, {"X-Real-IP": "198.51.100.7"}


@contextlib.asynccontextmanager
async def ruled(http_client, key_db_url, msg_db_url, **rules):
    """A service with these rules, behind a proxy that is trusted."""
    async with serviced(key_db_url, msg_db_url, TRUSTED_PROXIES="127.0.0.0/8", **rules) as service:
        await service.keys.start()
        async with listening(make_app(service), service, port := free_port()):
            yield Site(http_client, f"http://127.0.0.1:{port}"), service


async def put(site, headers, body="message=hello"):
    return await site.ask("POST", "/post", {**TEXT_CLIENT, **headers}, body)


async def test_without_rules_everybody_may_post(http_client, seeded_key_db_url, handlers_msg_db_url):
    """The default."""
    async with ruled(http_client, seeded_key_db_url, handlers_msg_db_url) as (site, _):
        assert (await put(site, OUTSIDE)).code == 201


@pytest.mark.parametrize(
    ("networks", "inside", "outside"),
    [
        ("198.51.100.0/24, 203.0.113.7", "203.0.113.7", "203.0.113.8"),
        ("2001:db8::/48", "2001:db8:0:7::1", "2001:db8:1::1"),
    ],
)
async def test_a_network_may_post(
    http_client, seeded_key_db_url, handlers_msg_db_url, networks, inside, outside
):
    """POST_NETWORKS, by the address that the proxy tells."""
    async with ruled(http_client, seeded_key_db_url, handlers_msg_db_url, POST_NETWORKS=networks) as (
        site,
        _,
    ):
        assert (await put(site, {"X-Real-IP": inside})).code == 201
        assert (await put(site, {"X-Real-IP": outside})).code == 401


async def test_a_token_may_post(http_client, seeded_key_db_url, handlers_msg_db_url, tmp_path):
    """POST_TOKENS_FILE holds the SHA-256 of each token."""
    file = tmp_path / "tokens"
    file.write_text(f"deploy {hashlib.sha256(b'open sesame').hexdigest()}\n\n")
    rules = {"POST_TOKENS_FILE": str(file)}
    async with ruled(http_client, seeded_key_db_url, handlers_msg_db_url, **rules) as (site, _):
        for authorization in ("Bearer open sesame", "bearer open sesame"):
            assert (await put(site, {"Authorization": authorization})).code == 201
        for authorization in ("", "Bearer", "Bearer ", "Bearer open", "Basic open sesame", "Bearer é"):
            assert (await put(site, {"Authorization": authorization})).code == 401


async def test_a_user_of_the_proxy_may_post(http_client, seeded_key_db_url, handlers_msg_db_url):
    """POST_USER_HEADER is believed from a trusted proxy, and from nobody else."""
    rules = {"POST_USER_HEADER": "X-Forwarded-User"}
    async with ruled(http_client, seeded_key_db_url, handlers_msg_db_url, **rules) as (site, _):
        assert (await put(site, {"X-Forwarded-User": "alice"})).code == 201
        assert (await put(site, {"X-Forwarded-User": ""})).code == 401
    async with serviced(seeded_key_db_url, handlers_msg_db_url, **rules) as service:
        async with listening(make_app(service), service, port := free_port()):
            site = Site(http_client, f"http://127.0.0.1:{port}")
            assert (await put(site, {"X-Forwarded-User": "alice"})).code == 401


async def test_a_client_that_may_not_post_is_told_what_to_do(
    http_client, seeded_key_db_url, handlers_msg_db_url
):
    """A page in place of the form, a problem for programs, and how to authenticate."""
    rules = {"POST_NETWORKS": "198.51.100.0/24"}
    async with ruled(http_client, seeded_key_db_url, handlers_msg_db_url, **rules) as (site, _):
        page = await site.ask("GET", "/", {**BROWSER, **OUTSIDE})
        program = await site.ask("POST", "/post", {**JSON_CLIENT, **OUTSIDE}, {"message": "hello"})

        assert (page.code, program.code) == (401, 401)
        assert b"Only some people may leave messages here" in page.body
        assert page.headers["WWW-Authenticate"] == program.headers["WWW-Authenticate"]
        assert json.loads(program.body)["status"] == 401
        assert (await site.ask("GET", "/", {**BROWSER, **INSIDE})).code == 200


async def test_everybody_may_read(http_client, seeded_key_db_url, handlers_msg_db_url):
    """The rules are about putting only."""
    rules = {"POST_NETWORKS": "198.51.100.0/24"}
    async with ruled(http_client, seeded_key_db_url, handlers_msg_db_url, **rules) as (site, _):
        link = (await put(site, INSIDE)).body.decode().strip()

        answer = await site.ask("GET", "/" + link.split("/", 3)[3], {**TEXT_CLIENT, **OUTSIDE})

        assert (answer.code, answer.body) == (200, b"hello")


async def test_in_read_only_mode_nothing_is_put_and_notes_are_read(
    http_client, seeded_key_db_url, handlers_msg_db_url
):
    """READ_ONLY=true: 503 for puts."""
    async with ruled(http_client, seeded_key_db_url, handlers_msg_db_url) as (site, _):
        link = (await put(site, {})).body.decode().strip()
    async with ruled(http_client, seeded_key_db_url, handlers_msg_db_url, READ_ONLY="true") as (site, _):
        assert (await put(site, {})).code == 503
        assert (await site.ask("GET", "/" + link.split("/", 3)[3], TEXT_CLIENT)).body == b"hello"


async def test_a_full_service_takes_no_more_and_notes_are_read(
    http_client, seeded_key_db_url, handlers_msg_db_url
):
    """Beyond MAX_STORED_BYTES puts get 507."""
    async with ruled(http_client, seeded_key_db_url, handlers_msg_db_url, MAX_STORED_BYTES="1") as (
        site,
        service,
    ):
        link = (await put(site, {})).body.decode().strip()
        service.posting.stored_bytes = await service.msg_db.bytes_on_disk()

        assert (await put(site, {})).code == 507
        assert (await site.ask("GET", "/" + link.split("/", 3)[3], TEXT_CLIENT)).body == b"hello"


async def test_a_client_has_a_budget_of_bytes(http_client, seeded_key_db_url, handlers_msg_db_url):
    """PUT_BYTES_PER_HOUR: 429 with Retry-After, and another client is served."""
    rules = {"PUT_BYTES_PER_HOUR": "1000"}
    async with ruled(http_client, seeded_key_db_url, handlers_msg_db_url, **rules) as (site, _):
        body = "message=" + "m" * 592
        assert (await put(site, OUTSIDE, body)).code == 201
        refused = await put(site, OUTSIDE, body)

        assert refused.code == 429
        assert 0 < int(refused.headers["Retry-After"]) <= 3600
        assert (await put(site, INSIDE, body)).code == 201


async def test_many_networks_of_one_client_share_a_larger_budget(
    http_client, seeded_key_db_url, handlers_msg_db_url
):
    """Four budgets for an IPv6 /56 and sixteen for a /48, however many /64 send."""
    rules = {"PUT_BYTES_PER_HOUR": "1000"}
    async with ruled(http_client, seeded_key_db_url, handlers_msg_db_url, **rules) as (site, _):
        body = "message=" + "m" * 992
        in_a_56 = [(await put(site, {"X-Real-IP": f"2001:db8:0:{n:x}::1"}, body)).code for n in range(6)]
        in_a_48 = [
            (await put(site, {"X-Real-IP": f"2001:db8:0:{n:x}00::1"}, body)).code for n in range(1, 16)
        ]

    assert in_a_56 == [201] * 4 + [429] * 2
    assert in_a_48 == [201] * 12 + [429] * 3


async def test_the_service_has_a_ceiling_of_puts(http_client, seeded_key_db_url, handlers_msg_db_url):
    """PUTS_PER_HOUR: 503 with Retry-After for everybody."""
    async with ruled(http_client, seeded_key_db_url, handlers_msg_db_url, PUTS_PER_HOUR="2") as (site, _):
        answers = [await put(site, {"X-Real-IP": f"192.0.2.{n}"}) for n in range(3)]

    assert [answer.code for answer in answers] == [201, 201, 503]
    assert int(answers[2].headers["Retry-After"]) > 0


async def test_security_txt_names_the_operator_s_contact(http_client, seeded_key_db_url, handlers_msg_db_url):
    """RFC 9116: Contact and Expires; 404 without a contact."""
    path = "/.well-known/security.txt"
    rules = {"OPERATOR_CONTACT": "mailto:security@example.org"}
    async with ruled(http_client, seeded_key_db_url, handlers_msg_db_url, **rules) as (site, _):
        answer = await site.ask("GET", path)
    async with ruled(http_client, seeded_key_db_url, handlers_msg_db_url) as (site, _):
        without = await site.ask("GET", path)

    assert (answer.code, without.code) == (200, 404)
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    lines = dict(line.split(": ", 1) for line in answer.body.decode().splitlines())
    assert lines["Contact"] == "mailto:security@example.org"
    assert lines["Expires"].endswith("Z") and lines["Canonical"] == "https://notes.test" + path
