"""Dockerfile and compose.yaml, as far as they can be judged without an engine."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from server.settings import Settings

REPOSITORY = Path(__file__).resolve().parents[2]
OURS = ("first-start", "migrate", "kgs", "server", "nginx")
DATABASES = ("key-db", "msg-db")


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load((REPOSITORY / "compose.yaml").read_text())


@pytest.fixture(scope="module")
def services(compose):
    return compose["services"]


def test_hadolint_finds_nothing():
    """The Dockerfile's linter finds nothing."""
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, REPOSITORY / "Dockerfile"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_every_base_is_pinned_by_its_full_version_and_digest(services):
    """No image of others moves under the same name, and Dependabot, which reads no ARG, finds each to raise it."""
    dockerfile = (REPOSITORY / "Dockerfile").read_text()
    stages = set(re.findall(r"^FROM \S+ AS (\S+)", dockerfile, re.M))
    images = set(re.findall(r"^FROM (\S+)", dockerfile, re.M)) - stages
    images |= {service["image"] for name, service in services.items() if name in DATABASES}
    assert len(images) == 3
    for image in images:
        assert re.fullmatch(r"[a-z]+:\d+\.\d+(\.\d+)?(-[a-z-]+)?@sha256:[0-9a-f]{64}", image)
    updates = yaml.safe_load((REPOSITORY / ".github/dependabot.yml").read_text())["updates"]
    assert {"docker", "docker-compose"} <= {update["package-ecosystem"] for update in updates}


@pytest.mark.parametrize(
    "path",
    [
        ".git/config",
        ".venv/bin/python",
        "data/lock",
        ".env",
        "terraform/main.tf",
        "tests/conftest.py",
        "secrets.txt",
    ],
)
def test_nothing_private_reaches_a_build(path):
    """A build sees the folders that .dockerignore names, and nothing else."""
    patterns = [
        line for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if not line.startswith("#")
    ]
    assert patterns[0] == "*"
    admitted = {pattern.strip("!/") for pattern in patterns if pattern.startswith("!")}
    assert path.split("/")[0] not in admitted
    assert admitted == {"kgs", "nginx", "requirements", "server", "static", "templates"}


@pytest.mark.parametrize("name", [*OURS, *DATABASES])
def test_every_container_is_hardened(services, name):
    """No container can write to its image, gain rights or dump core."""
    service = services[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["ulimits"]["core"] == 0
    assert service.get("cap_add", []) == (["CHOWN"] if name == "first-start" else [])
    assert "privileged" not in service


def test_no_environment_holds_a_secret(services):
    """What is secret is the name of a file; URLs and passwords stand in none of the environments."""
    for name, service in services.items():
        for variable, value in service.get("environment", {}).items():
            if re.search("PASSWORD|_DB_URL|SECRET|TOKEN", variable):
                assert variable.endswith("_FILE") and value.startswith("/run/note-whisperer/"), (
                    name,
                    variable,
                )


@pytest.mark.parametrize("name", [*OURS, *DATABASES])
def test_every_container_has_a_bound_on_memory_and_processes(services, name):
    """No container can take all memory, swap a message to a disk, or start processes without end."""
    service = services[name]
    assert re.fullmatch(r"(\$\{\w+_MEMORY:-)?\d+[mg]?\}?m?", service["mem_limit"])
    assert service["memswap_limit"] == service["mem_limit"]
    assert 0 < service["pids_limit"] <= 256


def test_nginx_knows_the_bound_on_its_memory(services):
    """nginx derives its limits from the memory that its container and its systemd unit give it."""
    nginx = services["nginx"]
    assert nginx["mem_limit"] == nginx["environment"]["MEMORY"] + "m"
    script = (REPOSITORY / "nginx/site.envsh").read_text()
    (default,) = re.findall(r"MEMORY:=(\d+)", script)
    assert nginx["environment"]["MEMORY"] == f"${{NGINX_MEMORY:-{default}}}"
    unit = (REPOSITORY / "docs/systemd/nginx.service.d/note-whisperer.conf").read_text()
    assert f"\nMemoryMax={default}M\n" in unit


def test_only_nginx_is_reached_from_outside(compose, services):
    """One service has ports, and by default for this machine alone; the databases' network leads nowhere."""
    assert [name for name, service in services.items() if "ports" in service] == ["nginx"]
    assert all(port.startswith("${BIND:-127.0.0.1}:") for port in services["nginx"]["ports"])
    assert compose["networks"]["databases"]["internal"] and compose["networks"]["web"]["internal"]
    assert "databases" not in services["nginx"]["networks"]


def test_services_start_in_order(services):
    """Secrets, databases, schemas, keys, server, nginx: each waits for the one before it."""
    waits = {
        name: {other: rule["condition"] for other, rule in service.get("depends_on", {}).items()}
        for name, service in services.items()
    }
    done, healthy = "service_completed_successfully", "service_healthy"
    assert waits == {
        "first-start": {},
        "key-db": {"first-start": done},
        "msg-db": {"first-start": done},
        "migrate": {"key-db": healthy, "msg-db": healthy},
        "kgs": {"migrate": done},
        "server": {"migrate": done, "kgs": done},
        "nginx": {"server": healthy},
    }


def test_the_servers_environment_is_one_that_it_understands(services):
    """The settings that compose gives the server are settings, and usable ones."""
    environment = {
        name: re.sub(r"\$\{\w+:-(.*)\}", r"\1", value)
        for name, value in services["server"]["environment"].items()
    }
    known = set(Settings.__dataclass_fields__)
    assert {name.removesuffix("_FILE").lower() for name in environment} <= known
    urls = {name for name in environment if name.endswith("_DB_URL_FILE")}
    assert urls == {"KEY_DB_URL_FILE", "MSG_DB_URL_FILE"}
    plain = {name: value for name, value in environment.items() if name not in urls}
    databases = {"KEY_DB_URL": "postgresql://key-db/key_db", "MSG_DB_URL": "postgresql://msg-db/msg_db"}
    settings = Settings.from_env({"HOST": "0.0.0.0", **plain, **databases})
    assert (settings.public_url, settings.processes) == ("https://localhost", 2)


def test_nginx_and_server_agree(services):
    """nginx and the server get the same number of processes, longest message and public URL."""
    server, nginx = services["server"]["environment"], services["nginx"]["environment"]
    for name in ("PROCESSES", "MAX_MESSAGE_BYTES", "PUBLIC_URL"):
        assert server[name] == nginx[name]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("name", ["note-whisperer", "note-whisperer-migrate", "note-whisperer-kgs"])
def test_systemd_understands_the_units(tmp_path, name):
    """systemd finds no fault in a unit if its programs exist."""
    for unit in (REPOSITORY / "docs/systemd").glob("*.service"):
        text = unit.read_text().replace("/opt/note-whisperer/.venv/bin/python", sys.executable)
        (tmp_path / unit.name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", tmp_path / f"{name}.service"],
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"}, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_a_tag_publishes_both_architectures_of_each_image():
    """The workflow builds the Dockerfile's targets for both, with what their labels take, and signs each by digest."""
    workflow = yaml.safe_load((REPOSITORY / ".github/workflows/images.yml").read_text())
    dockerfile = (REPOSITORY / "Dockerfile").read_text()
    assert workflow[True] == {"push": {"tags": ["v*"]}}  # YAML reads the key `on` as true
    (job,) = workflow["jobs"].values()
    assert set(job["strategy"]["matrix"]["target"]) == {"server", "kgs", "nginx"}
    build = next(step["with"] for step in job["steps"] if "build-push" in step.get("uses", ""))
    assert build["platforms"] == "linux/amd64,linux/arm64"
    given = {line.partition("=")[0] for line in build["build-args"].splitlines()}
    assert given == set(re.findall(r"\$\{(\w+)\}\"? *\\?$", "\n".join(labels_of(dockerfile)), re.M))
    assert job["permissions"]["id-token"] == "write"
    assert "@${{ steps.build.outputs.digest }}" in job["steps"][-1]["run"]


def labels_of(dockerfile):
    return re.findall(r"^(?:LABEL)? +org\.opencontainers\.image\..*$", dockerfile, re.M)
