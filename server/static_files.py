"""Files that the server sends unchanged. It reads, compresses and hashes them once, when it starts."""

from __future__ import annotations

import base64
import dataclasses
import functools
import gzip
import hashlib
from collections.abc import Mapping
from pathlib import Path

MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
}


@dataclasses.dataclass(frozen=True)
class File:
    """The bytes of an answer that is the same for everybody."""

    content: bytes
    media_type: str
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)  # besides those of every answer

    @functools.cached_property
    def compressed(self) -> bytes | None:
        """The content in gzip; None if gzip saves little."""
        compressed = gzip.compress(self.content, 9, mtime=0)
        return compressed if len(compressed) < 0.9 * len(self.content) else None

    @functools.cached_property
    def fingerprint(self) -> str:
        """The first 64 bits of the content's SHA-256."""
        return hashlib.sha256(self.content).hexdigest()[:16]

    @functools.cached_property
    def integrity(self) -> str:
        """What a browser compares the content with before it uses it (Subresource Integrity)."""
        return "sha256-" + base64.b64encode(hashlib.sha256(self.content).digest()).decode()


@functools.cache
def files_in(folder: Path) -> dict[str, File]:
    """Every file below a folder, by its path from there. Raises KeyError for a suffix without a media type."""
    files = {
        path.relative_to(folder).as_posix(): File(path.read_bytes(), MEDIA_TYPES[path.suffix])
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    for file in files.values():
        _ = file.compressed, file.fingerprint, file.integrity  # now, not while a client waits
    return files
