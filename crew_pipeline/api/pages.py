"""The pages for people, and their files."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from datetime import date
from functools import partial

import orjson
from fastapi import APIRouter, HTTPException, Request, Response

from crew_pipeline.api.days import strict_day
from crew_pipeline.api.services import Services, ServicesOf
from crew_pipeline.days.reading import View
from crew_pipeline.model import ClientDay
from crew_pipeline.storage.days import states
from crew_pipeline.web import page
from crew_pipeline.web.static_files import static_files

router = APIRouter(include_in_schema=False)

_AS_SHOWN = View("full", "omit")
_LARGEST_FIRST_LOOK = 4 * 1024 * 1024
"""Of a larger day the script draws the first lines as well (bytes)."""


@router.get("/")
async def day_page(request: Request, services: ServicesOf) -> Response:
    """The day page, which keeps what it shows in its address. Holds words only for who may see them."""
    named = _client_of(request.query_params.get("client"))
    day = _day_of(request.query_params.get("day"))
    zone, body = services.settings.timezone, b"[]"
    try:
        client = (await services.doorkeeper.admit(request, named)).client
    except HTTPException:
        client = None
    if client is not None:
        zone = await services.zone_of(client)
        day = day or await services.db.as_client(client).reading(states.latest_day, client)
        body = await _at_hand(services, client, day)
    full = request.query_params.get("view") == "full"
    cookie = request.cookies.get(page.VIEW_COOKIE, "")
    db = services.db.as_client(client or "")
    draw = partial(page.day_page, full=full, whose=client or "", root=services.settings.root_path)
    content = await db.calling(_drawn, draw, day, zone, body, cookie, named)
    return _html(request, content)


def _client_of(asked: str | None) -> str | None:
    """The client that the address names, where it may be a client's name."""
    return asked if asked and re.fullmatch(r"[^\x00-\x1f\x7f]{1,200}", asked) else None


def _day_of(asked: str | None) -> date | None:
    try:
        return date.fromisoformat(str(strict_day(asked)))
    except ValueError:
        return None


async def _at_hand(services: Services, client: str, day: date | None) -> bytes:
    """The day's conversations where they are ready; nothing is asked for."""
    ready = await services.days.ready(ClientDay(client, day), _AS_SHOWN) if day else None
    return ready.body if ready is not None and len(ready.body) <= _LARGEST_FIRST_LOOK else b"[]"


def _drawn(
    draw: Callable[..., bytes], day: date | None, zone: str, body: bytes, cookie: str, named: str | None
) -> bytes:
    return draw(day, zone, orjson.loads(body), cookie, named)


@router.get("/status")
async def status_page(request: Request, services: ServicesOf) -> Response:
    """The operator's page; what it shows it asks for itself."""
    return _html(request, page.status_page(request.cookies.get(page.VIEW_COOKIE, ""), services.settings.root_path))


@router.get("/themes")
async def themes_page(request: Request, services: ServicesOf) -> Response:
    """What the days are about; what it shows it asks for itself."""
    return _html(request, page.themes_page(request.cookies.get(page.VIEW_COOKIE, ""), services.settings.root_path))


@router.get("/digest")
async def digest_page(request: Request, services: ServicesOf) -> Response:
    """What a week comes to; what it shows it asks for itself."""
    return _html(request, page.digest_page(request.cookies.get(page.VIEW_COOKIE, ""), services.settings.root_path))


def _html(request: Request, content: bytes) -> Response:
    headers = {
        "Content-Security-Policy": page.POLICY,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "same-origin",
        "Cache-Control": "no-store",
        "Vary": "Accept-Encoding",
    }
    if _takes_gzip(request):
        content, headers["Content-Encoding"] = gzip.compress(content, 5), "gzip"
    return Response(content, headers=headers, media_type="text/html; charset=utf-8")


@router.get("/static/{version}/{name}")
async def static_file(request: Request, version: str, name: str) -> Response:
    """A file of the pages. Its address changes with what it holds, so browsers keep it for ever."""
    known = static_files()
    found = known.files.get(name)
    if found is None or version != known.version:
        raise HTTPException(404, "There is no such file; load the page again.")
    headers = {
        "Cache-Control": "public, max-age=31536000, immutable",
        "X-Content-Type-Options": "nosniff",
        "Vary": "Accept-Encoding",
    }
    if _takes_gzip(request):
        return Response(found.compressed, headers=headers | {"Content-Encoding": "gzip"}, media_type=found.media_type)
    return Response(found.content, headers=headers, media_type=found.media_type)


def _takes_gzip(request: Request) -> bool:
    return "gzip" in request.headers.get("accept-encoding", "")
