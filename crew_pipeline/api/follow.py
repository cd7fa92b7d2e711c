"""The WebSocket of a day: its state, then its events as they happen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated

from fastapi import APIRouter, Query, WebSocket, WebSocketDisconnect

from crew_pipeline.api.days import Day
from crew_pipeline.api.services import Client, ServicesOf
from crew_pipeline.api.sockets import CUT_OFF
from crew_pipeline.model import ClientDay

router = APIRouter()

SEND_WITHIN_S = 10.0
"""How long a follower may take to make room for a message (s)."""


@router.websocket("/ws/semantic/{day}")
async def follow(
    socket: WebSocket,
    services: ServicesOf,
    day: Day,
    client: Client,
    after: Annotated[int, Query(ge=0, le=2**63 - 1)] = 0,
) -> None:
    """The present state, then every event after ``after``, until the day is completed or failed.

    A follower that does not read is cut off; it may come back with the number of the last event that it has seen.
    """
    feeds, send_within_s = services.feeds, services.send_within_s
    await socket.accept()
    # Closing waits for what is not sent yet, for ever where the follower does not read.
    linger_s = send_within_s
    try:
        async with asyncio.TaskGroup() as group, aclosing(feeds.follow(ClientDay(client, day), after)) as messages:
            watching = group.create_task(_until_gone(socket))
            await _tell(socket, messages, send_within_s)
            watching.cancel()
    except* WebSocketDisconnect:
        pass
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


async def _tell(socket: WebSocket, messages: AsyncIterator[str], send_within_s: float) -> None:
    async for message in messages:
        try:
            async with asyncio.timeout(send_within_s):
                await socket.send_text(message)
        except RuntimeError as error:
            # Uvicorn raises this once it has given up a follower that answers no pings.
            raise WebSocketDisconnect(1006) from error
    await socket.close()


def _nothing() -> None:
    """Stands in under servers that offer no way to cut a connection off."""
