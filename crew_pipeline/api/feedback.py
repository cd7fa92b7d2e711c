"""The routes of feedback: what readers say about pairs of lines."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, HTTPException, Path, Query, Request, Response

from crew_pipeline.api.access import Client
from crew_pipeline.api.days import JSON, Day
from crew_pipeline.api.models import FeedbackList, GivenFeedback, NewFeedback, UndoneFeedback
from crew_pipeline.api.problems import PROBLEMS, Problem
from crew_pipeline.model import ClientDay
from crew_pipeline.storage.evidence import verdicts as feedback

router = APIRouter()

_NOT_FOUND: dict[int | str, dict[str, Any]] = {
    404: {"model": Problem, "content": {"application/problem+json": {}}},
    **PROBLEMS,
}


@router.post(
    "/api/days/{day}/feedback",
    summary="Say what two lines are",
    status_code=201,
    response_model=GivenFeedback,
    responses=_NOT_FOUND,
)
async def say(request: Request, day: Day, client: Client, said: NewFeedback) -> Response:
    """`same`: the two lines are folded together from now on; `different`: never again. It holds wherever both texts
    stand in a day of this client, at once and for ever, until it is undone."""
    from crew_pipeline.days import refolding  # brings pandas, which readers of days need not wait for

    state = request.app.state

    def work() -> refolding.Verdict:
        return refolding.say(
            state.db, state.settings, ClientDay(client, day), said.verdict, (said.line_id, said.other_line_id)
        )

    try:
        made = await asyncio.to_thread(work)
    except refolding.UnknownLineError as error:
        raise HTTPException(404, str(error)) from None
    except (refolding.SameLineError, refolding.TooShortError) as error:
        raise HTTPException(422, str(error)) from None
    content = {"id": made.id, "verdict": made.verdict, "refolded": made.days.at_once, "later": made.days.later}
    return Response(orjson.dumps(content), 201, media_type=JSON)


@router.get("/api/feedback", summary="What readers have said", response_model=FeedbackList, responses=PROBLEMS)
async def list_(
    request: Request,
    client: Client,
    undone: Annotated[bool, Query(description="also verdicts that were taken back")] = False,
) -> Response:
    """The verdicts on this client's lines, oldest first."""

    def read() -> list[dict[str, Any]]:
        with request.app.state.db.read() as connection:
            return [one._asdict() for one in feedback.list_all(connection, client, with_undone=undone)]

    return Response(orjson.dumps({"feedback": await asyncio.to_thread(read)}), media_type=JSON)


@router.get(
    "/api/feedback/pairs.jsonl",
    summary="Verdicts as labelled pairs",
    response_class=Response,
    responses={200: {"content": {"application/x-ndjson": {}}}, **PROBLEMS},
)
async def export(request: Request, client: Client) -> Response:
    """The verdicts in force, one labelled pair a line, as `crew evaluate` reads them."""

    def read() -> bytes:
        with request.app.state.db.read() as connection:
            found = feedback.labelled_pairs(connection, client)
        return b"".join(orjson.dumps(one, option=orjson.OPT_APPEND_NEWLINE) for one in found)

    return Response(await asyncio.to_thread(read), media_type="application/x-ndjson")


@router.delete(
    "/api/feedback/{feedback_id}",
    summary="Take a verdict back",
    response_model=UndoneFeedback,
    responses=_NOT_FOUND,
)
async def undo(request: Request, client: Client, feedback_id: Annotated[int, Path(ge=1, le=2**63 - 1)]) -> Response:
    """The lines fold as the engine judges them again."""
    from crew_pipeline.days import refolding

    state = request.app.state
    done = await asyncio.to_thread(refolding.undo, state.db, state.settings, client, feedback_id)
    if done is None:
        raise HTTPException(404, f"There is no verdict {feedback_id} in force; GET /api/feedback lists them.")
    content = {"id": feedback_id, "refolded": done.at_once, "later": done.later}
    return Response(orjson.dumps(content), media_type=JSON)
