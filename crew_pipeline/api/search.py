"""The route of search."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated

import orjson
from fastapi import APIRouter, Depends, HTTPException, Path, Query, Response

from crew_pipeline.api.calendar import Bound
from crew_pipeline.api.models import JSON, RelatedConversations, SearchResults
from crew_pipeline.api.problems import A_PROBLEM, PROBLEMS
from crew_pipeline.api.services import Admitted, Client, ServicesOf
from crew_pipeline.history.search.searching import MOST, Mode, Search
from crew_pipeline.history.search.words import Filter

router = APIRouter()

LONGEST = 1_000
"""Characters of a query; what is longer is no query but a text."""

Name = Annotated[str | None, Query(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]


def among(
    first: Annotated[Bound, Query(alias="from", description="first day, YYYY-MM-DD")] = None,
    last: Annotated[Bound, Query(alias="to", description="last day, YYYY-MM-DD")] = None,
    crew: Name = None,
    speaker: Name = None,
) -> Filter:
    """Which places count.

    Raises:
        HTTPException: 422 where the days are the wrong way round.
    """
    if isinstance(first, date) and isinstance(last, date) and first > last:
        raise HTTPException(422, f"from ({first}) lies after to ({last}); swap them.")
    return Filter(first or None, last or None, crew, speaker)


Words = Annotated[
    str, Query(min_length=1, max_length=LONGEST, description="words; what stands in quotes stands together")
]


@router.get(
    "/api/search",
    summary="Texts of all days, by their words and by what they mean",
    response_model=SearchResults,
    responses={404: {**A_PROBLEM, "description": "the cursor is none of a search"}, **PROBLEMS},
)
async def search(
    services: ServicesOf,
    admitted: Admitted,
    q: Words,
    where: Annotated[Filter, Depends(among)],
    mode: Annotated[Mode, Query(description="`words` or `meaning` alone; `auto` is both")] = "auto",
    limit: Annotated[int, Query(ge=1, le=50, description="texts a page")] = 10,
    cursor: Annotated[
        str | None, Query(max_length=300, description="`next_cursor` of the page before; it lives as long as the index")
    ] = None,
) -> Response:
    """Each text once, however often it was said, with how often that was and where; the places that a filter leaves out
    do not count. A text is a line, or a passage of a long one. Where nothing fits, nothing is found."""
    found = await services.searches.find(admitted.client, Search(q, where, mode), _first(cursor), limit)
    following = found.pop("next")
    content = {"query": q, "mode": mode, **found, "next_cursor": None if following is None else str(following)}
    return Response(orjson.dumps(content), media_type=JSON)


ConversationId = Annotated[
    str, Path(max_length=200, pattern=r"^[^\x00]+$", description="`id` of a conversation of a day")
]


@router.get(
    "/api/conversations/{conversation_id}/related",
    summary="Conversations of other sessions that speak of the same",
    response_model=RelatedConversations,
    responses={404: {**A_PROBLEM, "description": "no such conversation"}, **PROBLEMS},
)
async def related(
    services: ServicesOf,
    client: Client,
    conversation_id: ConversationId,
    limit: Annotated[int, Query(ge=1, le=20, description="conversations at most")] = 5,
) -> Response:
    """The nearest first, each with the lines that show it: what was said here, and what is near it there."""
    found = await services.searches.related(client, conversation_id, limit)
    if found is None:
        raise HTTPException(404, f"There is no conversation {conversation_id}; the days name those that there are.")
    return Response(orjson.dumps(found), media_type=JSON)


def _first(cursor: str | None) -> int:
    if cursor is None:
        return 0
    if not re.fullmatch("[0-9]{1,3}", cursor) or int(cursor) > MOST:
        raise HTTPException(404, "The cursor is none of a search; take next_cursor of the page before.")
    return int(cursor)
