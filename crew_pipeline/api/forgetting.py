"""The route of forgetting: lines, conversations, days or crews of a client, with all that was made of them."""

from __future__ import annotations

from datetime import UTC, datetime

import orjson
from fastapi import APIRouter, HTTPException, Response

from crew_pipeline.api.models import JSON, Forget, ForgottenRows
from crew_pipeline.api.problems import A_PROBLEM, PROBLEMS
from crew_pipeline.api.services import Client, ServicesOf
from crew_pipeline.days import forgetting
from crew_pipeline.days.forgetting import Scope

router = APIRouter()


@router.post(
    "/api/forget",
    summary="Erase what is named, for ever",
    response_model=ForgottenRows,
    responses={**PROBLEMS, 404: {**A_PROBLEM, "description": "the client has nothing of it"}},
)
async def forget(services: ServicesOf, client: Client, asked: Forget) -> Response:
    """Erases what all names that are given have in common: a line, a conversation, a crew, the days `from` to `to`;
    with nothing but `"everything": true` all of this client. `"dry_run": true` only says what would go. What was made
    of it goes too, and days that are left are made again; a source that still has it cannot bring it back."""
    scope = Scope(client, asked.crew, asked.conversation_id, asked.line, asked.first, asked.last)
    try:
        db = services.db.as_client(client)
        done = await db.calling(
            forgetting.forget,
            db,
            services.settings,
            scope,
            datetime.now(UTC),
            dry_run=asked.dry_run,
        )
    except forgetting.NothingThereError as error:
        raise HTTPException(404, str(error)) from None
    except forgetting.BusyError as error:
        raise HTTPException(503, str(error), {"Retry-After": "60"}) from None
    services.searches.follow(client)
    content = {"erased": not asked.dry_run, "lines": done.lines, "rows": done.rows, "days": done.days}
    return Response(orjson.dumps(content), media_type=JSON)
