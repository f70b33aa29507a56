"""The manifest of a release: what an unchanged service answers. `server/manifest.py` makes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from client.failures import UsageError

INSTALLED = Path(__file__).with_name("MANIFEST.json")
FORMAT = 1
LARGEST_MANIFEST = 4 << 20  # bytes


class Page(NamedTuple):
    """A page of the manifest."""

    name: str
    path: str
    status: int
    sha256: dict[str, str]  # by language

    @classmethod
    def of(cls, page: dict[str, Any]) -> Page:
        """The page in a manifest. Raises ValueError, KeyError, TypeError or AttributeError."""
        hashes = {str(language): str(digest) for language, digest in page["sha256"].items()}
        if not hashes:
            raise ValueError("a page needs a language")
        return cls(str(page["name"]), str(page["path"]), int(page["status"]), hashes)


class Manifest(NamedTuple):
    """What an unchanged service answers."""

    version: str
    headers: dict[str, str]
    pages: list[Page]
    files: dict[str, str]

    @classmethod
    def read(cls, path: Path | None) -> Manifest:
        """The manifest in a file, or the installed one. Raises UsageError."""
        try:
            with (path or INSTALLED).open("rb") as file:
                content = json.loads(file.read(LARGEST_MANIFEST))
            if content["format"] != FORMAT:
                raise UsageError("This manifest is for another version of note-whisperer verify.")
            return cls(
                str(content["version"]),
                {str(name).lower(): str(value) for name, value in content["headers"].items()},
                [Page.of(page) for page in content["pages"]],
                {str(name): str(digest) for name, digest in content["files"].items()},
            )
        except FileNotFoundError:
            if path is not None:
                raise UsageError(f"{path} does not exist.") from None
            raise UsageError(
                "This command was not installed from a release, so it has no manifest. Name one with --manifest: it is"
                " a part of each release, and python -m server manifest makes it from the source."
            ) from None
        except OSError as error:
            raise UsageError(f"The manifest could not be read: {error.strerror}.") from None
        except (ValueError, KeyError, TypeError, AttributeError):
            raise UsageError(f"{path or INSTALLED} is not a manifest of note-whisperer.") from None
