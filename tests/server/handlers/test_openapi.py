"""The document that describes the interface matches what the interface does."""

import json
import re
from pathlib import Path

import pytest

import server
from server import sealed_files, sealing
from server.handlers import inputs
from server.handlers.operations import OPENAPI
from server.handlers.static import StaticHandler
from server.keys import KEY_PATTERN
from server.sealing import MAX_PASSPHRASE_BYTES, sealed_length
from server.setting_values import MAX_LIFETIME
from server.settings import Settings
from tests.server.handlers.clients import JSON_CLIENT
from tests.server.handlers.conftest import DIGEST, link_of, proofs_of, wrong_guess

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
        if handler is StaticHandler or handler.route == "/KEY/" or re.search("%23|/sent/", handler.route):
            continue  # programs ask neither for files, nor for the repair of a broken link, nor for pages of browsers
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
        pattern = pattern.replace("([0-9A-Za-z]+)", "TOKEN").replace("([\\w-]{43})", "VERIFIER")
        pattern = pattern.replace("([\\w-]*)", "SECRET")
        assert rule.target.route == pattern


async def test_every_method_that_is_allowed_is_there(app):
    """`allow`, which the 405 and OPTIONS tell, are the methods that the handler implements."""
    for rule in app.wildcard_router.rules:
        handler = rule.target
        for method in set(handler.SUPPORTED_METHODS) - {"OPTIONS"}:
            implemented = getattr(handler, method.lower()) is not handler._unimplemented_method
            assert implemented == (method in handler.allow), (handler, method)


async def test_no_route_has_five_letters(app):
    """It would shadow a key: a path that could be a key belongs to the confirm page."""
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
    assert schemas["Passphrase"]["maxLength"] == MAX_PASSPHRASE_BYTES
    assert schemas["FileBytes"]["minimum"] == sealed_files.padded_length(0)
    assert schemas["ChunksToFetch"]["properties"]["first"]["maximum"] == sealed_files.HIGHEST_NUMBER
    (chunks,) = DESCRIBED["paths"]["/upload/chunks"]["post"]["requestBody"]["content"].values()
    assert chunks["schema"]["maxLength"] == sealed_files.MAX_REQUEST_BYTES
    assert schemas["Sealed"]["minLength"] == -(-sealed_length(0) * 4 // 3)
    assert DESCRIBED["components"]["parameters"]["key"]["schema"]["pattern"] == f"^{KEY_PATTERN}$"


async def test_the_document_s_fields_are_the_server_s():
    """Each body has the fields that are declared for it, and no other."""
    schemas = DESCRIBED["components"]["schemas"]
    bodies = {
        "Message": inputs.MESSAGE_FIELDS,
        "SealedNote": inputs.SEALED_FIELDS,
        "Claim": inputs.REVEAL_FIELDS,
        "Link": inputs.LINK_FIELDS,
        "Received": inputs.RECEIVED_FIELDS,
        "UploadToBegin": inputs.UPLOAD_FIELDS,
        "UploadAlone": inputs.CANCEL_FIELDS,
        "ChunksToFetch": inputs.CHUNKS_FIELDS,
        "FileToSave": inputs.FILE_FIELDS,
        "MessageWithFiles": inputs.FORM_FIELDS,
        "Confirmed": inputs.CONFIRM_FIELDS,
        "SharedText": inputs.SHARED_FIELDS,
    }

    def described(schema):
        choices = [choice["$ref"].rpartition("/")[2] for choice in schema.get("oneOf", [])]
        return set(schema.get("properties", {})).union(*[described(schemas[name]) for name in choices])

    assert {name: described(schemas[name]) for name in bodies} == {
        name: set(fields) for name, fields in bodies.items()
    }


async def test_the_document_s_answers_are_the_server_s(site):
    """The JSON of each kind of answer has the members that are described, and no other."""
    schemas = DESCRIBED["components"]["schemas"]
    key, _, keys = await site.put_sealed(has_passphrase=True)
    other, token = await site.put()
    claim = proofs_of(keys) | {"reader": DIGEST}
    asked = [
        ("NewNote", 201, "POST", "/post", {"message": "hello"}),
        ("Upload", 200, "POST", "/upload", {"upload": DIGEST, "file_bytes": 256}),
        ("Problem", 404, "POST", f"/{key}/chunks", {"reader": DIGEST, "first": 0}),
        (None, 204, "DELETE", "/upload", {"upload": DIGEST}),
        ("NewNote", 201, "POST", "/post", {"message": "hello", "passphrase": "open sesame"}),
        ("UnreadNote", 200, "GET", f"/{key}", None),
        ("Problem", 403, "POST", f"/{key}/reveal", wrong_guess(keys)),
        ("Unread", 200, "POST", f"/{key}/status", link_of(keys)),
        ("RevealedSealed", 200, "POST", f"/{key}/reveal", claim),
        ("Revealed", 200, "POST", f"/{other}/reveal", {"token": token}),
        (None, 204, "POST", f"/{key}/received", {"reader": DIGEST, "mark": sealing.to_text(keys.mark)}),
        ("Ending", 200, "POST", f"/{key}/status", link_of(keys)),
        ("Problem", 404, "POST", f"/{key}/reveal", claim),
        ("Problem", 409, "POST", f"/{key}/destroy", link_of(keys)),
    ]

    for name, status, method, path, fields in asked:
        answer = await site.ask(method, path, JSON_CLIENT, fields)

        assert answer.code == status, path
        if name:
            members = json.loads(answer.body).keys()
            assert set(schemas[name]["required"]) <= members <= schemas[name]["properties"].keys()
        route = path.replace(key, "{key}").replace(other, "{key}")
        assert str(status) in DESCRIBED["paths"][route][method.lower()]["responses"]


async def test_every_reference_in_the_document_leads_somewhere():
    """No $ref dangles, and no component is unused."""
    used = set(re.findall(r'"#/components/([a-zA-Z]+/[a-zA-Z0-9]+)"', OPENAPI.decode()))

    defined = {f"{kind}/{name}" for kind, members in DESCRIBED["components"].items() for name in members}
    assert used == defined
