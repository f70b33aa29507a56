"""`pip install .` in a fresh environment gives the command, and only what it needs."""

import shutil
import subprocess
import sys

import pytest

from tests.server_process import ROOT

# The command's own packages and what they need; what a fresh environment has is not counted.
# The lock brings setuptools, which builds the command.
ALLOWED = {"note-whisperer", "cryptography", "urllib3", "cffi", "pycparser", "setuptools"}
OUT_OF_REACH = ("No matching distribution found for setuptools", "Could not find a version that satisfies")


# As the README says.
WAYS = {
    "from the index": [["{source}"]],
    "from the lock": [
        [
            "--require-hashes",
            "-r",
            "{source}/requirements/build.txt",
            "-r",
            "{source}/requirements/client.txt",
        ],
        ["--no-deps", "--no-build-isolation", "{source}"],
    ],
}


@pytest.fixture(scope="module", params=WAYS)
def installed(request, tmp_path_factory):
    """A virtual environment with the package: its folder, and its packages. Skips if no index can be reached."""
    folder = tmp_path_factory.mktemp("package")
    source, environment = folder / "source", folder / "environment"
    source.mkdir()
    for name in ("client", "server", "requirements"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    before = _packages(environment)
    for arguments in WAYS[request.param]:
        command = [environment / "bin" / "pip", "--disable-pip-version-check", "install", "--retries", "1"]
        command += [argument.format(source=source) for argument in arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=500)
        if done.returncode and any(words in done.stderr for words in OUT_OF_REACH):
            pytest.skip("no package index can be reached")
        assert done.returncode == 0, done.stderr
    yield environment, _packages(environment) - before
    shutil.rmtree(folder)


def _packages(environment):
    listed = subprocess.run(
        [environment / "bin" / "pip", "--disable-pip-version-check", "list", "--format=freeze"],
        capture_output=True,
        text=True,
        check=True,
    )
    return {line.partition("==")[0] for line in listed.stdout.split()}


def test_only_what_a_client_needs_is_installed(installed):
    """No Tornado, no database, no server."""
    environment, packages = installed
    (site,) = environment.glob("lib/python*/site-packages")

    assert packages <= ALLOWED and {"note-whisperer", "cryptography", "urllib3"} <= packages
    assert sorted(path.name for path in (site / "server").glob("*.py")) == [
        "__init__.py",
        "sealed_files.py",
        "sealing.py",
    ]


def test_the_installed_command_works(installed, url, tmp_path):
    """It sends and reads a message, outside of the checkout."""
    program = installed[0] / "bin" / "note-whisperer"
    variables = {"NOTE_WHISPERER_URL": url, "HOME": str(tmp_path)}

    def nw(*arguments, **options):
        return subprocess.run(
            [program, *arguments], capture_output=True, env=variables, cwd=tmp_path, timeout=60, **options
        )

    link = nw("send", input=b"hello").stdout.decode().strip()
    assert nw("read", "--yes", link).stdout == b"hello"


def test_the_man_page_and_completions_are_installed(installed):
    """Where man and the shells look for them."""
    share = installed[0] / "share"

    assert (share / "man/man1/note-whisperer.1").exists()
    assert (share / "bash-completion/completions/note-whisperer").exists()
    assert (share / "zsh/site-functions/_note-whisperer").exists()
    assert (share / "fish/vendor_completions.d/note-whisperer.fish").exists()
