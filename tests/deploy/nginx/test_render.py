"""nginx/render, publish, site.envsh, templates: settings in, a configuration for nginx out."""

import hashlib
import os
import re
import resource
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
        "PEEK_RATE": "10r/s",
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
    """nginx loads the configuration of every mode without a warning, and gixy finds no issue in it."""
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
    templates = REPOSITORY / "nginx/templates"
    names = sorted(str(path.relative_to(templates)) for path in templates.rglob("*.template"))
    script = (
        ". \"$0\"; names=$(env | sed -n 's/^\\(SITE_[A-Z0-9_]*\\)=.*/${\\1}/p');"
        ' cd "$1"; shift; for template; do envsubst "$names" <"$template"; done'
    )
    environment = {"PATH": os.environ["PATH"] + ":/usr/sbin", "WEB_ROOT": str(web_root), **settings}
    official = subprocess.run(
        ["sh", "-c", script, REPOSITORY / "nginx/site.envsh", templates, *names],
        env=environment, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    ours = [folder / "conf.d" / name.removesuffix(".template") for name in names]
    assert official == "".join(path.read_text() for path in ours)
    assert "${" not in official.replace("${SITE_…}", "")


def test_the_body_limit_follows_the_longest_message(render):
    """nginx accepts what the server accepts: six times the longest message, and a little."""
    folder, _ = render(MAX_MESSAGE_BYTES="1000")
    assert "client_max_body_size 49768;" in (folder / "conf.d/limits/post.conf").read_text()


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
        ("PEEK_RATE", "0r/s"),
        ("MEMORY", "1g"),
        ("MEMORY", "64"),
        ("WORKERS", "0"),
        ("WORKERS", "08"),
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


@pytest.fixture
def render_for(render, folders):
    """Renders for an nginx that says this of itself: the folder, and what render said."""

    def run(version="1.30.5", library="OpenSSL 3.5.4 30 Sep 2025", built="--with-stream ", **settings):
        fake = folders() / "nginx"
        fake.write_text(
            f"#!/bin/sh\nprintf 'nginx version: nginx/{version}\\nbuilt with {library}\\n"
            f"configure arguments: --prefix=/etc/nginx {built}--with-http_ssl_module\\n' >&2\n"
        )
        fake.chmod(0o755)
        return render(NGINX=str(fake), **settings)

    return run


@pytest.mark.parametrize("balancers", ["", "10.0.0.0/8"])
def test_http_2_is_written_as_this_nginx_understands_it(render_for, balancers):
    """Before 1.25.1 it is a parameter of listen, then a directive; neither version warns."""
    old, new = (
        (render_for(version, BALANCERS=balancers)[0] / "conf.d/mode/tls.conf").read_text()
        for version in ("1.22.1", "1.25.1")
    )
    assert re.search(r"listen \S+ default_server .*ssl http2;", old) and "http2 on;" not in old
    assert re.search(r"listen \S+ default_server .*ssl;", new) and "http2 on;" in new


@pytest.mark.parametrize(
    ("library", "offered"),
    [
        ("OpenSSL 3.0.22 25 Aug 2026", False),
        ("OpenSSL 3.4.9 1 Jan 2026", False),
        ("OpenSSL 3.5.0 8 Apr 2025", True),
        ("OpenSSL 4.0.1 1 Jan 2027", True),
        ("OpenSSL 3.0.22 25 Aug 2026 (running with OpenSSL 3.5.4 30 Sep 2025)", True),
        ("OpenSSL 3.5.4 30 Sep 2025 (running with OpenSSL 3.0.22 25 Aug 2026)", False),
        ("LibreSSL 4.1.0", False),
    ],
)
def test_a_post_quantum_key_exchange_is_offered_if_the_library_has_it(render_for, library, offered):
    """X25519MLKEM768 comes first with OpenSSL 3.5 or newer; an older one would refuse the whole list."""
    rendered = (render_for(library=library)[0] / "conf.d/mode/tls.conf").read_text()
    (groups,) = re.findall(r"ssl_ecdh_curve +(\S+);", rendered)
    assert groups == ("X25519MLKEM768:" if offered else "") + "X25519:prime256v1:secp384r1"


def test_the_stream_module_is_loaded_if_it_is_apart(render_for, folders):
    """A module that is built in needs no line, one that is not is loaded, and one that is missing is named."""
    modules = folders()
    apart = f"--modules-path={modules} --with-stream=dynamic "
    assert "load_module" not in (render_for()[0] / "conf.d/main/process.conf").read_text()
    done = render_for(built=apart)[1]
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "libnginx-mod-stream" in done.stderr
    assert render_for(built=apart, BALANCERS="10.0.0.0/8")[1].returncode == 0
    (modules / "ngx_stream_module.so").touch()
    loaded = (render_for(built=apart)[0] / "conf.d/main/process.conf").read_text()
    assert f"load_module {modules}/ngx_stream_module.so;" in loaded


def test_limits_follow_the_memory(render):
    """Twice the memory beside what is fixed is twice the connections; a worker has room for all of them."""
    small, large = (
        dict(re.findall(r"(?:limit_conn )?(\w+) +(\d+);", _main(render(MEMORY=memory, WORKERS="1")[0])))
        for memory in ("151", "251")
    )
    for name in ("connections", "connections_56", "connections_48", "connections_in_all"):
        assert abs(int(large[name]) - 2 * int(small[name])) <= 1, name
    shares = [int(large[f"connections{suffix}"]) for suffix in ("", "_56", "_48", "_in_all")]
    assert shares == [shares[-1] // 16, shares[-1] // 8, shares[-1] // 4, 800]
    assert int(large["worker_connections"]) >= 4 * 800


def _main(folder):
    return "".join(
        (folder / "conf.d" / name).read_text() for name in ("main/process.conf", "front/stream.conf")
    )


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


def test_every_setting_is_in_the_operators_table():
    """docs/operating.md lists exactly the settings that site.envsh reads, with their defaults."""
    script = (REPOSITORY / "nginx/site.envsh").read_text()
    read = dict(re.findall(r"\$\{([A-Z_]+):[-=]([^}]*)\}", script))
    del read["NGINX"], read["WEB_ROOT"]  # for tests, and for render
    table = (REPOSITORY / "docs/operating.md").read_text().partition("| variable |")[2].partition("\n\n")[0]
    rows = [line.split(" | ") for line in table.splitlines() if line.startswith("| `")]
    listed = {name: row[1] for row in rows for name in re.findall(r"`(\w+)`", row[0])}
    assert listed.keys() == read.keys()
    for name, default in read.items():
        if name not in ("PUBLIC_URL", "BALANCERS", "WORKERS", "TLS_CERTIFICATE_KEY"):
            assert default in listed[name], name


@pytest.mark.parametrize(
    ("limit", "files", "connections"), [(1024, 1024, 160), (4096, 4096, 928), (1048576, 16384, 4000)]
)
def test_connections_fit_the_limit_of_open_files(folders, limit, files, connections):
    """A container's engine sets how many files nginx may open: it takes no more, and no more connections than fit."""
    if limit > resource.getrlimit(resource.RLIMIT_NOFILE)[1]:
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        assert limit >= files, "this machine's own limit is too low for the test"
    done, folder = render_with_limit(folders(), limit)
    assert (done.returncode, done.stderr) == (0, "")
    rendered = (folder / "conf.d/main/process.conf").read_text()
    assert f"worker_rlimit_nofile {files};" in rendered
    assert f"worker_connections {4 * connections + 256};" in rendered


def test_too_few_open_files_are_refused(folders):
    """nginx would start, and refuse connections later."""
    done, _ = render_with_limit(folders(), 512)
    assert done.returncode == 1
    assert "at least 1024 open files" in done.stderr


def render_with_limit(folder, limit):
    done = subprocess.run(
        [REPOSITORY / "nginx/render", folder],
        env={"PATH": os.environ["PATH"] + ":/usr/sbin", "MEMORY": "4096"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit)),
        capture_output=True,
        text=True,
    )
    return done, folder
