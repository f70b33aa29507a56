"""What others have written is what we have looked at, and what proves our promises of security is there."""

import hashlib
import re

import pytest

from tests.server_process import ROOT

LOCKS = [lock for lock in sorted((ROOT / "requirements").glob("*.txt")) if lock.stem != "overrides"]


def test_vendored_scripts_are_the_ones_that_were_looked_at():
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


def test_what_the_threat_model_names_as_its_proof_exists():
    """Each path in SECURITY.md is a file or folder of ours, or of the tests."""
    paths = re.findall(r"`((?:[\w.-]+/)+[\w.-]*|[\w-]+\.py)`", (ROOT / "SECURITY.md").read_text())

    assert len(paths) > 20
    missing = [path for path in paths if not (ROOT / path).exists() and not (ROOT / "tests" / path).exists()]
    assert missing == []
