"""The values that a field may have: any input is taken or refused in words."""

import string
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from server import sealing
from server.handlers import bodies, inputs
from server.messages import Proofs, Token
from server.problems import Problem
from server.setting_values import MAX_LIFETIME
from server.settings import Settings

MAX_BYTES = 300
SETTINGS = Settings(max_message_bytes=MAX_BYTES)

# What JSON can hold, with lone surrogates and NUL in its strings, as attackers would send it.
TEXTS = st.text(st.characters(codec=None, categories=None), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)
TOKENS = st.builds(lambda _: sealing.new_token(), st.none())
DIGESTS = st.binary(min_size=32, max_size=32).map(sealing.to_text)
SEALED = st.builds(
    lambda blocks, rest: sealing.to_text(b"\x02" + bytes(28 + 256 * blocks + rest)),
    st.integers(0, 4),
    st.sampled_from([0, 0, 0, 1, 255]),
)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "message": st.text(max_size=400) | VALUES,
        "passphrase": st.text(max_size=20) | VALUES,
        "lifetime": st.integers(-1, 700_000) | VALUES,
        "sealed": SEALED | VALUES,
        "link_verifier": DIGESTS | VALUES,
        "reveal_verifier": DIGESTS | VALUES,
        "has_passphrase": st.booleans() | VALUES,
        "token": TOKENS | st.text(string.ascii_letters + string.digits, min_size=24, max_size=24) | VALUES,
        "link_proof": DIGESTS | VALUES,
        "reveal_proof": DIGESTS | VALUES,
        "reader": DIGESTS | VALUES,
        "mark": DIGESTS | VALUES,
    },
)

EVERY_FIELD = (inputs.PUT_FIELDS | inputs.REVEAL_FIELDS | inputs.RECEIVED_FIELDS).values()
DIGEST_FIELDS = (
    inputs.LINK_VERIFIER,
    inputs.REVEAL_VERIFIER,
    inputs.LINK_PROOF,
    inputs.REVEAL_PROOF,
    inputs.READER,
    inputs.MARK,
)


@given(FIELDS)
def test_whatever_stands_in_the_fields_is_taken_or_refused(fields):
    """Each reader of a field returns what its contract says, or raises a problem that the client caused."""
    readers = (
        lambda: inputs.message_to_put(fields, SETTINGS),
        lambda: inputs.sealed_note(fields, SETTINGS),
        lambda: inputs.claim(fields, SETTINGS),
        lambda: inputs.link_proof(fields, SETTINGS),
        *(lambda field=field: field.of(fields, SETTINGS) for field in EVERY_FIELD),
        *(lambda field=field: inputs.optional(field, fields, SETTINGS) for field in EVERY_FIELD),
    )
    for reader in readers:
        try:
            reader()
        except Problem as problem:
            assert problem.status in (400, 413)
            assert problem.detail
            # A problem must not repeat what was sent: it may be part of a secret, or a page's markup.
            for value in fields.values():
                assert not (isinstance(value, str) and len(value) > 11 and value in problem.detail)


@given(st.text(max_size=MAX_BYTES * 2))
def test_a_message_is_any_text_up_to_the_limit_in_bytes(text):
    """Counted in UTF-8, not in characters."""
    length = len(text.encode())
    if 0 < length <= MAX_BYTES:
        assert inputs.MESSAGE.of({"message": text}, SETTINGS) == text
    else:
        with pytest.raises(Problem) as refusal:
            inputs.MESSAGE.of({"message": text}, SETTINGS)
        assert refusal.value.status == (413 if length else 400)


@given(st.integers())
@example(0)
@example(1)
@example(MAX_LIFETIME)
@example(MAX_LIFETIME + 1)
def test_a_lifetime_is_a_second_to_thirty_days(seconds):
    """As JSON's number and as a form's text."""
    for fields in ({"lifetime": seconds}, bodies.from_form(b"lifetime=%d" % seconds, inputs.MESSAGE_FIELDS)):
        if 1 <= seconds <= MAX_LIFETIME:
            assert inputs.LIFETIME.of(fields, SETTINGS) == timedelta(seconds=seconds)
        else:
            with pytest.raises(Problem):
                inputs.LIFETIME.of(fields, SETTINGS)


@given(st.binary(max_size=1200), st.binary(min_size=32, max_size=32), st.booleans())
@example(b"\x02" + bytes(28 + 256), bytes(32), True)
@example(b"\x01" + bytes(28 + 256), bytes(32), True)
def test_a_sealed_note_has_the_format_s_version_and_length(sealed, verifier, has_passphrase):
    """Taken exactly as it was sent, or refused."""
    fields = {
        "sealed": sealing.to_text(sealed),
        "link_verifier": sealing.to_text(verifier),
        "reveal_verifier": sealing.to_text(bytes(32)),
        "has_passphrase": has_passphrase,
    }
    if sealed[:1] == b"\x02" and len(sealed) in (29 + 256, 29 + 512):
        note = inputs.sealed_note(fields, SETTINGS)
        assert (note.sealed, note.link_verifier, note.reveal_verifier) == (sealed, verifier, bytes(32))
        assert note.has_passphrase == has_passphrase
    else:
        with pytest.raises(Problem):
            inputs.sealed_note(fields, SETTINGS)


@given(st.text(max_size=60))
@example("A" * 42 + "B")  # bits that decode to nothing: two texts must not be one proof
@example("A" * 43 + "=")
@example("A" * 42 + "\n")
def test_a_proof_is_32_bytes_written_in_the_one_way(text):
    """Base64url without padding, as the browser writes it; so are verifiers, readers and marks."""
    for field in DIGEST_FIELDS:
        try:
            data = field.of({field.name: text}, SETTINGS)
        except Problem as problem:
            assert problem.field == field.name
        else:
            assert sealing.to_text(data) == text
            assert len(data) == 32


@given(TOKENS)
def test_a_link_is_proved_by_its_token_or_its_proof(token):
    """Both come to the same proof."""
    proof = sealing.to_text(sealing.link_proof_of(token))

    by_token = inputs.link_proof({"token": token}, SETTINGS)
    assert by_token == inputs.link_proof({"link_proof": proof}, SETTINGS) == sealing.link_proof_of(token)


CLAIM_NAMES = ("token", "passphrase", "link_proof", "reveal_proof")


@given(TOKENS, DIGESTS, DIGESTS, st.sets(st.sampled_from(CLAIM_NAMES)))
def test_a_claim_is_a_token_or_both_proofs_and_no_mixture(token, link_proof, reveal_proof, names):
    """A passphrase goes with a token only."""
    values = dict(zip(CLAIM_NAMES, (token, "open sesame", link_proof, reveal_proof), strict=True))
    fields = {name: values[name] for name in names}

    if names in ({"token"}, {"token", "passphrase"}):
        assert inputs.claim(fields, SETTINGS) == Token(token, fields.get("passphrase", ""))
    elif names == {"link_proof", "reveal_proof"}:
        proofs = Proofs(sealing.from_text(link_proof), sealing.from_text(reveal_proof))
        assert inputs.claim(fields, SETTINGS) == proofs
    else:
        with pytest.raises(Problem):
            inputs.claim(fields, SETTINGS)


@given(st.text(max_size=20), st.text(sealing.WHITE_SPACE, max_size=3))
def test_a_passphrase_loses_white_space_at_its_ends(passphrase, space):
    """What is white space only is no passphrase."""
    read = inputs.PASSPHRASE.of({"passphrase": space + passphrase + space}, SETTINGS)

    assert read == sealing.strip_passphrase(passphrase)


@given(TOKENS, st.integers(0, 23), st.sampled_from(sealing.ALPHABET + "-_.= \n\0é"))
def test_a_token_with_a_changed_character_is_cut_off_or_mistyped(token, place, character):
    """The check characters find nearly every change: about one in 3,844 slips through, and fits no note."""
    mangled = token[:place] + character + token[place + 1 :]
    try:
        claim = inputs.claim({"token": mangled}, SETTINGS)
    except Problem as problem:
        assert problem.status == 400
        assert problem.kind == "cut-off"
    else:
        assert sealing.is_token(mangled)
        assert claim.token == mangled


@given(body=st.binary(max_size=100), content_type=st.sampled_from(["json", "x-www-form-urlencoded"]))
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_body_is_answered(io_loop, site, body, content_type):
    """Over HTTP, no bytes bring about anything but what the document says."""
    headers = {"Content-Type": f"application/{content_type}"}
    answer = io_loop.run_sync(lambda: site.ask("POST", "/post", headers, body))

    assert answer.code in (201, 400, 413, 415)
