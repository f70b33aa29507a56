"""Completes a CycloneDX bill of materials, read from standard input, by what the lock does not name:
the scripts in static/vendor/, with their versions and checksums."""

import json
import re
import sys
from pathlib import Path

CHECKSUMS = Path(__file__).with_name("vendor.sha256")
VENDORED = re.compile(r"(?P<name>.+?)(?:-nano)?-(?P<version>\d[\d.]*\d)(?:\.min\.js|/\w.*js)")
# Of what stands beside each script in static/vendor/.
LICENSES = {"htmx": "0BSD", "lean-qr": "MIT", "pdfjs": "Apache-2.0 AND BSD-2-Clause AND BSD-3-Clause"}
PACKAGES = {"htmx": "htmx.org", "pdfjs": "pdfjs-dist"}  # where npm calls it something else


def component(line: str) -> dict[str, object]:
    """A line of the checksums, as CycloneDX writes it."""
    checksum, file = line.split()
    found = VENDORED.fullmatch(file)
    if found is None:
        raise SystemExit(f"{file}: its name has to say what it is, in which version")
    package = PACKAGES.get(found["name"], found["name"])
    purl = f"pkg:npm/{package}@{found['version']}"
    return {
        "type": "library",
        "bom-ref": file,
        "name": package,
        "version": found["version"],
        "purl": purl,
        "hashes": [{"alg": "SHA-256", "content": checksum}],
        "licenses": [{"expression": LICENSES[found["name"]]}],
    }


bill = json.load(sys.stdin)
bill["components"] += [component(line) for line in CHECKSUMS.read_text().splitlines()]
json.dump(bill, sys.stdout, indent=2)
print()
