"""Other people's code is the code that was reviewed, and the proofs of the security promises exist."""

import configparser
import hashlib
import re

import pytest

from tests.server_process import ROOT

LOCKS = [lock for lock in sorted((ROOT / "requirements").glob("*.txt")) if lock.stem != "overrides"]


def test_vendored_scripts_are_the_ones_that_were_reviewed():
    """Each file in static/vendor/ has its checksum in requirements/vendor.sha256, and the other way round."""
    lines = (ROOT / "requirements" / "vendor.sha256").read_text().splitlines()
    pinned = {file: checksum for checksum, file in (line.split() for line in lines)}

    present = {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in (ROOT / "static" / "vendor").glob("*.js")
    }

    assert present == pinned


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_package_of_a_lock_has_checksums(lock):
    """Nothing is installed that is not byte for byte what was locked."""
    requirements = re.split(r"(?<!\\)\n", lock.read_text().strip())

    assert [line for line in requirements if "==" not in line or "--hash=sha256:" not in line] == []


def test_the_lock_of_the_client_is_what_setup_cfg_asks_for():
    """`pip install .` and the lock mean the same packages, and the lock has the versions that the tests use."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    asked = setup["options"]["install_requires"].split()
    lines = (ROOT / "requirements" / "client.in").read_text().splitlines()
    pins = {name: set(re.findall(r"^\S+==\S+", (ROOT / "requirements" / name).read_text(), re.M))
            for name in ("client.txt", "dev.txt")}  # fmt: skip

    assert [line for line in lines if not line.startswith(("#", "-c "))] == asked
    assert pins["client.txt"] <= pins["dev.txt"]
    assert {pin.partition("==")[0] for pin in pins["client.txt"]} == {
        *(re.match(r"[\w-]+", package)[0] for package in asked),
        *("cffi", "pycparser"),  # of cryptography
    }


def test_the_proofs_that_the_threat_model_names_exist():
    """Each path in SECURITY.md is a file or folder of the project or of its tests."""
    paths = re.findall(r"`((?:[\w.-]+/)+[\w.-]*|[\w-]+\.py)`", (ROOT / "SECURITY.md").read_text())

    assert len(paths) > 20
    missing = [path for path in paths if not (ROOT / path).exists() and not (ROOT / "tests" / path).exists()]
    assert missing == []
