"""Whatever comes over a WebSocket: it is refused or answered, and the server goes on."""

from __future__ import annotations

import asyncio
import logging
import random
import socket
from collections.abc import Iterator
from contextlib import closing, suppress
from urllib.parse import quote

import httpx
import pytest
import websockets

from crew_pipeline.api.app import create_app
from crew_pipeline.settings import Settings
from crew_pipeline.storage.database import Database
from crew_pipeline_tests.api.following import DEADLINE_S, served
from crew_pipeline_tests.conftest import ENGINE, bring, lines_at

DAYS = [
    "2025-01-15",
    "2025-02-30",
    "null",
    "0000-00-00",
    "9999-12-31",
    "..",
    "%00",
    "٢٠٢٥-٠١-١٥",
    "2025-01-15/..",
    "a" * 4000,
]
NUMBERS = ["0", "-1", "1", "9" * 40, "1e9", "", "null", "0x10", "9223372036854775807", "9223372036854775808", "١"]
NAMES = ["default", "", "\x00", "a" * 5000, "' OR 1=1 --", "☃", "../..", "%s%s", "\ud83d"]


@pytest.fixture
def port(settings: Settings, database_url: str, db: Database) -> Iterator[int]:
    bring(db, lines_at("2025-01-15", "a", ("Ann", "one two three")), client="default")
    with served(create_app(settings, database_url, ENGINE)) as server:
        yield server.config.port


def _named(value: str) -> str:
    return quote(value.encode("utf-8", "surrogatepass"), safe="")


def _address(chance: random.Random) -> str:
    path = chance.choice(["/ws/days", *(f"/ws/semantic/{quote(day)}" for day in DAYS)])
    asked = [
        f"{name}={_named(chance.choice(values))}"
        for name, values in (("after", NUMBERS), ("client", NAMES), ("ticket", NAMES), ("x", NAMES))
        if chance.random() < 0.4
    ]
    return f"{path}?{'&'.join(asked)}"


async def _speak(port: int, chance: random.Random) -> None:
    # Not TimeoutError, which is an OSError as well: whoever asks is answered.
    with suppress(websockets.WebSocketException, ConnectionError, EOFError):
        async with websockets.connect(f"ws://127.0.0.1:{port}{_address(chance)}", proxy=None) as connection:
            for _ in range(chance.randint(0, 6)):
                said: str | bytes = chance.choice(
                    ["", "{", "\x00", "☃" * 100, chance.randbytes(chance.randint(0, 900))]
                )
                await connection.send(said)
                if chance.random() < 0.3:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(0.2):
                            await connection.recv()
            if chance.random() < 0.5:
                connection.transport.abort()


def _shout(port: int, chance: random.Random) -> None:
    """Bytes that are no frames, after a handshake or instead of one."""
    with closing(socket.create_connection(("127.0.0.1", port), timeout=5)) as connection:
        head = f"GET {_address(chance)} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        head += "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        sent = head.encode() if chance.random() < 0.7 else chance.randbytes(200)
        with suppress(OSError):
            connection.sendall(sent[: chance.randint(1, len(sent))] if chance.random() < 0.2 else sent)
            connection.sendall(chance.randbytes(chance.randint(0, 3000)))


@pytest.mark.parametrize(
    ("path", "also", "status"),
    [
        ("/ws/days?client=" + "a" * 9_000, "", b"414"),
        ("/ws/semantic/" + "a" * 30_000, "", b"414"),
        ("/ws/days", "".join(f"X-{number}: y\r\n" for number in range(200)), b"431"),
        ("/ws/days", f"X: {'y' * 9_000}\r\n", b"431"),
    ],
)
def test_a_socket_that_is_asked_for_at_too_great_length_is_refused_at_once(
    port: int, path: str, also: str, status: bytes
) -> None:
    with closing(socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S)) as connection:
        head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{also}Upgrade: websocket\r\nConnection: Upgrade\r\n"
        head += "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        connection.sendall(head.encode())
        assert connection.recv(12)[9:] == status


@pytest.mark.parametrize("seed", range(2))
def test_nothing_that_is_said_over_a_socket_stops_the_server(
    port: int, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    chance = random.Random(seed)

    async def speak() -> None:
        async with asyncio.timeout(DEADLINE_S):
            for _ in range(5):
                await asyncio.gather(*(_speak(port, chance) for _ in range(10)))

    with caplog.at_level(logging.ERROR):
        asyncio.run(speak())
        for _ in range(40):
            _shout(port, chance)
        assert httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200
    assert [record.getMessage() for record in caplog.records if record.exc_info] == []
