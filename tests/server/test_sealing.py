"""The sealed format, version 1, held to the same vectors as the browser's script."""

import collections
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server import sealing

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "sealing-v1.json").read_text())
TOKEN = VECTORS[0]["token"]


def _keys(vector):
    passphrase = vector["passphrase"]
    return sealing.derive_keys(
        vector["token"], sealing.stretch(vector["token"], passphrase) if passphrase else b""
    )


@pytest.mark.parametrize("vector", VECTORS, ids=range(len(VECTORS)))
def test_vectors(vector):
    """Every vector gives its seal key, proof, verifier and sealed bytes, and opens to its message."""
    keys = _keys(vector)

    assert keys.seal_key.hex() == vector["seal_key"]
    assert sealing.to_text(keys.proof) == vector["proof"]
    assert sealing.to_text(keys.verifier) == vector["verifier"]
    sealed = sealing._seal(keys, vector["message"], bytes.fromhex(vector["nonce"]))
    assert sealing.to_text(sealed) == vector["sealed"]
    assert sealing.open_sealed(keys, sealed) == vector["message"]


@pytest.mark.parametrize("vector", VECTORS, ids=range(len(VECTORS)))
def test_tokens_of_vectors_are_complete(vector):
    """The check characters of every vector's token fit."""
    assert sealing.is_token(vector["token"])


def test_new_tokens_are_complete_and_differ():
    """A thousand new tokens are complete, and no two are the same."""
    tokens = {sealing.new_token() for _ in range(1000)}

    assert len(tokens) == 1000
    assert all(sealing.is_token(token) for token in tokens)


def test_secrets_are_uniform():
    """Each of the 62 characters is equally frequent in secrets (chi-squared, p > 0.00001)."""
    counts = collections.Counter("".join(sealing.new_token()[:22] for _ in range(20_000)))
    expected = 20_000 * 22 / 62

    chi_squared = sum((counts[letter] - expected) ** 2 / expected for letter in sealing.ALPHABET)

    assert set(counts) == set(sealing.ALPHABET)
    assert chi_squared < 125.6  # 61 degrees of freedom


@pytest.mark.parametrize(
    "mangled",
    [
        "",
        TOKEN[:-1],
        TOKEN + "0",
        TOKEN[:-2] + "00",
        TOKEN[:5] + "-" + TOKEN[6:],
        TOKEN[:5] + "é" + TOKEN[6:],
        TOKEN + "\n",
        TOKEN.swapcase(),
    ],
)
def test_mangled_tokens_are_recognised(mangled):
    """A wrong length, a strange letter or check characters that do not fit make a token mangled."""
    assert not sealing.is_token(mangled)


@given(st.integers(0, 23), st.sampled_from(sealing.ALPHABET))
def test_one_changed_character_mangles_a_token(position, letter):
    """A token with one mistyped letter is recognised, unless its check characters fit by a chance of 1 in 3844."""
    changed = TOKEN[:position] + letter + TOKEN[position + 1 :]

    check_fits_by_chance = position < 22 and sealing._check(changed[:22]) == changed[22:]
    assert sealing.is_token(changed) == (changed == TOKEN or check_fits_by_chance)


@given(st.text())
def test_a_sealed_message_opens_to_the_same(message):
    """Any message comes back exactly, in 29 + 256 n bytes."""
    keys = sealing.derive_keys(TOKEN)

    sealed = sealing.seal(keys, message)

    assert sealing.open_sealed(keys, sealed) == message
    assert len(sealed) == sealing.sealed_length(len(message.encode()))
    assert sealing.is_sealed(sealed)


def test_a_message_that_ends_like_its_padding_comes_back():
    """Characters whose bytes look like the padding are not taken for it."""
    keys = sealing.derive_keys(TOKEN)

    for message in ("\x00", "a\x00\x00", "\u0080\x00", "\u0800"):
        assert sealing.open_sealed(keys, sealing.seal(keys, message)) == message


def test_the_same_message_is_sealed_differently_each_time():
    """The nonce is random."""
    keys = sealing.derive_keys(TOKEN)

    assert sealing.seal(keys, "hello") != sealing.seal(keys, "hello")


@given(st.integers(0, 284), st.integers(1, 255))
def test_a_changed_byte_does_not_open(position, change):
    """Version, nonce, text and tag are all authenticated."""
    keys = sealing.derive_keys(TOKEN)
    sealed = bytearray(sealing.seal(keys, "hello world"))
    sealed[position] ^= change

    with pytest.raises(sealing.SealingError):
        sealing.open_sealed(keys, bytes(sealed))


def test_another_token_does_not_open():
    """A note opens with its own token only, and its proof fits no other."""
    keys, other = sealing.derive_keys(TOKEN), sealing.derive_keys(sealing.new_token())

    assert keys.proof != other.proof
    with pytest.raises(sealing.SealingError):
        sealing.open_sealed(other, sealing.seal(keys, "hello"))


@pytest.mark.parametrize(
    "padded", [b"hello".ljust(256, b"\0"), b"hello\x80" + b"\1" * 250, b"\xff\x80" + bytes(254)]
)
def test_sealed_bytes_without_a_message_do_not_open(padded):
    """No padding mark, something behind it, or no UTF-8 before it: an error, not a message."""
    keys = sealing.derive_keys(TOKEN)
    nonce = bytes(12)
    sealed = b"\x01" + nonce + sealing.AESGCM(keys.seal_key).encrypt(nonce, padded, b"\x01")

    with pytest.raises(sealing.SealingError):
        sealing.open_sealed(keys, sealed)


@pytest.mark.parametrize(
    "data", [b"", b"\x01", b"\x02" + bytes(284), b"\x01" + bytes(283), b"\x01" + bytes(28)]
)
def test_what_is_not_in_the_format_is_recognised(data):
    """A wrong version or length is seen without a token."""
    assert not sealing.is_sealed(data)


def test_passphrases_that_look_the_same_are_the_same():
    """Unicode's compatible spellings of a passphrase stretch to the same bytes."""
    assert sealing.stretch(TOKEN, "ﬁancée") == sealing.stretch(TOKEN, "fiance\u0301e")


@given(st.binary())
def test_base64url_goes_there_and_back(data):
    """Bytes come back from their text."""
    assert sealing.from_text(sealing.to_text(data)) == data


@pytest.mark.parametrize("text", ["A", "AB=", "AB==", "A+", "A/", "AB ", "AB\n", "AB", "é", "AAAAA"])
def test_what_is_not_base64url_is_refused(text):
    """Padding, other alphabets, white space and stray bits are errors."""
    with pytest.raises(ValueError, match="base64url"):
        sealing.from_text(text)
