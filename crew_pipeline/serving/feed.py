"""A client's day, or all its days, as they happen: one task reads them for all connections that follow in this process.

The task looks into the tables when it is woken, encodes each event once and keeps the newest in a bounded buffer. A
connection is no more than the number of the last event that it was told: it takes what follows from the buffer, or from
the table where the buffer does not reach back so far. So a slow connection holds up nobody and piles nothing up.
"""

from __future__ import annotations

import asyncio
import logging
from bisect import bisect_right
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from crew_pipeline.days.status import FINAL, state_of
from crew_pipeline.model import ClientDay
from crew_pipeline.serving.listener import Listener
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.days import events, states

logger = logging.getLogger(__name__)

PING_S = 20.0
_LOOK_AT_LEAST_EVERY_S = 20.0
_TRY_AGAIN_S = 1.0
_HELD_EVENTS = 1000
_HELD_BYTES = 1024 * 1024
_DAYS_OF_A_SNAPSHOT = 500
_PAGE = 100
_READERS_OF_OLDER_ROWS = 2


class Message(NamedTuple):
    """What a connection is told: the number of the last event that it knows then, and a JSON text."""

    seq: int
    text: str


class _Look(NamedTuple):
    """What one look into the tables found; ``whole`` unless more events wait than were taken."""

    state: dict[str, Any]
    messages: list[Message]
    whole: bool


def told(event: events.Event) -> dict[str, Any]:
    """An event as visitors are told it, ready to be encoded as JSON."""
    return {"seq": event.seq, "days_date": event.day.isoformat(), "type": event.type, **event.payload}


class Feeds:
    """The days that somebody follows in this process. One that nobody follows any more is given up.

    Args:
        ping_s: how long a connection may stay silent (s).
        held: how many events of a day are kept in memory.
    """

    def __init__(self, db: Database, listener: Listener, *, ping_s: float = PING_S, held: int = _HELD_EVENTS) -> None:
        self._db = db
        self._listener = listener
        self._ping_s = ping_s
        self._held = held
        self._older = asyncio.Semaphore(_READERS_OF_OLDER_ROWS)
        self._feeds: dict[events.Followed, _Feed] = {}

    def __len__(self) -> int:
        """How many days, or clients with all their days, are followed."""
        return len(self._feeds)

    def stop(self) -> None:
        """Stop reading."""
        for feed in self._feeds.values():
            feed.stop()

    async def follow(self, client_day: ClientDay, after: int) -> AsyncGenerator[Message, None]:
        """The messages for one connection.

        A ``snapshot`` of the present state, then every event with a number above ``after``, once and in order, and a
        ``ping`` where there is nothing to tell for long. Ends when everything is told and the day is completed, failed
        or empty. While the database does not answer there is nothing to tell.
        """
        async with self._joined(client_day) as feed:
            await feed.look()
            yield _message(after, {"type": "snapshot", **feed.state})
            async with aclosing(self._told(feed, after, client_day.day.isoformat())) as messages:
                async for message in messages:
                    yield message

    async def follow_all(self, client: str, after: int | None) -> AsyncGenerator[Message, None]:
        """The messages for one connection that follows all days of a client, for as long as it likes.

        A ``snapshot`` of the days that are not completed, then every event with a number above ``after``, once and in
        order; without it those from now on; and a ``ping`` where there is nothing to tell for long.
        """
        async with self._joined(events.AllDays(client)) as feed:
            await feed.look()
            # Events before the days: what led to their states may be told once more, but is never left out.
            after = feed.last if after is None else min(after, feed.last)
            unfinished = await self._db.as_client(client).reading(states.unfinished, client, _DAYS_OF_A_SNAPSHOT)
            days = [{"days_date": day.isoformat(), "semantic_status": state} for day, state in unfinished]
            yield _message(after, {"days_date": None, "type": "snapshot", "days": days})
            async with aclosing(self._told(feed, after, None)) as messages:
                async for message in messages:
                    yield message

    async def _told(self, feed: _Feed, after: int, day: str | None) -> AsyncGenerator[Message, None]:
        clock = asyncio.get_running_loop().time
        silent_since, begun = clock(), feed.begun
        while True:
            # Taken together: the events that led to this state are among those up to `last`.
            state, last, turned = feed.state, feed.last, feed.turned
            if feed.begun != begun:
                begun, after = feed.begun, 0
            while after < last:
                for message in await feed.after(after):
                    yield message
                    after = message.seq
                silent_since = clock()
            if state.get("semantic_status") in FINAL:
                return
            try:
                async with asyncio.timeout_at(silent_since + self._ping_s):
                    await turned.wait()
            except TimeoutError:
                yield _message(after, {"days_date": day, "type": "ping"})
                silent_since = clock()

    @asynccontextmanager
    async def _joined(self, whose: events.Followed) -> AsyncIterator[_Feed]:
        feed = self._feeds.get(whose)
        if feed is None:
            feed = self._feeds[whose] = _Feed(self._db, self._listener, whose, self._held, self._older)
        feed.followers += 1
        try:
            yield feed
        finally:
            feed.followers -= 1
            if not feed.followers:
                del self._feeds[whose]
                feed.stop()


class _Feed:
    """One client's day, or all its days: the state and the newest events, and a task that reads them.

    Attributes:
        followers: how many connections follow it.
        state: of a day, what ``state_of`` said at the last look that saw every event there was.
        begun: how often it began anew.
        last: the number of the newest event that this look saw; 0 where there was none.
        turned: set, and replaced by a new one, when such a look ends.
    """

    def __init__(
        self, db: Database, listener: Listener, whose: events.Followed, held: int, older: asyncio.Semaphore
    ) -> None:
        self.followers = 0
        self.begun = 0
        self.state: dict[str, Any] = {}
        self.last = 0
        self.turned = asyncio.Event()
        self._db = db.as_client(whose.client)
        self._whose = whose
        self._held = held
        self._older = older
        self._buffer: list[Message] = []
        self._buffer_bytes = 0
        self._read_to = 0
        # Every event that was read and has a higher number is in the buffer.
        self._reaches_back_to: int | None = None
        self._asked = self._answered = 0
        self._woken = asyncio.Event()
        self._task = asyncio.create_task(self._read_on(listener), name=f"feed of {whose.day or 'all days'}")

    def stop(self) -> None:
        """Stop reading."""
        self._task.cancel()

    async def look(self) -> None:
        """Wait for a look into the tables that began after this call; all who wait share it."""
        self._asked += 1
        asked = self._asked
        self._woken.set()
        while self._answered < asked:
            await self.turned.wait()

    async def after(self, seq: int) -> list[Message]:
        """The next messages after ``seq``, a page at most; waits where the database does not answer."""
        # Without this, a connection that takes all it is given would let no other have its turn.
        await asyncio.sleep(0)
        while self._reaches_back_to is not None and seq < self._reaches_back_to:
            try:
                async with self._older:
                    older = await self._db.reading(self._older_than_the_buffer, seq)
            except SQLAlchemyError as error:
                await self._lost(error)
                continue
            if older:
                return older
            break
        first = bisect_right(self._buffer, seq, key=lambda message: message.seq)
        return self._buffer[first : first + _PAGE]

    async def _read_on(self, listener: Listener) -> None:
        async with listener.subscribed(self._whose) as self._woken:
            while True:
                self._woken.clear()
                if not await self._read_once():
                    continue
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_AT_LEAST_EVERY_S):
                        await self._woken.wait()

    async def _read_once(self) -> bool:
        """Take in one look; returns whether it saw everything."""
        asked = self._asked
        try:
            seen = await self._db.reading(self._look)
        except Exception as error:
            # Whatever the error: followers wait for it to pass; a feed that ended would leave them waiting for ever.
            await self._lost(error)
            return False
        self._keep(seen.messages)
        if seen.whole:
            self.state, self.last, self._answered = seen.state, self._read_to, asked
            turned, self.turned = self.turned, asyncio.Event()
            turned.set()
        return seen.whole

    def _look(self, connection: Connection) -> _Look:
        # First the state, then the events: one in between is told now, and the next look sees what it led to.
        state = state_of(connection, self._whose) if isinstance(self._whose, ClientDay) else {}
        if events.last_number(connection, self._whose.client) < self._read_to:
            self._forget()
        if self._reaches_back_to is None:
            happened = events.latest_events(connection, self._whose, self._held)
            whole = True
        else:
            happened = events.events_after(connection, self._whose, self._read_to, self._held)
            whole = len(happened) < self._held
        return _Look(state, self._messages(happened), whole)

    def _forget(self) -> None:
        """Begin anew: nothing is left of what was read, and numbers may begin anew as well (a client was forgotten)."""
        self.begun += 1
        self._buffer, self._buffer_bytes, self._read_to, self._reaches_back_to = [], 0, 0, None

    def _older_than_the_buffer(self, connection: Connection, seq: int) -> list[Message]:
        return self._messages(events.events_after(connection, self._whose, seq, _PAGE))

    def _messages(self, happened: list[events.Event]) -> list[Message]:
        return [Message(event.seq, _encoded(told(event))) for event in happened]

    def _keep(self, messages: list[Message]) -> None:
        """Add to the buffer and let go of the oldest beyond its bounds."""
        if self._reaches_back_to is None:
            self._reaches_back_to = messages[0].seq - 1 if len(messages) == self._held else 0
        if not messages:
            return
        self._buffer += messages
        self._buffer_bytes += sum(len(message.text) for message in messages)
        self._read_to = messages[-1].seq
        gone = max(0, len(self._buffer) - self._held)
        excess = self._buffer_bytes - sum(len(message.text) for message in self._buffer[:gone])
        while excess > _HELD_BYTES and gone < len(self._buffer) - 1:
            excess -= len(self._buffer[gone].text)
            gone += 1
        if gone:
            self._reaches_back_to = self._buffer[gone - 1].seq
            del self._buffer[:gone]
        self._buffer_bytes = excess

    async def _lost(self, error: Exception) -> None:
        whose = self._whose.day or "all days"
        logger.warning("%s: the events cannot be read (%s); trying again", whose, type(error).__name__)
        await asyncio.sleep(_TRY_AGAIN_S)


def _message(seq: int, content: dict[str, Any]) -> Message:
    return Message(seq, _encoded({"seq": seq, **content}))


def _encoded(message: dict[str, Any]) -> str:
    return orjson.dumps(message).decode()
