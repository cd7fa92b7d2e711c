"""One look for all who ask at the same time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Remembered(Generic[T]):
    """What a look has found, for so long (s); all who ask meanwhile share one."""

    def __init__(self, look: Callable[[], Awaitable[T]], for_s: float) -> None:
        self._look = look
        self._for_s = for_s
        self._found: asyncio.Task[T] | None = None
        self._until = float("-inf")

    async def get(self) -> T:
        """What was found last, or is found now."""
        if self._found is None or (self._found.done() and time.monotonic() >= self._until):
            self._found = asyncio.create_task(self._begin())
        return await asyncio.shield(self._found)

    async def _begin(self) -> T:
        try:
            return await self._look()
        finally:
            self._until = time.monotonic() + self._for_s


class Shared(Generic[T]):
    """A look that several wait for. Who asks while one is going on waits for the next, which begins after they asked:
    what they get is no older than their question."""

    def __init__(self, look: Callable[[], Awaitable[T]]) -> None:
        self._look = look
        self._running: asyncio.Task[T] | None = None
        self._next: asyncio.Task[T] | None = None

    async def get(self) -> T:
        """What a look finds that begins from now on."""
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._begin())
            return await asyncio.shield(self._running)
        if self._next is None:
            self._next = asyncio.create_task(self._begin_after(self._running))
        return await asyncio.shield(self._next)

    async def _begin(self) -> T:
        return await self._look()

    async def _begin_after(self, before: asyncio.Task[T]) -> T:
        await asyncio.wait([before])
        self._running, self._next = self._next, None
        return await self._look()
