"""Wake-ups from the database for who waits on a day or a talk. The tables stay the truth: a wake-up says "look"."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from datetime import date

import orjson
import psycopg

from crew_pipeline.model import ClientDay
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.days.events import EVENT_CHANNEL, AllDays, Followed
from crew_pipeline.storage.history.live import LiveSession

logger = logging.getLogger(__name__)

_RECONNECT_S = 1.0

Waited = Followed | LiveSession
"""What somebody waits for news of."""


class Listener:
    """One listening connection for all waiters of this process."""

    def __init__(self, db: Database, channel: str = EVENT_CHANNEL) -> None:
        self._db = db
        self._channel = channel
        self._waiting: dict[Waited, set[asyncio.Event]] = {}
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to listen."""
        self._task = asyncio.create_task(self._listen(), name="listener")

    async def stop(self) -> None:
        """Stop listening."""
        if self._task:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    @contextlib.asynccontextmanager
    async def subscribed(self, whose: Waited) -> AsyncIterator[asyncio.Event]:
        """An event that is set whenever something may have happened to ``whose`` day or talk; the waiter clears it."""
        event = asyncio.Event()
        waiters = self._waiting.setdefault(whose, set())
        waiters.add(event)
        try:
            yield event
        finally:
            waiters.discard(event)
            if not waiters:
                self._waiting.pop(whose, None)

    async def _listen(self) -> None:
        while True:
            try:
                async with self._db.listening_in_loop(self._channel) as connection:
                    self._wake_all()
                    async for notification in connection.notifies():
                        self._wake(notification.payload)
            except psycopg.Error as error:
                logger.warning("lost the listening connection (%s); connecting again", type(error).__name__)
            await asyncio.sleep(_RECONNECT_S)

    def _wake(self, payload: str) -> None:
        if not payload:
            self._wake_all()
            return
        client, day, *session = orjson.loads(payload)
        woken: tuple[Waited, ...] = (AllDays(client), ClientDay(client, date.fromisoformat(day))) if day else ()
        for whose in (*woken, *(LiveSession(client, one) for one in session)):
            for event in self._waiting.get(whose, ()):
                event.set()

    def _wake_all(self) -> None:
        for events in self._waiting.values():
            for event in events:
                event.set()
