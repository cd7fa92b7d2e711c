"""The pages' files: read once, compressed once, under an address that changes with what is in them.

The modules of a page are sent as one file: a browser asks once instead of twenty times.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

_FOLDER = Path(__file__).parent / "static"
_MEDIA_TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}
PAGES = ("day.js", "digest.js", "status.js", "themes.js")
"""The modules that pages begin with."""

_IMPORT = re.compile(r'^import \{([^}]*)\} from "\./([a-z_]+)\.js";$', re.MULTILINE)
_EXPORT = re.compile(r"^export ((?:async )?(?:function|class|const) ([\w$]+))", re.MULTILINE)


class StaticFile(NamedTuple):
    """A file as it is sent: plain, or compressed (gzip)."""

    content: bytes
    compressed: bytes
    media_type: str


class StaticFiles(NamedTuple):
    """All of them, by name.

    Attributes:
        version: of all together.
    """

    files: dict[str, StaticFile]
    version: str

    def address(self, name: str) -> str:
        """Where a file is served; for ever the same bytes."""
        return f"/static/{self.version}/{name}"


def modules() -> dict[str, str]:
    """The sources of the scripts, by file name."""
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(_FOLDER.glob("*.js"))}


def bundled(page: str, sources: dict[str, str]) -> str:
    """A page's module with those that it imports, each in a scope of its own, in the order in which they are needed.

    Raises:
        ValueError: modules import each other in a circle.
    """
    parts: dict[str, str] = {}

    def add(name: str, within: tuple[str, ...]) -> None:
        if name in within:
            raise ValueError(f"modules import each other in a circle: {' > '.join((*within, name))}")
        source = sources[name]
        for _, imported in _IMPORT.findall(source):
            if f"{imported}.js" not in parts:
                add(f"{imported}.js", (*within, name))
        body = _IMPORT.sub(lambda found: f"const {{{found[1].replace(' as ', ': ')}}} = {_scope(found[2])};", source)
        names = ", ".join(name for _, name in _EXPORT.findall(body))
        body = _EXPORT.sub(r"\1", body)
        parts[name] = f"const {_scope(name.removesuffix('.js'))} = (() => {{\n{body}\nreturn {{ {names} }};\n}})();\n"

    add(page, ())
    return "".join(parts.values())


def _scope(module: str) -> str:
    return f"${module}"


@lru_cache(maxsize=1)
def static_files() -> StaticFiles:
    """What the pages consist of."""
    sources = modules()
    contents = {page: bundled(page, sources).encode() for page in PAGES}
    contents |= {path.name: path.read_bytes() for path in sorted(_FOLDER.iterdir()) if path.suffix != ".js"}
    digest = hashlib.blake2b(digest_size=8)
    files = {}
    for name, content in sorted(contents.items()):
        digest.update(name.encode() + b"\0" + content)
        files[name] = StaticFile(content, gzip.compress(content, 9, mtime=0), _MEDIA_TYPES[Path(name).suffix])
    return StaticFiles(files, digest.hexdigest())
