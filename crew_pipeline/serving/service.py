"""The Clean Up Crew service: hands out a day that is ready, asks for one that is not and waits for it.

Imports neither torch nor pandas nor Dagster: it runs in the API process, which stays small.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Literal
from weakref import WeakValueDictionary

from cachetools import LRUCache

from crew_pipeline.days import reading, requests
from crew_pipeline.days.reading import AS_STORED, Unfinished, View
from crew_pipeline.model import ClientDay, DayState
from crew_pipeline.serving.listener import Listener
from crew_pipeline.serving.room import Room
from crew_pipeline.serving.shared import Shared
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.days import documents
from crew_pipeline.storage.days.states import Look, look_in_loop

State = Literal["ready", "processing", "failed"]
_Signs = tuple[asyncio.Event, Shared[Look]]
"""What one who waits goes by: being woken, and looks at how far the day is, shared with all who wait for it."""

_CHECK_AGAIN_S = 1.0


@dataclass(frozen=True)
class DayAnswer:
    """What a visitor of a day gets.

    Attributes:
        state: ``ready`` (a document), ``processing`` or ``failed`` (the raw conversations).
        body: UTF-8 JSON, the array of conversations.
        version: of the document; None for raw conversations.
        hit: whether it was there when the request came.
        stale: whether it is being made again.
        character_count, hidden_character_count: of a document's texts, and of its hidden lines and what repeats in
            visible ones (code points).
        processing_ms: how long a document's day was in work; None for raw conversations.
        preliminary: whether it is a first look, while the rest is being made.
        timezone: of the client's days, where it has one of its own.
    """

    state: State
    body: bytes
    version: str | None = None
    processed_at: datetime | None = None
    hit: bool = False
    stale: bool = False
    preliminary: bool = False
    character_count: int | None = None
    hidden_character_count: int | None = None
    processing_ms: float | None = None
    error: str | None = None
    timezone: str | None = None


class DayService:
    """Decides hit or miss for a client's day.

    Documents, and what is shown of days that have none, are kept in memory by version. Every hit asks the database
    which version is in force, and whether it is stale, in one short query; only bytes that this process does not have
    are transferred.
    """

    def __init__(
        self, db: Database, listener: Listener, fingerprint: str, cache_mb: int, most_waiting: int = 0
    ) -> None:
        """Args:
        fingerprint: of the engine in force.
        cache_mb: memory for documents (MiB).
        most_waiting: how many requests of a client may wait; others are answered at once. 0: any number.
        """
        self._waiting = Room(most_waiting)
        # Looks that are going on, by what they look for.
        self._looks: WeakValueDictionary[ClientDay, Shared[Look]] = WeakValueDictionary()
        self._raws: WeakValueDictionary[tuple[ClientDay, View], Shared[DayAnswer]] = WeakValueDictionary()
        self._db = db
        self._listener = listener
        self._fingerprint = fingerprint
        self._documents: LRUCache[tuple[ClientDay, View], tuple[str, bytes]] = LRUCache(
            max(1, cache_mb * 1024 * 1024), getsizeof=lambda entry: len(entry[1])
        )

    async def read(
        self, client_day: ClientDay, view: View = AS_STORED, *, force: bool = False, wait_s: float = 5
    ) -> DayAnswer:
        """The answer for a client's day: at once where it is ready, else after at most ``wait_s`` seconds."""
        ready = None if force else await self.ready(client_day, view)
        if ready is None:
            with self._waiting.entered(client_day.client) as there_is_room:
                return await self._make(client_day, view, wait_s if there_is_room else 0.0, force=force)
        if ready.stale:
            await self._ask(client_day, waiting=False)
        return ready

    async def ready(self, client_day: ClientDay, view: View, *, hit: bool = True) -> DayAnswer | None:
        """The document in force, from memory where its version is known."""
        known = self._documents.get((client_day, view))
        stored = await documents.current_in_loop(
            self._db_of(client_day), client_day, self._fingerprint, known[0] if known else ""
        )
        if stored is None:
            return None
        if stored.body is None:
            assert known is not None
            body = known[1]
        else:
            body = stored.body
            if view != AS_STORED:
                body = await self._db_of(client_day).calling(reading.in_view, body, view)
            self._keep(client_day, view, stored.version, body)
        return DayAnswer(
            "ready",
            body,
            stored.version,
            stored.processed_at,
            hit=hit,
            stale=stored.stale,
            character_count=stored.character_count,
            hidden_character_count=stored.hidden_character_count,
            processing_ms=stored.processing_ms,
            timezone=stored.timezone,
        )

    async def _ask(self, client_day: ClientDay, *, force: bool = False, waiting: bool = True) -> None:
        await self._db_of(client_day).writing(
            requests.request, client_day, force=force, outdated=True, fingerprint=self._fingerprint, waiting=waiting
        )

    def _db_of(self, client_day: ClientDay) -> Database:
        return self._db.as_client(client_day.client)

    def _keep(self, client_day: ClientDay, view: View, version: str, body: bytes) -> None:
        if len(body) <= self._documents.maxsize // 4:
            self._documents[(client_day, view)] = (version, body)

    async def _make(self, client_day: ClientDay, view: View, wait_s: float, *, force: bool) -> DayAnswer:
        """Ask for a day and wait for it."""
        deadline = time.monotonic() + wait_s
        db = self._db_of(client_day)
        async with self._listener.subscribed(client_day) as woken:
            looks = self._looks.setdefault(client_day, Shared(partial(look_in_loop, db, client_day)))
            status, zone = await looks.get()
            if status is None:
                return DayAnswer("ready", b"[]", hit=True, timezone=zone)
            if status.state != DayState.FAILED or force:
                await self._ask(client_day, force=force)
            answer = await self._awaited(client_day, view, (woken, looks), deadline, force=force)
        if answer is not None:
            return answer
        if force and (present := await self.ready(client_day, view)):
            return present
        raws = self._raws.setdefault((client_day, view), Shared(partial(self._unfinished, client_day, view)))
        return replace(await raws.get(), timezone=zone)

    async def _unfinished(self, client_day: ClientDay, view: View) -> DayAnswer:
        """What there is of a day that is not ready: its first look, or its lines as they came."""
        found, body = await self._put_together(client_day, view)
        return DayAnswer("processing", body, preliminary=found.is_first_look)

    async def _put_together(
        self, client_day: ClientDay, view: View, *, first_look: bool = True
    ) -> tuple[Unfinished, bytes]:
        """What there is of a day without a document, with its bytes: from memory where they have not changed."""
        known = self._documents.get((client_day, view), ("", b""))
        found = await self._db_of(client_day).reading(
            reading.unfinished, client_day, view, known[0], first_look=first_look
        )
        if found.body is None:
            return found, known[1]
        self._keep(client_day, view, found.version, found.body)
        return found, found.body

    async def _awaited(
        self, client_day: ClientDay, view: View, signs: _Signs, deadline: float, *, force: bool
    ) -> DayAnswer | None:
        """The outcome, waited for until ``deadline`` (s, monotonic); looked for once at least."""
        woken, looks = signs
        answer = await self._outcome(client_day, view, looks, force=force)
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                while answer is None:
                    woken.clear()
                    with suppress(TimeoutError):
                        async with asyncio.timeout(_CHECK_AGAIN_S):
                            await woken.wait()
                    answer = await self._outcome(client_day, view, looks, force=force)
        return answer

    async def _outcome(
        self, client_day: ClientDay, view: View, looks: Shared[Look], *, force: bool
    ) -> DayAnswer | None:
        """The final answer; None while there is still something to wait for."""
        ready = await self.ready(client_day, view, hit=False)
        if ready and not (force and ready.stale):
            return ready
        status, zone = await looks.get()
        if status and status.state == DayState.FAILED:
            _, body = await self._put_together(client_day, view, first_look=False)
            return DayAnswer("failed", body, error=status.error, timezone=zone)
        return None
