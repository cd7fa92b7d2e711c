"""The route of the calendar."""

from __future__ import annotations

import hashlib
from datetime import date
from typing import Annotated

import orjson
from fastapi import APIRouter, Header, HTTPException, Query, Response
from pydantic import BeforeValidator

from crew_pipeline.api.days import matches, strict_day
from crew_pipeline.api.models import JSON, Calendar
from crew_pipeline.api.problems import PROBLEMS
from crew_pipeline.api.services import Client, ServicesOf
from crew_pipeline.storage.days import calendar

router = APIRouter()

Bound = Annotated[date, BeforeValidator(strict_day)] | None


@router.get(
    "/api/calendar",
    summary="A row a day",
    response_model=Calendar,
    responses={304: {"description": "nothing of it has changed"}, **PROBLEMS},
)
async def days(
    services: ServicesOf,
    client: Client,
    first: Annotated[Bound, Query(alias="from", description="first day, YYYY-MM-DD")] = None,
    last: Annotated[Bound, Query(alias="to", description="last day, YYYY-MM-DD")] = None,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """The days that hold conversations: how much was said, how much of it is folded, and how far the day is (`stale`: a
    result is served while it waits to be made again). Days without conversations are left out."""
    if first and last and first > last:
        raise HTTPException(422, f"from ({first}) lies after to ({last}); swap them.")
    rows = await services.db.as_client(client).reading(calendar.between, client, services.fingerprint, first, last)
    body = orjson.dumps({"timezone": await services.zone_of(client), "days": [row._asdict() for row in rows]})
    tag = f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if if_none_match and matches(if_none_match, tag):
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type=JSON)
