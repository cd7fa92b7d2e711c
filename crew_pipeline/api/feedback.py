"""The routes of feedback: what visitors say about pairs of lines and about what stands in messages."""

from __future__ import annotations

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, HTTPException, Path, Query, Response
from sqlalchemy import Connection

from crew_pipeline.api import convertors
from crew_pipeline.api.days import Day
from crew_pipeline.api.models import (
    JSON,
    FeedbackList,
    GivenFeedback,
    NewFeedback,
    OfPassages,
    OfStandingText,
    OfTwoLines,
    UndoneFeedback,
)
from crew_pipeline.api.problems import A_PROBLEM, PROBLEMS
from crew_pipeline.api.services import Client, ServicesOf
from crew_pipeline.days import verdicts
from crew_pipeline.dedup import labelled_pairs
from crew_pipeline.model import ClientDay
from crew_pipeline.settings import Settings
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.evidence import verdicts as stored

convertors.register()
router = APIRouter()

_NOT_FOUND: dict[int | str, dict[str, Any]] = {404: A_PROBLEM, **PROBLEMS}


@router.post(
    "/api/days/{day}/feedback",
    summary="Say what two lines are, or what is to be seen",
    status_code=201,
    response_model=GivenFeedback,
    responses=_NOT_FOUND,
)
async def say(services: ServicesOf, day: Day, client: Client, said: NewFeedback) -> Response:
    """`same`: the two lines are folded together from now on; `different`: never again. `show`: what stands between two
    places of a line is always shown; `hide`: the standing text of its speaker is left out where it is visible. It holds
    wherever that stands in a day of this client, for ever, until it is undone; this day is served so at once, others
    with it or soon (`later`)."""
    try:
        db = services.db.as_client(client)
        given = await db.calling(_say, db, services.settings, ClientDay(client, day), said)
    except verdicts.UnknownLineError as error:
        raise HTTPException(404, str(error)) from None
    except (verdicts.SameLineError, verdicts.TooShortError, verdicts.NoPassageError) as error:
        raise HTTPException(422, str(error)) from None
    content = {"id": given.id, "verdict": given.verdict, "refolded": given.days.at_once, "later": given.days.later}
    return Response(orjson.dumps(content), 201, media_type=JSON)


def _say(db: Database, settings: Settings, client_day: ClientDay, said: NewFeedback) -> verdicts.Given:
    match said:
        case OfPassages():
            return verdicts.show(db, settings, client_day, said.line_id, said.start, said.end)
        case OfStandingText():
            return verdicts.hide(db, settings, client_day, said.line_id)
        case OfTwoLines():
            return verdicts.say(db, settings, client_day, said.verdict, (said.line_id, said.other_line_id))


@router.get("/api/feedback", summary="What visitors have said", response_model=FeedbackList, responses=PROBLEMS)
async def list_(
    services: ServicesOf,
    client: Client,
    undone: Annotated[bool, Query(description="also verdicts that were taken back")] = False,
) -> Response:
    """The verdicts on this client's lines, oldest first."""
    given = await services.db.as_client(client).reading(stored.list_all, client, with_undone=undone)
    return Response(orjson.dumps({"feedback": [verdict._asdict() for verdict in given]}), media_type=JSON)


@router.get(
    "/api/feedback/pairs.jsonl",
    summary="Verdicts as labelled pairs",
    response_class=Response,
    responses={200: {"content": {"application/x-ndjson": {}}}, **PROBLEMS},
)
async def export(services: ServicesOf, client: Client) -> Response:
    """The verdicts in force, one labelled pair a line, as `crew evaluate` reads them."""
    content = await services.db.as_client(client).reading(_written_pairs, client)
    return Response(content, media_type="application/x-ndjson")


def _written_pairs(connection: Connection, client: str) -> bytes:
    return labelled_pairs.written(stored.labelled_pairs(connection, client))


@router.delete(
    "/api/feedback/{feedback_id:id}",
    summary="Take a verdict back",
    response_model=UndoneFeedback,
    responses=_NOT_FOUND,
)
async def undo(services: ServicesOf, client: Client, feedback_id: Annotated[int, Path(ge=1, le=2**63 - 1)]) -> Response:
    """The lines fold again as the engine judges them."""
    db = services.db.as_client(client)
    done = await db.calling(verdicts.undo, db, services.settings, client, feedback_id)
    if done is None:
        raise HTTPException(404, f"There is no verdict {feedback_id} in force; GET /api/feedback lists them.")
    content = {"id": feedback_id, "refolded": done.at_once, "later": done.later}
    return Response(orjson.dumps(content), media_type=JSON)
