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
from limits import RateLimitItem, RateLimitItemPerMinute, RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter, SlidingWindowCounterRateLimiter

from crew_pipeline.api.admission import Admission
from crew_pipeline.settings import Settings

Kind = Literal["requests", "writes", "forces", "wrong_tokens"]

_SAID = {
    "requests": "requests",
    "writes": "requests that change something",
    "forces": "days to be made again",
    "wrong_tokens": "wrong tokens",
}
_OF_A_MINUTES = 30
"""In a second a client may have this part of what it may have in a minute: twice as much as evenly."""
_LEAST_A_SECOND = 20
_LOOK_AGAIN_S = 0.1
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
        evenly = max(_LEAST_A_SECOND, settings.limit_requests // _OF_A_MINUTES)
        self._pace = RateLimitItemPerSecond(evenly, namespace="pace") if settings.limit_requests else None
        storage = MemoryStorage()
        self._limiter = SlidingWindowCounterRateLimiter(storage)
        self._pacer = FixedWindowRateLimiter(storage)

    async def count(self, kind: Kind, who: Admission) -> None:
        """Count something that a client does now; its requests are slowed down where they come too fast.

        Raises:
            HTTPException: 429 where it was too often within the last minute.
        """
        if who.grant is None:
            return
        if kind == "requests" and self._pace is not None:
            await self._slow_down(self._pace, who.client)
        await self._count(kind, who.client)

    async def count_wrong_token(self, address: str) -> None:
        """Count a token that is not in force.

        Raises:
            HTTPException: 429.
        """
        await self._count("wrong_tokens", address)

    async def _slow_down(self, pace: RateLimitItem, who: str) -> None:
        deadline = time.monotonic() + _SLOWED_FOR_S
        while not self._pacer.hit(pace, who):
            if time.monotonic() >= deadline:
                detail = f"Too fast: {pace.amount} requests a second are answered."
                raise HTTPException(429, detail, {"Retry-After": "1"})
            await asyncio.sleep(_LOOK_AGAIN_S)

    async def _count(self, kind: Kind, who: str) -> None:
        item = self._items.get(kind)
        if item is None or self._limiter.hit(item, who):
            return
        wait = math.ceil(self._limiter.get_window_stats(item, who).reset_time - time.time())
        await asyncio.sleep(TOLD_AFTER_S)
        detail = f"Too many {_SAID[kind]}: {item.amount} a minute are answered; try again in a while."
        raise HTTPException(429, detail, {"Retry-After": str(min(60, max(1, wait)))})
