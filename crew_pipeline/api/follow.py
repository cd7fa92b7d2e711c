"""The WebSockets of a day and of all days: the present state, then the events as they happen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response, WebSocket, WebSocketDisconnect

from crew_pipeline.api.access import NamedClient
from crew_pipeline.api.admission import Admission
from crew_pipeline.api.days import Day
from crew_pipeline.api.problems import problem
from crew_pipeline.api.services import Services, ServicesOf
from crew_pipeline.api.sockets import CUT_OFF
from crew_pipeline.model import ClientDay
from crew_pipeline.serving.feed import Message

router = APIRouter()

SEND_WITHIN_S = 10.0
"""How long a follower may take to make room for a message (s)."""


POLICY_VIOLATION = 1008
"""The close code of one who may not look any more (RFC 6455)."""


class _OverError(Exception):
    """What the follower was let in with is over."""


async def _follower(
    socket: WebSocket,
    services: ServicesOf,
    client: NamedClient = None,
    ticket: Annotated[str | None, Query(max_length=100, description="of `POST /api/ws-ticket`")] = None,
) -> Admission:
    if ticket is not None:
        return await services.doorkeeper.admit_by_ticket(socket, ticket, client)
    return await services.doorkeeper.admit(socket, client)


Follower = Annotated[Admission, Depends(_follower)]


@router.websocket("/ws/semantic/{day}")
async def follow(
    socket: WebSocket,
    services: ServicesOf,
    day: Day,
    follower: Follower,
    after: Annotated[int, Query(ge=0, le=2**63 - 1)] = 0,
) -> None:
    """The present state, then every event after ``after``, until the day is completed or failed.

    A follower that does not read is cut off; it may come back with the number of the last event that it has seen. One
    whose token is revoked or over is closed with 1008.
    """
    await serve(socket, services, follower, services.feeds.follow(ClientDay(follower.client, day), after))


@router.websocket("/ws/days")
async def follow_all(
    socket: WebSocket,
    services: ServicesOf,
    follower: Follower,
    after: Annotated[int | None, Query(ge=0, le=2**63 - 1)] = None,
) -> None:
    """The days that are not completed, then every event of any day after ``after``, or from now on, without an end.

    Followers are cut off and closed as those of one day.
    """
    await serve(socket, services, follower, services.feeds.follow_all(follower.client, after))


async def serve(
    socket: WebSocket, services: Services, follower: Admission, told: AsyncGenerator[Message, None]
) -> None:
    """Let a follower in where there is room, and tell it all messages."""
    with services.followers.entered(follower.client) as there_is_room:
        if there_is_room or follower.grant is None:
            await _tell_all(socket, services, follower, told)
        else:
            await socket.send_denial_response(no_room(services.followers.most))


def no_room(most: int) -> Response:
    """The answer to a follower more than a client may have."""
    detail = f"This client has {most} followers already; close some, or come back later."
    return problem(429, detail, {"Retry-After": "30"})


async def _tell_all(
    socket: WebSocket, services: Services, follower: Admission, told: AsyncGenerator[Message, None]
) -> None:
    send_within_s = services.send_within_s
    await socket.accept()
    # Closing waits for what is not sent yet, for ever where the follower does not read.
    linger_s = send_within_s
    try:
        with services.doorkeeper.holding(follower) as over:
            async with asyncio.TaskGroup() as group, aclosing(told) as messages:
                watching = [group.create_task(_until_gone(socket)), group.create_task(_until_over(over))]
                await _tell(socket, messages, send_within_s)
                for task in watching:
                    task.cancel()
    except* WebSocketDisconnect:
        pass
    except* _OverError:
        await socket.close(POLICY_VIOLATION, "The token is not in force any more.")
    except* TimeoutError:
        linger_s = 0.0
    finally:
        asyncio.get_running_loop().call_later(linger_s, socket.scope.get("state", {}).get(CUT_OFF, _nothing))


async def _until_gone(socket: WebSocket) -> None:
    """Wait for the follower to leave. What it sends is read and dropped, or its pongs would be stuck behind it."""
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code") or 1006)


async def _until_over(over: asyncio.Event) -> None:
    await over.wait()
    raise _OverError


async def _tell(socket: WebSocket, messages: AsyncGenerator[Message, None], send_within_s: float) -> None:
    async for message in messages:
        try:
            async with asyncio.timeout(send_within_s):
                await socket.send_text(message.text)
        except RuntimeError as error:
            # Uvicorn raises this once it has given up a follower that answers no pings.
            raise WebSocketDisconnect(1006) from error
    await socket.close()


def _nothing() -> None:
    """Stands in under servers that offer no way to cut a connection off."""
