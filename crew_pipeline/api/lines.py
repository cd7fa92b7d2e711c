"""The route of a line."""

from __future__ import annotations

from typing import Annotated

import orjson
from fastapi import APIRouter, Path, Response

from crew_pipeline.api.models import JSON, WholeLine
from crew_pipeline.api.problems import A_PROBLEM, PROBLEMS, problem
from crew_pipeline.api.services import Client, ServicesOf
from crew_pipeline.days import reading

router = APIRouter()

LineId = Annotated[str, Path(max_length=200, pattern=r"^[^\x00]+$", description="`line_id` of a line of a day")]


@router.get(
    "/api/lines/{line_id}",
    summary="One line, whole",
    response_model=WholeLine,
    responses={404: {**A_PROBLEM, "description": "no such line"}, **PROBLEMS},
)
async def line(services: ServicesOf, line_id: LineId, client: Client) -> Response:
    """A line with all its words, what it hides or where it is hidden, and what is folded in it."""
    db = services.db.as_client(client)
    found = await db.reading(reading.read_line, client, line_id, services.fingerprint)
    if found is None:
        return problem(404, f"There is no line {line_id}; line_id in the conversations of a day names those there are.")
    return Response(orjson.dumps(found), media_type=JSON)
