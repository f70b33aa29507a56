"""What is in the logs after every kind of request: routes and statuses, never a key, a token or a message."""

import json
import re
import socket
import subprocess
from urllib.parse import quote

import pytest

from tests.deploy.nginx.conftest import UNLIMITED, wait_for

MESSAGE = "Tr0ub4dor-and-3-in-a-message"
VERIFIER = "V3rifier" + "x" * 35
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
JSON = {"Content-Type": "application/json", "Accept": "application/json"}


@pytest.fixture(scope="session")
def quiet(_mortal_servers, start_nginx):
    """nginx with short timeouts, and a low limit for reveals only."""
    return start_nginx(_mortal_servers, READ_TIMEOUT="1", **UNLIMITED | {"REVEAL_RATE": "1r/m"})


def raw(nginx, request):
    """Bytes as they are, and whatever comes back."""
    with socket.create_connection(("localhost", nginx.https_port)) as plain:
        with nginx.tls_context().wrap_socket(plain, server_hostname="localhost") as connection:
            connection.sendall(request)
            connection.settimeout(0.3)
            answer = b""
            try:
                while chunk := connection.recv(65536):
                    answer += chunk
            except OSError:
                pass
            return answer


def everything_that_may_be_asked(nginx, key, token):
    """Good and bad requests, each with what must not be logged."""
    text, html = {"Accept": "text/plain"}, {
        "Accept": "text/html",
        "Referer": f"https://localhost/{key}/{token}",
    }
    ask = nginx.ask
    yield ask("GET", f"/{key}", headers=html)
    yield ask("GET", f"/{key}/{token}", headers=html)
    yield ask("GET", f"/{key}%23{token}", headers=html)
    yield ask("HEAD", f"/{key}/{token}", headers=html)
    yield ask("OPTIONS", f"/{key}/{token}", headers=html)
    yield ask("DELETE", f"/{key}", json.dumps({"token": token[:-1]}), JSON)
    yield ask("GET", f"/{key}/{token}/{token}", headers=html)
    yield ask("GET", f"/{key}/{token}/sent/{VERIFIER}", headers=html)  # the sender's page without a script
    yield ask("GET", f"/{key}/{token}/sent/{VERIFIER}/{token}", headers=html)
    yield ask("GET", f"/static/{token}", headers=html)
    yield ask("GET", f"/?message={MESSAGE}&token={token}", headers=html)
    yield ask("POST", "/post", f"message={MESSAGE}&lifetime={token}", FORM)
    yield ask("POST", "/post", f'{{"message": "{MESSAGE}', JSON)
    yield ask("POST", "/post", f"message={MESSAGE}&x={'x' * 402000}", FORM)  # 413 by nginx
    yield ask("POST", "/post", f"message={MESSAGE}{'x' * 66000}", FORM)  # refused by the server
    yield ask("PUT", f"/{key}/{token}", MESSAGE, html)
    yield ask("TRACE", f"/{key}/{token}", headers=html)
    yield ask("BREW" + token, f"/{key}/{token}", headers=html)
    yield ask("GET", f"/{key}/{token}{'x' * 9000}", headers=html)  # 414
    yield ask("GET", f"/{key}/{token}", headers={"X-Long": token * 900})  # 431
    yield ask("GET", f"/{key}/{token}", headers={"Transfer-Encoding": token})  # 501
    yield ask("POST", f"/{key}/reveal", f"token={token[:-2]}xx", FORM)
    yield ask("POST", f"/{key}/reveal", json.dumps({"token": [token]}), JSON)
    for _ in range(22):  # until the limit is reached
        yield ask("POST", f"/{key}/reveal", f"token={MESSAGE}", FORM)
    line = f"GET /{key}/{token} HTTP/1.1\r\nHost: localhost\r\n"
    yield raw(nginx, f"GET /{key}/{token}\r\n".encode())  # HTTP/0.9
    yield raw(nginx, f"/{key}/{token} HTTP/1.1\r\n\r\n".encode())
    yield raw(nginx, f"GET /{key}/{token} HTTP/7.0\r\n\r\n".encode())
    yield raw(nginx, f"GET /{key}/{token}\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    yield raw(nginx, f"GET /{key}/../../../{token} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    yield raw(nginx, f"GET /{key}/%zz{token} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    yield raw(nginx, f"GET http://{key}.example/{key}/{token} HTTP/1.1\r\nHost: {token}\r\n\r\n".encode())
    yield raw(nginx, f"GET /{key}/{token} HTTP/1.1\r\n\r\n".encode())  # no Host
    yield raw(nginx, f"{line}Host: {token}\r\n\r\n".encode())  # two
    yield raw(nginx, f"{line}{token}\r\n\r\n".encode())  # no header
    yield raw(
        nginx, f"POST /post HTTP/1.1\r\nHost: localhost\r\nContent-Length: {token}\r\n\r\n{MESSAGE}".encode()
    )
    yield raw(
        nginx,
        f"POST /{key} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n{MESSAGE}{token}".encode(),
    )
    yield ask("GET", f"/{key}/{token}", headers={**text, "User-Agent": f"{token}{MESSAGE}"})  # reveals
    yield ask("GET", f"/{key}/{token}", headers=text)


def test_no_log_has_a_key_a_token_or_a_message(quiet, mortal_servers, postgres):
    """After every kind of request, with the servers up, silent and down, all logs tell only routes."""
    key, token = quiet.post_note(MESSAGE)
    answers = list(everything_that_may_be_asked(quiet, key, token))
    statuses = {answer[0] for answer in answers if isinstance(answer, tuple)}
    assert {200, 204, 303, 400, 404, 405, 413, 414, 429, 431, 501} <= statuses
    assert MESSAGE.encode() in answers[-2][2]

    paths = (f"/{key}", f"/{key}/{token}", f"/{token}?{MESSAGE}")
    for server in mortal_servers:
        server.pause()
    assert 504 in {quiet.ask("GET", path)[0] for path in paths}
    # Who goes away while the answer is awaited.
    for _ in range(2):
        connection = quiet.connect()
        connection.request("GET", f"/{key}/{token}", headers={"Referer": f"/{token}"})
        connection.close()
    for server in mortal_servers:
        server.kill()
    assert {quiet.ask("GET", path)[0] for path in paths} == {502}
    assert quiet.ask("POST", "/post", f"message={MESSAGE}", FORM)[0] == 502
    expected = {"/", "/KEY", "/KEY/TOKEN", "/KEY/reveal", "/post", "/static", "other"}
    expected |= {"/KEY/TOKEN/sent/VERIFIER"}
    wait_for(lambda: {line["route"] for line in quiet.access_log()} >= expected, "not every route is logged")
    everything = {
        "nginx": quiet.logs(),
        "server": "".join(server.log.read_text() for server in mortal_servers),
        "PostgreSQL": (postgres.socket_folder.parent / "postgres.log").read_text(),
    }
    for name, text in everything.items():
        for secret in (key, token, token[:10], MESSAGE, quote(MESSAGE), "Tr0ub4dor", "V3rifier"):
            assert secret not in text, f"{name} has logged it: {context(text, secret)}"


def test_no_severity_writes_a_request_down(site):
    """nginx's error log is about nginx itself. Messages about requests go nowhere, at any severity.

    Full disks and used-up memory do not come on demand, but would be logged with the request.
    """
    dumped = subprocess.run([*site.command(), "-T"], capture_output=True, text=True, check=True).stdout
    assert re.findall(r"^\s*error_log (.*);", dumped, re.M) == [
        "stderr notice",  # of nginx itself
        "/dev/null emerg",  # http
        "/dev/null emerg",  # stream
    ]
    for block in ("http", "stream"):
        assert "error_log /dev/null emerg;" in re.split(rf"^{block} {{", dumped, flags=re.M)[1]


def context(text, secret):
    return re.search(f".{{0,200}}{re.escape(secret)}.{{0,100}}", text)[0]


def test_the_access_log_tells_what_an_operator_asks(site):
    """A line tells when, what kind, how it ended, how long it took and where it went."""
    _, line = site.ask_and_log("GET", "/AAAAA?x")
    assert {
        name: line[name] for name in ("method", "route", "status", "network", "http", "upstream_status")
    } == {
        "method": "GET",
        "route": "/KEY",
        "status": 404,
        "network": "127.0.0.0/24",
        "http": "HTTP/1.1",
        "upstream_status": "404",
    }
    assert re.fullmatch(r"127\.0\.0\.1:\d+", line["upstream"])
    assert line["tls"].startswith("TLSv1.") and line["seconds"] >= 0


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.77", "192.0.2.0/24"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1::/48"),
        ("2001:db8::6", "2001:db8::/48"),
        ("2001::6", "2001::/48"),
        ("::1", "other"),
    ],
)
def test_the_access_log_knows_networks_not_people(balanced, address, network):
    """Addresses are logged as far as they tell where an attack comes from."""
    _, line = balanced.ask_and_log("GET", "/", headers={"X-Forwarded-For": address})
    assert line["network"] == network
