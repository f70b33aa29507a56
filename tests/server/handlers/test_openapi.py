"""The document that describes the interface, held to the interface."""

import json
import re
from pathlib import Path

import pytest

import server
from server.handlers import inputs
from server.handlers.operations import OPENAPI
from server.handlers.static import StaticHandler
from server.keys import KEY_PATTERN
from server.sealing import sealed_length
from server.settings import MAX_LIFETIME, Settings

pytestmark = pytest.mark.gen_test

DESCRIBED = json.loads(OPENAPI)
METHODS = {"get", "put", "post", "delete", "options", "head", "patch", "trace"}


async def test_the_document_is_served_as_it_lies_there(site):
    """GET /openapi.json is JSON, and the file."""
    answer = await site.ask("GET", "/openapi.json")

    assert answer.code == 200
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert answer.body == (Path(server.__file__).parent / "openapi.json").read_bytes()


def _routes(app):
    """The methods of every route by its path in the document's notation; HEAD goes with GET."""
    routes = {}
    for rule in app.wildcard_router.rules:
        handler = rule.target
        if handler is StaticHandler or handler.route == "/KEY%23TOKEN":
            continue  # files and the repair of a broken link are nothing that a program asks for
        path = handler.route.replace("KEY", "{key}").replace("TOKEN", "{token}")
        routes[path] = {method.lower() for method in handler.allow} - {"head"}
    return routes


async def test_the_document_names_every_route_and_no_other(app):
    """Each path with the methods that its handler allows."""
    described = {path: item.keys() & METHODS for path, item in DESCRIBED["paths"].items()}

    assert described == _routes(app)


async def test_every_route_is_called_by_what_its_pattern_takes(app):
    """The name that logs, metrics and the document use is the pattern, with words for its groups."""
    for rule in app.wildcard_router.rules:
        if rule.target is StaticHandler:
            continue
        pattern = rule.matcher.regex.pattern.rstrip("$").replace(r"\.", ".")
        pattern = pattern.replace(f"({KEY_PATTERN})", "KEY")
        pattern = pattern.replace("([^/]+)", "TOKEN").replace("([0-9A-Za-z]*)", "TOKEN")
        assert rule.target.route == pattern


async def test_every_method_that_is_allowed_is_there(app):
    """`allow`, which the 405 and OPTIONS tell, are the methods that the handler implements."""
    for rule in app.wildcard_router.rules:
        handler = rule.target
        for method in set(handler.SUPPORTED_METHODS) - {"OPTIONS"}:
            implemented = getattr(handler, method.lower()) is not handler._unimplemented_method
            assert implemented == (method in handler.allow), (handler, method)


async def test_no_route_has_five_letters(app):
    """It would shadow a key: what a key could be is the confirm page's."""
    for rule in app.wildcard_router.rules:
        pattern = rule.matcher.regex.pattern
        if pattern == rf"/({KEY_PATTERN})$":
            continue
        first = pattern.lstrip("/").rstrip("$").split("/")[0].replace("\\", "")
        assert re.fullmatch(KEY_PATTERN, first) is None, pattern
    matching = [rule for rule in app.wildcard_router.rules if rule.matcher.regex.match("/abcde")]
    assert [rule.target.route for rule in matching] == ["/KEY"]


async def test_the_document_s_limits_are_the_server_s():
    """Lengths and ranges that programs are told are those that are checked."""
    schemas = DESCRIBED["components"]["schemas"]

    message, lifetime = (schemas["Message"]["properties"][name] for name in ("message", "lifetime"))
    assert message["maxLength"] == Settings.max_message_bytes
    assert (lifetime["minimum"], lifetime["maximum"]) == (1, MAX_LIFETIME)
    assert lifetime["default"] == Settings.default_lifetime
    assert schemas["Sealed"]["minLength"] == -(-sealed_length(0) * 4 // 3)
    assert DESCRIBED["components"]["parameters"]["key"]["schema"]["pattern"] == f"^{KEY_PATTERN}$"


async def test_the_document_s_fields_are_the_server_s():
    """Each body has the fields that are declared for it, and no other."""
    schemas = DESCRIBED["components"]["schemas"]
    described = {
        name: set(schemas[name]["properties"]) for name in ("Message", "SealedNote", "ByToken", "ByProof")
    }

    assert described["Message"] == {field.name for field in inputs.MESSAGE_FIELDS}
    assert described["SealedNote"] == {field.name for field in inputs.SEALED_FIELDS}
    assert described["ByToken"] | described["ByProof"] == {field.name for field in inputs.CLAIM_FIELDS}


async def test_every_reference_in_the_document_leads_somewhere():
    """No $ref dangles, and no component is unused."""
    used = set(re.findall(r'"#/components/([a-zA-Z]+/[a-zA-Z0-9]+)"', OPENAPI.decode()))

    defined = {f"{kind}/{name}" for kind, members in DESCRIBED["components"].items() for name in members}
    assert used == defined
