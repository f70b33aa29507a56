"""The environment that the task definitions hand to the containers runs the real programs, end to end.

Addresses are replaced by local ones, and nothing else: roles, passwords, TLS with the databases' names on
AWS, the images' own variables and the commands are those of the containers.
"""

import datetime
import json
import os
import pwd
import re
import shlex
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import psycopg2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.deploy.nginx.conftest import NGINX, Nginx, free_ports, wait_for
from tests.deploy.terraform.installation import KEY_COUNT, REPOSITORY

# The wheel's PostgreSQL is built without TLS.
POSTGRES = max(
    Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), default=None
)

FORM = "application/x-www-form-urlencoded"

pytestmark = pytest.mark.skipif(
    POSTGRES is None, reason="no PostgreSQL with TLS is installed (apt-get install postgresql)"
)


def certificate(folder, *names):
    """A self-signed certificate for these names, as certificate.pem and key.pem in the folder."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(each) for each in names]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "certificate.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    (folder / "key.pem").chmod(0o600)


class Database:
    """A database as RDS makes it: TLS and passwords only, an owner who is no superuser, its name on AWS."""

    def __init__(self, folder, owner_url):
        self._folder = folder
        self.owner = urlsplit(owner_url)
        self.name = self.owner.path[1:]
        (self.port,) = free_ports(1)
        certificate(folder, self.owner.hostname)
        (folder / "pg_hba.conf").write_text(
            "local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n"
        )
        user = pwd.getpwnam("postgres") if os.geteuid() == 0 else None
        self._as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}
        if user:
            for path in (folder, *folder.iterdir()):
                os.chown(path, user.pw_uid, user.pw_gid)
        initdb = [
            POSTGRES / "initdb",
            "-D",
            folder / "data",
            "--username=rdsadmin",
            "--auth=trust",
            "--no-sync",
        ]
        subprocess.run(initdb, check=True, capture_output=True, cwd=folder, **self._as_user)
        settings = {
            "hba_file": folder / "pg_hba.conf",
            "ssl": "on",
            "ssl_cert_file": folder / "certificate.pem",
            "ssl_key_file": folder / "key.pem",
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": folder,
            "port": self.port,
        }
        command = [POSTGRES / "postgres", "-D", folder / "data"]
        command += [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with open(folder / "postgres.log", "wb") as output:
            self._process = subprocess.Popen(command, stderr=output, cwd=folder, **self._as_user)
        wait_for(self._answers, "PostgreSQL does not start")
        owner = self.owner.username
        self.execute(
            "postgres", f"CREATE ROLE {owner} LOGIN CREATEROLE CREATEDB PASSWORD '{self.owner.password}'"
        )
        self.execute("postgres", f"CREATE DATABASE {self.name} OWNER {owner}")

    def _answers(self):
        assert self._process.poll() is None, (self._folder / "postgres.log").read_text()
        ready = [POSTGRES / "pg_isready", "--quiet", "--host=127.0.0.1", f"--port={self.port}"]
        return subprocess.run(ready).returncode == 0

    def execute(self, database, statement):
        """One statement as a superuser; its rows, if it has any."""
        connection = psycopg2.connect(host=self._folder, port=self.port, user="rdsadmin", dbname=database)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return cursor.fetchall() if cursor.description else None
        finally:
            connection.close()

    def here(self, url):
        """The URL with the test's port, authority and address; the name on AWS is still checked."""
        url = re.sub(r"sslrootcert=[^&]+", f"sslrootcert={self._folder}/certificate.pem", url)
        return url.replace(":5432/", f":{self.port}/") + "&hostaddr=127.0.0.1"

    def stop(self):
        self._process.terminate()
        self._process.wait()


def image(target):
    """What the Dockerfile says of a target: its environment, and its CMD."""
    environments, commands, stage = {}, {}, None
    for line in (REPOSITORY / "Dockerfile").read_text().replace("\\\n", " ").splitlines():
        if found := re.match(r"FROM (\S+) AS (\S+)", line):
            base, stage = found.groups()
            environments[stage], commands[stage] = dict(environments.get(base, {})), None
        elif line.startswith("ENV "):
            environments[stage] |= dict(word.split("=", 1) for word in shlex.split(line[4:]))
        elif line.startswith("CMD "):
            commands[stage] = json.loads(line[4:])
    return environments[target], commands[target]


class Container:
    """A container of a task definition, as a process of this machine."""

    def __init__(self, single, databases, family, name, **addresses):
        definition = single.first[family][name]
        target = re.search(r"note-whisperer/(\w+):", definition["image"])[1]
        own, command = image(target)
        secrets = {
            secret["name"]: single.first_secrets[secret["valueFrom"].split(":parameter")[1]]
            for secret in definition.get("secrets", [])
        }
        self.environment = (
            {"PATH": os.environ["PATH"]}
            | {name: value for name, value in own.items() if name != "PYTHONPATH"}
            | {variable["name"]: variable["value"] for variable in definition["environment"]}
            | {name: databases[urlsplit(url).path[1:]].here(url) for name, url in secrets.items()}
            | addresses
        )
        self._command = definition.get("command") or command
        self._health = definition.get("healthCheck", {}).get("command")

    def run(self):
        """To its end: the exit code, and what it logged."""
        done = subprocess.run(_local(self._command), **self._where(), capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    def start(self, log):
        with open(log, "wb") as output:
            return subprocess.Popen(_local(self._command), **self._where(), stdout=output, stderr=output)

    def is_healthy(self):
        """What ECS asks every ten seconds."""
        assert self._health[0] == "CMD"
        return subprocess.run(_local(self._health[1:]), **self._where(), capture_output=True).returncode == 0

    def _where(self):
        return {"cwd": REPOSITORY, "env": self.environment}


def _local(command):
    return [sys.executable, *command[1:]] if command[0] == "python" else command


@pytest.fixture(scope="module")
def databases(single):
    """{name: database} for the owners' URLs."""
    urls = [url for name, url in single.first_secrets.items() if name.endswith("/schema_owner-url")]
    with tempfile.TemporaryDirectory(prefix="nw-rds-") as folder:
        Path(folder).chmod(0o755)  # as root, PostgreSQL's own user has to pass
        made = {}
        for number, url in enumerate(urls):
            place = Path(folder, str(number))
            place.mkdir()
            database = Database(place, url)
            made[database.name] = database
        yield made
        for database in made.values():
            database.stop()


@pytest.fixture(scope="module")
def migrated(single, databases):
    """The exit code and the log of the migrate task."""
    return Container(single, databases, "migrate", "migrate").run()


@pytest.fixture(scope="module")
def seeded(single, databases, migrated):
    """What the KGS task did."""
    return Container(single, databases, "kgs", "kgs").run()


@pytest.fixture(scope="module")
def server(single, databases, seeded, tmp_path_factory):
    """The server container of the web task, healthy."""
    (port,) = free_ports(1)
    log = tmp_path_factory.mktemp("server") / "log"
    container = Container(single, databases, "web", "server", PORT=str(port))
    container.port = port
    process = container.start(log)
    try:
        wait_for(
            lambda: process.poll() is not None or container.is_healthy(), "the server does not get healthy"
        )
        assert process.poll() is None, log.read_text()
        yield container
    finally:
        process.terminate()
        process.wait(30)


def test_migrations_run_as_the_owner(databases, migrated):
    """The migrate task makes the schemas and the three roles, with a role that is no superuser."""
    code, log = migrated

    assert code == 0, log
    for name, roles in (("key_db", {"web", "kgs"}), ("msg_db", {"web"})):
        found = databases[name].execute(name, "SELECT rolname FROM pg_roles WHERE rolname IN ('web', 'kgs')")
        assert {role for (role,) in found} == roles


def test_kgs_fills_the_key_table_once(single, databases, seeded):
    """The KGS task writes as many keys as asked for; run again, it finds nothing to do."""
    code, log = seeded
    assert code == 0, log
    [(blocks,)] = databases["key_db"].execute("key_db", "SELECT count(*) FROM key_block")

    again, second_log = Container(single, databases, "kgs", "kgs").run()

    assert blocks * 256 == KEY_COUNT
    assert again == 0
    assert "nothing to do" in second_log


def test_note_is_posted_and_revealed_once(single, server):
    """The server with the web task's environment hands out a link of the public address, good for once."""
    here = f"http://127.0.0.1:{server.port}"
    message = urllib.request.Request(f"{here}/post", data=b"message=hello", headers={"Accept": "text/plain"})
    with urllib.request.urlopen(message) as answer:
        link = answer.read().decode().strip()
    assert link.startswith(single.outputs["url"] + "/")

    reveal = urllib.request.Request(
        link.replace(single.outputs["url"], here), headers={"Accept": "text/plain"}
    )
    with urllib.request.urlopen(reveal) as answer:
        assert answer.read().decode().strip() == "hello"
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(reveal)
    assert refused.value.code == 404
    refused.value.close()


def test_roles_own_nothing_and_may_do_only_their_work(single, databases, seeded):
    """Neither the web role nor the KGS's owns a table, makes one, or writes where the other does."""
    for name, database in databases.items():
        owned = database.execute(
            name,
            "SELECT relname FROM pg_class JOIN pg_roles ON relowner = pg_roles.oid"
            " WHERE rolname IN ('web', 'kgs')",
        )
        assert owned == []

    def refused(parameter, statement):
        url = single.first_secrets[f"/note-whisperer/{parameter}"]
        connection = psycopg2.connect(databases[urlsplit(url).path[1:]].here(url))
        try:
            with pytest.raises(psycopg2.errors.InsufficientPrivilege), connection.cursor() as cursor:
                cursor.execute(statement)
        finally:
            connection.close()

    refused("key_db/web-url", "CREATE TABLE mine (id integer)")
    refused("msg_db/web-url", "CREATE TABLE mine (id integer)")
    refused("key_db/web-url", "DELETE FROM key_block")
    refused("key_db/web-url", "SELECT * FROM key_order")
    refused("key_db/kgs-url", "DELETE FROM key_lease")
    refused("key_db/kgs-url", "CREATE TABLE mine (id integer)")


def test_wrong_name_of_the_database_is_refused(single, databases, migrated):
    """verify-full means what it says: the same certificate under another name is not accepted."""
    url = single.first_secrets["/note-whisperer/key_db/kgs-url"]
    url = databases["key_db"].here(url).replace("note-whisperer-key-db.", "note-whisperer-other-db.")

    with pytest.raises(psycopg2.OperationalError, match="does not match host name"):
        psycopg2.connect(url)


@pytest.mark.skipif(NGINX is None, reason="nginx is not installed (apt-get install nginx-light)")
def test_nginx_of_the_task_serves_the_server_of_the_task(single, databases, server):
    """nginx with the web task's environment renders, starts and passes a note on, over TLS."""
    environment = Container(single, databases, "web", "nginx").environment
    ports = {p["hostPort"]: str(p["containerPort"]) for p in single.first["web"]["nginx"]["portMappings"]}
    health = single.first["web"]["nginx"]["healthCheck"]["command"][-1]
    assert environment["UPSTREAMS"] == "server:8080"
    assert single.first["web"]["nginx"]["links"] == ["server"]
    assert {80: environment["HTTP_PORT"], 443: environment["HTTPS_PORT"]} == ports
    assert urlsplit(health).port == int(environment["OPERATIONS_LISTEN"])

    with tempfile.TemporaryDirectory(prefix="nw-nginx-") as folder:
        Path(folder).chmod(0o755)
        certificate(Path(folder), "localhost")
        places = {"PATH", "UPSTREAMS", "HTTP_PORT", "HTTPS_PORT", "PUBLIC_URL", "OPERATIONS_LISTEN"}
        settings = {name: value for name, value in environment.items() if name not in places}
        settings |= {
            "TLS_CERTIFICATE": f"{folder}/certificate.pem",
            "TLS_CERTIFICATE_KEY": f"{folder}/key.pem",
        }
        nginx = Nginx(Path(folder), [server], **settings)
        try:
            status, _, body = nginx.ask(
                "POST", "/post", "message=hi", {"Accept": "text/plain", "Content-Type": FORM}
            )
            assert status == 201, body
            path = urlsplit(body.decode().strip()).path
            assert nginx.ask("GET", path, headers={"Accept": "text/plain"})[::2] == (200, b"hi")
            assert nginx.ask("GET", path, headers={"Accept": "text/plain"})[0] == 404
        finally:
            nginx.stop()
