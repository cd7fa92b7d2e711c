"""The routes of summaries: what conversations, days and themes come to, and what was said before about them."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, HTTPException, Query, Response

from crew_pipeline.api import convertors
from crew_pipeline.api.calendar import Bound
from crew_pipeline.api.days import Day
from crew_pipeline.api.lines import LineId
from crew_pipeline.api.models import JSON
from crew_pipeline.api.problems import A_PROBLEM, PROBLEMS
from crew_pipeline.api.search import ConversationId
from crew_pipeline.api.services import Client, ServicesOf
from crew_pipeline.api.summary_models import Development, Recall, Said, Summary
from crew_pipeline.api.themes import ThemeId, no_theme
from crew_pipeline.history.summaries import reading
from crew_pipeline.history.summaries.development import development
from crew_pipeline.history.summaries.reading import Size
from crew_pipeline.history.summaries.recall import own_of, recall
from crew_pipeline.model import line_key
from crew_pipeline.storage.history import points, theme_reading
from crew_pipeline.storage.history.points import Within

convertors.register()
router = APIRouter()

MOST_DAYS = 366
"""Of one summary."""
_WEEK = 6
_NOT_FOUND: dict[int | str, dict[str, Any]] = {404: A_PROBLEM, **PROBLEMS}

InProse = Annotated[bool, Query(description="also in prose, where the settings name a language model (CREW_LLM_URL)")]


@router.get(
    "/api/conversations/{conversation_id}/summary",
    summary="What a conversation comes to",
    response_model=Summary,
    responses=_NOT_FOUND,
)
async def of_conversation(
    services: ServicesOf, client: Client, conversation_id: ConversationId, prose: InProse = False
) -> Response:
    """Key points, decisions, tasks and open questions: sentences as they were said, each with its line."""
    within = Within(conversation_id=conversation_id)
    return await _summary(services, client, within, reading.CONVERSATION, prose=prose)


@router.get("/api/days/{day}/summary", summary="What a day comes to", response_model=Summary, responses=PROBLEMS)
async def of_day(services: ServicesOf, client: Client, day: Day, prose: InProse = False) -> Response:
    """Of all its conversations together; see that of a conversation."""
    return await _summary(services, client, Within(day, day), reading.DAY, prose=prose)


@router.get("/api/summary", summary="What some days come to", response_model=Summary, responses=PROBLEMS)
async def of_days(
    services: ServicesOf,
    client: Client,
    first: Annotated[Bound, Query(alias="from", description="first day, YYYY-MM-DD")] = None,
    last: Annotated[Bound, Query(alias="to", description="last day, YYYY-MM-DD; default: six days later")] = None,
    prose: InProse = False,
) -> Response:
    """Of a week where only its first day is named; without any, of the seven days up to today. Of 366 days at most."""
    since, until = _span(first or None, last or None, await services.today_of(client))
    if since > until:
        raise HTTPException(422, f"from ({since}) lies after to ({until}); swap them.")
    if (until - since).days >= MOST_DAYS:
        raise HTTPException(422, f"from ({since}) to ({until}) are more than {MOST_DAYS} days; ask for fewer.")
    return await _summary(services, client, Within(since, until), reading.SPAN, prose=prose)


@router.get(
    "/api/themes/{theme_id:id}/summary", summary="What a theme comes to", response_model=Summary, responses=_NOT_FOUND
)
async def of_theme(services: ServicesOf, client: Client, theme_id: ThemeId, prose: InProse = False) -> Response:
    """Of all that was said of it; see that of a conversation."""
    within = Within(theme=await _theme(services, client, theme_id))
    return await _summary(services, client, within, reading.SPAN, prose=prose)


@router.get(
    "/api/themes/{theme_id:id}/development",
    summary="How an idea developed",
    response_model=Development,
    responses=_NOT_FOUND,
)
async def of_idea(services: ServicesOf, client: Client, theme_id: ThemeId) -> Response:
    """The points of a theme in their order: what was first said, said again, changed, contradicted."""
    theme = await _theme(services, client, theme_id)
    steps = await services.db.as_client(client).reading(development, client, theme)
    return Response(orjson.dumps({"steps": steps}), media_type=JSON)


@router.get(
    "/api/conversations/{conversation_id}/recall",
    summary="What was said before about a conversation",
    response_model=Recall,
    responses=_NOT_FOUND,
)
async def before_conversation(services: ServicesOf, client: Client, conversation_id: ConversationId) -> Response:
    """When it was spoken of last, what was decided and stands, what is still open; in earlier conversations."""
    within = Within(conversation_id=conversation_id)
    await _known(services, client, conversation_id)
    return Response(orjson.dumps(await _recalled(services, client, within)), media_type=JSON)


@router.get(
    "/api/days/{day}/recall", summary="What was said before about a day", response_model=Recall, responses=PROBLEMS
)
async def before_day(services: ServicesOf, client: Client, day: Day) -> Response:
    """The same of all that is said on a day."""
    return Response(orjson.dumps(await _recalled(services, client, Within(day, day))), media_type=JSON)


@router.get("/api/lines/{line_id}/said", summary="Where the same was said", response_model=Said, responses=_NOT_FOUND)
async def where_said(services: ServicesOf, client: Client, line_id: LineId) -> Response:
    """In the whole history, by the judgement that folds days: how often, by week, by weekday and hour, and where."""
    key = line_key(line_id)
    zone = await services.zone_of(client)
    said = await services.searches.said(client, *key, zone) if key else None
    if said is None:
        raise HTTPException(404, f"There is no line {line_id}; the conversations of a day name those there are.")
    return Response(orjson.dumps(said), media_type=JSON)


def _span(first: date | None, last: date | None, today: date) -> tuple[date, date]:
    """First and last day; what is not named is seven days long, as far as there are days."""
    if first is None:
        until = last or today
        return date.fromordinal(max(until.toordinal() - _WEEK, date.min.toordinal())), until
    return first, last or date.fromordinal(min(first.toordinal() + _WEEK, date.max.toordinal()))


async def _summary(services: ServicesOf, client: str, within: Within, size: Size, *, prose: bool) -> Response:
    zone = await services.zone_of(client)
    found = await services.db.as_client(client).reading(reading.summary, client, within, size, zone)
    if within.conversation_id is not None and not found["conversations"]:
        raise _no_conversation(within.conversation_id)
    found["prose"] = await services.prose.tell(client, found) if prose else None
    return Response(orjson.dumps(found), media_type=JSON)


async def _known(services: ServicesOf, client: str, conversation_id: str) -> None:
    extent = await services.db.as_client(client).reading(points.extent, client, Within(conversation_id=conversation_id))
    if not extent.conversations:
        raise _no_conversation(conversation_id)


def _no_conversation(conversation_id: str) -> HTTPException:
    return HTTPException(404, f"There is no conversation {conversation_id}; the days name those that there are.")


async def _theme(services: ServicesOf, client: str, theme_id: int) -> int:
    """The theme, or the one that it was put into."""
    known: int | None = await services.db.as_client(client).reading(theme_reading.standing, client, theme_id)
    if known is None:
        raise no_theme(theme_id)
    return known


async def _recalled(services: ServicesOf, client: str, within: Within) -> dict[str, Any]:
    found: dict[str, Any] = await services.db.as_client(client).reading(_before, client, within)
    return found


def _before(connection: Any, client: str, within: Within) -> dict[str, Any]:
    return recall(connection, client, own_of(connection, client, within))
