"""Where to send messages, and the access token for it: from the environment or from a private file.

The file is $XDG_CONFIG_HOME/note-whisperer/settings (~/.config/note-whisperer/settings). Each of its lines is
NAME=VALUE; lines that begin with # are comments. The environment comes first.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from client.failures import UsageError
from client.links import origin_of

URL = "NOTE_WHISPERER_URL"
TOKEN = "NOTE_WHISPERER_TOKEN"
LARGEST_FILE = 65536  # bytes


class Settings(NamedTuple):
    """What does not change from call to call."""

    url: str | None  # the service's origin
    token: str | None  # allows posting; sent to `url` and to no other service

    @classmethod
    def from_env(cls, environment: Mapping[str, str]) -> Settings:
        """The settings of the environment and of the file. Raises UsageError."""
        stored = _from_file(_file(environment))
        named = {name: environment[name] for name in (URL, TOKEN) if environment.get(name)}
        url = _origin(named, stored.get(URL))
        if url != _origin(stored):
            stored.pop(TOKEN, None)  # it belongs to the service that the file names
        token = named.get(TOKEN) or stored.get(TOKEN)
        if token is not None and url is None:
            raise UsageError(f"{TOKEN} is set, but {URL} is not: the token is sent only to that service.")
        if token is not None and not (token.isascii() and token.isprintable() and " " not in token):
            raise UsageError(f"{TOKEN} has characters that no access token has.")
        return cls(url, token)


def _origin(values: Mapping[str, str], default: str | None = None) -> str | None:
    url = values.get(URL, default)
    try:
        return None if url is None else origin_of(url)
    except UsageError as error:
        raise UsageError(f"{URL} cannot be used. {error.detail}") from None


def _file(environment: Mapping[str, str]) -> Path | None:
    folder = environment.get("XDG_CONFIG_HOME", "")
    if not os.path.isabs(folder):  # the standard says to ignore others
        if not environment.get("HOME"):
            return None
        folder = os.path.join(environment["HOME"], ".config")
    return Path(folder, "note-whisperer", "settings")


def _from_file(path: Path | None) -> dict[str, str]:
    if path is None:
        return {}
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO) or status.st_uid not in (os.getuid(), 0):
                raise UsageError(
                    f"Others can read or change {path}, which may hold an access token."
                    f" Make it yours alone: chmod 600 {path}"
                )
            text = file.read(LARGEST_FILE).decode("utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not text in UTF-8.") from None
    values = {}
    for number, line in enumerate(text.splitlines(), 1):
        name, equals, value = (part.strip() for part in line.partition("="))
        if not name or name.startswith("#"):
            continue
        if not equals or name not in (URL, TOKEN):
            raise UsageError(f"{path}, line {number}: only {URL}=… and {TOKEN}=… are known.")
        if value:
            values[name] = value
    if TOKEN in values and URL not in values:
        raise UsageError(f"{path} has {TOKEN}, but not {URL}: the token is sent only to that service.")
    return values
