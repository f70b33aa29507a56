"""schemathesis: valid and invalid requests generated from openapi.json get the answers that it describes."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.abuse.conftest import FRONTS, HOSTILE_REQUESTS, MARKER

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "server/openapi.json"

# The short run tests only values at the limits, with one client on one front. Fronts differ in how they parse
# HTTP, which is the job of test_malformed_http.py.
SHORT = HOSTILE_REQUESTS < 5000
CLIENTS = {"a program": {"Accept": "application/json"}, "htmx": {"Accept": "text/html", "HX-Request": "true"}}


def st(front, folder, headers, *options):
    """Run schemathesis; returns the number of its requests.

    The operator's routes are left out behind nginx, which does not expose them.
    """
    command = [
        Path(sys.executable).with_name("st"),
        "--config-file",
        ROOT / "tests/abuse/schemathesis.toml",
        "--no-color",
        "run",
        DOCUMENT,
        f"--url={front.url}",
        "--suppress-health-check=all",
        "--warnings=off",
        *[f"--header={name}: {value}" for name, value in headers.items()],
        f"--header=X-Marker: {MARKER}",
        *(["--exclude-tag=operation"] if front.name == "nginx" else []),
        *options,
    ]
    done = subprocess.run([str(part) for part in command], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2000:]
    return int(re.search(r"(\d[\d,]*) generated", done.stdout)[1].replace(",", ""))


@pytest.mark.parametrize("front", FRONTS[:1] if SHORT else FRONTS, indirect=True)
@pytest.mark.parametrize("client", list(CLIENTS)[:1] if SHORT else CLIENTS)
def test_generated_requests_get_the_described_answers(front, tmp_path, client):
    """Each status, header and body is in the document, and requests that break its rules are refused."""
    phases = "coverage" if SHORT else "coverage,fuzzing"

    count = st(
        front,
        tmp_path,
        CLIENTS[client],
        f"--phases={phases}",
        f"--max-examples={HOSTILE_REQUESTS // 300}",  # per operation; they are slow to generate
    )

    front.assert_unmoved()
    print(f"{count} requests made from the document to {front.name}, as {client}")
