"""server/manifest.py: what it lists, and which settings change it. tests/client compares it with a server."""

import dataclasses
import hashlib
import json
import os
import subprocess
import sys

from server import pages
from server.manifest import PAGES, manifest_of
from server.settings import Settings
from tests.server_process import ROOT

LOGO = ROOT / "static" / "favicon.svg"
COLORS = "#9e2f2c,#ffffff,#2c2521"

# Another value of each setting that pages depend on.
OTHER = {
    "MAX_MESSAGE_BYTES": "1000",
    "MAX_FILE_BYTES": "0",
    "LIFETIMES": "1h,1d",
    "DEFAULT_LIFETIME": "1d",
    "OPERATOR_CONTACT": "mailto:security@example.org",
    "OPERATOR_NAME": "Example",
    "SOURCE_URL": "https://example.org/source",
    "BRAND_TITLE": "Whispers",
    "BRAND_LOGO": str(LOGO),
    "BRAND_COLORS": COLORS,
    "BRAND_COLORS_DARK": "#ff9d8f,#000000,#ffffff",
}
# And of some that none depends on.
UNSEEN = {
    "PUBLIC_URL": "https://notes.example.org",
    "HOST": "0.0.0.0",
    "READ_ONLY": "true",
    "LOG_FORMAT": "json",
}


def manifest(**environment):
    return manifest_of(Settings.from_env(environment))


def test_it_has_every_constant_page_and_every_file():
    """No page that is the same for everybody, and no file, is left out."""
    made = manifest()
    files = {
        f"/static/{path.relative_to(pages.STATIC)}" for path in pages.STATIC.rglob("*") if path.is_file()
    }
    assert PAGES.keys() == pages.CONSTANT.keys()
    assert len(made["pages"]) == len(PAGES)
    at_the_root = {"/robots.txt", "/favicon.ico", "/apple-touch-icon.png", "/shared-text-worker.js"}
    assert made["files"].keys() == files | at_the_root | {"/manifest.webmanifest"}
    assert made["files"]["/shared-text-worker.js"] == made["files"]["/static/js/shared-text-worker.js"]
    for file in files:
        content = (ROOT / file[1:]).read_bytes()
        assert made["files"][file] == hashlib.sha256(content).hexdigest()


def test_it_names_the_settings_that_change_pages():
    """Each of these settings changes a hash, and the manifest shows its value."""
    default = manifest()
    assert default["settings"].keys() == OTHER.keys()
    for name, value in OTHER.items():
        other = manifest(**{name: value})
        assert (other["pages"], other["files"]) != (default["pages"], default["files"]), name
        assert other["settings"][name] != default["settings"][name]
        json.dumps(other)


def test_other_settings_change_nothing():
    """The same bytes are served under every name, address and limit."""
    assert manifest(**UNSEEN) == manifest()


def test_the_settings_on_no_page_stay_out():
    """A setting that holds a secret cannot be in the manifest."""
    on_pages = {field.name for field in dataclasses.fields(Settings) if field.metadata["on_pages"]}
    assert not on_pages & {"key_db_url", "msg_db_url", "post_tokens_file"}


def test_the_command_prints_the_manifest_of_its_settings():
    """`python -m server manifest` needs no database."""
    printed = subprocess.run(
        [sys.executable, "-m", "server", "manifest"],
        env={"PATH": os.environ["PATH"], **OTHER},
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(printed.stdout) == json.loads(json.dumps(manifest(**OTHER)))
