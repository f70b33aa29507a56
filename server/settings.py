"""What an operator may set: read from a mapping and checked at once."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from server import branding, sealed_files, sealing, setting_values
from server.setting_values import Network, is_loopback, text_of


class SettingsError(ValueError):
    """A setting cannot be used; the message names the variable and says what it takes."""


def _setting(
    default: Any,
    parse: Callable[[str], Any],
    meaning: str,
    shown: str | None = None,
    on_pages: bool = False,
) -> Any:
    """One environment variable.

    Args:
        parse: reads its text, or raises ValueError.
        meaning: its line in the README.
        shown: its default as the README shows it, if that differs.
        on_pages: whether pages that are the same for everybody depend on it (server/manifest.py).
    """
    return dataclasses.field(
        default=default, metadata={"parse": parse, "meaning": meaning, "shown": shown, "on_pages": on_pages}
    )


def _default_data_dir() -> Path:
    """PostgreSQL refuses root, so root's data is in a folder that an unprivileged user can reach."""
    return Path("/var/lib/note-whisperer") if os.geteuid() == 0 else Path("data")


@dataclasses.dataclass(frozen=True)
class Settings:
    """Each field is the environment variable of the same name in capitals."""

    host: str = _setting("127.0.0.1", str, "Address to listen on.")
    port: int = _setting(
        8080,
        setting_values.number(int, 1, 65535),
        "Port of the first process; process *i* listens on `PORT` + *i*.",
    )
    processes: int = _setting(
        1,
        setting_values.number(int, 0, 256),
        "Server processes; 0 means one per core (the container image sets 0).",
    )
    public_url: str | None = _setting(
        None,
        setting_values.origin,
        "Origin that links start with, such as `https://notes.example.org`."
        " Required unless `HOST` is a loopback address: then `http://localhost:PORT`.",
    )
    key_db_url: str | None = _setting(
        None,
        setting_values.database_url,
        "libpq URL of the key-db; `KEY_DB_URL_FILE` names a file that holds it instead."
        " Without this and `MSG_DB_URL`, the server runs a PostgreSQL of its own.",
    )
    msg_db_url: str | None = _setting(
        None,
        setting_values.database_url,
        "libpq URL of the msg-db, or `MSG_DB_URL_FILE`; set both databases or neither.",
    )
    data_dir: Path = _setting(
        None, Path, "Folder of the server's own PostgreSQL: `./data`, for root `/var/lib/note-whisperer`."
    )
    max_message_bytes: int = _setting(
        65536,
        setting_values.number(int, 1, 16 << 20),
        "Longest message, in bytes of UTF-8.",
        on_pages=True,
    )
    max_file_bytes: int = _setting(
        100_000_000,
        setting_values.number(int, 0, 1 << 30),
        "Most bytes that the files of one note may have together; 0 turns files off.",
        on_pages=True,
    )
    lifetimes: tuple[int, ...] = _setting(
        (300, 3600, 86400, 3 * 86400, 7 * 86400, 30 * 86400),
        setting_values.lifetimes,
        "Lifetimes that the form offers, separated by commas. A client may ask for any up to 30 days.",
        shown="5m,1h,1d,3d,7d,30d",
        on_pages=True,
    )
    default_lifetime: int = _setting(
        3600,
        setting_values.lifetime,
        "Lifetime of a note if the client names none; one of `LIFETIMES`.",
        shown="1h",
        on_pages=True,
    )
    post_networks: tuple[Network, ...] = _setting(
        (),
        setting_values.networks,
        "Networks whose clients may put notes, separated by commas. If neither this nor one of the next two"
        " is set, everybody may. Reading is always open.",
    )
    post_tokens_file: Mapping[str, str] | None = _setting(
        None,
        setting_values.tokens,
        "File of the access tokens with which clients may put notes (`Authorization: Bearer TOKEN`): a name"
        " and the token's SHA-256 in each line.",
    )
    post_user_header: str | None = _setting(
        None,
        setting_values.header_name,
        "Header in which a proxy of `TRUSTED_PROXIES` names a user who may put notes.",
    )
    read_only: bool = _setting(
        False,
        setting_values.boolean,
        "`true`: take no new notes; those that exist can be read.",
        shown="false",
    )
    max_stored_bytes: int = _setting(
        0,
        setting_values.number(int, 0, 1 << 50),
        "Bytes of the msg-db on disk beyond which puts get 507; 0 means no limit.",
    )
    puts_per_hour: int = _setting(
        0,
        setting_values.number(int, 0, 1 << 40),
        "Notes that one server process takes in an hour; 0 means no limit.",
    )
    put_bytes_per_hour: int = _setting(
        0,
        setting_values.number(int, 0, 1 << 40),
        "Bytes that one server process takes from one client in an hour (from an IPv6 /56 four times as many,"
        " from a /48 sixteen times); 0 means no limit.",
    )
    operator_contact: str | None = _setting(
        None,
        setting_values.contact,
        "URI at which people reach the operator, for the page `/how-it-works` and for security reports in"
        " `/.well-known/security.txt` (RFC 9116).",
        on_pages=True,
    )
    operator_name: str | None = _setting(
        None, setting_values.line, "Who runs the service, for the page `/how-it-works`.", on_pages=True
    )
    source_url: str | None = _setting(
        None,
        setting_values.web_page,
        "Where to read the source code that this server runs, for the page `/how-it-works`.",
        on_pages=True,
    )
    brand_title: str = _setting("note-whisperer", setting_values.line, "Title of every page.", on_pages=True)
    brand_logo: branding.Logo | None = _setting(
        None,
        branding.logo,
        "PNG or SVG file of at most 64 KiB, shown beside the title and as the icon.",
        on_pages=True,
    )
    brand_colors: branding.Palette | None = _setting(
        None,
        branding.palette,
        "Three colours of the light scheme, such as `#9e2f2c,#f3ece0,#2c2521`: accent, background, text. The"
        " server does not start if their contrast is too low (WCAG 2.2 AA).",
        on_pages=True,
    )
    brand_colors_dark: branding.Palette | None = _setting(
        None,
        branding.palette,
        "The same for the dark scheme. A scheme that is not set keeps its own colours.",
        on_pages=True,
    )
    trusted_proxies: tuple[Network, ...] = _setting(
        (),
        setting_values.networks,
        "Networks of the proxies whose `X-Real-IP` is believed, separated by commas.",
    )
    db_connections: int = _setting(
        8,
        setting_values.number(int, 2, 100),
        "Connections of one process to the msg-db. At most two more copy files, and two go to the key-db.",
    )
    db_timeout: float = _setting(
        5.0,
        setting_values.number(float, 0.1, 60),
        "Seconds that one database statement, or the wait for a connection, may take.",
    )
    drain_seconds: float = _setting(
        25.0,
        setting_values.number(float, 0, 3600),
        "Seconds that requests in progress may take after the server is told to stop.",
    )
    log_format: str = _setting(
        "text", setting_values.one_of("text", "json"), "`text` or `json` (one JSON object per line)."
    )
    log_level: str = _setting(
        "info", setting_values.one_of("debug", "info", "warning", "error"), "Lowest severity that is logged."
    )
    audit_log: bool = _setting(
        False,
        setting_values.boolean,
        "`true`: log a line for each put, reveal and destroy, done or refused. It names no note and no address.",
        shown="false",
    )

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Settings:
        """Read and check every setting.

        Raises:
            SettingsError: names all variables that cannot be used, one a line.
        """
        values: dict[str, Any] = {}
        errors: list[str] = []
        for field in dataclasses.fields(cls):
            name = field.name.upper()
            try:
                text = text_of(name, env)
                if text:
                    values[field.name] = field.metadata["parse"](text)
            except (ValueError, OSError) as error:
                errors.append(f"{name}: {error}")
        values.setdefault("data_dir", _default_data_dir())
        settings = cls(**values)
        errors += settings._contradictions(failed=bool(errors))
        if errors:
            raise SettingsError("\n".join(errors))
        if settings.public_url is None:
            settings = dataclasses.replace(settings, public_url=f"http://localhost:{settings.port}")
        return settings

    def _contradictions(self, failed: bool) -> list[str]:
        if failed:
            return []
        errors = []
        if (self.key_db_url is None) != (self.msg_db_url is None):
            errors.append("KEY_DB_URL, MSG_DB_URL: set both, or neither for a PostgreSQL of the server's own")
        if self.public_url is None and not is_loopback(self.host):
            errors.append(
                f"PUBLIC_URL: is required if HOST ({self.host}) is not a loopback address:"
                " links start with it, never with what a request says"
            )
        if self.default_lifetime not in self.lifetimes:
            errors.append("DEFAULT_LIFETIME: takes one of LIFETIMES")
        return errors

    @property
    def local_host(self) -> str:
        """Where this machine reaches the server."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"[{host}]" if ":" in host else host

    @property
    def process_count(self) -> int:
        return self.processes or os.cpu_count() or 1

    @property
    def ports(self) -> range:
        """The ports of all processes."""
        return range(self.port, self.port + self.process_count)

    @property
    def embedded(self) -> bool:
        """Whether the server runs a PostgreSQL of its own."""
        return self.key_db_url is None

    @property
    def max_body_bytes(self) -> int:
        """A legal message can be six times as long in escaped JSON. A sealed one may have an index of files."""
        return 6 * self.max_message_bytes + 32768

    @property
    def max_form_file_bytes(self) -> int:
        """Of all files that the server seals or opens itself, for a browser without a script."""
        return min(16 * self.max_message_bytes, self.max_file_bytes)

    @property
    def max_form_bytes(self) -> int:
        """Of a form with a message and files."""
        return self.max_message_bytes + self.max_form_file_bytes + 32768

    @property
    def longest_body_bytes(self) -> int:
        """Of any request: one with files, or with chunks of them, may be longer than one with a message."""
        chunks = sealed_files.MAX_REQUEST_BYTES if self.max_file_bytes else 0
        return max(self.max_body_bytes, self.max_form_bytes, chunks)

    @property
    def max_sealed_bytes(self) -> int:
        """Of a sealed note, without its files but with their index."""
        index = sealed_files.MAX_INDEX_BYTES + 4 if self.max_file_bytes else 0
        return sealing.sealed_length(self.max_message_bytes + index)
