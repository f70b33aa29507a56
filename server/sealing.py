"""The sealed format, version 1: bytes in, bytes out; other modules decide what is stored and shown.

    secret   = 22 characters of 0-9A-Za-z (131 bits), used as ASCII bytes
    token    = secret + 2 check characters
    ikm      = secret || PBKDF2-HMAC-SHA256(NFKC(passphrase), secret, 600,000)  [only with a passphrase]
    seal key = HKDF-SHA256(ikm, "note-whisperer/1 seal")
    proof    = HKDF-SHA256(ikm, "note-whisperer/1 reveal")
    verifier = SHA-256(proof)
    sealed   = 0x01 || nonce || AES-256-GCM(seal key, nonce, message || 0x80 || zeros, 0x01)

`static/js/seal.js` does the same in the browser; the vectors in tests/vectors/ hold both to the format.
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
TOKEN_LENGTH = 24  # the length tells the version of the format: 24 characters are version 1

VERSION = b"\x01"
NONCE_LENGTH = 12
TAG_LENGTH = 16
PADDING_MULTIPLE = 256  # bytes; hides how long a message is
OVERHEAD = len(VERSION) + NONCE_LENGTH + TAG_LENGTH

DIGEST_LENGTH = 32  # bytes of a proof and of a verifier
STRETCH_ROUNDS = 600_000  # OWASP's figure for PBKDF2-HMAC-SHA256
MAX_PASSPHRASE_BYTES = 1024

_TOKEN = re.compile(rf"[0-9A-Za-z]{{{TOKEN_LENGTH}}}")
# From base64url to the base64 that the library reads; other characters become invalid ones.
_TO_BASE64 = bytes.maketrans(b"-_+/=", b"+/\x00\x00\x00")
# Possible last characters of a text, by its length modulo 4: the unused bits of the last one are zero.
_ENDS = ("", (), tuple("AQgw"), tuple("AEIMQUYcgkosw048"))


class SealingError(ValueError):
    """These keys do not open the sealed bytes; the error tells nothing about the message."""


class DerivedKeys(NamedTuple):
    """What is derived from a token and its passphrase, if it has one: 32 bytes each."""

    seal_key: bytes
    proof: bytes

    @property
    def verifier(self) -> bytes:
        return verifier_of(self.proof)


def new_token() -> str:
    """A random token: a secret and its check characters."""
    secret = ""
    while (
        len(secret) < SECRET_LENGTH
    ):  # four multiples of 62 fit into a byte; higher values would make some letters likelier
        secret += "".join([ALPHABET[byte % 62] for byte in secrets.token_bytes(32) if byte < 248])
    secret = secret[:SECRET_LENGTH]
    return secret + _check(secret)


def is_token(text: str) -> bool:
    """Whether `text` is a complete token: length, alphabet and check characters fit. Such a note need not exist."""
    return _TOKEN.fullmatch(text) is not None and text[SECRET_LENGTH:] == _check(text[:SECRET_LENGTH])


def _check(secret: str) -> str:
    base = len(ALPHABET)
    n = int.from_bytes(hashlib.sha256(secret.encode("ascii")).digest()[:4], "big") % base**2
    return ALPHABET[n // base] + ALPHABET[n % base]


def stretch(token: str, passphrase: str) -> bytes:
    """PBKDF2 of the passphrase with the token's secret as salt: 32 bytes. Takes a core a fifth of a second."""
    words = unicodedata.normalize("NFKC", passphrase).encode("utf-8")
    return hashlib.pbkdf2_hmac("sha256", words, _secret(token), STRETCH_ROUNDS, DIGEST_LENGTH)


def derive_keys(token: str, stretched: bytes = b"") -> DerivedKeys:
    """The keys of a token that `is_token`, and of its passphrase if there is one, as `stretch` returned it."""
    ikm = _secret(token) + stretched
    return DerivedKeys(_derive(ikm, b"note-whisperer/1 seal"), _derive(ikm, b"note-whisperer/1 reveal"))


def _secret(token: str) -> bytes:
    return token[:SECRET_LENGTH].encode("ascii")


def _derive(ikm: bytes, info: bytes) -> bytes:
    return HKDF(SHA256(), DIGEST_LENGTH, salt=None, info=info).derive(ikm)


def verifier_of(proof: bytes) -> bytes:
    """SHA-256 of a proof: all that the database may know about it."""
    return hashlib.sha256(proof).digest()


def seal(keys: DerivedKeys, message: str) -> bytes:
    """Pad and encrypt a message, into 29 + 256 n bytes."""
    return _seal(keys, message, secrets.token_bytes(NONCE_LENGTH))


def _seal(keys: DerivedKeys, message: str, nonce: bytes) -> bytes:
    padded = message.encode("utf-8") + b"\x80"
    padded += bytes(-len(padded) % PADDING_MULTIPLE)
    return VERSION + nonce + AESGCM(keys.seal_key).encrypt(nonce, padded, VERSION)


def open_sealed(keys: DerivedKeys, sealed: bytes) -> str:
    """Decrypt what `seal` returned.

    Raises:
        SealingError: it was sealed with other keys, or never in this format.
    """
    if not is_sealed(sealed):
        raise SealingError("not sealed in version 1 of the format")
    nonce, encrypted = sealed[1 : 1 + NONCE_LENGTH], sealed[1 + NONCE_LENGTH :]
    try:
        message, mark, zeros = AESGCM(keys.seal_key).decrypt(nonce, encrypted, VERSION).rpartition(b"\x80")
        if not mark or zeros.strip(b"\x00"):
            raise ValueError("no padding")
        return message.decode("utf-8")
    except (InvalidTag, ValueError):
        raise SealingError("sealed with another token, or not a message") from None


def is_sealed(data: bytes) -> bool:
    """Whether `data` has the version and a length of the format; only the token can tell more."""
    length = len(data) - OVERHEAD
    return length > 0 and length % PADDING_MULTIPLE == 0 and data.startswith(VERSION)


def sealed_length(message_bytes: int) -> int:
    """The bytes of a sealed message whose UTF-8 has `message_bytes`."""
    return OVERHEAD + (message_bytes // PADDING_MULTIPLE + 1) * PADDING_MULTIPLE


def to_text(data: bytes) -> str:
    """To base64url without padding (RFC 4648, section 5)."""
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def from_text(text: str) -> bytes:
    """From base64url without padding, as `to_text` returns it.

    Raises:
        ValueError: any other text.
    """
    if not text.endswith(_ENDS[len(text) % 4]):
        raise ValueError("not base64url: stray bits at the end")
    try:
        padded = text.encode("ascii").translate(_TO_BASE64) + b"=" * (-len(text) % 4)
        return a2b_base64(padded, strict_mode=True)
    except ValueError:
        raise ValueError("not base64url") from None
