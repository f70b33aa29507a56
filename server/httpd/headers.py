"""HTTP headers that are filled and written at once, where Tornado's look at each name and value by itself.

This is the one place that knows how Tornado's HTTPHeaders keep them; the lock pins Tornado.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any

from tornado.httputil import HTTPHeaders, _normalize_header


class Headers(HTTPHeaders):
    """Tornado's, with what it takes long for. Values are tuples, so that copies may share them."""

    def __init__(self, values: dict[str, Any]) -> None:
        self._as_list, self._combined_cache = values, {}

    @classmethod
    def constant(cls, headers: Mapping[str, str]) -> Headers:
        """To be copied: what every answer begins with."""
        return cls({name: (value,) for name, value in headers.items()})

    @classmethod
    def received(cls, fields: Iterable[tuple[bytes, bytes]]) -> Headers:
        """What stood in a request's head, each name and value as the parser lets it pass."""
        values: dict[str, Any] = {}
        for field, content in fields:
            name, value = _usual_case(field), content.decode("latin1").strip(" \t")
            values[name] = (*values[name], value) if name in values else (value,)
        return cls(values)

    def copy(self) -> Headers:
        return Headers(self._as_list.copy())

    def get(self, name: str, default: Any = None) -> Any:
        """As Tornado's, which raises and catches an error for what is not there."""
        values = self._as_list.get(_normalize_header(name))
        return default if values is None else ",".join(values)


@functools.lru_cache(128)  # of names that clients make up
def _usual_case(field: bytes) -> str:
    return _normalize_header(field.decode("latin1"))


def lines_of(headers: HTTPHeaders) -> list[str]:
    """As they stand in a head, without the ends of the lines."""
    return [f"{name}: {value}" for name, values in headers._as_list.items() for value in values]
