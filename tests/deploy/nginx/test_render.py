"""nginx/render, publish, site.envsh, templates: settings in, a configuration that nginx takes out."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.nginx.conftest import REPOSITORY

MODES = {
    "TLS ends here": {},
    "behind a balancer": {"TLS": "off", "BALANCERS": "10.0.0.0/8, fd00::/8"},
    "several machines": {"UPSTREAMS": "10.0.0.1:8080,[fd00::1]:8080", "PROCESSES": "4"},
    "everything set": {
        "MAX_MESSAGE_BYTES": "1000",
        "READ_TIMEOUT": "5",
        "LOOK_RATE": "10r/s",
        "POST_RATE": "30r/m",
        "SERVER_NAME": "notes.example.org",
        "PUBLIC_URL": "https://notes.example.org:8443",
    },
}


@pytest.fixture
def render(folders):
    """Renders a configuration with some settings: the folder, and what was said."""

    def run(**settings):
        folder = folders()
        environment = {"PATH": os.environ["PATH"] + ":/usr/sbin", **settings}
        done = subprocess.run(
            [REPOSITORY / "nginx/render", folder], env=environment, capture_output=True, text=True
        )
        return folder, done

    return run


@pytest.mark.parametrize("settings", MODES.values(), ids=MODES)
def test_nginx_and_gixy_find_nothing(render, certificate, folders, settings):
    """Every mode is a configuration that nginx loads without a warning and gixy has no word about."""
    folder, done = render(**settings, **certificate, TEMP_DIR=str(folders()), ACCESS_LOG="/dev/null")
    assert (done.returncode, done.stderr) == (0, "")
    configuration = folder / "nginx.conf"
    checked = subprocess.run(
        ["nginx", "-t", "-c", configuration, "-g", f"pid {folder}/pid;"],
        env={"PATH": os.environ["PATH"] + ":/usr/sbin"}, capture_output=True, text=True,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stderr
    assert "[warn]" not in checked.stderr and "[emerg]" not in checked.stderr
    gixy = subprocess.run(
        [Path(sys.executable).with_name("gixy"), configuration], capture_output=True, text=True
    )
    assert gixy.returncode == 0, gixy.stdout


@pytest.mark.skipif(
    shutil.which("envsubst") is None, reason="envsubst is not installed (apt-get install gettext-base)"
)
def test_render_does_what_the_official_image_does(render):
    """Our awk and the official image's envsubst make the same files of the same settings."""
    settings = {**MODES["several machines"], **MODES["everything set"]}
    folder, _ = render(**settings)
    (web_root,) = folder.glob("www-*")
    script = (
        ". \"$0\"; names=$(env | sed -n 's/^\\(SITE_[A-Z_]*\\)=.*/${\\1}/p');"
        " for template in site.conf mode/tls.conf mode/balancer.conf; do"
        ' envsubst "$names" <"$1/$template.template"; done'
    )
    environment = {"PATH": os.environ["PATH"] + ":/usr/sbin", "WEB_ROOT": str(web_root), **settings}
    official = subprocess.run(
        ["sh", "-c", script, REPOSITORY / "nginx/site.envsh", REPOSITORY / "nginx/templates"],
        env=environment, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    ours = [folder / "conf.d" / name for name in ("site.conf", "mode/tls.conf", "mode/balancer.conf")]
    assert official == "".join(path.read_text() for path in ours)
    assert "${" not in official.replace("${SITE_…}", "")


def test_the_body_limit_follows_the_longest_message(render):
    """nginx takes what the server takes: six times the longest message, and a little."""
    folder, _ = render(MAX_MESSAGE_BYTES="1000")
    rendered = (folder / "conf.d/site.conf").read_text()
    assert "client_max_body_size    14192;" in rendered
    assert "client_body_buffer_size 14192;" in rendered


def test_every_process_of_every_host_is_an_upstream(render):
    """Hosts are given with their first port; the other processes follow it."""
    folder, _ = render(UPSTREAMS="a.example:8080 [fd00::1]:9000", PROCESSES="2")
    rendered = (folder / "conf.d/site.conf").read_text()
    servers = [line.split()[1] for line in rendered.splitlines() if line.startswith("    server ")]
    assert servers == ["a.example:8080", "a.example:8081", "[fd00::1]:9000", "[fd00::1]:9001"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("UPSTREAMS", "localhost"),
        ("UPSTREAMS", "a:1; include /etc/passwd"),
        ("PROCESSES", "0"),
        ("PROCESSES", "all"),
        ("BALANCERS", "10.0.0.0/8;"),
        ("MAX_MESSAGE_BYTES", "64k"),
        ("READ_TIMEOUT", "1m"),
        ("POST_RATE", "5"),
        ("LOOK_RATE", "0r/s"),
        ("TLS", "maybe"),
        ("SERVER_NAME", "a b"),
        ("HTTP_PORT", "80 ssl"),
        ("ACCESS_LOG", "/tmp/a b"),
    ],
)
def test_a_setting_that_cannot_be_used_stops_the_start(render, name, value):
    """A bad value ends in one line that names the setting; nothing is rendered."""
    folder, done = render(**{name: value})
    assert done.returncode == 1
    assert done.stderr.startswith(f"nginx: {name}") and done.stderr.count("\n") == 1
    assert not (folder / "conf.d").exists()


def test_http_2_is_asked_for_as_this_nginx_understands_it(render, folders):
    """Before 1.25.1 it is a parameter of listen, then a directive; neither version warns."""
    old, new = ("1.22.1", "1.25.1")
    rendered = {}
    for version in (old, new):
        fake = folders() / "nginx"
        fake.write_text(f"#!/bin/sh\necho nginx version: nginx/{version} >&2\n")
        fake.chmod(0o755)
        folder, _ = render(NGINX=str(fake))
        rendered[version] = (folder / "conf.d/mode/tls.conf").read_text()
    assert "443 default_server ssl http2;" in rendered[old] and "http2 on;" not in rendered[old]
    assert "443 default_server ssl;" in rendered[new] and "http2 on;" in rendered[new]


def test_the_list_of_fingerprints_is_the_servers(render):
    """Every static file is listed with the fingerprint that the server puts into its pages."""
    folder, _ = render()
    listed = (folder / "fingerprints.map").read_text().splitlines()
    static = REPOSITORY / "static"
    files = sorted(str(path.relative_to(static)) for path in static.rglob("*") if path.is_file())
    fingerprints = [hashlib.sha256((static / name).read_bytes()).hexdigest()[:16] for name in files]
    assert [line.split('"')[1] for line in listed] == sorted(
        (f"/static/{name}?v={fingerprint}" for name, fingerprint in zip(files, fingerprints)),
        key=lambda line: line.partition("?")[0].encode(),
    )


def test_what_is_served_is_never_changed_under_a_running_nginx(tmp_path):
    """A new version of a file gets a new folder; the old one stays as it is for the nginx that serves it."""
    repository, folder = tmp_path / "repository", tmp_path / "rendered"
    for name in ("nginx", "static"):
        shutil.copytree(REPOSITORY / name, repository / name)
    environment = {"PATH": os.environ["PATH"] + ":/usr/sbin"}
    for text in ("old", "old", "new"):
        (repository / "static/robots.txt").write_text(text)
        subprocess.run([repository / "nginx/render", folder], env=environment, check=True)
    assert sorted(path.read_text() for path in folder.glob("www-*/static/robots.txt")) == ["new", "old"]
    (root,) = {
        line.split()[1]
        for line in (folder / "conf.d/mode/tls.conf").read_text().splitlines()
        if "root /" in line and "www" in line
    }
    assert Path(root.rstrip(";"), "static/robots.txt").read_text() == "new"


@pytest.mark.parametrize("program", ["render", "publish", "self-signed.sh", "site.envsh"])
def test_scripts_are_plain_sh(program):
    """The scripts are POSIX shell: dash finds no error in them."""
    subprocess.run(["sh", "-n", REPOSITORY / "nginx" / program], check=True)
