"""Search for visitors: indexes that are open in this process, and what keeps them up to date."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cachetools import LRUCache

from crew_pipeline.history.search import searching
from crew_pipeline.history.search.index import ClientIndex, OpenIndex, drop_others
from crew_pipeline.history.search.related import related
from crew_pipeline.history.search.said import said
from crew_pipeline.history.search.searching import Search
from crew_pipeline.storage.conversations import searched
from crew_pipeline.storage.database import Database

logger = logging.getLogger(__name__)

_LOOK_EVERY_S = 1.0
_OPEN_CLIENTS = 32
_WRITERS = 2


@dataclass
class _Client:
    """A client that has searched in this process.

    Attributes:
        known: the client's changes that the index holds, see ``searched.changes``.
    """

    index: ClientIndex
    opened: OpenIndex
    known: tuple[object, ...] = ()
    is_behind: bool = True
    writing: asyncio.Task[None] | None = None


class _StoppedError(Exception):
    """The process ends; what is left is indexed by the next."""


class Searches:
    """Searches of clients. An index is brought up to date within a second or two of a change, in a thread of its own,
    for those clients that search in this process; it is made by the first search where nobody has made it before."""

    def __init__(self, db: Database, folder: Path, max_words: int) -> None:
        """Args:
        db: shows nothing but through ``as_client``.
        folder: of all indexes.
        max_words: longer lines are searched by their passages.
        """
        self._db = db
        self._folder = folder
        self._max_words = max_words
        self._clients: LRUCache[str, _Client] = LRUCache(_OPEN_CLIENTS)
        self._writers = ThreadPoolExecutor(_WRITERS, thread_name_prefix="search-index")
        self._stopping = threading.Event()
        self._task: asyncio.Task[None] | None = None
        self._woken = asyncio.Event()

    def start(self, clients: Iterable[str] | None) -> None:
        """Keep what is searched up to date.

        Args:
            clients: all that there are, where that is known; indexes of others are deleted.
        """
        if clients is not None:
            drop_others(self._folder, clients)
        self._task = asyncio.create_task(self._keep_up(), name="search")

    async def stop(self) -> None:
        """Leave the indexes as they are: what is being written ends with its portion, which is whole or not there."""
        self._stopping.set()
        tasks = [self._task, *(held.writing for held in self._clients.values())]
        for task in tasks:
            if task is not None:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
        self._writers.shutdown(wait=False, cancel_futures=True)

    async def find(self, client: str, search: Search, first: int, most: int) -> dict[str, Any]:
        """What a search finds: results ``first`` and following, at most ``most`` of them.

        Returns:
            ``results``, ``total`` (texts that were found), ``next`` (where to go on, or None) and ``indexing`` (whether
            something newer is not in the index yet).
        """
        held = self._client(client)
        db = self._db.as_client(client)
        found: dict[str, Any] = await db.calling(_found, db, held.opened, client, search, first, most)
        return found | {"indexing": held.is_behind}

    async def related(self, client: str, conversation_id: str, most: int) -> dict[str, Any] | None:
        """Conversations that speak of the same as one: ``related``, and ``indexing``; None where there is no such."""
        held = self._client(client)
        db = self._db.as_client(client)
        found = await db.calling(_related, db, held.opened, client, conversation_id, self._max_words, most)
        return None if found is None else {"related": found, "indexing": held.is_behind}

    async def said(self, client: str, conversation_id: str, position: int, zone: str) -> dict[str, Any] | None:
        """Where the same was said as in a line, see ``history.search.said``, and ``indexing``; None where there is no
        such line."""
        held = self._client(client)
        db = self._db.as_client(client)
        where = (conversation_id, position, self._max_words, zone)
        found = await db.calling(_said, db, held.opened, client, where)
        return None if found is None else found | {"indexing": held.is_behind}

    def follow(self, client: str) -> None:
        """Bring a client's index up to date from now on, where there is one: something of it was erased."""
        if ClientIndex(self._folder, client, self._max_words).generation is not None:
            self._client(client)
            self._woken.set()

    def _client(self, client: str) -> _Client:
        held = self._clients.get(client)
        if held is None:
            index = ClientIndex(self._folder, client, self._max_words)
            held = self._clients[client] = _Client(index, OpenIndex(index))
            self._woken.set()
        return held

    async def _keep_up(self) -> None:
        while True:
            for client, held in list(self._clients.items()):
                # One that takes long holds up no other.
                if held.writing is None or held.writing.done():
                    held.writing = asyncio.create_task(self._tend(client, held))
            with suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), _LOOK_EVERY_S)
            self._woken.clear()

    def _end_if_stopping(self, _left: int) -> None:
        if self._stopping.is_set():
            raise _StoppedError

    async def _tend(self, client: str, held: _Client) -> None:
        try:
            await self._bring_up_to_date(client, held)
        except Exception as error:
            # Whatever it is, it is tried again: files may be damaged, a disk full, the database away.
            logger.warning("the index of a client is not up to date (%s)", type(error).__name__)

    async def _bring_up_to_date(self, client: str, held: _Client) -> None:
        db = self._db.as_client(client)
        changes = await db.reading(searched.changes, client)
        if changes == held.known:
            return
        held.is_behind = True
        loop = asyncio.get_running_loop()
        done = await loop.run_in_executor(
            self._writers, lambda: held.index.update(db, wait=False, rest=self._end_if_stopping)
        )
        # Another process is at it where there is nothing; this one looks again in a moment.
        if done is not None:
            held.known, held.is_behind = changes, False


def _found(db: Database, opened: OpenIndex, client: str, search: Search, first: int, most: int) -> dict[str, Any]:
    opened.look_again()
    hits = searching.find(db, opened, client, search)
    results = searching.shown(db, opened, client, search, hits[first : first + most]) if hits else []
    following = first + most if first + most < len(hits) else None
    return {"results": results, "total": len(hits), "next": following}


def _related(
    db: Database, opened: OpenIndex, client: str, conversation_id: str, max_words: int, most: int
) -> list[dict[str, Any]] | None:
    opened.look_again()
    return related(db, opened, client, conversation_id, max_words, most)


def _said(db: Database, opened: OpenIndex, client: str, where: tuple[str, int, int, str]) -> dict[str, Any] | None:
    opened.look_again()
    return said(db, opened, client, *where)
