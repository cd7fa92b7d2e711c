"""Answers compressed for those who take them so; what has a tag is compressed once for all who ask."""

from __future__ import annotations

import asyncio
import gzip
import re
from functools import lru_cache
from typing import Literal

import brotli
from cachetools import LRUCache
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crew_pipeline.api.raw import first_values, header

Encoding = Literal["br", "gzip"]

_LEAST_BYTES = 1_024
_BROTLI_QUALITY, _GZIP_LEVEL = 5, 6
_TYPES = (b"application/json", b"application/problem+json", b"application/x-ndjson", b"text/")
_AT_ONCE_BYTES = 16 * 1024
"""Up to here compressing takes no longer than handing it to a thread."""
_TAG = re.compile(rb'"([^"]*)-(?:br|gzip)"')


class Compression:
    """ASGI middleware. A tag says which bytes these are, so a compressed answer has another than a plain one.

    Args:
        kept_mb: memory for compressed answers (MiB).
    """

    def __init__(self, app: ASGIApp, kept_mb: int) -> None:
        self._app = app
        self._kept: LRUCache[tuple[str, str, str, Encoding], bytes] = LRUCache(
            max(1, kept_mb * 1024 * 1024), getsizeof=len
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Compress what the application answers, where that pays and is taken."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        encoding = chosen(header(scope, b"accept-encoding"))
        start: Message | None = None

        async def compressing(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                start = message
                return
            if start is not None:
                whole = not message.get("more_body", False)
                await self._finish(scope, start, message, encoding if whole else None)
                await send(start)
                start = None
            await send(message)

        _take_marks_off(scope)
        await self._app(scope, receive, compressing)
        return None

    async def _finish(self, scope: Scope, start: Message, body: Message, encoding: Encoding | None) -> None:
        known = first_values(start["headers"])
        tag = known.get(b"etag", b"").decode()
        if b"content-encoding" in known or not known.get(b"content-type", b"").startswith(_TYPES):
            if start["status"] == 304 and encoding is not None and tag:
                MutableHeaders(raw=start["headers"])["ETag"] = _marked(tag, encoding)
            return
        content = body.get("body", b"")
        if encoding is None or len(content) < _LEAST_BYTES:
            start["headers"].append((b"vary", b"Accept-Encoding"))
            return
        client = scope.get("state", {}).get("client")
        key = (client, scope["path"], tag, encoding) if client and tag and start["status"] == 200 else None
        found = self._kept.get(key) if key else None
        if found is None:
            found = await _compressed(content, encoding)
            if key and len(found) <= self._kept.maxsize // 4:
                self._kept[key] = found
        body["body"] = found
        headers = MutableHeaders(raw=start["headers"])
        headers["Content-Encoding"], headers["Content-Length"] = encoding, str(len(found))
        headers.add_vary_header("Accept-Encoding")
        if tag:
            headers["ETag"] = _marked(tag, encoding)


@lru_cache(maxsize=256)
def chosen(accepted: str) -> Encoding | None:
    """The encoding to use for a header ``Accept-Encoding`` (RFC 9110, 12.5.3)."""
    weights = {}
    for one in accepted.lower().split(","):
        name, _, weight = one.partition(";")
        weights[name.strip()] = weight.replace(" ", "").removeprefix("q=") or "1"
    for encoding in ("br", "gzip"):
        if weights.get(encoding, weights.get("*", "0")).strip("0.") != "":
            return encoding
    return None


async def _compressed(content: bytes, encoding: Encoding) -> bytes:
    if len(content) <= _AT_ONCE_BYTES:
        return _compress(content, encoding)
    return await asyncio.to_thread(_compress, content, encoding)


def _compress(content: bytes, encoding: Encoding) -> bytes:
    if encoding == "br":
        done: bytes = brotli.compress(content, quality=_BROTLI_QUALITY)
        return done
    return gzip.compress(content, _GZIP_LEVEL, mtime=0)


def _marked(tag: str, encoding: Encoding) -> str:
    return f'{tag[:-1]}-{encoding}"' if tag.endswith('"') else tag


def _take_marks_off(scope: Scope) -> None:
    """Have a request name the tags that routes give; they know nothing of encodings."""
    if "-" in header(scope, b"if-none-match"):
        scope["headers"] = [
            (name, _TAG.sub(rb'"\1"', value) if name == b"if-none-match" else value) for name, value in scope["headers"]
        ]
