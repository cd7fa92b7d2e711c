"""What one process has counted told to the others: nothing is stored, since it is over in a minute."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple

import psycopg

CHANNEL = "crew_rates"
_TOGETHER = 100
"""Counts in a message: some 40 bytes each, and Postgres refuses 8,000."""


class Count(NamedTuple):
    """How often something was done since it was told last.

    Attributes:
        who: a hash of whoever did it: who listens learns no name.
    """

    kind: str
    who: str
    times: int


async def tell(connection: psycopg.AsyncConnection[Any], counts: Iterable[Count]) -> None:
    """Tell the others."""
    left = iter(counts)
    while some := list(islice(left, _TOGETHER)):
        await connection.execute("SELECT pg_notify(%s, %s)", (CHANNEL, json.dumps(some)))


async def heard(connection: psycopg.AsyncConnection[Any], for_s: float) -> AsyncIterator[Count]:
    """What the others tell for a while."""
    own = connection.info.backend_pid
    async for message in connection.notifies(timeout=for_s):
        if message.pid != own:
            for count in _read(message.payload):
                yield count


def _read(payload: str) -> Iterator[Count]:
    for kind, who, times in json.loads(payload):
        yield Count(kind, who, times)
