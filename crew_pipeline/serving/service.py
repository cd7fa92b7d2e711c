"""The Clean Up Crew service: a day that is ready is handed out, one that is not is asked for and waited on.

Imports neither torch nor pandas nor Dagster: it runs in the API process, which stays small.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import psycopg
from cachetools import LRUCache
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from crew_pipeline.dedup import document
from crew_pipeline.model import ClientDay
from crew_pipeline.serving.listener import Listener
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.days import preliminary, queue
from crew_pipeline.storage.days import states as days
from crew_pipeline.storage.days.documents import READ_CURRENT, StoredDocument
from crew_pipeline.storage.days.states import DayStatus

View = Literal["condensed", "full"]
State = Literal["ready", "processing", "failed"]

_CHECK_AGAIN_S = 1.0
RAW_ENGINE = "raw"


@dataclass(frozen=True)
class DayAnswer:
    """What a reader of a day gets.

    Attributes:
        state: ``ready`` (a document), ``processing`` or ``failed`` (the raw conversations).
        body: UTF-8 JSON, the array of conversations.
        version: of the document; None for raw conversations.
        hit: whether it was there when the request came.
        stale: whether it is being made again.
        preliminary: whether it is what the engine's first stage found, while the rest is being made.
    """

    state: State
    body: bytes
    version: str | None = None
    processed_at: datetime | None = None
    hit: bool = False
    stale: bool = False
    preliminary: bool = False
    error: str | None = None


class DayService:
    """Decides hit or miss for a client's day.

    Documents are kept in memory by version. Every hit asks the database which version is in force, and whether it is
    stale, in one short query; only bytes that this process does not have are transferred.
    """

    def __init__(
        self, pool: AsyncConnectionPool[Any], db: Database, listener: Listener, fingerprint: str, cache_mb: int
    ) -> None:
        self._pool = pool
        self._db = db
        self._listener = listener
        self._fingerprint = fingerprint
        self._documents: LRUCache[tuple[ClientDay, View], tuple[str, bytes]] = LRUCache(
            max(1, cache_mb * 1024 * 1024), getsizeof=lambda entry: len(entry[1])
        )

    async def read(
        self, client_day: ClientDay, view: View = "condensed", *, force: bool = False, wait_s: float = 5
    ) -> DayAnswer:
        """The answer for a client's day: at once where it is ready, else after at most ``wait_s`` seconds."""
        if force:
            return await self._make(client_day, view, wait_s, force=True)
        ready = await self._ready(client_day, view)
        if ready is None:
            return await self._make(client_day, view, wait_s, force=False)
        if ready.stale:
            await self.ask(client_day, outdated=True, waiting=False)
        return ready

    async def ask(
        self, client_day: ClientDay, *, force: bool = False, outdated: bool = False, waiting: bool = True
    ) -> bool:
        """Ask for a client's day, see ``queue.request``; whether this call changed anything."""

        def ask() -> bool:
            with self._db.write() as connection:
                return queue.request(connection, client_day, force=force, outdated=outdated, waiting=waiting)

        return await asyncio.to_thread(ask)

    async def status(self, client_day: ClientDay) -> DayStatus | None:
        """The state of a client's day; None for one without conversations."""

        def read() -> DayStatus | None:
            with self._db.read() as connection:
                return days.status_of(connection, client_day)

        return await asyncio.to_thread(read)

    async def raw(self, client_day: ClientDay, view: View) -> bytes:
        """The conversations as they came, nothing folded."""

        def build() -> bytes:
            with self._db.read() as connection:
                conversations, lines = (
                    days.conversations_of(connection, client_day),
                    days.lines_of(connection, client_day),
                )
            body = document.build(client_day.client, conversations, lines, {}, RAW_ENGINE).body
            return document.full_view(body) if view == "full" else body

        return await asyncio.to_thread(build)

    async def _ready(self, client_day: ClientDay, view: View, *, hit: bool = True) -> DayAnswer | None:
        """The document in force, from memory where its version is known."""
        known = self._documents.get((client_day, view))
        stored = await self._current(client_day, known[0] if known else "")
        if stored is None:
            return None
        if stored.body is None:
            assert known is not None
            body = known[1]
        else:
            body = stored.body
            if view == "full":
                body = await asyncio.to_thread(document.full_view, body)
            self._keep(client_day, view, stored.version, body)
        return DayAnswer(
            "ready", body, stored.version, stored.processed_at, hit=hit, stale=stored.outdated or stored.unfinished
        )

    def _keep(self, client_day: ClientDay, view: View, version: str, body: bytes) -> None:
        if len(body) <= self._documents.maxsize // 4:
            self._documents[(client_day, view)] = (version, body)

    async def _current(self, client_day: ClientDay, known: str) -> StoredDocument | None:
        values = {"client": client_day.client, "day": client_day.day, "engine": self._fingerprint, "known": known}
        try:
            row = await self._query(values)
        except PoolTimeout:
            raise
        except psycopg.OperationalError:
            # The server was restarted: more connections of the pool may be dead than the one that was tried.
            await self._pool.check()
            row = await self._query(values)
        return None if row is None else StoredDocument(*row)

    async def _query(self, values: dict[str, Any]) -> tuple[Any, ...] | None:
        async with self._pool.connection() as connection:
            cursor = connection.cursor(binary=True)
            await cursor.execute(READ_CURRENT, values, prepare=True)
            row: tuple[Any, ...] | None = await cursor.fetchone()
            return row

    async def _make(self, client_day: ClientDay, view: View, wait_s: float, *, force: bool) -> DayAnswer:
        """Ask for a day and wait for it."""
        deadline = time.monotonic() + wait_s
        async with self._listener.subscribed(client_day) as woken:
            status = await self.status(client_day)
            if status is None:
                return DayAnswer("ready", b"[]", hit=True)
            if status.status != "failed" or force:
                await self.ask(client_day, force=force, outdated=True)
            while True:
                answer = await self._outcome(client_day, view, force=force)
                left = deadline - time.monotonic()
                if answer is not None or left <= 0:
                    break
                woken.clear()
                try:
                    async with asyncio.timeout(min(left, _CHECK_AGAIN_S)):
                        await woken.wait()
                except TimeoutError:
                    continue
        if answer is not None:
            return answer
        if force and (present := await self._ready(client_day, view)):
            return present
        body = await self._preliminary(client_day, view)
        if body is not None:
            return DayAnswer("processing", body, preliminary=True)
        return DayAnswer("processing", await self.raw(client_day, view))

    async def _preliminary(self, client_day: ClientDay, view: View) -> bytes | None:
        """What the engine's first stage has found of a day that is being made."""

        def read() -> bytes | None:
            with self._db.read() as connection:
                body = preliminary.current(connection, client_day)
            return body if body is None or view == "condensed" else document.full_view(body)

        return await asyncio.to_thread(read)

    async def _outcome(self, client_day: ClientDay, view: View, *, force: bool) -> DayAnswer | None:
        """The answer, once there is one to wait no longer for."""
        ready = await self._ready(client_day, view, hit=False)
        if ready and not (force and ready.stale):
            return ready
        status = await self.status(client_day)
        if status and status.status == "failed":
            return DayAnswer("failed", await self.raw(client_day, view), error=status.error)
        return None
