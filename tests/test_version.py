"""The version stands in setup.cfg; the places that cannot read it from there say the same."""

import configparser
import json
import re

from tests.server_process import ROOT


def test_one_version_everywhere():
    """The container images and the description of the interface have the version of setup.cfg."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    version = setup["metadata"]["version"]

    images = re.findall(r"^ARG VERSION=(.*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    interface = json.loads((ROOT / "server" / "openapi.json").read_text())["info"]["version"]

    assert images == [version, version]
    assert interface == version
