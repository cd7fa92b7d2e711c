"""Mixed load near saturation for a while: readers, missing days, followers, pushes, webhooks and a flood at once.

What may not happen: an answer that nobody asked for (anything but 200, 202, 304 and 429), and memory, connections or
open files that grow. The first half is left to settle; what is compared are the third and the last quarter.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import httpx
import psutil
import websockets
from sqlalchemy import text

from benchmarks.common import days_by_size, free_port, loaded_store, progress, report, running
from benchmarks.hits import ended, started
from crew_pipeline.client import AsyncClient
from crew_pipeline.client.signatures import new_secret
from crew_pipeline.orchestration.bulk import process_days
from crew_pipeline.storage import tokens, webhooks
from crew_pipeline.storage.opening import Databases

PEOPLE, FLOOD_CONNECTIONS, SOCKETS, STREAMS = 200, 16, 40, 20
_SAMPLE_S = 5.0
_ALLOWED = {200, 201, 202, 304, 429}
_GROWTH = {"rss_mb": 1.10, "files": 1.10, "connections": 1.25}
"""By how much the last quarter may lie above the third."""


class Sample(NamedTuple):
    """The API process at one moment, and the connections of the whole system to its databases."""

    rss_mb: float
    files: int
    connections: int


def main() -> None:
    """Load everything at once, and look how it bears that."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long (10)")
    chosen = parser.parse_args()
    with loaded_store(None) as (settings, databases), receiver() as (hook, told):
        listed = [day for day, _ in days_by_size(databases)]
        ready = listed[-30:]
        missing = [f"/api/days/{day}/conversations?wait_s=0" for day in listed[40:80]]
        progress(f"processing {len(ready)} days")
        for day in ready:
            process_days(settings, databases, (day, day))
        with databases.owners_db.write() as connection:
            token, rival = tokens.create(connection, "default"), tokens.create(connection, "rival")
            webhooks.add(connection, "default", hook, webhooks.KINDS, "", new_secret())
        port = free_port()
        address = f"http://127.0.0.1:{port}"
        with (
            running(
                ["-m", "crew_pipeline.cli", "api", "--port", str(port)], f"{address}/healthz",
                CREW_LIMIT_REQUESTS="60000", CREW_LIMIT_WRITES="6000", CREW_WEBHOOK_NETWORKS="127.0.0.0/8",
            ) as api,
            worker(),
        ):  # fmt: skip
            seconds = 60 * chosen.minutes
            paths = [f"/api/days/{day}/conversations" for day in ready]
            loads = [
                started({"do": "read", "port": port, "token": token, "paths": paths, "people": PEOPLE,
                         "seconds": seconds, "missing": missing}),
                started({"do": "flood", "port": port, "token": rival, "path": paths[0] + "?wait_s=0",
                         "connections": FLOOD_CONNECTIONS, "seconds": seconds}),
            ]  # fmt: skip
            samples, statuses = asyncio.run(followed(address, token, api.pid, databases, seconds))
            people, flood = (ended(load) for load in loads)
    content = judged(samples) | {
        "minutes": chosen.minutes,
        "people": people,
        "flood": flood["answers"],
        "pushed": dict(statuses),
        "told": told["messages"],
    }
    unasked = {*map(int, flood["answers"]), *statuses} - _ALLOWED
    content["errors"] = people["errors"] + len(unasked)
    report(content, as_json=chosen.json)
    sys.exit(1 if content["errors"] or content["grew"] else 0)


def judged(samples: list[Sample]) -> dict[str, Any]:
    """The third and the last quarter of what was sampled, and what has grown."""
    quarter = max(1, len(samples) // 4)
    third, last = samples[2 * quarter : 3 * quarter], samples[3 * quarter :]
    figures: dict[str, Any] = {"samples": len(samples), "grew": []}
    for name, allowed in _GROWTH.items():
        before, after = (statistics.median(getattr(one, name) for one in part) for part in (third, last))
        figures[name] = [round(before, 1), round(after, 1)]
        if after > before * allowed + 1:
            figures["grew"].append(name)
    return figures


async def followed(
    address: str, token: str, pid: int, databases: Databases, seconds: float
) -> tuple[list[Sample], Counter[int]]:
    """Follow, push and sample until the time is over."""
    samples: list[Sample] = []
    statuses: Counter[int] = Counter()
    tasks = [
        *(asyncio.create_task(over_socket(address, token)) for _ in range(SOCKETS)),
        *(asyncio.create_task(over_stream(address, token)) for _ in range(STREAMS)),
        asyncio.create_task(push(address, token, statuses)),
    ]
    until = time.monotonic() + seconds
    process = psutil.Process(pid)
    while time.monotonic() < until:
        await asyncio.sleep(_SAMPLE_S)
        counted = await asyncio.to_thread(connections_of, databases)
        samples.append(Sample(process.memory_info().rss / 2**20, process.num_fds(), counted))
    for task in tasks:
        if task.done() and task.exception() is not None:
            raise RuntimeError("a follower has ended") from task.exception()
        task.cancel()
    return samples, statuses


def connections_of(databases: Databases) -> int:
    """How many there are to the application's database."""
    with databases.owners_db.read() as connection:
        return int(
            connection.scalar(text("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"))
        )


async def over_socket(address: str, token: str) -> None:
    """Follow all days, leaving and coming back now and then."""
    after, number = 0, 0
    url = f"ws{address.removeprefix('http')}/ws/days"
    while True:
        number += 1
        headers = {"Authorization": f"Bearer {token}"}
        async with websockets.connect(f"{url}?after={after}", additional_headers=headers, proxy=None) as socket:
            try:
                async with asyncio.timeout(20 + number % 7):
                    async for _ in socket:
                        pass
            except TimeoutError:
                continue


async def over_stream(address: str, token: str) -> None:
    """Follow all days by server-sent events."""
    async with AsyncClient(address, token=token, http=httpx.AsyncClient(timeout=90)) as client:
        async for _ in client.events():
            pass


async def push(address: str, token: str, statuses: Counter[int]) -> None:
    """A conversation of now that grows."""
    async with httpx.AsyncClient(base_url=address, headers={"Authorization": f"Bearer {token}"}, timeout=60) as client:
        number = 0
        while True:
            number += 1
            line = {"speaker": "Ann", "text": f"line {number % 50}", "line": number,
                    "created_at": datetime.now(UTC).isoformat()}  # fmt: skip
            body = {"crew": "pushed", "session_id": f"s{number // 200}", "lines": [line]}
            answer = await client.post("/api/conversations", json=body)
            statuses[answer.status_code] += 1
            await asyncio.sleep(0.5)


@contextmanager
def worker() -> Iterator[None]:
    """A warm worker, for the days that are missing."""
    process = subprocess.Popen([sys.executable, "-m", "crew_pipeline.cli", "worker"], stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(timeout=60)


@contextmanager
def receiver() -> Iterator[tuple[str, dict[str, int]]]:
    """Where webhooks lead: its address, and what it was told."""
    told = {"messages": 0}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            told["messages"] += 1
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook", told
    finally:
        server.shutdown()
        server.server_close()


if __name__ == "__main__":
    main()
