"""Many readers at once, as one process that does little but wait: hundreds of people, not a load generator."""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from typing import Any

import websockets

from benchmarks.common import quantile

_PAUSE_S = 1.0
"""Between two days that one person reads, on average."""
_ARRIVE_S = 5.0
"""Within which all have come."""


class Person:
    """Keeps a connection and asks for days over it."""

    def __init__(self, port: int, token: str | None) -> None:
        self._port = port
        self._shown = f"Authorization: Bearer {token}\r\n" if token else ""
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, path: str) -> tuple[int, float]:
        """The status of an answer, and how long all of it took (s)."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port, limit=2**24)
        reader, writer = self._streams
        started = time.perf_counter()
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{self._shown}\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length: ")[2].partition("\r\n")[0] or 0)
        await reader.readexactly(length)
        return int(head.split(" ", 2)[1]), time.perf_counter() - started


async def read(
    port: int,
    token: str | None,
    paths: list[str],
    missing: list[str],
    people: int,
    seconds: float,
    followers: int = 0,
) -> dict[str, Any]:
    """Readers of ready days, each with a connection of its own; one request in fifty is for a day that is missing.

    Args:
        followers: WebSockets of the stream of all days that are open meanwhile.
    """
    told = 0

    async def follow() -> None:
        nonlocal told
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        url = f"ws://127.0.0.1:{port}/ws/days"
        async with websockets.connect(url, additional_headers=headers, proxy=None) as socket:
            async for _ in socket:
                told += 1

    following = [asyncio.create_task(follow()) for _ in range(followers)]
    chance, hits, others, errors = random.Random(7), [], 0, 0  # noqa: S311
    until = time.perf_counter() + seconds

    async def person(number: int) -> None:
        nonlocal others, errors
        own = Person(port, token)
        await asyncio.sleep(_ARRIVE_S * number / people)
        while time.perf_counter() < until:
            miss = bool(missing) and chance.random() < 0.02
            status, took = await own.get(chance.choice(missing if miss else paths))
            if status == 200 and not miss:
                hits.append(took)
            others += miss
            errors += status not in {200, 202}
            await asyncio.sleep(chance.expovariate(1 / _PAUSE_S))

    await asyncio.gather(*(person(number) for number in range(people)))
    for task in following:
        if task.done():
            task.result()
        task.cancel()
    return {
        "followers": followers,
        "told": told,
        "p50_ms": round(1000 * quantile(hits, 0.5), 2),
        "p99_ms": round(1000 * quantile(hits, 0.99), 2),
        "hits": len(hits),
        "misses": others,
        "errors": errors,
    }


async def flood(port: int, token: str, path: str, connections: int, seconds: float) -> dict[str, Any]:
    """A program that asks again as soon as it is answered, over many connections."""
    until = time.perf_counter() + seconds
    codes: dict[int, int] = {}

    async def ask() -> None:
        own = Person(port, token)
        while time.perf_counter() < until:
            status, _ = await own.get(path)
            codes[status] = codes.get(status, 0) + 1

    await asyncio.gather(*(ask() for _ in range(connections)))
    return {"answers": codes}


def main() -> None:
    """What standard input asks for: the name of a function and its arguments."""
    asked = json.load(sys.stdin)
    work = {"read": read, "flood": flood}[asked.pop("do")]
    print(json.dumps(asyncio.run(work(**asked))))


if __name__ == "__main__":
    main()
