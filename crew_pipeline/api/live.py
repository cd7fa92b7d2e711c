"""The routes of talk that is under way."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

import orjson
from fastapi import APIRouter, Path, Response, WebSocket

from crew_pipeline.api.follow import Follower, serve
from crew_pipeline.api.models import JSON
from crew_pipeline.api.problems import PROBLEMS
from crew_pipeline.api.services import Client, ServicesOf
from crew_pipeline.api.summary_models import LiveAnswer, LiveLines
from crew_pipeline.storage.history.live import LiveSession

router = APIRouter()

SessionId = Annotated[str, Path(max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$", description="`session_id` of the talk")]


@router.post("/api/live", summary="Lines of a talk as it goes on", response_model=LiveAnswer, responses=PROBLEMS)
async def post(services: ServicesOf, client: Client, said: LiveLines) -> Response:
    """What was said before about what is being said: the conversations that spoke of it, what was decided and stands,
    what is still open. Nothing is stored for good: the last lines are kept for a day, to answer those who follow."""
    lines = [(line.speaker, line.text) for line in said.lines]
    seq, found = await services.live.post(LiveSession(client, said.session_id), lines)
    answer = {
        "seq": seq,
        "websocket_url": f"{services.settings.root_path}/ws/live/{quote(said.session_id, safe='')}",
        "recall": found,
    }
    return Response(orjson.dumps(answer), media_type=JSON)


@router.websocket("/ws/live/{session_id:path}")
async def follow(socket: WebSocket, services: ServicesOf, session_id: SessionId, follower: Follower) -> None:
    """What was said before about a talk, again whenever more of it is said: posted, or found by discovery.

    Followers are cut off and closed as those of a day.
    """
    await serve(socket, services, follower, services.live.follow(LiveSession(follower.client, session_id)))
