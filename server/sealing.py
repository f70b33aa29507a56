"""The sealed format, version 2: bytes in, bytes out. Other modules decide what to store and show.

    secret       = 22 characters of 0-9A-Za-z (131 bits), used as ASCII bytes
    token        = secret + 2 check characters
    stretch      = PBKDF2-HMAC-SHA256(NFKC(passphrase without white space at its ends), secret, 600,000)
    link proof   = HKDF-SHA256(secret, "note-whisperer/2 link")
    ikm          = secret || stretch                         [stretch only with a passphrase]
    seal key     = HKDF-SHA256(ikm, "note-whisperer/2 seal")
    reveal proof = HKDF-SHA256(ikm, "note-whisperer/2 reveal")
    mark         = HKDF-SHA256(seal key, "note-whisperer/2 read")
    verifiers    = SHA-256 of each proof
    receipt      = base64url(link proof) + base64url(SHA-256(mark))
    sealed       = 0x02 || nonce || AES-256-GCM(seal key, nonce, message || 0x80 || zeros, 0x02)

`static/js/seal.js` is the same in the browser; both are held to the vectors in tests/vectors/.
Sources: RFC 5869 (HKDF), RFC 8018 (PBKDF2), NIST SP 800-38D (GCM), ISO/IEC 7816-4 (padding).

AES-GCM does not commit to a key: a sender can make bytes that pass under two keys. It does no harm here,
because the server releases sealed bytes for one reveal proof only. The proof and the seal key come from the
same ikm, so somebody with another token, and so with another key, does not get the bytes.
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
TOKEN_LENGTH = 24

VERSION = b"\x02"
NONCE_LENGTH = 12
TAG_LENGTH = 16
PADDING_MULTIPLE = 256  # hides the exact length of a message
OVERHEAD = len(VERSION) + NONCE_LENGTH + TAG_LENGTH

DIGEST_LENGTH = 32  # of a proof and of a verifier
STRETCH_ROUNDS = 600_000  # OWASP's figure for PBKDF2-HMAC-SHA256
MAX_PASSPHRASE_BYTES = 1024
# Unicode's White_Space. Python's str.strip() and JavaScript's trim() each remove something else.
WHITE_SPACE = (
    "\t\n\v\f\r \u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)

_TOKEN = re.compile(rf"[0-9A-Za-z]{{{TOKEN_LENGTH}}}")
# From base64url to what the library reads. Characters that base64url does not have become invalid.
_TO_BASE64 = bytes.maketrans(b"-_+/=", b"+/\x00\x00\x00")
# Characters that may end a text, by its length modulo 4: the bits that it does not use must be zero.
_LAST_CHARACTERS = ("", (), tuple("AQgw"), tuple("AEIMQUYcgkosw048"))


class SealingError(ValueError):
    """The sealed bytes cannot be opened. The error tells nothing about the message."""


class DerivedKeys(NamedTuple):
    """What follows from a token, and from its passphrase if it has one: 32 bytes each."""

    seal_key: bytes
    link_proof: bytes  # shows that somebody has the link
    reveal_proof: bytes  # shows that somebody has the link and the passphrase

    @property
    def link_verifier(self) -> bytes:
        return verifier_of(self.link_proof)

    @property
    def reveal_verifier(self) -> bytes:
        return verifier_of(self.reveal_proof)

    @property
    def mark(self) -> bytes:
        """Only somebody who can open the note can compute it."""
        return _derive(self.seal_key, "read")

    @property
    def receipt(self) -> str:
        """For the sender: 86 characters that prove the link, check the mark, and open nothing."""
        return to_text(self.link_proof) + to_text(verifier_of(self.mark))


def new_token() -> str:
    """A random token: a secret and its check characters."""
    secret = ""
    while len(secret) < SECRET_LENGTH:  # 248 = 4 * 62: higher bytes would favour some characters
        secret += "".join([ALPHABET[byte % 62] for byte in secrets.token_bytes(32) if byte < 248])
    secret = secret[:SECRET_LENGTH]
    return secret + _check_characters(secret)


def is_token(text: str) -> bool:
    """Whether the length, the alphabet and the check characters are right. Says nothing about any note."""
    return _TOKEN.fullmatch(text) is not None and text[SECRET_LENGTH:] == _check_characters(
        text[:SECRET_LENGTH]
    )


def _check_characters(secret: str) -> str:
    base = len(ALPHABET)
    n = int.from_bytes(hashlib.sha256(secret.encode("ascii")).digest()[:4], "big") % base**2
    return ALPHABET[n // base] + ALPHABET[n % base]


def strip_passphrase(passphrase: str) -> str:
    """The passphrase without white space at its ends; empty means that there is none."""
    return passphrase.strip(WHITE_SPACE)


def stretch(token: str, passphrase: str) -> bytes:
    """PBKDF2 of the passphrase with the token's secret as salt: 32 bytes, and a fifth of a second of a core.

    Returns no bytes for a passphrase that is only white space.
    """
    words = unicodedata.normalize("NFKC", strip_passphrase(passphrase)).encode("utf-8")
    if not words:
        return b""
    return hashlib.pbkdf2_hmac("sha256", words, _secret_of(token), STRETCH_ROUNDS, DIGEST_LENGTH)


def link_proof_of(token: str) -> bytes:
    """The proof of a link. It needs no passphrase, so the server checks it before it stretches one."""
    return _derive(_secret_of(token), "link")


def derive_keys(token: str, stretched: bytes = b"") -> DerivedKeys:
    """The keys that follow from a token that passes `is_token` and from its stretched passphrase."""
    ikm = _secret_of(token) + stretched
    return DerivedKeys(_derive(ikm, "seal"), link_proof_of(token), _derive(ikm, "reveal"))


def _secret_of(token: str) -> bytes:
    return token[:SECRET_LENGTH].encode("ascii")


def _derive(ikm: bytes, purpose: str, salt: bytes | None = None) -> bytes:
    info = f"note-whisperer/2 {purpose}".encode("ascii")
    return HKDF(SHA256(), DIGEST_LENGTH, salt, info).derive(ikm)


def file_key_of(keys: DerivedKeys, sealed: bytes) -> bytes:
    """The key of a note's files, which follows from its seal key and from its own sealed bytes."""
    return _derive(keys.seal_key, "files", hashlib.sha256(sealed).digest())


def verifier_of(proof: bytes) -> bytes:
    """SHA-256 of a proof or of a mark: all that the database may know of a proof."""
    return hashlib.sha256(proof).digest()


def seal(keys: DerivedKeys, message: str) -> bytes:
    """Pad and encrypt: 29 + 256 n bytes."""
    return _seal(keys, message, secrets.token_bytes(NONCE_LENGTH))


def _seal(keys: DerivedKeys, message: str, nonce: bytes) -> bytes:
    return seal_content(keys, message.encode("utf-8"), VERSION, nonce)


def seal_content(keys: DerivedKeys, content: bytes, version: bytes, nonce: bytes) -> bytes:
    """Pad and encrypt the content of a note, in any version of the format. The nonce is random except in tests."""
    padded = content + b"\x80"
    padded += bytes(-len(padded) % PADDING_MULTIPLE)
    return version + nonce + AESGCM(keys.seal_key).encrypt(nonce, padded, version)


def open_sealed(keys: DerivedKeys, sealed: bytes) -> str:
    """Decrypt what `seal` made.

    Raises:
        SealingError: it was sealed with other keys, or never in this format.
    """
    try:
        return open_content(keys, sealed, VERSION).decode("utf-8")
    except UnicodeDecodeError:
        raise SealingError("not a message") from None


def open_content(keys: DerivedKeys, sealed: bytes, version: bytes) -> bytes:
    """Decrypt what `seal_content` made. Raises SealingError."""
    if not is_sealed(sealed, version):
        raise SealingError("not sealed in this version of the format")
    nonce, encrypted = sealed[1 : 1 + NONCE_LENGTH], sealed[1 + NONCE_LENGTH :]
    try:
        content, end, zeros = AESGCM(keys.seal_key).decrypt(nonce, encrypted, version).rpartition(b"\x80")
    except InvalidTag:
        raise SealingError("sealed with another token") from None
    if not end or zeros.strip(b"\x00"):
        raise SealingError("no padding")
    return content


def is_sealed(data: bytes, version: bytes = VERSION) -> bool:
    """Whether `data` has the version and a length of the format; more cannot be known without the token."""
    length = len(data) - OVERHEAD
    return length > 0 and length % PADDING_MULTIPLE == 0 and data.startswith(version)


def sealed_length(message_bytes: int) -> int:
    """The sealed length of a message that has `message_bytes` bytes in UTF-8."""
    return OVERHEAD + (message_bytes // PADDING_MULTIPLE + 1) * PADDING_MULTIPLE


def to_text(data: bytes) -> str:
    """Base64url without padding (RFC 4648, section 5)."""
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def from_text(text: str) -> bytes:
    """The inverse of `to_text`.

    Raises:
        ValueError: not base64url, or not as `to_text` writes it.
    """
    if not text.endswith(_LAST_CHARACTERS[len(text) % 4]):
        raise ValueError("not base64url: stray bits at the end")
    try:
        padded = text.encode("ascii").translate(_TO_BASE64) + b"=" * (-len(text) % 4)
        return a2b_base64(padded, strict_mode=True)
    except ValueError:
        raise ValueError("not base64url") from None
