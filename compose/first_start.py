"""Makes, once, what the databases of compose.yaml need before anything else: passwords and certificates.

Each goes into the volume of the service that needs it, readable by that service's user alone. Runs in
the server's image, which has the cryptography package. nginx makes its own certificate.
"""

from __future__ import annotations

import datetime
import os
import secrets
import sys
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

# The users of the images.
POSTGRES = 999
NOTE_WHISPERER = 10001

# Where a container finds its volume.
MOUNTED_AT = "/run/note-whisperer"

# Nobody renews these: the authority's key is discarded, and the databases are on a private network.
DAYS = 3650


class Authority:
    """A certificate authority whose key is not stored: it issues certificates only during this run."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "note-whisperer, first start")])
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        usage = _usage(sign_certificates=True)
        self.certificate = (
            _builder(self._name, self._name, self._key.public_key())
            .add_extension(constraints, critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    def issue(self, name: str) -> tuple[str, str]:
        """A server's certificate for this host name, and its key, both PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = (
            _builder(subject, self._name, key.public_key())
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(sign_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
            .sign(self._key, hashes.SHA256())
        )
        return (
            certificate.public_bytes(serialization.Encoding.PEM).decode(),
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ).decode(),
        )


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.timezone.utc)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=DAYS))
    )


def _usage(sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def everything() -> dict[tuple[str, int], dict[str, str]]:
    """The files of each volume: {(volume, user): {name: content}}."""
    authority = Authority()
    passwords = {role: secrets.token_urlsafe(32) for role in ("key-db", "msg-db", "web", "kgs")}

    def url(role: str, password: str, host: str) -> str:
        database = host.replace("-", "_")
        return (
            f"postgresql://{role}:{passwords[password]}@{host}:5432/{database}"
            f"?sslmode=verify-full&sslrootcert={MOUNTED_AT}/authority.pem"
        )

    web = {"key-db-url": url("web", "web", "key-db"), "msg-db-url": url("web", "web", "msg-db")}
    kgs = {"key-db-url": url("kgs", "kgs", "key-db")}
    owner = {"key-db-url": url("owner", "key-db", "key-db"), "msg-db-url": url("owner", "msg-db", "msg-db")}
    others = {f"web-{name}": text for name, text in web.items()} | {
        f"kgs-{name}": text for name, text in kgs.items()
    }
    trust = {"authority.pem": authority.pem}

    def database(name: str) -> dict[str, str]:
        certificate, key = authority.issue(name)
        return {"certificate.pem": certificate, "key.pem": key, "owner-password": passwords[name]}

    return {
        ("key-db", POSTGRES): database("key-db"),
        ("msg-db", POSTGRES): database("msg-db"),
        ("migrate", NOTE_WHISPERER): owner | others | trust,
        ("kgs", NOTE_WHISPERER): kgs | trust,
        ("server", NOTE_WHISPERER): web | trust,
    }


def write(root: Path, volumes: dict[tuple[str, int], dict[str, str]]) -> None:
    """Each file for its user alone. Replaces the files of an interrupted run."""
    for (volume, user), files in volumes.items():
        folder = root / volume
        folder.mkdir(exist_ok=True)
        for name, content in files.items():
            unfinished = folder / f".{name}"
            unfinished.unlink(missing_ok=True)
            with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400), "w") as file:
                file.write(content)
            if os.geteuid() == 0:
                os.chown(unfinished, user, user)
            unfinished.rename(folder / name)


def main(root: Path) -> int:
    # Written last, so that an interrupted run is repeated before any database has a password.
    done = root / "migrate" / "done"
    if done.exists():
        print("first start: passwords and certificates are there")
        return 0
    write(root, everything())
    done.touch()
    print("first start: made passwords and certificates")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
