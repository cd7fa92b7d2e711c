"""The routes of a day's results: files to take elsewhere, earlier versions, and how it would fold otherwise."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import APIRouter, Query, Response
from sqlalchemy import Connection

from crew_pipeline.api.days import Day
from crew_pipeline.api.models import JSON, DayChanges, DayVersions, FoldingPoint, NewFolding, TriedFolding
from crew_pipeline.api.problems import A_PROBLEM, PROBLEMS, problem
from crew_pipeline.api.services import Client, ServicesOf
from crew_pipeline.days import changes, exporting, reading
from crew_pipeline.days.exporting import Format
from crew_pipeline.days.reading import LinesShown, View
from crew_pipeline.days.refolding import set_folding, try_at
from crew_pipeline.dedup.document import stamp
from crew_pipeline.model import ClientDay, OperatingPoint
from crew_pipeline.settings import Settings
from crew_pipeline.storage.conversations import clients
from crew_pipeline.storage.days import documents
from crew_pipeline.storage.turns import Turns

router = APIRouter()

_folding = Turns(threads=1, of_one=1)
"""Whole days are folded one after the other, each client's in turn, and in no thread that readers need."""

VersionName = Annotated[str, Query(max_length=100, pattern=r"^[^\x00]+$", description="`version` of one that is kept")]


@router.get(
    "/api/days/{day}/export",
    summary="A day as a file",
    response_class=Response,
    responses={200: {"content": {kind.split(";")[0]: {} for kind, _ in exporting.MEDIA_TYPES.values()}}, **PROBLEMS},
)
async def export(
    services: ServicesOf,
    day: Day,
    client: Client,
    form: Annotated[Format, Query(alias="format")] = "markdown",
    view: Annotated[LinesShown, Query(description="`full`: hidden lines too, marked")] = "condensed",
) -> Response:
    """The day as it is served now, as Markdown, JSON Lines or CSV (in which no cell is a formula)."""
    content = await services.db.as_client(client).reading(
        _exported, services.settings, ClientDay(client, day), View(view), form, services.fingerprint
    )
    media_type, ending = exporting.MEDIA_TYPES[form]
    name = f"{day}-full.{ending}" if view == "full" else f"{day}.{ending}"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return Response(content, headers=headers, media_type=media_type)


def _exported(
    connection: Connection, settings: Settings, client_day: ClientDay, view: View, form: Format, fingerprint: str
) -> bytes:
    entries = reading.read_day(connection, client_day, fingerprint, view)["data"]
    zone = clients.settings_of(connection, settings, client_day.client).timezone
    return exporting.exported(entries, client_day.day, zone, form)


@router.get("/api/days/{day}/versions", summary="A day's results", response_model=DayVersions, responses=PROBLEMS)
async def versions(services: ServicesOf, day: Day, client: Client) -> Response:
    """The result in force and those before it that are kept (`CREW_KEEP_RESULTS_D`), the latest first; `run_url` leads
    to the Dagster run that made it."""
    kept = await services.db.as_client(client).reading(documents.versions, ClientDay(client, day))
    ui = services.settings.dagster_ui
    content = [
        {
            "version": version.version,
            "processed_at": stamp(version.processed_at),
            "is_current": version.is_current,
            "conversations": version.conversations,
            "lines": version.lines,
            "folded": version.hidden,
            "processing_time_ms": version.processing_ms,
            "run_url": f"{ui}/runs/{version.token}" if _is_run(version.token) else None,
        }
        for version in kept
    ]
    return Response(orjson.dumps({"versions": content}), media_type=JSON)


def _is_run(token: str) -> bool:
    """Whether a claim was a Dagster run's, whose ids are UUIDs; a day that was folded again has another."""
    try:
        return str(UUID(token)) == token
    except ValueError:
        return False


@router.get(
    "/api/days/{day}/changes",
    summary="What differs between two results",
    response_model=DayChanges,
    responses={404: A_PROBLEM, **PROBLEMS},
)
async def changed(
    services: ServicesOf,
    day: Day,
    client: Client,
    before: Annotated[VersionName, Query(alias="from")],
    after: Annotated[VersionName, Query(alias="to")],
) -> Response:
    """Lines that the second of two versions folds and the first does not, and the other way round; lines that it has
    anew or no longer."""
    db = services.db.as_client(client)
    bodies = [await db.reading(documents.body_of, ClientDay(client, day), version) for version in (before, after)]
    if None in bodies:
        return problem(404, "One of these versions is not kept; GET /api/days/{day}/versions names those that are.")
    told = await db.calling(_changes, [body for body in bodies if body is not None])
    return Response(orjson.dumps({"from": before, "to": after, **told}), media_type=JSON)


def _changes(bodies: list[bytes]) -> dict[str, Any]:
    before, after = (orjson.loads(body) for body in bodies)
    return changes.between(before, after).as_dict()


@router.get(
    "/api/days/{day}/folding",
    summary="How the day would fold at another operating point",
    response_model=TriedFolding,
    responses={409: A_PROBLEM, **PROBLEMS},
)
async def try_folding(services: ServicesOf, day: Day, client: Client, at: OperatingPoint) -> Response:
    """Which lines would be folded more, and which no longer; nothing is changed."""
    found = await _folding.run(
        client, try_at, services.db.as_client(client), services.settings, ClientDay(client, day), at
    )
    if found is None:
        return problem(409, f"{day} is not ready by the engine in force; ask again when it is.")
    told = found.as_dict()
    content = {"at": at, **{name: told[name] for name in ("counts", "folded", "unfolded")}}
    return Response(orjson.dumps(content), media_type=JSON)


@router.get("/api/folding", summary="The operating point", response_model=FoldingPoint, responses=PROBLEMS)
async def folding_point(services: ServicesOf, client: Client) -> Response:
    """At which point this client's days fold, and whether that is its own."""
    own = await services.db.as_client(client).reading(clients.folding_of, client)
    content = {"folding": own or services.settings.folding, "own": own is not None}
    return Response(orjson.dumps(content), media_type=JSON)


@router.put("/api/folding", summary="Choose the operating point", response_model=FoldingPoint, responses=PROBLEMS)
async def choose_folding(services: ServicesOf, client: Client, chosen: NewFolding) -> Response:
    """From now on this client's days fold at another point (`default`: the system's). The newest are folded again at
    once (`refolded`), the others follow (`later`)."""
    point: OperatingPoint | None = None if chosen.folding == "default" else chosen.folding
    done = await _folding.run(client, set_folding, services.db.as_client(client), services.settings, client, point)
    content: dict[str, Any] = {"folding": point or services.settings.folding, "own": point is not None}
    days: dict[str, list[date]] = {"refolded": done.at_once, "later": done.later}
    return Response(orjson.dumps(content | days), media_type=JSON)
