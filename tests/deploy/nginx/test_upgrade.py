"""Upgrades without a gap: two versions side by side on the newer schema, in both directions, under load."""

import http.client
import json
import os
import re
import shutil
import subprocess
import sys
from base64 import b64encode
from hashlib import sha256

import pytest

from kgs import seeding
from server import schema
from tests.conftest import fresh_database
from tests.deploy.nginx.conftest import KEYS, REPOSITORY, UNLIMITED, ServerProcess, free_ports, wait_for
from tests.deploy.nginx.test_faults import Load

NEXT = "99.0.0"


def git(*arguments):
    return subprocess.run(["git", "-C", REPOSITORY, *arguments], capture_output=True, text=True)


def last_release():
    """The tag of the previous release, or what UPGRADE_FROM names; None if there is none."""
    found = git("describe", "--tags", "--abbrev=0", "--match=v*", "HEAD^")
    return os.environ.get("UPGRADE_FROM") or (found.stdout.strip() if found.returncode == 0 else None)


@pytest.fixture
def next_version(folders):
    """This program as it may look one version on: it adds to both schemas what decision 26 allows."""
    folder = folders()
    for room in ("server", "kgs", "static", "templates"):
        shutil.copytree(REPOSITORY / room, folder / room)
    interface = folder / "server" / "openapi.json"
    described = json.loads(interface.read_text())
    described["info"]["version"] = NEXT
    interface.write_text(json.dumps(described))
    for file in (folder / "static").rglob("*.[jc]s*"):
        file.write_text(file.read_text() + "/* next */\n")
    for database, table in ((schema.KEY_DB, "key_lease"), (schema.MSG_DB, "note")):
        newest = schema.migrations(database)[-1][0]
        (folder / "server" / "schema" / database / f"{newest + 1:04}_next.sql").write_text(
            f"-- Programs from version {newest} on work with this schema.\n"
            f"ALTER TABLE {table} ADD COLUMN next_words text DEFAULT 'next';\n"
            "CREATE TABLE next_table (n integer PRIMARY KEY);\n"
        )
    return folder


@pytest.fixture
def last_version(folders):
    """The release before this commit."""
    release = last_release()
    if release is None:
        pytest.skip("there is no release before this one (UPGRADE_FROM names another commit)")
    folder = folders()
    archive = subprocess.run(["git", "-C", REPOSITORY, "archive", release], capture_output=True, check=True)
    subprocess.run(["tar", "--extract", "--directory", folder], input=archive.stdout, check=True)
    return folder


class Service:
    """Two servers behind nginx with their own databases, and their versions."""

    def __init__(self, postgres, folders, start_nginx, program):
        self.urls = [fresh_database_without_tables(postgres), fresh_database_without_tables(postgres)]
        self.migrate(program)
        seeding.ensure_ahead(self.urls[0], KEYS)
        folder = folders()
        self.servers = [
            ServerProcess(port, *self.urls, folder / f"{port}.log", program, DRAIN_SECONDS="20")
            for port in free_ports(2)
        ]
        for server in self.servers:
            server.wait_until_ready()
        self.nginx = start_nginx(self.servers, **UNLIMITED)

    def migrate(self, program):
        """As an operator does, with this version of the program."""
        environment = {"PATH": os.environ["PATH"], "KEY_DB_URL": self.urls[0], "MSG_DB_URL": self.urls[1]}
        done = subprocess.run(
            [sys.executable, "-m", "server", "migrate"],
            cwd=program,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr

    def roll_to(self, program, load):
        """Replace one server after the other."""
        ports = {f"127.0.0.1:{server.port}" for server in self.servers}
        for server in self.servers:
            server.stop()
            load.wait_for_more(100)
            server.program = program
            server.revive()
            wait_for(
                lambda: self.nginx.asked_lately() == ports, "the process that came back gets no requests"
            )
            load.wait_for_more(100)

    def versions(self):
        return {version_of(server) for server in self.servers}

    def stop(self):
        for server in self.servers:
            server.kill()


def fresh_database_without_tables(postgres):
    return fresh_database(postgres, "template0")


def ask(server, path):
    """The body of a GET from one server process itself."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request("GET", path, headers={"Host": "localhost", "Accept": "text/html"})
    body = connection.getresponse().read()
    connection.close()
    return body


def version_of(server):
    return json.loads(ask(server, "/openapi.json"))["info"]["version"]


def test_upgrade_and_rollback(postgres, folders, start_nginx, next_version):
    """Migrate, upgrade both servers and roll back, on the new schema: every request under load is answered."""
    service = Service(postgres, folders, start_nginx, REPOSITORY)
    try:
        (current,) = service.versions()
        with Load(service.nginx) as load:
            service.migrate(next_version)
            load.wait_for_more(100)
            service.roll_to(next_version, load)
            assert service.versions() == {NEXT}
            service.roll_to(REPOSITORY, load)
            assert service.versions() == {current}
        assert load.unexpected == []
        assert set(load.statuses) == {200, 201}, service.nginx.failures()
    finally:
        service.stop()


def files_of_pages(server):
    """{URL: integrity} of the files that a server's pages name: styles, scripts, and all modules."""
    found = {}
    for path in ("/", "/zzzzz"):
        page = ask(server, path).decode()
        found |= {url: integrity for url, integrity in re.findall(r'"(/\S+)" integrity="(\S+)"', page)}
        (modules,) = re.findall(r'<script type="importmap">(.*?)</script>', page)
        found |= json.loads(modules)["integrity"]
    return found


def test_pages_of_both_versions_find_their_files(postgres, folders, start_nginx, next_version):
    """With both versions behind one nginx, a page of either gets the scripts and styles whose hashes it has."""
    service = Service(postgres, folders, start_nginx, REPOSITORY)
    try:
        service.migrate(next_version)
        service.servers[1].stop()
        service.servers[1].program = next_version
        service.servers[1].revive()
        current, following = map(files_of_pages, service.servers)
        assert len(current) == len(following) > 20
        assert not set(current) & set(following)

        for url, integrity in (current | following).items():
            for _ in service.servers:  # whichever nginx asks first
                status, headers, body = service.nginx.ask("GET", url)
                assert status == 200, url
                assert "sha256-" + b64encode(sha256(body).digest()).decode() == integrity, url
                assert headers["Cache-Control"] == "public, max-age=31536000, immutable"
    finally:
        service.stop()


def test_upgrade_from_the_last_release(postgres, folders, start_nginx, last_version):
    """The same from the previous release to this commit, and back."""
    service = Service(postgres, folders, start_nginx, last_version)
    try:
        with Load(service.nginx) as load:
            service.migrate(REPOSITORY)
            load.wait_for_more(100)
            service.roll_to(REPOSITORY, load)
            if "UPGRADE_FROM" not in os.environ:  # an earlier commit promises no rollback
                service.roll_to(last_version, load)
        assert load.unexpected == []
        assert set(load.statuses) == {200, 201}, service.nginx.failures()
    finally:
        service.stop()
