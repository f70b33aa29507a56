"""HTTP headers with a fast path; Tornado's check each name and value separately.

Only this module knows how Tornado's HTTPHeaders stores its fields; the lock pins Tornado.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any

from tornado.httputil import HTTPHeaders, _normalize_header


class Headers(HTTPHeaders):
    """Tornado's headers, made and copied in one step. Values are tuples, so that copies may share them."""

    def __init__(self, values: dict[str, Any]) -> None:
        self._as_list, self._combined_cache = values, {}

    @classmethod
    def constant(cls, headers: Mapping[str, str]) -> Headers:
        """Headers to be copied: the ones that every answer begins with."""
        return cls({name: (value,) for name, value in headers.items()})

    @classmethod
    def received(cls, fields: Iterable[tuple[bytes, bytes]]) -> Headers:
        """The headers of a request.

        Args:
            fields: names and values as the parser gives them. At most a hundred, because repeated ones are
                joined one by one.
        """
        values: dict[str, Any] = {}
        for field, content in fields:
            name, value = _usual_case(field), content.decode("latin1").strip(" \t")
            values[name] = (*values[name], value) if name in values else (value,)
        return cls(values)

    def copy(self) -> Headers:
        return Headers(self._as_list.copy())

    def get(self, name: str, default: Any = None) -> Any:
        """The value, or `default`. Tornado's method raises and catches an error for a missing name."""
        values = self._as_list.get(_normalize_header(name))
        return default if values is None else ",".join(values)


@functools.lru_cache(128)  # bounded, because clients can make up names
def _usual_case(field: bytes) -> str:
    return _normalize_header(field.decode("latin1"))


def header_lines(headers: HTTPHeaders) -> list[str]:
    """The lines of a head, without their ends."""
    return [f"{name}: {value}" for name, values in headers._as_list.items() for value in values]
