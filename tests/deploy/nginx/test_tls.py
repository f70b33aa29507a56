"""nginx/snippets/tls.conf and templates/mode: who is let in how, and where the others are sent."""

import http.client
import shutil
import socket
import ssl
import subprocess

import pytest


def handshake(site, **attributes):
    """The connection that a client with these properties gets."""
    context = site.tls_context()
    for name, value in attributes.items():
        setattr(context, name, value)
    with socket.create_connection(("localhost", site.https_port)) as plain:
        with context.wrap_socket(plain, server_hostname="localhost") as connection:
            return connection.version(), connection.cipher()[0]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_current_tls_is_spoken(site, version):
    """TLS 1.2 and 1.3 both work."""
    spoken, cipher = handshake(site, minimum_version=version, maximum_version=version)
    assert spoken == version.name.replace("_", ".")
    assert "GCM" in cipher or "CHACHA20" in cipher


def test_old_tls_is_refused(site):
    """TLS 1.1 gets no connection."""
    context = site.tls_context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning):
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with socket.create_connection(("localhost", site.https_port)) as plain:
        with pytest.raises(ssl.SSLError, match="(?i)protocol.version"):
            context.wrap_socket(plain, server_hostname="localhost")


@pytest.mark.parametrize(
    "cipher", ["AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES256-SHA384"]
)
def test_ciphers_without_forward_secrecy_or_authentication_are_refused(site, cipher):
    """Neither RSA key exchange nor CBC ciphers are spoken."""
    context = site.tls_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(cipher)
    with socket.create_connection(("localhost", site.https_port)) as plain:
        with pytest.raises(ssl.SSLError, match="(?i)handshake.failure"):
            context.wrap_socket(plain, server_hostname="localhost")


def test_no_session_ticket_is_given(site):
    """A TLS 1.2 session comes without a ticket."""
    context = site.tls_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with socket.create_connection(("localhost", site.https_port)) as plain:
        with context.wrap_socket(plain, server_hostname="localhost") as connection:
            assert connection.session.has_ticket is False


def test_http_2_is_spoken(site):
    """A client that offers HTTP/2 gets it, and an answer over it."""
    context = site.tls_context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    with socket.create_connection(("localhost", site.https_port)) as plain:
        with context.wrap_socket(plain, server_hostname="localhost") as connection:
            assert connection.selected_alpn_protocol() == "h2"
    if shutil.which("curl"):
        curl = [
            "curl",
            "--silent",
            "--http2",
            "--output",
            "/dev/null",
            "--write-out",
            "%{http_version} %{http_code}",
        ]
        certificate = ["--cacert", site.settings["TLS_CERTIFICATE"]]
        url = f"https://localhost:{site.https_port}/"
        answer = subprocess.run([*curl, *certificate, url], capture_output=True, text=True, check=True)
        assert answer.stdout == "2 200"


def test_plain_http_is_sent_to_https(site):
    """Without TLS there is only a redirect, to the name that was asked for and the port in PUBLIC_URL."""
    status, headers, _ = site.ask("GET", "/Ab3_x?q", headers={"Host": "notes.example.org"}, tls=False)
    assert status == 301
    assert headers["Location"] == f"https://notes.example.org:{site.https_port}/Ab3_x?q"
    assert headers["Strict-Transport-Security"] is None
    assert headers["Referrer-Policy"] == "no-referrer"


def test_plain_http_on_the_tls_port_is_a_problem_document(site):
    """Somebody who forgets the s of https is told that this is no valid request."""
    connection = http.client.HTTPConnection("localhost", site.https_port)
    connection.request("GET", "/", headers={"Accept": "application/json"})
    response = connection.getresponse()
    assert (response.status, response.headers["Content-Type"]) == (
        400,
        "application/problem+json; charset=utf-8",
    )
    response.read()
    connection.close()


def test_behind_a_balancer_its_word_counts(balanced):
    """If the balancer says that it ended TLS, nginx sends HSTS; if the client came without TLS, a redirect."""
    secure = balanced.ask("GET", "/", headers={"X-Forwarded-Proto": "https"})
    assert (secure[0], secure[1]["Strict-Transport-Security"]) == (200, "max-age=63072000")
    insecure = balanced.ask(
        "GET", "/Ab3_x", headers={"X-Forwarded-Proto": "http", "Host": "notes.example.org"}
    )
    assert (insecure[0], insecure[1]["Location"]) == (301, "https://notes.example.org/Ab3_x")
    unknown = balanced.ask("GET", "/")
    assert (unknown[0], unknown[1]["Strict-Transport-Security"]) == (200, None)


def test_nobody_elses_word_counts(servers, start_nginx):
    """Without a balancer, nginx trusts no client about the scheme or the address."""
    nginx = start_nginx(servers, TLS="off")
    headers = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "198.51.100.7"}
    assert nginx.ask("GET", "/", headers=headers)[1]["Strict-Transport-Security"] is None
    assert nginx.ask_and_log("GET", "/", headers=headers)[1]["network"] == "127.0.0.0/24"
