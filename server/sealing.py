"""The sealed format, version 1: bytes in, bytes out; what is stored and shown is decided elsewhere.

    secret   = 22 characters of 0-9A-Za-z (131 bits), used as ASCII bytes
    token    = secret + 2 check characters
    ikm      = secret || PBKDF2-HMAC-SHA256(NFKC(passphrase), secret, 600,000)  [only with a passphrase]
    seal key = HKDF-SHA256(ikm, "note-whisperer/1 seal")
    proof    = HKDF-SHA256(ikm, "note-whisperer/1 reveal")
    verifier = SHA-256(proof)
    sealed   = 0x01 || nonce || AES-256-GCM(seal key, nonce, message || 0x80 || zeros, 0x01)

`static/js/seal.js` is the same in the browser; both are held to the vectors in tests/vectors/.
Sources: RFC 5869 (HKDF), RFC 8018 (PBKDF2), NIST SP 800-38D (GCM), ISO/IEC 7816-4 (padding).
"""

from __future__ import annotations

import hashlib
import re
import secrets
import string
import unicodedata
from base64 import urlsafe_b64encode
from binascii import a2b_base64
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
SECRET_LENGTH = 22
TOKEN_LENGTH = 24  # names the version of the format: 24 characters, version 1

VERSION = b"\x01"
NONCE_LENGTH = 12
TAG_LENGTH = 16
PADDING_MULTIPLE = 256  # hides the length of a message to within so many bytes
OVERHEAD = len(VERSION) + NONCE_LENGTH + TAG_LENGTH

DIGEST_LENGTH = 32  # of a proof and of a verifier
STRETCH_ROUNDS = 600_000  # OWASP's figure for PBKDF2-HMAC-SHA256
MAX_PASSPHRASE_BYTES = 1024

_TOKEN = re.compile(rf"[0-9A-Za-z]{{{TOKEN_LENGTH}}}")
# Base64 as the library reads it, with nothing in place of what base64url does not have.
_TO_BASE64 = bytes.maketrans(b"-_+/=", b"+/\x00\x00\x00")
# What text can end with, by its length modulo 4: the last character's unused bits are zero.
_ENDS = ("", (), tuple("AQgw"), tuple("AEIMQUYcgkosw048"))


class SealingError(ValueError):
    """Sealed bytes cannot be opened with this; it tells nothing about the message."""


class Lock(NamedTuple):
    """What a token, with its passphrase if it has one, opens: the seal key and the proof, 32 bytes each."""

    seal_key: bytes
    proof: bytes

    @property
    def verifier(self) -> bytes:
        return verifier_of(self.proof)


def new_token() -> str:
    """A random token: a secret and its check characters."""
    secret = ""
    while len(secret) < SECRET_LENGTH:  # four multiples of 62 fit into a byte; what lies above is not used
        secret += "".join([ALPHABET[byte % 62] for byte in secrets.token_bytes(32) if byte < 248])
    secret = secret[:SECRET_LENGTH]
    return secret + _check(secret)


def is_token(text: str) -> bool:
    """Whether `text` is whole: length, alphabet and check characters fit. Says nothing about any note."""
    return _TOKEN.fullmatch(text) is not None and text[SECRET_LENGTH:] == _check(text[:SECRET_LENGTH])


def _check(secret: str) -> str:
    base = len(ALPHABET)
    n = int.from_bytes(hashlib.sha256(secret.encode("ascii")).digest()[:4], "big") % base**2
    return ALPHABET[n // base] + ALPHABET[n % base]


def stretch(token: str, passphrase: str) -> bytes:
    """PBKDF2 of the passphrase with the token's secret as salt: 32 bytes, and a fifth of a second of a core."""
    words = unicodedata.normalize("NFKC", passphrase).encode("utf-8")
    return hashlib.pbkdf2_hmac("sha256", words, _secret(token), STRETCH_ROUNDS, DIGEST_LENGTH)


def lock_of(token: str, stretched: bytes = b"") -> Lock:
    """The lock of a token that `is_token`, and of what `stretch` made of its passphrase."""
    ikm = _secret(token) + stretched
    return Lock(_derive(ikm, b"note-whisperer/1 seal"), _derive(ikm, b"note-whisperer/1 reveal"))


def _secret(token: str) -> bytes:
    return token[:SECRET_LENGTH].encode("ascii")


def _derive(ikm: bytes, info: bytes) -> bytes:
    return HKDF(SHA256(), DIGEST_LENGTH, salt=None, info=info).derive(ikm)


def verifier_of(proof: bytes) -> bytes:
    """SHA-256 of a proof: all that the database may know."""
    return hashlib.sha256(proof).digest()


def seal(lock: Lock, message: str) -> bytes:
    """Pad and encrypt: 29 + 256 n bytes."""
    return _seal(lock, message, secrets.token_bytes(NONCE_LENGTH))


def _seal(lock: Lock, message: str, nonce: bytes) -> bytes:
    padded = message.encode("utf-8") + b"\x80"
    padded += bytes(-len(padded) % PADDING_MULTIPLE)
    return VERSION + nonce + AESGCM(lock.seal_key).encrypt(nonce, padded, VERSION)


def open_sealed(lock: Lock, sealed: bytes) -> str:
    """Decrypt what `seal` made.

    Raises:
        SealingError: another lock sealed it, or it was never sealed in this format.
    """
    if not is_sealed(sealed):
        raise SealingError("not sealed in version 1 of the format")
    nonce, encrypted = sealed[1 : 1 + NONCE_LENGTH], sealed[1 + NONCE_LENGTH :]
    try:
        message, mark, zeros = AESGCM(lock.seal_key).decrypt(nonce, encrypted, VERSION).rpartition(b"\x80")
        if not mark or zeros.strip(b"\x00"):
            raise ValueError("no padding")
        return message.decode("utf-8")
    except (InvalidTag, ValueError):
        raise SealingError("sealed with another token, or not a message") from None


def is_sealed(data: bytes) -> bool:
    """Whether `data` has the version and a length of the format; more cannot be known without the token."""
    length = len(data) - OVERHEAD
    return length > 0 and length % PADDING_MULTIPLE == 0 and data.startswith(VERSION)


def sealed_length(message_bytes: int) -> int:
    """How many bytes a message of so many bytes of UTF-8 has once it is sealed."""
    return OVERHEAD + (message_bytes // PADDING_MULTIPLE + 1) * PADDING_MULTIPLE


def to_text(data: bytes) -> str:
    """Base64url without padding (RFC 4648, section 5)."""
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def from_text(text: str) -> bytes:
    """The inverse of `to_text`.

    Raises:
        ValueError: not base64url, or not as `to_text` writes it.
    """
    if not text.endswith(_ENDS[len(text) % 4]):
        raise ValueError("not base64url: stray bits at the end")
    try:
        padded = text.encode("ascii").translate(_TO_BASE64) + b"=" * (-len(text) % 4)
        return a2b_base64(padded, strict_mode=True)
    except ValueError:
        raise ValueError("not base64url") from None
