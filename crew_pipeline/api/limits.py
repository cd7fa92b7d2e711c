"""How often somebody may do something: counted by client, and wrong tokens by address, in this process.

Only who has shown a token is counted: without tokens a server answers this machine alone. Who asks faster than evenly
is slowed down, and who is told that it was too often is told so late: a program that asks again at once would else take
all of the time that others need.
"""

from __future__ import annotations

import asyncio
import math
import time
from typing import Literal

from fastapi import HTTPException
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from crew_pipeline.api.admission import Admission
from crew_pipeline.settings import Settings

Kind = Literal["requests", "writes", "forces", "wrong_tokens"]

_SAID = {
    "requests": "requests",
    "writes": "requests that change something",
    "forces": "days to be made again",
    "wrong_tokens": "wrong tokens",
}
_AT_ONCE = 50
"""Requests that may come together; further ones come evenly over the minute."""
_SLOWED_FOR_S = 1.0
TOLD_AFTER_S = 1.0
"""How long it takes to be told that it was too often."""


class Limits:
    """What is counted, over the last minute."""

    def __init__(self, settings: Settings) -> None:
        most: dict[Kind, int] = {
            "requests": settings.limit_requests,
            "writes": settings.limit_writes,
            "forces": settings.limit_forces,
            "wrong_tokens": settings.limit_wrong_tokens,
        }
        self._items = {kind: RateLimitItemPerMinute(each, namespace=kind) for kind, each in most.items() if each}
        self._apart_s = 60 / settings.limit_requests if settings.limit_requests else 0.0
        self._next: dict[str, float] = {}
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())

    async def count(self, kind: Kind, who: Admission) -> None:
        """Count something that a client does now; its requests are slowed down where they come too fast.

        Raises:
            HTTPException: 429 where it was too often within the last minute.
        """
        if who.grant is None:
            return
        if kind == "requests" and self._apart_s:
            await self._slow_down(who.client)
        await self._count(kind, who.client)

    async def count_wrong_token(self, address: str) -> None:
        """Count a token that is not in force.

        Raises:
            HTTPException: 429.
        """
        await self._count("wrong_tokens", address)

    async def _slow_down(self, who: str) -> None:
        """Have requests that come too fast wait for their turn, one after the other (generic cell rate algorithm)."""
        now = time.monotonic()
        turn = max(self._next.get(who, 0.0), now - _AT_ONCE * self._apart_s)
        wait = turn - now
        if wait > _SLOWED_FOR_S:
            await asyncio.sleep(TOLD_AFTER_S)
            detail = f"Too fast: {round(1 / self._apart_s)} requests a second are answered."
            raise HTTPException(429, detail, {"Retry-After": "1"})
        self._next[who] = turn + self._apart_s
        if wait > 0:
            await asyncio.sleep(wait)

    async def _count(self, kind: Kind, who: str) -> None:
        item = self._items.get(kind)
        if item is None or self._limiter.hit(item, who):
            return
        wait = math.ceil(self._limiter.get_window_stats(item, who).reset_time - time.time())
        await asyncio.sleep(TOLD_AFTER_S)
        detail = f"Too many {_SAID[kind]}: {item.amount} a minute are answered; try again in a while."
        raise HTTPException(429, detail, {"Retry-After": str(min(60, max(1, wait)))})
