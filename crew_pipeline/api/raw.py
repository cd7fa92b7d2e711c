"""Headers as they stand in ASGI messages: every request passes here several times, and making objects costs more."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.types import Scope


def header(scope: Scope, name: bytes) -> str:
    """The first value of a request's header, by its name in lower case; empty where there is none."""
    for key, value in scope["headers"]:
        if key == name:
            return str(value, "latin-1")
    return ""


def first_values(headers: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """An answer's headers by their names in lower case."""
    return {name.lower(): value for name, value in headers}
