"""The page's files: read once, compressed once, under an address that changes with what is in them."""

from __future__ import annotations

import gzip
import hashlib
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

_FOLDER = Path(__file__).parent / "static"
_MEDIA_TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}


class StaticFile(NamedTuple):
    """A file as it is sent: plain, or compressed (gzip)."""

    content: bytes
    compressed: bytes
    media_type: str


class StaticFiles(NamedTuple):
    """All of them, by name.

    Attributes:
        version: of all together, so that modules find each other beside themselves.
    """

    files: dict[str, StaticFile]
    version: str

    def address(self, name: str) -> str:
        """Where a file is served; for ever the same bytes."""
        return f"/static/{self.version}/{name}"


@lru_cache(maxsize=1)
def static_files() -> StaticFiles:
    """What the page consists of."""
    files = {}
    digest = hashlib.blake2b(digest_size=8)
    for path in sorted(_FOLDER.iterdir()):
        content = path.read_bytes()
        digest.update(path.name.encode() + b"\0" + content)
        files[path.name] = StaticFile(content, gzip.compress(content, 9, mtime=0), _MEDIA_TYPES[path.suffix])
    return StaticFiles(files, digest.hexdigest())
