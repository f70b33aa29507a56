"""Turns the text of a setting into its value. Each function raises a ValueError that says what the setting takes."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from server.keys import LONGEST_LIFETIME

MAX_LIFETIME = int(LONGEST_LIFETIME.total_seconds())

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def number(kind: type[int] | type[float], low: float, high: float) -> Callable[[str], int | float]:
    def parse(text: str) -> int | float:
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not low <= value <= high:
            what = "a whole number" if kind is int else "a number"
            raise ValueError(f"takes {what} from {low} to {high}")
        return value

    return parse


def one_of(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"takes one of {', '.join(choices)}")
        return text

    return parse


def origin(text: str) -> str:
    url = urlsplit(text.rstrip("/"))
    plain = re.fullmatch(r"[\w.:\[\]-]+", url.netloc)  # JSON answers contain it without escaping anything
    if url.scheme not in ("http", "https") or not plain or not url.hostname:
        raise ValueError("takes an origin such as https://notes.example.org")
    if url.path or url.query or url.fragment:
        raise ValueError("takes an origin such as https://notes.example.org, without a path")
    return f"{url.scheme}://{url.netloc}"


def database_url(text: str) -> str:
    if not text.startswith(("postgresql://", "postgres://")):
        raise ValueError("takes a URL such as postgresql://user:password@host:5432/name")
    return text


def networks(text: str) -> tuple[Network, ...]:
    try:
        return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())
    except ValueError:
        raise ValueError("takes addresses or networks separated by commas: 10.0.0.0/8, ::1") from None


def boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError("takes true or false")
    return text == "true"


def header_name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9-]+", text):
        raise ValueError("takes the name of a header, such as X-Forwarded-User")
    return text


def contact(text: str) -> str:
    if not re.fullmatch(r"(https|mailto|tel):[!-~]+", text):
        raise ValueError("takes a URI such as mailto:security@example.org or https://example.org/contact")
    return text


def web_page(text: str) -> str:
    if not re.fullmatch(r"https://[!-~]+", text):
        raise ValueError("takes a URL such as https://example.org/source")
    return text


def line(text: str) -> str:
    if len(text) > 80 or not text.isprintable():
        raise ValueError("takes a line of at most 80 characters")
    return text


def tokens(path: str) -> Mapping[str, str]:
    """The SHA-256 of each access token, by its name, from a file with lines of both."""
    lines = [line.split() for line in Path(path).read_text().splitlines() if line.strip()]
    tokens = {line[0]: line[1].lower() for line in lines if len(line) == 2}
    if len(tokens) != len(lines) or not all(re.fullmatch("[0-9a-f]{64}", token) for token in tokens.values()):
        raise ValueError("takes a file with a name and the SHA-256 of a token in each line, in hexadecimal")
    return tokens


_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def lifetime(text: str) -> int:
    number, unit = (text[:-1], text[-1]) if text[-1:] in _UNITS else (text, "s")
    if not (number.isascii() and number.isdigit() and 1 <= int(number) * _UNITS[unit] <= MAX_LIFETIME):
        raise ValueError("takes a duration from 1s to 30d, such as 5m, 1h or 7d")
    return int(number) * _UNITS[unit]


def lifetimes(text: str) -> tuple[int, ...]:
    return tuple(sorted({lifetime(part.strip()) for part in text.split(",")}))


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's own."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def text_of(name: str, env: Mapping[str, str]) -> str:
    """The text of a variable. For a database URL, NAME_FILE may name a file that has the text."""
    if name.endswith("_DB_URL") and env.get(f"{name}_FILE"):
        return Path(env[f"{name}_FILE"]).read_text().strip()
    return env.get(name, "").strip()
