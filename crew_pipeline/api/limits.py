"""How often somebody may do something: counted by client, and wrong tokens by address.

Processes tell each other every second what they have counted, so that several of them allow hardly more than one.

Only who has shown a token is counted: without tokens a server answers this machine alone. Who asks faster than evenly
is slowed down, and who is told that it was too often is told so late: a program that asks again at once would else take
all of the time that others need.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import Counter
from contextlib import suppress
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Literal

import psycopg
from fastapi import HTTPException
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from crew_pipeline.api.admission import Admission
from crew_pipeline.settings import Settings
from crew_pipeline.storage import rates
from crew_pipeline.storage.database import Database

logger = logging.getLogger(__name__)

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
_TOLD_EVERY_S = 1.0


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
        self._untold: Counter[tuple[str, str]] = Counter()
        self._telling: asyncio.Task[None] | None = None

    def start(self, db: Database) -> None:
        """Tell other processes what is counted here, and count what they tell."""
        self._telling = asyncio.create_task(self._tell_and_hear(db), name="limits")

    async def stop(self) -> None:
        """Count for this process alone."""
        if self._telling is not None:
            self._telling.cancel()
            with suppress(asyncio.CancelledError):
                await self._telling

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
        item, key = self._items.get(kind), _hashed(who)
        if item is None:
            return
        if self._limiter.hit(item, key):
            self._untold[kind, key] += 1
            return
        wait = math.ceil(self._limiter.get_window_stats(item, key).reset_time - time.time())
        await asyncio.sleep(TOLD_AFTER_S)
        detail = f"Too many {_SAID[kind]}: {item.amount} a minute are answered; try again in a while."
        raise HTTPException(429, detail, {"Retry-After": str(min(60, max(1, wait)))})

    async def _tell_and_hear(self, db: Database) -> None:
        while True:
            try:
                async with db.listening_in_loop(rates.CHANNEL) as connection:
                    while True:
                        await self._tell(connection)
                        async for count in rates.heard(connection, _TOLD_EVERY_S):
                            self._hear(count)
            except Exception as error:
                # Whatever it is, others are told again in a moment.
                logger.warning("limits count for this process alone (%s)", type(error).__name__)
            await asyncio.sleep(_TOLD_EVERY_S)

    async def _tell(self, connection: psycopg.AsyncConnection[Any]) -> None:
        counted, self._untold = self._untold, Counter()
        try:
            await rates.tell(connection, (rates.Count(*key, count) for key, count in counted.items()))
        except psycopg.Error:
            self._untold.update(counted)
            raise

    def _hear(self, told: rates.Count) -> None:
        item = next((item for kind, item in self._items.items() if kind == told.kind), None)
        left = cost = told.times if item is not None else 0
        # What would go beyond a limit is not counted at all, and the limit is to be reached.
        while item is not None and cost:
            if self._limiter.hit(item, told.who, cost=cost):
                left -= cost
                cost = min(cost, left)
            else:
                cost //= 2


@lru_cache(maxsize=4096)
def _hashed(who: str) -> str:
    return blake2b(who.encode(errors="surrogatepass"), digest_size=8).hexdigest()
