"""The events of all days of a client: a page of them, or a lasting stream (server-sent events)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated

import orjson
from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.sse import format_sse_event
from sqlalchemy import Connection
from starlette.types import Receive, Scope, Send

from crew_pipeline.api.admission import Admission
from crew_pipeline.api.connections import STOPPING
from crew_pipeline.api.follow import no_room
from crew_pipeline.api.models import JSON, Events
from crew_pipeline.api.problems import PROBLEMS
from crew_pipeline.api.services import Admitted, Services, ServicesOf
from crew_pipeline.serving.feed import Message, told
from crew_pipeline.storage.days import events

router = APIRouter()

STREAM = "text/event-stream"
_COME_BACK_MS = 2_000


@router.get(
    "/api/days/events",
    summary="The events of all days",
    response_model=Events,
    responses={
        200: {
            "content": {STREAM: {"schema": {"type": "string"}}},
            "description": "a page of events, or with `Accept: text/event-stream` a stream without an end",
        },
        **PROBLEMS,
    },
)
async def of_all_days(
    request: Request,
    services: ServicesOf,
    admitted: Admitted,
    after: Annotated[int | None, Query(ge=0, le=2**63 - 1, description="the number of the last event known")] = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="events a page")] = 500,
    last_event_id: Annotated[str | None, Header(description="as `after`, from a stream that comes back")] = None,
) -> Response:
    """What happened to any day after the event that is known. Without one, a page is empty and says where to go on,
    and a stream begins now, with a `snapshot` of the days that are not completed. A stream's ids are the numbers of
    the events, so a browser's `EventSource` comes back where it was."""
    if last_event_id is not None and last_event_id.isascii() and last_event_id.isdecimal() and len(last_event_id) < 19:
        after = int(last_event_id)
    if STREAM in request.headers.get("accept", ""):
        return EventStream(services, admitted, after)
    content = await services.db.as_client(admitted.client).reading(_page, admitted.client, after, limit)
    return Response(content, media_type=JSON, headers={"Vary": "Accept"})


def _page(connection: Connection, client: str, after: int | None, limit: int) -> bytes:
    last = events.last_number(connection, client)
    # Of a client that was forgotten numbers begin anew.
    known = last if after is None else min(after, last)
    happened = [] if after is None else events.events_after(connection, events.AllDays(client), known, limit)
    content = {"events": [told(event) for event in happened], "next": happened[-1].seq if happened else known}
    return orjson.dumps(content)


class EventStream(Response):
    """A client's events until it leaves, what it was let in with is over, or the server stops.

    One that does not read is cut off by the server (``connections.BoundedHttp``).
    """

    media_type = STREAM

    def __init__(self, services: Services, admitted: Admission, after: int | None) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no", "Vary": "Accept"})
        del self.headers["Content-Length"]
        self._services = services
        self._admitted = admitted
        self._after = after

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Tell what happens."""
        client, services = self._admitted.client, self._services
        with services.followers.entered(client) as there_is_room, services.doorkeeper.holding(self._admitted) as over:
            if not there_is_room and self._admitted.grant is not None:
                return await no_room(services.followers.most)(scope, receive, send)
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            async with aclosing(services.feeds.follow_all(client, self._after)) as messages:
                stopping: asyncio.Event = scope.get("state", {}).get(STOPPING, over)
                endings = (over.wait(), stopping.wait(), _until_gone(receive), _tell(messages, send))
                tasks = [asyncio.ensure_future(one) for one in endings]
                try:
                    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for task in tasks:
                        task.cancel()
                    await asyncio.gather(*tasks, return_exceptions=True)
                for task in done:
                    task.result()
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        return None


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _tell(messages: AsyncGenerator[Message, None], send: Send) -> None:
    retry: int | None = _COME_BACK_MS
    async for message in messages:
        chunk = format_sse_event(data_str=message.text, id=str(message.seq), retry=retry)
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
        retry = None
