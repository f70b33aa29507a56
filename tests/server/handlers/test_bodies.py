"""The parsers of a body: any bytes are taken, or refused in words."""

import json
from urllib.parse import parse_qsl, urlencode

from hypothesis import given
from hypothesis import strategies as st

from server.handlers import bodies, inputs
from server.problems import Problem
from tests.server.handlers.test_inputs import TEXTS, VALUES


@given(st.binary(max_size=200) | VALUES.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_json_of_an_object_or_refused(body):
    """The parser of JSON raises problems and nothing else."""
    try:
        fields = bodies.from_json(body)
    except Problem as problem:
        assert problem.status == 400
    else:
        assert isinstance(fields, dict)
        json.loads(body)


@given(st.dictionaries(TEXTS, VALUES, max_size=5))
def test_an_object_without_doubles_is_what_json_says(members):
    """Refusing doubles changes nothing else."""
    body = json.dumps(members).encode()
    parsed = bodies.from_json(body)

    assert json.dumps(parsed) == json.dumps(json.loads(body))


@given(st.binary(max_size=200) | st.text("ab=&%+;\r\n\x00é0Fe", max_size=60).map(str.encode))
def test_any_bytes_are_a_form_or_refused(body):
    """The parser of forms raises problems and nothing else; what it gives is clean text."""
    try:
        fields = bodies.from_form(body, inputs.PUT_FIELDS)
    except Problem as problem:
        assert problem.status in (400, 415)
    else:
        pairs = parse_qsl(body.decode(), keep_blank_values=True)
        assert fields == {name: value.replace("\r\n", "\n") for name, value in pairs}
        "".join([*fields, *fields.values()]).encode()


@given(st.dictionaries(st.text(min_size=1, max_size=10), st.text(max_size=20), max_size=8))
def test_a_form_says_what_was_written_with_line_feeds(fields):
    """Every text survives URL encoding; a line end becomes LF."""
    body = urlencode(fields).encode()
    expected = {name: value.replace("\r\n", "\n") for name, value in fields.items()}

    assert bodies.from_form(body, inputs.PUT_FIELDS) == expected


def test_a_form_has_numbers_and_booleans():
    """The text of a field that takes no text becomes what it stands for, or stays for its reader to refuse."""
    form = b"message=12&passphrase=true&lifetime=300&has_passphrase=true&upload=1"

    assert bodies.from_form(form, inputs.PUT_FIELDS) == {
        "message": "12",
        "passphrase": "true",
        "lifetime": 300,
        "has_passphrase": True,
        "upload": "1",
    }
    assert bodies.from_form(b"lifetime=5m", inputs.PUT_FIELDS) == {"lifetime": "5m"}
