"""compose/: the databases' certificates, log-ins and silence, on a real PostgreSQL that has TLS."""

import os
import pwd
import re
import shutil
import subprocess
import sys
from pathlib import Path

import psycopg2
import pytest

from kgs import seeding
from tests.deploy.nginx.conftest import ServerProcess, free_ports, wait_for

REPOSITORY = Path(__file__).resolve().parents[2]
# The wheel's PostgreSQL is built without TLS.
PROGRAMS = max(
    Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), default=None
)

pytestmark = pytest.mark.skipif(
    PROGRAMS is None, reason="no PostgreSQL with TLS is installed (apt-get install postgresql)"
)


class Database:
    """A PostgreSQL as compose.yaml runs it, on its own port, and the URLs of its first start."""

    def __init__(self, folder):
        self.folder = folder
        (self.port,) = free_ports(1)
        self.first_start("secrets")
        owner = pwd.getpwnam("postgres") if os.geteuid() == 0 else None
        self._as_owner = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []} if owner else {}
        for name in ("postgresql.conf", "pg_hba.conf"):
            shutil.copy(REPOSITORY / "compose" / name, folder)
        for name in ("certificate.pem", "key.pem", "owner-password"):
            shutil.copy(folder / "secrets/key-db" / name, folder)
            (folder / name).chmod(0o600)
        if owner:
            for path in (folder, *folder.iterdir()):
                os.chown(path, owner.pw_uid, owner.pw_gid)
        self._run("initdb", "--username=owner", f"--pwfile={folder}/owner-password", "--auth=scram-sha-256")
        settings = {
            "config_file": folder / "postgresql.conf",
            "hba_file": folder / "pg_hba.conf",
            "ssl_cert_file": folder / "certificate.pem",
            "ssl_key_file": folder / "key.pem",
            "unix_socket_directories": folder,
            "port": self.port,
        }
        command = [PROGRAMS / "postgres", "-D", folder / "data"]
        command += [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        self.log = folder / "postgres.log"
        with open(self.log, "wb") as output:
            self._process = subprocess.Popen(command, stderr=output, cwd=folder, **self._as_owner)
        wait_for(self._answers, "PostgreSQL does not start")
        for name in ("key_db", "msg_db"):
            self.execute(
                self.url("migrate", "key-db-url").replace("/key_db?", "/postgres?"), f"CREATE DATABASE {name}"
            )

    def _run(self, program, *arguments):
        subprocess.run(
            [PROGRAMS / program, "-D", self.folder / "data", *arguments],
            check=True, capture_output=True, cwd=self.folder, **self._as_owner,
        )  # fmt: skip

    def _answers(self):
        assert self._process.poll() is None, self.log.read_text()
        ready = [PROGRAMS / "pg_isready", "--quiet", "--host=127.0.0.1", f"--port={self.port}"]
        return subprocess.run(ready).returncode == 0

    def first_start(self, name):
        """Make passwords and certificates in a folder of that name."""
        (self.folder / name).mkdir()
        program = [sys.executable, REPOSITORY / "compose/first_start.py", self.folder / name]
        subprocess.run(program, check=True, capture_output=True)

    def url(self, service, name, authority="secrets"):
        """A URL from the service's volume, with what is elsewhere here than in a container.

        One server plays both databases: its certificate and owner are the key-db's, and its name leads here.
        """
        secrets = self.folder / "secrets"
        text = (secrets / service / name).read_text()
        owner_password = (secrets / "key-db/owner-password").read_text()
        text = re.sub(r"//owner:[^@]+@", f"//owner:{owner_password}@", text)
        text = re.sub(r"@(key|msg)-db:5432/", f"@key-db:{self.port}/", text)
        text = re.sub(
            r"sslrootcert=.*", f"sslrootcert={self.folder / authority / 'server/authority.pem'}", text
        )
        return f"{text}&hostaddr=127.0.0.1"

    def execute(self, url, statement, parameters=()):
        connection = psycopg2.connect(url)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement, parameters)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def migrate(self, authority="secrets"):
        """`python -m server migrate` with the files of its volume."""
        names = ("key-db-url", "msg-db-url", "web-key-db-url", "web-msg-db-url", "kgs-key-db-url")
        environment = {"PATH": os.environ["PATH"]}
        for name in names:
            file = self.folder / f"{authority}-{name}"
            file.write_text(self.url("migrate", name, authority))
            environment[f"{name.upper().replace('-', '_')}_FILE"] = str(file)
        return subprocess.run(
            [sys.executable, "-m", "server", "migrate"],
            cwd=REPOSITORY, env=environment, capture_output=True, text=True,
        )  # fmt: skip

    def stop(self):
        self._process.terminate()
        self._process.wait()


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """The databases, before anything was done to them."""
    folder = tmp_path_factory.mktemp("postgres")
    for path in (folder, *folder.parents):
        if path.name.startswith("pytest-"):
            path.chmod(0o755)  # PostgreSQL's own user has to pass
    database = Database(folder)
    yield database
    database.stop()


@pytest.fixture(scope="module")
def migrated(database):
    """The same with schemas, roles and some keys."""
    done = database.migrate()
    assert done.returncode == 0, done.stderr
    seeding.ensure_ahead(database.url("kgs", "key-db-url"), 1000)
    return database


def test_a_server_works_over_verified_tls(migrated, tmp_path):
    """With the URLs of the first start everything runs, each connection under TLS and its own role."""
    (port,) = free_ports(1)
    urls = [migrated.url("server", name) for name in ("key-db-url", "msg-db-url")]
    server = ServerProcess(port, *urls, tmp_path / "server.log")
    try:
        server.wait_until_ready()
        connections = migrated.execute(
            migrated.url("migrate", "key-db-url"),
            "SELECT DISTINCT usename, ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)"
            " WHERE usename = 'web'",
        )
        assert connections == [("web", True)]
    finally:
        server.stop()


def test_another_authority_is_refused(migrated):
    """A server whose certificate somebody else has signed is not the database."""
    migrated.first_start("others")
    done = migrated.migrate(authority="others")
    assert done.returncode == 1
    assert "certificate verify failed" in done.stderr


def test_another_name_is_refused(migrated):
    """The right certificate on another host is not enough."""
    url = migrated.url("server", "key-db-url").replace("@key-db:", "@msg-db:")
    with pytest.raises(psycopg2.OperationalError, match='"key-db" does not match host name "msg-db"'):
        psycopg2.connect(url)


def test_nobody_comes_in_without_tls(migrated):
    """A connection without TLS is refused, whatever the password."""
    url = migrated.url("server", "key-db-url").replace("sslmode=verify-full", "sslmode=disable")
    with pytest.raises(psycopg2.OperationalError, match="pg_hba.conf rejects connection.*no encryption"):
        psycopg2.connect(url)


def test_failing_statements_are_not_logged(migrated):
    """PostgreSQL logs refused log-ins, but no statement, parameter or row that failed."""
    url = migrated.url("server", "msg-db-url")
    failing = [
        ("INSERT INTO note VALUES ('Sekrt', 'Sekrt', 'Sekrt', false, now())", ()),
        ("SELECT 'Sekrt'::integer", ()),
        ("SELECT %s::uuid", ("Sekrt",)),
        ("SELECT Sekrt", ()),
        ("DROP TABLE note -- Sekrt", ()),
    ]
    for statement, parameters in failing:
        with pytest.raises(psycopg2.Error):
            migrated.execute(url, statement, parameters)
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(re.sub(r"//web:[^@]+@", "//web:wrong@", url))
    log = migrated.log.read_text()
    assert "authentication failed" in log
    assert "sekrt" not in log.lower()


def test_a_second_first_start_changes_nothing(migrated):
    """Passwords and certificates are made once."""
    secrets = migrated.folder / "secrets"
    before = {path: path.read_bytes() for path in secrets.rglob("*") if path.is_file()}
    program = [sys.executable, REPOSITORY / "compose/first_start.py", secrets]
    assert b"are there" in subprocess.run(program, check=True, capture_output=True).stdout
    assert {path: path.read_bytes() for path in secrets.rglob("*") if path.is_file()} == before


def test_each_service_has_its_own_secrets(migrated):
    """No service has a password that it does not need, and only its user can read its files."""
    secrets = migrated.folder / "secrets"
    roles = {
        folder.name: {role for path in folder.iterdir() for role in re.findall(r"//(\w+):", path.read_text())}
        for folder in secrets.iterdir()
    }
    databases = {"key-db": set(), "msg-db": set()}
    assert roles == {"server": {"web"}, "kgs": {"kgs"}, "migrate": {"owner", "web", "kgs"}, **databases}
    modes = {oct(path.stat().st_mode & 0o777) for path in secrets.rglob("*.pem")}
    assert modes == {"0o400"}
