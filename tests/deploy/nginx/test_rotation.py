"""Replaces passwords and certificates of the databases, and nginx's certificate, under load: no request fails."""

import http.client
import json
import shutil
import signal
import socket
import ssl
import threading
from pathlib import Path

import pytest

from kgs import seeding
from tests.deploy.nginx.conftest import UNLIMITED, Nginx, ServerProcess, free_ports, self_signed, wait_for
from tests.deploy.nginx.test_faults import Load
from tests.deploy.test_postgres_tls import PROGRAMS, Database

needs_tls = pytest.mark.skipif(
    PROGRAMS is None, reason="no PostgreSQL with TLS is installed (apt-get install postgresql)"
)


class Service:
    """Two servers behind nginx, on a PostgreSQL that has TLS and passwords."""

    def __init__(self, folders, start_nginx):
        self.database = Database(folders())
        self.authorities = folders() / "authorities.pem"
        self.trust("secrets")
        self.migrate("web", "first-password")
        seeding.ensure_ahead(self.database.url("kgs", "key-db-url"), 200_000)
        folder = folders()
        self.servers = [
            ServerProcess(
                port, *self.urls("web", "first-password"), folder / f"{port}.log", DRAIN_SECONDS="20"
            )
            for port in free_ports(2)
        ]
        for server in self.servers:
            server.wait_until_ready()
        self.nginx = start_nginx(self.servers, **UNLIMITED)

    def trust(self, *first_starts):
        """Trust the authorities of these first starts."""
        files = [self.database.folder / name / "server" / "authority.pem" for name in first_starts]
        self.authorities.write_text("".join(file.read_text() for file in files))

    def urls(self, role, password):
        """The servers' URLs of the key-db and the msg-db, for a role."""
        address = f"key-db:{self.database.port}"
        query = f"sslmode=verify-full&sslrootcert={self.authorities}&hostaddr=127.0.0.1"
        return [f"postgresql://{role}:{password}@{address}/{name}?{query}" for name in ("key_db", "msg_db")]

    def owner_urls(self):
        return [
            self.database.url("migrate", name).partition("?")[0]
            + f"?sslmode=verify-full&sslrootcert={self.authorities}&hostaddr=127.0.0.1"
            for name in ("key-db-url", "msg-db-url")
        ]

    def migrate(self, role, password):
        """Let `migrate` make the servers' role."""
        names = ("web-key-db-url", "web-msg-db-url")
        for name, url in zip(names, self.urls(role, password), strict=True):
            (self.database.folder / "secrets" / "migrate" / name).chmod(0o600)
            (self.database.folder / "secrets" / "migrate" / name).write_text(url)
        done = self.database.migrate()
        assert done.returncode == 0, done.stderr

    def roll_to(self, role, password, load):
        """Give the servers the URLs of a role, one server after the other."""
        ports = {f"127.0.0.1:{server.port}" for server in self.servers}
        for server in self.servers:
            server.stop()
            load.wait_for_more(50)
            server.change(**dict(zip(("KEY_DB_URL", "MSG_DB_URL"), self.urls(role, password), strict=True)))
            server.revive()
            wait_for(
                lambda: self.nginx.asked_lately() == ports, "the process that came back gets no requests"
            )

    def stop(self):
        for server in self.servers:
            server.kill()
        self.database.stop()


@pytest.fixture
def service(folders, start_nginx):
    service = Service(folders, start_nginx)
    yield service
    service.stop()


@needs_tls
def test_database_passwords_and_certificates_are_replaced_under_load(service):
    """A second role with a new password takes over, and a second authority; then the first ones are no use."""
    database = service.database
    with Load(service.nginx) as load:
        service.migrate("web_2", "second-password")
        service.roll_to("web_2", "second-password", load)
        for url in service.owner_urls():
            database.execute(url, "DROP OWNED BY web")
        database.execute(service.owner_urls()[0], "DROP ROLE web")
        load.wait_for_more(50)

        database.first_start("second")
        service.trust("secrets", "second")
        for name in ("certificate.pem", "key.pem"):
            file = database.folder / name
            file.write_bytes((database.folder / "second" / "key-db" / name).read_bytes())
        database.execute(service.owner_urls()[0], "SELECT pg_reload_conf()")
        wait_for(
            lambda: serves(database.port, "second", database.folder), "the old certificate is still served"
        )
        service.trust("second")
        service.roll_to("web_2", "second-password", load)
        load.wait_for_more(50)

    assert load.unexpected == []
    assert set(load.statuses) == {200, 201}, service.nginx.failures()
    users = database.execute(
        service.owner_urls()[0],
        "SELECT DISTINCT usename, ssl FROM pg_stat_activity JOIN pg_stat_ssl USING (pid) WHERE usename ~ '^web'",
    )
    assert users == [("web_2", True)]


def serves(port, first_start, folder):
    """Whether PostgreSQL's certificate is that of this first start."""
    context = ssl.create_default_context(cafile=folder / first_start / "server" / "authority.pem")
    with socket.create_connection(("127.0.0.1", port)) as plain:
        plain.sendall(b"\0\0\0\x08\x04\xd2\x16\x2f")  # SSLRequest
        assert plain.recv(1) == b"S"
        try:
            context.wrap_socket(plain, server_hostname="key-db").close()
        except ssl.SSLCertVerificationError:
            return False
    return True


class Renewing(Nginx):
    """Its clients trust both certificates."""

    def tls_context(self):
        return ssl.create_default_context(cafile=self.folder / "both.pem")


def test_a_renewed_certificate_is_loaded_without_a_failed_request(servers, folders):
    """As certbot's hook does it: replace the files, reload. Clients make a new connection for each request."""
    first, second, folder = self_signed(folders()), self_signed(folders()), folders()
    certificates = [Path(files["TLS_CERTIFICATE"]).read_text() for files in (first, second)]
    (folder / "both.pem").write_text("".join(certificates))
    nginx = Renewing(folder, servers, **first, **UNLIMITED)
    statuses, stop = [], threading.Event()

    def put_and_reveal():
        while not stop.is_set():
            try:
                headers = {"Accept": "application/json", "Content-Type": "application/json"}
                status, _, body = nginx.ask("POST", "/post", json.dumps({"message": "m"}), headers)
                path = "/" + "/".join(json.loads(body)["url"].split("/")[-2:])
                statuses.extend([status, nginx.ask("GET", path, headers={"Accept": "text/plain"})[0]])
            except (OSError, http.client.HTTPException) as error:
                statuses.append(error)

    clients = [threading.Thread(target=put_and_reveal) for _ in range(4)]
    try:
        for client in clients:
            client.start()
        wait_for(lambda: len(statuses) > 50, "nothing is answered")
        for name in first:
            shutil.copy(second[name], first[name])
        nginx.signal(signal.SIGHUP)
        address = ("127.0.0.1", nginx.https_port)
        wait_for(
            lambda: ssl.get_server_certificate(address) == certificates[1], "the old certificate is served"
        )
        so_far = len(statuses)
        wait_for(lambda: len(statuses) > so_far + 50, "nothing is answered")
    finally:
        stop.set()
        for client in clients:
            client.join()
        nginx.stop()
    assert set(statuses) == {200, 201}
