"""The routes of themes: what a client's days are about, when, and what people make of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from typing import Annotated, Any, Concatenate, Literal, ParamSpec, TypeVar

import numpy as np
import orjson
from fastapi import APIRouter, HTTPException, Path, Query, Response

from crew_pipeline.api import convertors
from crew_pipeline.api.models import (
    JSON,
    ChangedTheme,
    ForbiddenWords,
    LineOfTheme,
    MergedTheme,
    NewTheme,
    RenamedTheme,
    SplitTheme,
    ThemeDetail,
    ThemeList,
    ThemeSegments,
)
from crew_pipeline.api.problems import A_PROBLEM, PROBLEMS
from crew_pipeline.api.services import Client, ServicesOf
from crew_pipeline.dedup.text import normalise
from crew_pipeline.history.search.query_encoder import query_encoder
from crew_pipeline.history.themes import corrections, reading
from crew_pipeline.model import line_key
from crew_pipeline.storage.database import Database

P = ParamSpec("P")
T = TypeVar("T")

convertors.register()
router = APIRouter()

_NOT_FOUND: dict[int | str, dict[str, Any]] = {404: A_PROBLEM, **PROBLEMS}
_NOT_POSSIBLE: dict[int | str, dict[str, Any]] = {
    409: {**A_PROBLEM, "description": "the correction says nothing that can be done"},
    **_NOT_FOUND,
}
_CURSOR = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})~([0-9]{1,18})~([^\x00-\x1f\x7f]{1,200})")

ThemeId = Annotated[int, Path(ge=1, le=2**63 - 1, description="`id` of a theme")]


@router.get("/api/themes", summary="What the days are about", response_model=ThemeList, responses=PROBLEMS)
async def list_(services: ServicesOf, client: Client) -> Response:
    """The themes of all days, most conversations first, with what was found of when they are spoken of. A theme keeps
    its `id`, whatever is fitted anew. Empty while there is too little to say."""
    found = await services.db.as_client(client).reading(reading.overview, client)
    return Response(orjson.dumps(found), media_type=JSON)


@router.get("/api/themes/{theme_id:id}", summary="A theme", response_model=ThemeDetail, responses=_NOT_FOUND)
async def one(
    services: ServicesOf,
    client: Client,
    theme_id: ThemeId,
    by: Annotated[Literal["day", "week", "month"], Query(description="what the timeline counts by")] = "week",
) -> Response:
    """Its topics; a timeline and a grid of weekday and hour, counted in conversations; what chance would hardly do; the
    themes that come with it. Of one that was put into another, that one."""
    zone = await services.zone_of(client)
    found = await services.db.as_client(client).reading(reading.detail, client, theme_id, by, zone)
    if found is None:
        raise no_theme(theme_id)
    return Response(orjson.dumps(found), media_type=JSON)


@router.get(
    "/api/themes/{theme_id:id}/segments",
    summary="Where a theme is spoken of",
    response_model=ThemeSegments,
    responses=_NOT_FOUND,
)
async def segments(
    services: ServicesOf,
    client: Client,
    theme_id: ThemeId,
    limit: Annotated[int, Query(ge=1, le=100, description="segments a page")] = 20,
    cursor: Annotated[str | None, Query(max_length=300, description="`next_cursor` of the page before")] = None,
) -> Response:
    """Lines that follow each other, newest day first. `loose`: they are nearer to this theme than to any other, and not
    near."""
    before = _before(cursor)
    found = await services.db.as_client(client).reading(reading.segments, client, theme_id, before, limit)
    if found is None:
        raise no_theme(theme_id)
    return Response(orjson.dumps(found), media_type=JSON)


@router.post(
    "/api/themes",
    summary="Make a theme from examples",
    status_code=201,
    response_model=ChangedTheme,
    responses=PROBLEMS,
)
async def make(services: ServicesOf, client: Client, new: NewTheme) -> Response:
    """A theme of one's own from a few lines that speak of it. It finds its segments at once, and those of days to
    come."""
    made = await _corrected(services, client, _seed, new)
    return Response(orjson.dumps({"id": made}), 201, media_type=JSON)


def _seed(db: Database, client: str, new: NewTheme) -> int:
    encoder = query_encoder()
    if encoder is None:
        raise HTTPException(503, "The model that reads examples is not there; install the package anew.")
    examples = np.stack([encoder.encode(normalise(example)) for example in new.examples])
    return corrections.seed(db, client, new.name, examples)


@router.put("/api/themes/{theme_id:id}/name", summary="Rename", response_model=ChangedTheme, responses=_NOT_FOUND)
async def rename(services: ServicesOf, client: Client, theme_id: ThemeId, said: RenamedTheme) -> Response:
    """Its name from now on; null: its own words again."""
    await _corrected(services, client, corrections.rename, theme_id, said.name)
    return Response(orjson.dumps({"id": theme_id}), media_type=JSON)


@router.post("/api/themes/{theme_id:id}/merge", summary="Merge", response_model=ChangedTheme, responses=_NOT_POSSIBLE)
async def merge(services: ServicesOf, client: Client, theme_id: ThemeId, said: MergedTheme) -> Response:
    """Put all of a theme into another; they stay together."""
    await _corrected(services, client, corrections.merge, theme_id, said.into)
    return Response(orjson.dumps({"id": said.into}), media_type=JSON)


@router.post("/api/themes/{theme_id:id}/split", summary="Split", response_model=ChangedTheme, responses=_NOT_POSSIBLE)
async def split(services: ServicesOf, client: Client, theme_id: ThemeId, said: SplitTheme) -> Response:
    """Make a theme of its own of some of its topics; without any it is divided where it comes apart best. `id`: of the
    new one."""
    made = await _corrected(services, client, corrections.split, theme_id, said.topics)
    return Response(orjson.dumps({"id": made}), media_type=JSON)


@router.post(
    "/api/themes/{theme_id:id}/lines", summary="Move a line", response_model=ChangedTheme, responses=_NOT_POSSIBLE
)
async def move(services: ServicesOf, client: Client, theme_id: ThemeId, said: LineOfTheme) -> Response:
    """Put a line, with those around it, into a theme; what is like it goes with it."""
    key = line_key(said.line_id)
    if key is None:
        raise HTTPException(404, f"There is no line {said.line_id}; the days name those that there are.")
    await _corrected(services, client, corrections.move, *key, theme_id)
    return Response(orjson.dumps({"id": theme_id}), media_type=JSON)


@router.delete("/api/themes/{theme_id:id}", summary="Take a theme back", status_code=204, responses=_NOT_POSSIBLE)
async def drop(services: ServicesOf, client: Client, theme_id: ThemeId) -> Response:
    """One that somebody has made; what is in it goes where it is nearest to."""
    await _corrected(services, client, corrections.drop, theme_id)
    return Response(status_code=204)


@router.get("/api/themes/words", summary="Words that name no theme", response_model=ForbiddenWords, responses=PROBLEMS)
async def forbidden(services: ServicesOf, client: Client) -> Response:
    """Those that somebody has forbidden, in order."""
    words = await services.db.as_client(client).reading(reading.forbidden, client)
    return Response(orjson.dumps({"words": words}), media_type=JSON)


Word = Annotated[str, Path(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f\s/]+$", description="one word")]


@router.put("/api/themes/words/{word}", summary="Forbid a word", status_code=204, responses=_NOT_POSSIBLE)
async def forbid(services: ServicesOf, client: Client, word: Word) -> Response:
    """No theme is named by it from now on."""
    await _corrected(services, client, corrections.forbid, word)
    return Response(status_code=204)


@router.delete("/api/themes/words/{word}", summary="Allow a word", status_code=204, responses=PROBLEMS)
async def allow(services: ServicesOf, client: Client, word: Word) -> Response:
    """It may name themes again."""
    await _corrected(services, client, corrections.allow, word)
    return Response(status_code=204)


async def _corrected(
    services: ServicesOf,
    client: str,
    correct: Callable[Concatenate[Database, str, P], T],
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    """What a correction returns.

    Raises:
        HTTPException: 404 or 409 where it cannot be made.
    """
    db = services.db.as_client(client)
    try:
        return await db.calling(correct, db, client, *args, **kwargs)
    except corrections.NoThemeError as error:
        raise HTTPException(404, str(error)) from None
    except corrections.NotPossibleError as error:
        raise HTTPException(409, str(error)) from None


def no_theme(theme_id: int) -> HTTPException:
    """The problem of a theme that is not there."""
    return HTTPException(404, f"There is no theme {theme_id}; GET /api/themes lists them.")


def _before(cursor: str | None) -> tuple[date, str, int] | None:
    if cursor is None:
        return None
    found = _CURSOR.fullmatch(cursor)
    try:
        if found is None:
            raise ValueError
        return date.fromisoformat(found[1]), found[3], int(found[2])
    except ValueError:
        raise HTTPException(404, "The cursor is none of a theme; take next_cursor of the page before.") from None
