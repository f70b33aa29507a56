"""`make release`: the same bytes wherever and whenever they are made, and a signature that a change breaks."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from server.manifest import manifest_of
from server.settings import Settings
from tests.server_process import ROOT

CYCLONEDX = ROOT / ".venv-audit" / "bin" / "cyclonedx-py"
LIBFAKETIME = next(iter(Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), None)
SIGN, VERIFY = re.findall(
    r"^```sh\n(.*?)^```", (ROOT / "docs/releasing.md").read_text(), re.DOTALL | re.MULTILINE
)


def git(*arguments, cwd=ROOT):
    return subprocess.run(["git", *arguments], cwd=cwd, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """Clones the last commit into a folder and makes a release there: `build(name, umask, **environment)`."""
    if not (ROOT / ".git").exists() or not CYCLONEDX.exists():
        pytest.skip("releases are made from a git checkout, with `make .venv-audit/installed`")
    folder = tmp_path_factory.mktemp("release")

    def run(name, umask=0o022, **environment):
        git("clone", "--quiet", "--no-local", f"file://{ROOT}", str(folder / name))
        subprocess.run(
            [ROOT / ".ci" / "release", folder / name / "dist", sys.executable, CYCLONEDX],
            cwd=folder / name,
            env={"PATH": os.environ["PATH"], "HOME": str(folder), **environment},
            umask=umask,
            check=True,
        )
        return folder / name / "dist"

    yield run
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def release(build):
    """A release of the last commit: its folder."""
    return build("first")


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.skipif(LIBFAKETIME is None, reason="libfaketime is not installed")
def test_a_release_is_the_same_bytes_everywhere(build, release, tmp_path):
    """Another folder, day, time zone, language, umask, and another person's git settings and service change no byte."""
    (tmp_path / ".gitconfig").write_text("[core]\n\tautocrlf = true\n[tar]\n\tumask = 0077\n")

    other = build(
        "a second one",
        umask=0o077,
        LD_PRELOAD=str(LIBFAKETIME),
        FAKETIME="+400d",
        TZ="Asia/Kathmandu",
        LANG="de_DE.UTF-8",
        HOME=str(tmp_path),
        MAX_MESSAGE_BYTES="1000",
    )

    assert contents(other) == contents(release)


def test_the_archive_is_the_commit_and_its_manifest(release):
    """Every file that git knows, with one for `note-whisperer verify`, and nothing else."""
    (archive,) = release.glob("note-whisperer-*.tar")
    with tarfile.open(archive) as tar:
        names = {member.name.partition("/")[2] for member in tar if not member.isdir()}
        manifest = tar.extractfile(f"{archive.stem}/client/MANIFEST.json").read()
    assert names == {*git("ls-files", cwd=release.parent).splitlines(), "client/MANIFEST.json"}
    assert manifest == (release / "MANIFEST.json").read_bytes()


def test_the_manifest_is_that_of_the_default_settings(release):
    """Of the commit: a change that is not committed is not in it."""
    made = json.loads((release / "MANIFEST.json").read_text())
    default = manifest_of(Settings.from_env({}))
    assert made["settings"] == json.loads(json.dumps(default["settings"]))
    assert made.keys() == default.keys()


def test_the_bill_of_materials_has_what_is_served(release):
    """Packages of the server's lock and the scripts in static/vendor/."""
    bill = json.loads((release / "sbom.json").read_text())
    assert {"tornado", "cryptography", "htmx.org"} <= {part["name"] for part in bill["components"]}


@pytest.fixture
def signed(release, tmp_path):
    """A copy of the release that a throw-away key has signed, as docs/releasing.md says."""
    if shutil.which("ssh-keygen") is None:
        pytest.skip("ssh-keygen is not installed")
    folder = tmp_path / "dist"
    shutil.copytree(release, folder)
    for name in ("key", "other"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", tmp_path / name], check=True
        )
    public = (tmp_path / "key.pub").read_text()
    (folder / "allowed_signers").write_text(f"releases@example.org {public}")
    sh(SIGN.replace("~/.ssh/note-whisperer-release", str(tmp_path / "key")), folder)
    return folder


def sh(script, folder):
    return subprocess.run(["sh", "-euc", script], cwd=folder, capture_output=True, text=True)


def test_a_signed_release_is_verified(signed):
    """With the maintainer's public key and no other program than Debian's."""
    done = sh(VERIFY, signed)
    assert done.returncode == 0, done.stderr
    assert 'Good "note-whisperer" signature for releases@example.org' in done.stdout


@pytest.mark.parametrize("name", ["MANIFEST.json", "sbom.json", "SHA256SUMS"])
def test_a_change_breaks_the_signature(signed, name):
    """One byte of any file of the release."""
    path = signed / name
    path.write_bytes(path.read_bytes() + b"\n")
    assert sh(VERIFY, signed).returncode != 0


def test_the_signature_of_another_key_is_refused(signed):
    """Only a key of `allowed_signers` counts."""
    (signed / "SHA256SUMS.sig").unlink()
    sh(SIGN.replace("~/.ssh/note-whisperer-release", str(signed.parent / "other")), signed)
    assert (signed / "SHA256SUMS.sig").exists()
    assert sh(VERIFY, signed).returncode != 0


def test_no_private_key_is_in_the_repository():
    """Keys belong to people."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    found = subprocess.run(
        ["git", "grep", "-lE", "^-----BEGIN [A-Z ]*PRIVATE KEY"], cwd=ROOT, capture_output=True, text=True
    )
    assert found.stdout == ""
