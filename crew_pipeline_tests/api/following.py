"""What the tests of the WebSocket stand on: real servers, real clients, and writers of events."""

from __future__ import annotations

import asyncio
import base64
import os
import random
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import orjson
import uvicorn
import websockets
from fastapi import FastAPI

from crew_pipeline.api.connections import server_options
from crew_pipeline.model import ClientDay
from crew_pipeline.storage.database import Database, dagster_url
from crew_pipeline.storage.days.events import EventType, emit

DAY = "2025-01-15"
DEADLINE_S = 90.0

Told = list[dict[str, Any]]


def allow_many_files() -> None:
    """As many open files as this system lets a process have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def until(true: Callable[[], bool], what: str) -> None:
    """Wait for something to become true; the deadline is generous, what takes longer has failed."""
    deadline = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < deadline, f"still not: {what}"
        time.sleep(0.02)


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def served(app: FastAPI) -> Iterator[uvicorn.Server]:
    """The application in a thread of this process, served as ``crew api`` does."""
    config = uvicorn.Config(app, port=_free_port(), log_level="warning", **server_options())
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="api")
    thread.start()
    try:
        until(lambda: server.started, "the server answers")
        yield server
    finally:
        server.should_exit = True
        thread.join(DEADLINE_S)
        assert not thread.is_alive()


@contextmanager
def api_processes(count: int, database_url: str, home: Path) -> Iterator[list[int]]:
    """So many processes of ``crew api`` over one database; their ports."""
    ports = [_free_port() for _ in range(count)]
    environment = {
        **os.environ, "CREW_DATABASE_URL": database_url, "CREW_HOME": str(home), "CREW_LOG_LEVEL": "warning",
        "DAGSTER_POSTGRES_URL": dagster_url(database_url),
    }  # fmt: skip
    with ExitStack() as stack:
        processes = []
        for port in ports:
            command = [sys.executable, "-m", "crew_pipeline.cli", "api", "--port", str(port)]
            process = subprocess.Popen(command, env=environment)
            processes.append(process)
            stack.callback(process.wait, DEADLINE_S)
            stack.callback(process.terminate)
        until(lambda: all(_answers(*one) for one in zip(ports, processes, strict=True)), "the processes answer")
        yield ports


def _answers(port: int, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, "the process has ended"
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200
    except httpx.TransportError:
        return False


def polled(port: int) -> Told:
    """Every event of the day by the polling twin."""
    found: Told = []
    while True:
        after = found[-1]["seq"] if found else 0
        more = httpx.get(f"http://127.0.0.1:{port}/api/semantic/events/{DAY}", params={"after": after}).json()["events"]
        if not more:
            return found
        found += more


def connected(port: int, after: int = 0, token: str | None = None) -> websockets.connect:
    """A client that follows the day."""
    return websockets.connect(
        f"ws://127.0.0.1:{port}/ws/semantic/{DAY}?after={after}",
        additional_headers={"Authorization": f"Bearer {token}"} if token else None,
        open_timeout=DEADLINE_S,
        ping_timeout=DEADLINE_S,
        # A client that has paused reading would not see the answer to its close.
        max_queue=None,
        proxy=None,
    )


async def followed(port: int, joined: Callable[[], None] = lambda: None) -> Told:
    """What one client is told from the beginning until it is closed, the snapshot left out, which comes first."""
    async with asyncio.timeout(DEADLINE_S), connected(port) as client:
        assert orjson.loads(await client.recv())["type"] == "snapshot"
        joined()
        found = [orjson.loads(message) async for message in client]
        assert client.close_code == 1000
    return [message for message in found if message["type"] != "ping"]


async def followed_with_breaks(port: int, chance: random.Random) -> Told:
    """The same by a client that leaves after every few messages and comes back with the last number it saw."""
    found: Told = []
    async with asyncio.timeout(DEADLINE_S):
        while True:
            async with connected(port, found[-1]["seq"] if found else 0) as client:
                assert orjson.loads(await client.recv())["type"] == "snapshot"
                try:
                    for _ in range(chance.randint(0, 6)):
                        found.append(orjson.loads(await client.recv()))
                        if chance.random() < 0.2:
                            await asyncio.sleep(chance.random() / 20)
                except websockets.ConnectionClosedOK:
                    return found


def emit_events(db: Database, count: int, writers: int = 4, payload: str = "") -> None:
    """Emit events of the day from several threads, each in a transaction of its own, some slow to commit."""

    def write(writer: int) -> None:
        for number in range(writer, count, writers):
            with db.write() as connection:
                told = {"progress": number / count, "stage": "embedding", "message": payload or f"{number} of {count}"}
                emit(connection, ClientDay("default", date.fromisoformat(DAY)), EventType.PROGRESS, told, None)
                time.sleep(0.003 * (writer % 2))

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)


def mute(port: int, after: int = 0) -> socket.socket:
    """A client that asks to follow the day and then never reads; it has little room for what it is sent."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(DEADLINE_S)
    client.connect(("127.0.0.1", port))
    key = base64.b64encode(random.randbytes(16)).decode()
    request = (
        f"GET /ws/semantic/{DAY}?after={after} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    client.sendall(request.encode())
    return client


def taken_from(client: socket.socket) -> int:
    """How many bytes there are still to read from a connection that the other side has ended."""
    taken = 0
    try:
        while part := client.recv(65536):
            taken += len(part)
    except ConnectionResetError:
        pass
    return taken
