"""What may be in front of the service or answer instead: redirects, portals, certificates and proxies."""

import datetime
import ipaddress
import json
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from server import sealing
from tests.server_process import free_port

PROBLEM = {"Content-Type": "application/problem+json"}
TOKEN = sealing.new_token()


def problem(detail, status=404):
    return json.dumps({"title": "x", "status": status, "detail": detail}).encode()


def test_nothing_listens(nw):
    """The exit code is 5, and the error says why."""
    done = nw("status", f"http://localhost:{free_port()}/aaaaa#{TOKEN}")

    assert done.returncode == 5
    assert b"cannot be reached. Connection refused." in done.stderr


def test_an_unknown_name(nw):
    """The exit code is 5, and the error names the host."""
    done = nw("status", f"https://no-such-host.invalid/aaaaa#{TOKEN}")

    assert done.returncode == 5
    assert b"Its name is not known here." in done.stderr


def test_a_redirect_is_not_followed(nw, stranger):
    """Proofs are for the service that the person has named."""
    other = stranger(200, {"Content-Type": "application/json"}, b"{}")
    first = stranger(307, {"Location": f"{other.url}/aaaaa/status"})

    done = nw("status", f"{first.url}/aaaaa#{TOKEN}")

    assert done.returncode == 6
    assert f"redirects to {other.url}/aaaaa/status, which is not followed" in done.stderr.decode()
    assert other.requests == []


@pytest.mark.parametrize("status", [200, 404, 403])
def test_something_else_at_the_address(nw, stranger, status):
    """A page of a hotel's portal is not an answer, and its 404 does not mean that the message is gone."""
    portal = stranger(status, {"Content-Type": "text/html"}, b"<h1>Log in</h1>")

    done = nw("status", f"{portal.url}/aaaaa#{TOKEN}")

    assert done.returncode == 5
    assert b"does not answer like a note-whisperer service" in done.stderr


@pytest.mark.parametrize(
    "body", [b"[]", b"{}", b'{"status": "unread"}', b'{"status": 1, "at": []}', b'"read"']
)
def test_an_answer_that_does_not_follow_the_protocol(nw, stranger, body):
    """A service of another version, or a hostile one, gets no traceback."""
    other = stranger(200, {"Content-Type": "application/json"}, body)

    done = nw("status", f"{other.url}/aaaaa#{TOKEN}")

    assert done.returncode == 5
    assert b"does not understand" in done.stderr


@pytest.mark.parametrize("key", ["aaaa", "../..", "aaaaa\n", "\x1b[2J!", 5])
def test_a_key_that_is_none_makes_no_link(nw, stranger, key):
    """What the service says is checked before it is printed."""
    answer = {"key": key, "url": f"https://h/{key}", "expires_at": "2026-01-01T00:00:00Z"}
    other = stranger(201, {"Content-Type": "application/json"}, json.dumps(answer).encode())

    done = nw("send", "--to", other.url, data=b"hello")

    assert (done.returncode, done.stdout) == (5, b"")


def test_control_characters_of_the_service_are_not_printed(nw, stranger):
    """Neither in a detail nor in a redirect."""
    hostile = stranger(404, PROBLEM, problem("gone\x1b[2J\x9b\r"))

    done = nw("status", f"{hostile.url}/aaaaa#{TOKEN}")

    assert done.returncode == 3
    assert b"gone<U+001B>[2J<U+009B><U+000D>" in done.stderr


@pytest.mark.parametrize(
    ("status", "code"), [(401, 6), (403, 6), (404, 3), (409, 3), (413, 6), (429, 6), (507, 6)]
)
def test_refusals(nw, stranger, status, code):
    """The service's own words, and the exit code of their kind."""
    refusing = stranger(status, {**PROBLEM, "Retry-After": "7"}, problem("These are its words.", status))

    done = nw("send", "--json", "--to", refusing.url, data=b"hello")

    error = json.loads(done.stderr)
    assert (done.returncode, error["status"], error["retry_after"]) == (code, status, 7)
    assert error["detail"].startswith("These are its words.")
    assert len(refusing.requests) == 1


def test_an_error_that_may_pass_is_asked_again(nw, stranger):
    """503 with a short Retry-After, until the command loses its patience."""
    away = stranger(503, {**PROBLEM, "Retry-After": "2"}, problem("Please try again soon.", 503))

    done = nw("status", f"{away.url}/aaaaa#{TOKEN}")

    assert done.returncode == 5
    assert len(away.requests) > 1


def test_the_access_token_goes_to_its_own_service_only(nw, stranger, environment):
    """--to another address sends none, and reading sends none."""
    own, other = [stranger(404, PROBLEM, problem("gone")) for _ in range(2)]
    environment |= {"NOTE_WHISPERER_URL": own.url, "NOTE_WHISPERER_TOKEN": "abc123"}

    nw("send", data=b"hello")
    nw("send", "--to", other.url, data=b"hello")
    nw("status", f"{own.url}/aaaaa#{TOKEN}")

    assert [headers.get("Authorization") for _, headers in own.requests] == ["Bearer abc123", None]
    assert [headers.get("Authorization") for _, headers in other.requests] == [None]


def test_plain_http_is_for_this_computer(nw, environment, stranger):
    """Elsewhere it takes --insecure-http; here through a proxy, which also shows that proxies are used."""
    proxy = stranger(404, PROBLEM, problem("said by the proxy"))
    environment["http_proxy"] = proxy.url
    link = f"http://notes.invalid/aaaaa#{TOKEN}"

    refused, allowed = nw("status", link), nw("status", "--insecure-http", link)

    assert refused.returncode == 2
    assert b"is not encrypted" in refused.stderr
    assert (allowed.returncode, allowed.stderr) == (3, b"note-whisperer: said by the proxy\n")
    assert [path for path, _ in proxy.requests] == ["http://notes.invalid/aaaaa/status"]


def test_no_proxy_gets_what_is_for_this_computer(nw, environment, stranger):
    """Plain HTTP is allowed there because it does not leave the computer."""
    own, proxy = [stranger(404, PROBLEM, problem("gone")) for _ in range(2)]
    environment["http_proxy"] = proxy.url

    nw("status", f"{own.url}/aaaaa#{TOKEN}")

    assert (len(own.requests), len(proxy.requests)) == (1, 0)


def test_a_proxy_that_cannot_be_used(nw, environment):
    """The error names the variable."""
    environment["https_proxy"] = "socks5://localhost:1080"

    done = nw("status", f"https://notes.invalid/aaaaa#{TOKEN}")

    assert done.returncode == 2
    assert b"https_proxy" in done.stderr


@pytest.fixture
def certificate(tmp_path):
    """A certificate for localhost that nobody knows yet, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
            ),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    file = tmp_path / "certificate.pem"
    file.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + made.public_bytes(Encoding.PEM)
    )
    return file


def test_https_at_a_port_without_it(nw, stranger):
    """Exit code 5, and what may be wrong."""
    plain = stranger(200, {})

    done = nw("status", f"{plain.url.replace('http:', 'https:')}/aaaaa#{TOKEN}")

    assert done.returncode == 5
    assert b"Does the service use https at this address?" in done.stderr


@pytest.mark.parametrize(
    ("token", "said"),
    [("", b"the token is set as NOTE_WHISPERER_TOKEN"), ("abc", b"it is not one of this service")],
)
def test_an_access_token_is_missing_or_wrong(nw, stranger, environment, token, said):
    """Exit code 6, and whether one was sent; for files, before they are read."""
    refusing = stranger(401, PROBLEM, problem("Only some people may.", 401))
    environment |= {"NOTE_WHISPERER_URL": refusing.url, "NOTE_WHISPERER_TOKEN": token}

    for done in (nw("send", data=b"hello"), nw("send", __file__)):
        assert done.returncode == 6
        assert said in done.stderr


def test_an_unknown_certificate_is_refused(nw, stranger, certificate, environment):
    """Nothing is sent until the person names its authority."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    service = stranger(404, PROBLEM, problem("gone"), tls=tls)
    link = f"{service.url}/aaaaa#{TOKEN}"

    unknown = nw("status", link)
    environment["SSL_CERT_FILE"] = str(certificate)
    known = nw("status", link)

    assert unknown.returncode == 5
    assert b"is not valid" in unknown.stderr and b"SSL_CERT_FILE" in unknown.stderr
    assert known.returncode == 3
    assert len(service.requests) == 1
