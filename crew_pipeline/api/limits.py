"""How often somebody may do something: counted by client, and wrong tokens by address, in this process.

Only who has shown a token is counted: without tokens a server answers this machine alone.
"""

from __future__ import annotations

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
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())

    def count(self, kind: Kind, who: Admission) -> None:
        """Count something that a client does now.

        Raises:
            HTTPException: 429 where it was too often within the last minute.
        """
        if who.grant is not None:
            self._count(kind, who.client)

    def count_wrong_token(self, address: str) -> None:
        """Count a token that is not in force.

        Raises:
            HTTPException: 429.
        """
        self._count("wrong_tokens", address)

    def _count(self, kind: Kind, who: str) -> None:
        item = self._items.get(kind)
        if item is None or self._limiter.hit(item, who):
            return
        wait = math.ceil(self._limiter.get_window_stats(item, who).reset_time - time.time())
        detail = f"Too many {_SAID[kind]}: {item.amount} a minute are answered; try again in a while."
        raise HTTPException(429, detail, {"Retry-After": str(min(60, max(1, wait)))})
