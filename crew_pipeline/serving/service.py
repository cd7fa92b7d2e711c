"""The Clean Up Crew service: hands out a day that is ready, asks for one that is not and waits for it.

Imports neither torch nor pandas nor Dagster: it runs in the API process, which stays small.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from cachetools import LRUCache

from crew_pipeline.days import reading, requests
from crew_pipeline.days.reading import AS_STORED, View
from crew_pipeline.model import ClientDay, DayState
from crew_pipeline.serving.listener import Listener
from crew_pipeline.storage.conversations import clients
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.days import documents, preliminary
from crew_pipeline.storage.days.states import status_of

State = Literal["ready", "processing", "failed"]

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

    Documents are kept in memory by version. Every hit asks the database which version is in force, and whether it is
    stale, in one short query; only bytes that this process does not have are transferred.
    """

    def __init__(self, db: Database, listener: Listener, fingerprint: str, cache_mb: int) -> None:
        """Args:
        fingerprint: of the engine in force.
        cache_mb: memory for documents (MiB).
        """
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
            made = await self._make(client_day, view, wait_s, force=force)
            zone = await self._db_of(client_day).reading(clients.timezone_of, client_day.client)
            return replace(made, timezone=zone)
        if ready.stale:
            await self._ask(client_day, waiting=False)
        return ready

    async def ready(self, client_day: ClientDay, view: View, *, hit: bool = True) -> DayAnswer | None:
        """The document in force, from memory where its version is known."""
        known = self._documents.get((client_day, view))
        stored = await documents.current_in_loop(self._db, client_day, self._fingerprint, known[0] if known else "")
        if stored is None:
            return None
        if stored.body is None:
            assert known is not None
            body = known[1]
        else:
            body = stored.body
            if view != AS_STORED:
                body = await asyncio.to_thread(reading.in_view, body, view)
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
            status = await db.reading(status_of, client_day)
            if status is None:
                return DayAnswer("ready", b"[]", hit=True)
            if status.state != DayState.FAILED or force:
                await self._ask(client_day, force=force)
            answer = await self._awaited(client_day, view, woken, deadline, force=force)
        if answer is not None:
            return answer
        if force and (present := await self.ready(client_day, view)):
            return present
        body = await db.reading(preliminary.current, client_day)
        if body is not None:
            shown = await asyncio.to_thread(reading.in_view, body, view)
            return DayAnswer("processing", shown, preliminary=True)
        return DayAnswer("processing", await db.reading(reading.raw, client_day, view))

    async def _awaited(
        self, client_day: ClientDay, view: View, woken: asyncio.Event, deadline: float, *, force: bool
    ) -> DayAnswer | None:
        """The outcome, waited for until ``deadline`` (s, monotonic)."""
        while True:
            answer = await self._outcome(client_day, view, force=force)
            left = deadline - time.monotonic()
            if answer is not None or left <= 0:
                return answer
            woken.clear()
            try:
                async with asyncio.timeout(min(left, _CHECK_AGAIN_S)):
                    await woken.wait()
            except TimeoutError:
                continue

    async def _outcome(self, client_day: ClientDay, view: View, *, force: bool) -> DayAnswer | None:
        """The final answer; None while there is still something to wait for."""
        ready = await self.ready(client_day, view, hit=False)
        if ready and not (force and ready.stale):
            return ready
        db = self._db_of(client_day)
        status = await db.reading(status_of, client_day)
        if status and status.state == DayState.FAILED:
            raw = await db.reading(reading.raw, client_day, view)
            return DayAnswer("failed", raw, error=status.error)
        return None
