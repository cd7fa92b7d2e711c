"""The index of conversations, and the webhook by which a source tells that one is complete."""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Header, HTTPException, Query, Request, Response
from pydantic import BeforeValidator, Field
from sqlalchemy import Connection

from crew_pipeline.api.days import strict_day
from crew_pipeline.api.models import (
    JSON,
    ConversationComplete,
    ConversationIndex,
    IndexedConversation,
    PushedConversation,
)
from crew_pipeline.api.problems import A_PROBLEM, PROBLEMS, problem
from crew_pipeline.api.services import Client, ServicesOf
from crew_pipeline.api.signed import Pushing, is_signed
from crew_pipeline.client.signatures import ID
from crew_pipeline.dedup.document import stamp
from crew_pipeline.discovery import pushing
from crew_pipeline.discovery.discover import discover_session
from crew_pipeline.settings import Settings
from crew_pipeline.storage.answers import Answer, OtherRequestError, answered, remember
from crew_pipeline.storage.conversations import index as conversations
from crew_pipeline.storage.conversations.index import Listed, Place
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.sources import crews

router = APIRouter()

Blank = Literal[""]
"""A parameter that is given without a value counts as left out."""

Cursor = Annotated[str | None, Query(description="`next_cursor` of the page before")]
Limit = Annotated[Annotated[int, Field(ge=1, le=500)] | Blank | None, Query(description="conversations a page (50)")]
Bound = Annotated[date, BeforeValidator(strict_day)] | Blank | None
CrewName = Annotated[
    Annotated[str, Field(max_length=512, pattern=r"^[^\x00]*$")] | None, Query(description="only this crew's")
]


@router.get(
    "/api/conversations",
    summary="The index of conversations, newest first",
    response_model=ConversationIndex,
    responses={404: {**A_PROBLEM, "description": "the cursor is none of this index"}, **PROBLEMS},
)
async def index(
    services: ServicesOf,
    client: Client,
    cursor: Cursor = None,
    limit: Limit = None,
    first: Annotated[Bound, Query(alias="from", description="first day, YYYY-MM-DD")] = None,
    last: Annotated[Bound, Query(alias="to", description="last day, YYYY-MM-DD")] = None,
    crew: CrewName = None,
) -> Response:
    """What has been discovered, from the store; never looks at a source. A page costs the same wherever it lies."""
    if isinstance(first, date) and isinstance(last, date) and first > last:
        raise HTTPException(422, f"from ({first}) lies after to ({last}); swap them.")
    most = limit or 50
    listed = await services.db.as_client(client).reading(
        conversations.page,
        client,
        after=_place(cursor) if cursor else None,
        first=first if isinstance(first, date) else None,
        last=last if isinstance(last, date) else None,
        crew=crew or None,
        most=most + 1,
    )
    following = _cursor(listed[most - 1].place) if len(listed) > most else None
    content = {
        "success": True,
        "data": [_entry(client, conversation) for conversation in listed[:most]],
        "next_cursor": following,
    }
    return Response(orjson.dumps(content), media_type=JSON)


def _entry(client: str, conversation: Listed) -> dict[str, Any]:
    return {
        "id": conversation.id,
        "session_id": conversation.session_id,
        "client": client,
        "crew": conversation.crew,
        "title": conversation.title,
        "days_date": conversation.day.isoformat(),
        "started_at": stamp(conversation.started_at),
        "ended_at": stamp(conversation.ended_at),
        "line_count": conversation.line_count,
        "semantic_status": conversation.semantic_status,
        "times_inferred": conversation.times_inferred,
        "source_deleted_at": stamp(conversation.source_deleted_at) if conversation.source_deleted_at else None,
    }


def _cursor(place: Place) -> str:
    content = orjson.dumps([place.day.isoformat(), place.started_at.astimezone(UTC).isoformat(), place.id])
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def _place(cursor: str) -> Place:
    try:
        day, started_at, identifier = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        moment = datetime.fromisoformat(started_at)
        if moment.tzinfo is None or not isinstance(identifier, str) or "\x00" in identifier:
            raise ValueError
        return Place(date.fromisoformat(day), moment, identifier)
    except (binascii.Error, orjson.JSONDecodeError, ValueError, TypeError):
        raise HTTPException(404, "The cursor is none of this index; take next_cursor of the page before.") from None


_NEEDS_KEY = "lines without numbers need an Idempotency-Key, or they would come twice when they are sent again"


@router.post(
    "/api/conversations",
    summary="Lines from a source that pushes",
    response_model=PushedConversation,
    status_code=201,
    responses={
        **PROBLEMS,
        200: {"model": PushedConversation, "description": "the conversation was there already"},
        409: {**A_PROBLEM, "description": "the crew is read from a history table, or the key was another request's"},
    },
    openapi_extra={
        "requestBody": {"required": True, "content": {JSON: {"schema": {"$ref": "#/components/schemas/NewLines"}}}},
    },
)
async def push(
    request: Request,
    services: ServicesOf,
    source: Pushing,
    idempotency_key: Annotated[
        str | None,
        Header(min_length=1, max_length=200, pattern=r"^[\x21-\x7e]+$", description="names this request, for a day"),
    ] = None,
) -> Response:
    """Takes lines of a conversation in, all of them or none; the days they were said on wait to be made, as after any
    discovery. With a number of the source's own (`line`) for each, sending them again changes nothing; without, they go
    on after the last one, and an `Idempotency-Key` has the request done once. A line without `created_at` is of now.
    A source without a token signs its messages (Standard Webhooks) and names its key; one that was seen is refused."""
    body, client = await request.body(), source.client
    db = services.db.as_client(client)
    if is_signed(request):
        # The one name that is signed.
        idempotency_key = request.headers[ID]
    try:
        done = await db.writing(_pushed, services.settings, client, body, idempotency_key)
    except pushing.PushError as error:
        return problem(422, str(error), errors=[{"where": "body", "message": message} for message in error.errors])
    except (OtherRequestError, pushing.ReadElsewhereError) as error:
        return problem(409, str(error))
    return Response(done.body, done.status, media_type=JSON)


def _pushed(connection: Connection, settings: Settings, client: str, body: bytes, key: str | None) -> Answer:
    if key is not None and (before := answered(connection, client, key, body)) is not None:
        return before
    told = pushing.read(body)
    if key is None and not told.is_numbered:
        raise pushing.PushError([_NEEDS_KEY])
    report = pushing.take_in(connection, settings, client, told, datetime.now(UTC))
    parts = conversations.of_session(connection, client, told.crew, told.session_id)
    content = {
        "success": True,
        # None where all that it brought has been forgotten before.
        "conversation": _entry(client, parts[-1]) if parts else None,
        "lines": {
            "new": report.lines_new,
            "changed": report.lines_changed,
            "unchanged": report.lines_unchanged,
            "forgotten": report.lines_forgotten,
        },
        "days": report.days,
    }
    done = Answer(201 if report.new_sessions else 200, orjson.dumps(content))
    if key is not None:
        remember(connection, client, key, done)
    return done


@router.post(
    "/api/webhooks/conversation-complete",
    summary="A conversation is complete",
    response_model=IndexedConversation,
    responses={
        **PROBLEMS,
        404: {**A_PROBLEM, "description": "no such crew, or the source has no such session"},
        502: {**A_PROBLEM, "description": "the source of the crew cannot be read"},
    },
)
async def conversation_complete(services: ServicesOf, source: Pushing, told: ConversationComplete) -> Response:
    """Index that one conversation now, as discovery would; telling it again changes nothing."""
    client = source.client
    db = services.db.as_client(client)
    content = await db.calling(_take_in, db, services.settings, client, told)
    return Response(orjson.dumps(content), media_type=JSON)


def _take_in(db: Database, settings: Settings, client: str, told: ConversationComplete) -> dict[str, Any]:
    with db.read() as connection:
        sources = crews.history_sources(connection, client, told.crew_code)
    if not sources:
        raise HTTPException(404, f"There is no crew {told.crew_code} of {client} with a history table.")
    with db.read() as connection:
        before = conversations.of_session(connection, client, told.crew_code, told.session_id)
    report = discover_session(db, settings, datetime.now(UTC), sources[0], told.session_id)
    if report.error:
        # What the driver says may name hosts and tables; the operator finds it in `crew status`.
        raise HTTPException(502, f"The source of {told.crew_code} cannot be read now; 'crew status' says why.")
    with db.read() as connection:
        after = conversations.of_session(connection, client, told.crew_code, told.session_id)
    if not after:
        raise HTTPException(404, f"The source of {told.crew_code} has no session {told.session_id}.")
    known = {(part.id, part.content_hash) for part in before}
    changed = [part for part in after if (part.id, part.content_hash) not in known]
    return {
        "success": True,
        # Of one that went on for days, the part that the source has just told of.
        "conversation": _entry(client, (changed or after)[-1]),
        "new": not before,
        "changed": bool(before) and (bool(changed) or len(before) != len(after)),
    }
