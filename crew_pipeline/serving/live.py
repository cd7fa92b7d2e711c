"""Talk that is under way, for those who follow it: what was said before comes as it is spoken of again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any

import orjson
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from crew_pipeline.history.summaries.under_way import recalled
from crew_pipeline.serving.feed import PING_S, Message
from crew_pipeline.serving.listener import Listener
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.days.events import AllDays
from crew_pipeline.storage.history import live
from crew_pipeline.storage.history.live import LiveSession, Talk

logger = logging.getLogger(__name__)

_LOOK_AT_MOST_EVERY_S = 0.2
_TRY_AGAIN_S = 1.0


class LiveTalks:
    """The talks of clients that somebody posts or follows."""

    def __init__(self, db: Database, listener: Listener, *, ping_s: float = PING_S) -> None:
        """Args:
        db: shows nothing but through ``as_client``.
        ping_s: how long a connection may stay silent (s).
        """
        self._db = db
        self._listener = listener
        self._ping_s = ping_s

    async def post(self, whose: LiveSession, lines: list[tuple[str, str]]) -> tuple[int, dict[str, Any]]:
        """Note lines that were just said; how many there were by now, and what was said before about them."""
        db = self._db.as_client(whose.client)
        seq: int = await db.calling(_posted, db, whose, lines)
        found = await db.reading(_looked_up, whose)
        return seq, found

    async def follow(self, whose: LiveSession) -> AsyncGenerator[Message, None]:
        """What was said before, now and whenever more is said: posted or stored; and a ``ping`` where there is nothing
        to tell for long. Without an end."""
        db = self._db.as_client(whose.client)
        known: Talk | None = None
        async with (
            self._listener.subscribed(whose) as posted,
            self._listener.subscribed(AllDays(whose.client)) as happened,
        ):
            while True:
                posted.clear()
                happened.clear()
                try:
                    talk: Talk = await db.reading(live.talk, whose)
                    content = await db.reading(_looked_up, whose) if talk != known else None
                except SQLAlchemyError as error:
                    logger.warning("a talk under way cannot be read (%s); trying again", type(error).__name__)
                    await asyncio.sleep(_TRY_AGAIN_S)
                    continue
                if content is not None:
                    known = talk
                    yield _message(talk.seq, {"type": "recall", "session_id": whose.session_id, "recall": content})
                elif not await _either(posted, happened, self._ping_s):
                    yield _message(talk.seq, {"type": "ping", "session_id": whose.session_id})
                await asyncio.sleep(_LOOK_AT_MOST_EVERY_S)


def _posted(db: Database, whose: LiveSession, lines: list[tuple[str, str]]) -> int:
    with db.write() as connection:
        return live.post(connection, whose, lines)


def _looked_up(connection: Connection, whose: LiveSession) -> dict[str, Any]:
    return recalled(connection, whose, live.talk(connection, whose).posted)


async def _either(one: asyncio.Event, other: asyncio.Event, within_s: float) -> bool:
    """Whether one of two events was set in time."""
    waiting = [asyncio.ensure_future(event.wait()) for event in (one, other)]
    try:
        done, _ = await asyncio.wait(waiting, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
        return bool(done)
    finally:
        for task in waiting:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


def _message(seq: int, content: dict[str, Any]) -> Message:
    return Message(seq, orjson.dumps({"seq": seq, **content}).decode())
