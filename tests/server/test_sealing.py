"""The sealed format, version 2, held to the vectors that the browser is held to as well."""

import collections
import json
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB
from hypothesis import given
from hypothesis import strategies as st

from server import sealing

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "sealing-v2.json").read_text())
TOKEN = VECTORS[0]["token"]


def _keys_of(vector):
    passphrase = vector["passphrase"]
    return sealing.derive_keys(
        vector["token"], sealing.stretch(vector["token"], passphrase) if passphrase else b""
    )


@pytest.mark.parametrize("vector", VECTORS, ids=range(len(VECTORS)))
def test_vectors(vector):
    """Every vector gives its keys, proofs, verifiers, mark and receipt, and opens to its message."""
    keys = _keys_of(vector)

    for name in ("seal_key", "link_proof", "link_verifier", "reveal_proof", "reveal_verifier", "mark"):
        assert sealing.to_text(getattr(keys, name)) == vector[name], name
    assert keys.receipt == vector["receipt"]
    assert sealing.link_proof_of(vector["token"]) == keys.link_proof
    sealed = sealing._seal(keys, vector["message"], sealing.from_text(vector["nonce"]))
    assert sealing.to_text(sealed) == vector["sealed"]
    assert sealing.open_sealed(keys, sealed) == vector["message"]


@pytest.mark.parametrize("vector", VECTORS, ids=range(len(VECTORS)))
def test_tokens_of_vectors_are_whole(vector):
    """The check characters of every vector's token fit."""
    assert sealing.is_token(vector["token"])


def test_new_tokens_are_whole_and_differ():
    """A thousand new tokens are whole, and no two are the same."""
    tokens = {sealing.new_token() for _ in range(1000)}

    assert len(tokens) == 1000
    assert all(sealing.is_token(token) for token in tokens)


def test_secrets_are_uniform():
    """Each of the 62 characters stands equally often in secrets (chi-squared, p > 0.00001)."""
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
def test_mangled_tokens_are_told_from_whole_ones(mangled):
    """A wrong length, a strange letter or check characters that do not fit make a token mangled."""
    assert not sealing.is_token(mangled)


@given(st.integers(0, 23), st.sampled_from(sealing.ALPHABET))
def test_one_changed_character_mangles_a_token(position, letter):
    """A token with one letter mistyped is never taken for a whole one, save by chance of 1 in 3844."""
    changed = TOKEN[:position] + letter + TOKEN[position + 1 :]

    check_fits_by_chance = position < 22 and sealing._check_characters(changed[:22]) == changed[22:]
    assert sealing.is_token(changed) == (changed == TOKEN or check_fits_by_chance)


@given(st.text())
def test_what_is_sealed_opens_to_the_same(message):
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
    """A note opens with its own token only, and shares no proof with another."""
    keys, other = sealing.derive_keys(TOKEN), sealing.derive_keys(sealing.new_token())

    assert len({*keys, *other, keys.mark, other.mark}) == 8
    with pytest.raises(sealing.SealingError):
        sealing.open_sealed(other, sealing.seal(keys, "hello"))


def test_the_passphrase_changes_all_but_the_link_proof():
    """Somebody with the link and another passphrase shows the link, and neither reveals, opens nor marks."""
    keys, other = sealing.derive_keys(TOKEN, b"s" * 32), sealing.derive_keys(TOKEN)

    assert keys.link_proof == other.link_proof
    assert keys.reveal_proof != other.reveal_proof
    assert keys.mark != other.mark
    with pytest.raises(sealing.SealingError):
        sealing.open_sealed(other, sealing.seal(keys, "hello"))


def test_bytes_made_for_two_keys_are_released_for_one():
    """AES-GCM takes crafted bytes under two keys; their reveal verifiers differ, and a note has one of them."""
    keys, other = sealing.derive_keys(TOKEN), sealing.derive_keys(sealing.new_token())
    nonce = bytes(sealing.NONCE_LENGTH)
    encrypted = _encrypted_for_two(keys.seal_key, other.seal_key, nonce)

    for key in (keys.seal_key, other.seal_key):
        assert len(sealing.AESGCM(key).decrypt(nonce, encrypted, sealing.VERSION)) == 256
    assert keys.reveal_verifier != other.reveal_verifier


def _encrypted_for_two(key, other, nonce):
    """256 bytes and a tag that fit both keys: all bytes are free but one block, which makes the tags equal."""
    blocks = [sealing.VERSION.ljust(16, b"\0"), *[bytes(16)] * 16, (8).to_bytes(8) + (2048).to_bytes(8)]
    tag, other_tag = _tag(key, nonce, blocks), _tag(other, nonce, blocks)
    last = 2  # the power of the hash key that the last block of the text is multiplied with
    power, other_power = _power(_block_cipher(key, bytes(16)), last), _power(
        _block_cipher(other, bytes(16)), last
    )
    block = _times(tag ^ other_tag, _power(power ^ other_power, 2**128 - 2))
    return bytes(240) + block.to_bytes(16) + (tag ^ _times(block, power)).to_bytes(16)


def _tag(key, nonce, blocks):
    hash_key, total = _block_cipher(key, bytes(16)), 0
    for block in blocks:
        total = _times(total ^ int.from_bytes(block), hash_key)
    return total ^ _block_cipher(key, nonce + (1).to_bytes(4))


def _block_cipher(key, block):
    return int.from_bytes(Cipher(AES(key), ECB()).encryptor().update(block))


def _times(a, b):
    """The product in the field of GCM (NIST SP 800-38D, algorithm 1)."""
    product = 0
    for bit in range(127, -1, -1):
        product ^= b if a >> bit & 1 else 0
        b = b >> 1 ^ (0xE1 << 120 if b & 1 else 0)
    return product


def _power(base, exponent):
    power = 1 << 127  # the one of that field
    while exponent:
        power = _times(power, base) if exponent & 1 else power
        base, exponent = _times(base, base), exponent >> 1
    return power


@pytest.mark.parametrize(
    "padded", [b"hello".ljust(256, b"\0"), b"hello\x80" + b"\1" * 250, b"\xff\x80" + bytes(254)]
)
def test_sealed_bytes_without_a_message_do_not_open(padded):
    """No padding mark, something behind it, or no UTF-8 before it: an error, not a message."""
    keys = sealing.derive_keys(TOKEN)
    nonce = bytes(12)
    sealed = sealing.VERSION + nonce + sealing.AESGCM(keys.seal_key).encrypt(nonce, padded, sealing.VERSION)

    with pytest.raises(sealing.SealingError):
        sealing.open_sealed(keys, sealed)


@pytest.mark.parametrize(
    "data", [b"", b"\x02", b"\x01" + bytes(284), b"\x02" + bytes(283), b"\x02" + bytes(28)]
)
def test_what_is_not_in_the_format_is_recognised(data):
    """A wrong version or length is seen without a token."""
    assert not sealing.is_sealed(data)


def test_passphrases_that_look_the_same_are_the_same():
    """Unicode's compatible spellings of a passphrase, and white space at its ends, stretch to the same bytes."""
    assert sealing.stretch(TOKEN, "ﬁancée") == sealing.stretch(TOKEN, "\u3000fiance\u0301e\r\n")


def test_white_space_within_a_passphrase_counts():
    """It is removed at the ends only."""
    assert sealing.strip_passphrase("\t correct  horse\u0085") == "correct  horse"


def test_white_space_is_what_unicode_calls_so():
    """The 25 characters, and no control or format character that Python or JavaScript would strip."""
    stripped = {chr(n) for n in range(sys.maxunicode + 1) if sealing.strip_passphrase(chr(n)) == ""}

    assert stripped == {chr(n) for n in range(sys.maxunicode + 1) if chr(n).isspace()} - set(
        "\x1c\x1d\x1e\x1f"
    )
    assert len(stripped) == len(sealing.WHITE_SPACE) == 25


def test_a_passphrase_of_white_space_is_none():
    """It stretches to nothing, so that the keys are those of the token alone."""
    assert sealing.stretch(TOKEN, " \t\u2003") == b""


@given(st.binary())
def test_base64url_goes_there_and_back(data):
    """Bytes come back from their text."""
    assert sealing.from_text(sealing.to_text(data)) == data


@pytest.mark.parametrize("text", ["A", "AB=", "AB==", "A+", "A/", "AB ", "AB\n", "AB", "é", "AAAAA"])
def test_what_is_not_base64url_is_refused(text):
    """Padding, other alphabets, white space and stray bits are errors."""
    with pytest.raises(ValueError, match="base64url"):
        sealing.from_text(text)
