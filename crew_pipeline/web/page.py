"""The page that shows a day: one static file without anything from elsewhere."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from fastapi import APIRouter, Response

router = APIRouter()

_POLICY = "; ".join(
    (
        "default-src 'self'",
        "img-src 'self' data:",
        "style-src 'self' 'unsafe-inline'",
        "script-src 'self' 'unsafe-inline'",
        "frame-ancestors 'none'",
    )
)


@lru_cache(maxsize=1)
def _page() -> bytes:
    return (Path(__file__).parent / "day.html").read_bytes()


@router.get("/", include_in_schema=False)
async def day_page() -> Response:
    """The day page, which keeps what it shows in its address (``?day=…``)."""
    headers = {"Content-Security-Policy": _POLICY, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"}
    return Response(_page(), headers=headers, media_type="text/html")
