"""Upgrades without a gap: two versions side by side on the newer schema, in both directions, under load."""

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from base64 import b64encode
from hashlib import sha256

import psutil
import pytest

from kgs import seeding
from server import schema
from tests.conftest import fresh_database
from tests.deploy.nginx.conftest import (
    KEYS,
    NGINX,
    REPOSITORY,
    UNLIMITED,
    ServerProcess,
    free_ports,
    wait_for,
)
from tests.deploy.nginx.test_faults import CLIENTS, Load
from tests.server_process import free_port

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
    for room in ("server", "kgs", "static", "templates", "nginx"):
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
        migrate(program, self.urls)

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


def migrate(program, urls):
    """As an operator does, with this version of the program."""
    done = subprocess.run(
        [sys.executable, "-m", "server", "migrate"],
        cwd=program,
        env={"PATH": os.environ["PATH"], "KEY_DB_URL": urls[0], "MSG_DB_URL": urls[1]},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def fresh_database_without_tables(postgres):
    return fresh_database(postgres, "template0")


def get(connection, path, statuses):
    """The body of a GET, which has to have one of the statuses."""
    connection.request("GET", path, headers={"Host": "localhost", "Accept": "text/html"})
    response = connection.getresponse()
    body = response.read()
    if response.status not in statuses:
        raise http.client.HTTPException(f"{response.status} {path}")
    return body


def ask(server, path):
    """The body of a GET from one server process itself."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    body = get(connection, path, {200, 404})
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


def files_named_in(page):
    """{URL: integrity} of the files that a page names: styles, scripts, and all modules."""
    (modules,) = re.findall(r'<script type="importmap">(.*?)</script>', page)
    return dict(re.findall(r'"(/\S+)" integrity="(\S+)"', page)) | json.loads(modules)["integrity"]


def files_of_pages(server):
    """The same of a server's pages."""
    return files_named_in(ask(server, "/").decode()) | files_named_in(ask(server, "/zzzzz").decode())


class Balancer:
    """A load balancer that ends TLS and chooses for each request: nginx, round robin."""

    def __init__(self, folder):
        self._folder, self.port = folder, free_port()
        self._process = None

    def send_to(self, *pairs):
        """From now on, these get the requests, in turn. Requests in progress stay where they are."""
        user = "user nobody nogroup;" if os.geteuid() == 0 else ""
        kinds = ("client_body", "proxy", "fastcgi", "scgi", "uwsgi")
        folders = "".join(f"{kind}_temp_path {self._folder}/{kind};" for kind in kinds)
        targets = "".join(f"server 127.0.0.1:{pair.nginx.http_port};" for pair in pairs)
        configuration = self._folder / "nginx.conf"
        configuration.write_text(
            f"daemon off; pid {self._folder}/pid; {user} worker_processes 1; error_log stderr; events {{ }} http {{"
            f" access_log off; {folders} upstream pairs {{ {targets} keepalive 64; }}"
            f" server {{ listen 127.0.0.1:{self.port}; location / {{"
            " proxy_pass http://pairs; proxy_http_version 1.1; proxy_set_header Connection ''; "
            " proxy_set_header Host localhost; proxy_set_header X-Forwarded-Proto https;"
            " proxy_set_header X-Forwarded-For $remote_addr; } } }"
        )
        if self._process is None:
            with open(self._folder / "stderr.log", "wb") as output:
                self._process = subprocess.Popen([NGINX, "-c", configuration, "-e", "stderr"], stderr=output)
            wait_for(self._answers, "the balancer does not start")
        else:
            before = self._workers()
            self._process.send_signal(signal.SIGHUP)
            wait_for(lambda: self._workers() - before, "the balancer does not reload")

    def _workers(self):
        return {child.pid for child in psutil.Process(self._process.pid).children()}

    def _answers(self):
        assert self._process.poll() is None, (self._folder / "stderr.log").read_text()
        with contextlib.suppress(OSError):
            return not socket.create_connection(("127.0.0.1", self.port)).close()

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def stop(self):
        if self._process is not None:
            self._process.terminate()
            self._process.wait()


class Pair:
    """One server and one nginx of the same version: a task on AWS, or a pod."""

    def __init__(self, folders, start_nginx, urls, program):
        folder, (port,) = folders(), free_ports(1)
        self.server = ServerProcess(port, *urls, folder / f"{port}.log", program, DRAIN_SECONDS="20")
        self.server.wait_until_ready()
        self.nginx = start_nginx(
            [self.server], program=program, TLS="off", BALANCERS="127.0.0.1/32", **UNLIMITED
        )

    def stop(self):
        self.server.kill()


class Visitors:
    """Browsers that load pages through a balancer, each with all scripts and styles that it names."""

    def __init__(self, balancer):
        self._balancer = balancer
        self._stop = threading.Event()
        self.loads = 0
        self.failed = []
        self._threads = [threading.Thread(target=self._run) for _ in range(CLIENTS)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        self.wait_for_more(CLIENTS)
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def wait_for_more(self, count):
        wanted = self.loads + count
        wait_for(lambda: self.failed or self.loads >= wanted, f"no {count} more pages were loaded")

    def _run(self):
        while not self._stop.is_set():
            connection = self._balancer.connect()
            try:
                for path in ("/", "/zzzzz"):
                    self._load(connection, path)
            except (OSError, http.client.HTTPException) as error:
                self.failed.append(error)
            connection.close()

    def _load(self, connection, path):
        page = self._get(connection, path, {200, 404}).decode()
        for url, integrity in files_named_in(page).items():
            body = self._get(connection, url, {200})
            if "sha256-" + b64encode(sha256(body).digest()).decode() != integrity:
                self.failed.append(url)
        self.loads += 1

    def _get(self, connection, path, statuses):
        """As browsers do, which ask again if their idle connection was closed: the balancer reloads."""
        try:
            return get(connection, path, statuses)
        except ConnectionError:
            connection.close()
            return get(connection, path, statuses)


def test_pages_find_their_files_behind_a_balancer_that_chooses_for_each_request(
    postgres, folders, start_nginx, next_version
):
    """While complete pairs of both versions are there, and in both directions, no load of a page fails under load."""
    urls = [fresh_database_without_tables(postgres), fresh_database_without_tables(postgres)]
    migrate(REPOSITORY, urls)
    seeding.ensure_ahead(urls[0], KEYS)
    pairs, balancer = [], Balancer(folders())

    def pair_of(program):
        pairs.append(Pair(folders, start_nginx, urls, program))
        return pairs[-1]

    try:
        old = [pair_of(REPOSITORY), pair_of(REPOSITORY)]
        balancer.send_to(*old)
        with Visitors(balancer) as visitors:
            migrate(next_version, urls)
            new = [pair_of(next_version), pair_of(next_version)]
            for chosen in ((old[0], new[0]), new, (new[1], old[1]), old):
                balancer.send_to(*chosen)
                visitors.wait_for_more(5 * CLIENTS)
        assert visitors.failed == []
    finally:
        balancer.stop()
        for pair in pairs:
            pair.stop()


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
