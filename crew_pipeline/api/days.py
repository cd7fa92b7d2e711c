"""The routes of a day: the day itself, its status, the queue and its events."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable
from datetime import date
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Header, Path, Query, Response
from pydantic import BeforeValidator
from sqlalchemy import Connection

from crew_pipeline import model
from crew_pipeline.api.models import (
    JSON,
    DayEnvelope,
    DayEvents,
    DayState,
    FailedDays,
    LatestDay,
    LinkedParts,
    Queue,
    Retried,
    StandingTexts,
)
from crew_pipeline.api.problems import A_PROBLEM, PROBLEMS, problem
from crew_pipeline.api.services import Admitted, Client, ServicesOf
from crew_pipeline.days import requests, standing_texts
from crew_pipeline.days.reading import LinesShown, PassagesShown, View
from crew_pipeline.days.status import state_of
from crew_pipeline.dedup.document import stamp
from crew_pipeline.model import ClientDay
from crew_pipeline.serving.feed import told
from crew_pipeline.serving.service import DayAnswer
from crew_pipeline.storage.conversations import parts
from crew_pipeline.storage.days import events, queue, states
from crew_pipeline.storage.days.visits import Kind

router = APIRouter()

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def strict_day(value: object) -> object:
    """Let only ``YYYY-MM-DD`` through, nothing else that can be read as a date."""
    if not isinstance(value, str) or not _DAY.fullmatch(value):
        raise ValueError("a day is written YYYY-MM-DD")
    return value


Day = Annotated[
    date,
    BeforeValidator(strict_day),
    Path(
        description="YYYY-MM-DD, in the configured time zone",
        json_schema_extra={"pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"},
    ),
]


@router.get("/api/days/latest", summary="The newest day", response_model=LatestDay, responses=PROBLEMS)
async def latest(services: ServicesOf, client: Client) -> Response:
    """The newest day that holds a conversation of this client."""
    day = await services.db.as_client(client).reading(states.latest_day, client)
    return Response(orjson.dumps({"day": day}), media_type=JSON)


@router.get(
    "/api/days/{day}/conversations",
    summary="The deduplicated day",
    response_model=DayEnvelope,
    responses={
        202: {
            "model": DayEnvelope,
            "description": "being processed; `data` holds the raw conversations, or a preliminary result",
        },
        304: {"description": "what the visitor has is still in force: the version, or what a 202 has shown"},
        500: {"model": DayEnvelope, "description": "processing failed; `fallback_data` holds the raw conversations"},
        **PROBLEMS,
    },
)
async def conversations(
    services: ServicesOf,
    day: Day,
    admitted: Admitted,
    force_process: Annotated[bool, Query(description="process the day again even if it is ready")] = False,
    wait_s: Annotated[float | None, Query(ge=0, le=30, description="how long a missing day may wait (s)")] = None,
    view: Annotated[LinesShown, Query(description="`full` keeps hidden lines in their place, marked")] = "condensed",
    passages: Annotated[PassagesShown, Query(description="`omit` leaves out what `repeats` folds in a text")] = "whole",
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """Ready: the stored document. Missing: made on demand; after `wait_s` seconds the raw conversations, with 202."""
    started = time.perf_counter()
    client = admitted.client
    if force_process:
        admitted.require("write")
        await services.limits.count("forces", admitted)
    wait = services.settings.fallback_after_s if wait_s is None else wait_s
    shown = View(view, passages)
    answer = await services.days.read(ClientDay(client, day), shown, force=force_process, wait_s=wait)
    kind: Kind = "stale" if answer.stale else "hit" if answer.hit else "miss"
    services.visits.count(client, kind, 1000 * (time.perf_counter() - started))
    zone = answer.timezone or services.settings.timezone
    return respond(answer, day, zone, shown, if_none_match, started, root=services.settings.root_path)


Wrap = Callable[[bytes, dict[str, Any], str], bytes]


def envelope(body: bytes, metadata: dict[str, Any]) -> bytes:
    """The answer around the document's bytes, which are not parsed or encoded again."""
    return b'{"success":true,"data":' + body + b',"metadata":' + orjson.dumps(metadata) + b"}"


def _wrapped(body: bytes, metadata: dict[str, Any], _: str) -> bytes:
    return envelope(body, metadata)


def respond(
    answer: DayAnswer,
    day: date,
    zone: str,
    view: View,
    if_none_match: str | None,
    started: float,
    wrap: Wrap = _wrapped,
    root: str = "",
) -> Response:
    """The answer for a day.

    Args:
        zone: of the client's days.
        started: when the request came, by ``time.perf_counter``.
        wrap: puts together what has a tag, from a document, the metadata and the tag.
        root: the path that all addresses lie below.
    """
    elapsed = round((time.perf_counter() - started) * 1000, 2)
    # What differs from request to request is no part of an answer that has a tag.
    timing = {"Server-Timing": f"total;dur={elapsed}"}
    metadata: dict[str, Any] = {
        "processing_status": "completed" if answer.state == "ready" else answer.state,
        "processing_time_ms": elapsed if answer.processing_ms is None else answer.processing_ms,
        "cache_hit": answer.hit,
        "semantic_enabled": True,
        "stale": answer.stale,
        "version": answer.version,
        "processed_at": stamp(answer.processed_at) if answer.processed_at else None,
        "character_count": answer.character_count,
        "hidden_character_count": answer.hidden_character_count,
        "timezone": zone,
    }
    if answer.state == "failed":
        return Response(_failure(answer, metadata), 500, timing, JSON)
    if answer.state == "processing":
        metadata |= {
            "status_url": f"{root}/api/semantic/status/{day}",
            "events_url": f"{root}/api/semantic/events/{day}",
            "websocket_url": f"{root}/ws/semantic/{day}",
            **({"preliminary": True} if answer.preliminary else {}),
        }
        return _being_made(answer, metadata, if_none_match, timing)
    if answer.stale or not answer.hit:
        # Without a tag: a day made again may keep its version, and "not modified" would say "still stale"; and that a
        # day was made just now is said once.
        return Response(envelope(answer.body, metadata), 200, {"Cache-Control": "no-store", **timing}, JSON)
    headers = {"Cache-Control": "private, no-cache", **timing}
    if answer.version is not None and answer.processed_at is not None:
        made = int(answer.processed_at.timestamp() * 1e6)
        headers["ETag"] = f'"{answer.version}-{made:x}-{view.lines}-{view.passages}-{zone}"'
        if if_none_match and matches(if_none_match, headers["ETag"]):
            return Response(status_code=304, headers=headers)
        return Response(wrap(answer.body, metadata, headers["ETag"]), 200, headers, JSON)
    return Response(envelope(answer.body, metadata), 200, headers, JSON)


def _being_made(
    answer: DayAnswer, metadata: dict[str, Any], if_none_match: str | None, timing: dict[str, str]
) -> Response:
    # Weak, since how long it took differs; who polls with it is not sent the same raw day again.
    tag = f'W/"{hashlib.blake2b(answer.body, digest_size=12).hexdigest()}-{answer.preliminary:d}"'
    headers = {"Retry-After": "2", "Cache-Control": "no-store", "ETag": tag, **timing}
    if if_none_match and matches(if_none_match, tag.removeprefix("W/")):
        return Response(status_code=304, headers=headers)
    return Response(envelope(answer.body, metadata), 202, headers, JSON)


def _failure(answer: DayAnswer, metadata: dict[str, Any]) -> bytes:
    error = orjson.dumps(answer.error or "processing failed")
    return (
        b'{"success":false,"data":[],"error":' + error + b',"fallback_data":' + answer.body
        + b',"metadata":' + orjson.dumps(metadata) + b"}"
    )  # fmt: skip


def matches(if_none_match: str, etag: str) -> bool:
    """Whether a header ``If-None-Match`` names a tag."""
    tags = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
    return "*" in tags or etag in tags


@router.get(
    "/api/days/{day}/parts",
    summary="Which conversations go on from or on other days",
    response_model=LinkedParts,
    responses=PROBLEMS,
)
async def linked_parts(services: ServicesOf, day: Day, client: Client) -> Response:
    """Sessions that rest and go on are a conversation on each day: those of this day, with the parts around them."""
    found = await services.db.as_client(client).reading(parts.linked_on, ClientDay(client, day))
    return Response(orjson.dumps({"parts": [part._asdict() for part in found]}), media_type=JSON)


@router.get(
    "/api/days/{day}/standing", summary="The standing texts of a day", response_model=StandingTexts, responses=PROBLEMS
)
async def standing(services: ServicesOf, day: Day, client: Client) -> Response:
    """What each voice says at the head of most of its messages of that day, and since when it has been as it is; from
    days that are ready. Equal `key`s say the same."""
    found = await services.db.as_client(client).reading(standing_texts.of_day, ClientDay(client, day))
    return Response(orjson.dumps({"standing": [text._asdict() for text in found]}), media_type=JSON)


@router.get("/api/semantic/status/{day}", summary="The state of a day", response_model=DayState, responses=PROBLEMS)
async def status(services: ServicesOf, day: Day, client: Client) -> Response:
    """Where a day stands, from its conversations; `empty` for a day without any."""
    content = await services.db.as_client(client).reading(state_of, ClientDay(client, day))
    return Response(orjson.dumps(content), media_type=JSON)


@router.get("/api/semantic/queue", summary="Days waiting, in order", response_model=Queue, responses=PROBLEMS)
async def waiting_days(
    services: ServicesOf, client: Client, limit: Annotated[int, Query(ge=1, le=100)] = 50
) -> Response:
    """The days of this client that are not ready, most urgent first."""
    db = services.db.as_client(client)
    waiting = await db.reading(queue.work, services.fingerprint, client=client, most=limit)
    content = [
        {
            "days_date": work.day.isoformat(),
            "priority": work.priority,
            "conversation_count": work.conversations,
            "line_count": work.lines,
        }
        for work in waiting
    ]
    return Response(orjson.dumps({"days": content}), media_type=JSON)


@router.get("/api/semantic/failed", summary="Days that failed", response_model=FailedDays, responses=PROBLEMS)
async def failed_days(services: ServicesOf, client: Client) -> Response:
    """The days of this client whose last try failed, newest first; those without `retry_at` were set aside."""
    content = [
        {
            "days_date": failed.day.isoformat(),
            "conversation_count": failed.conversations,
            "line_count": failed.lines,
            "error": failed.error,
            "retry_at": stamp(failed.retry_at) if failed.retry_at else None,
        }
        for failed in await services.db.as_client(client).reading(queue.failed, client)
    ]
    return Response(orjson.dumps({"days": content}), media_type=JSON)


@router.post(
    "/api/semantic/retry/{day}",
    summary="Try a failed day again",
    response_model=Retried,
    status_code=202,
    responses={404: A_PROBLEM, **PROBLEMS},
)
async def retry(services: ServicesOf, day: Day, client: Client) -> Response:
    """Have a day whose last try failed made at once."""
    if not await services.db.as_client(client).writing(requests.retry, ClientDay(client, day)):
        return problem(404, f"{day} has not failed; there is nothing to try again.")
    content = {"days_date": day, "semantic_status": model.DayState.QUEUED}
    return Response(orjson.dumps(content), 202, media_type=JSON)


@router.get("/api/semantic/events/{day}", summary="The events of a day", response_model=DayEvents, responses=PROBLEMS)
async def day_events(
    services: ServicesOf, day: Day, client: Client, after: Annotated[int, Query(ge=0, le=2**63 - 1)] = 0
) -> Response:
    """What the WebSocket tells, for visitors that poll: every event after the one they know."""
    client_day = ClientDay(client, day)
    content = await services.db.as_client(client).reading(_events_after, client_day, after)
    return Response(content, media_type=JSON)


def _events_after(connection: Connection, client_day: ClientDay, after: int) -> bytes:
    happened = events.events_after(connection, client_day, after)
    content = {
        "days_date": client_day.day.isoformat(),
        "events": [told(event) for event in happened],
        "next": happened[-1].seq if happened else after,
    }
    return orjson.dumps(content)
