"""Numbers in paths: no longer than the database counts, so that nothing is made of five thousand digits."""

from __future__ import annotations

from starlette.convertors import Convertor, register_url_convertor


class _IdConvertor(Convertor[int]):
    regex = "[0-9]{1,18}"

    def convert(self, value: str) -> int:
        return int(value)

    def to_string(self, value: int) -> str:
        return str(value)


def register() -> None:
    """Let paths of routes say ``{name:id}``."""
    register_url_convertor("id", _IdConvertor())
