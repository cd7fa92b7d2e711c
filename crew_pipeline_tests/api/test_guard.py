"""What stands before every route: who asks is looked at first, then how much it is, how long it takes, how often."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi.testclient import TestClient

from crew_pipeline.api.app import create_app
from crew_pipeline.api.guard import LARGEST_BODY, LARGEST_HEAD, LONGEST_QUERY
from crew_pipeline.api.limits import _hashed
from crew_pipeline.settings import Settings
from crew_pipeline.storage import tokens
from crew_pipeline.storage.database import Database
from crew_pipeline_tests.api.following import served, until
from crew_pipeline_tests.conftest import ENGINE, bring, lines_at

DAY = "2025-01-15"
FEEDBACK = f"/api/days/{DAY}/feedback"


@pytest.fixture
def token(db: Database) -> str:
    bring(db, lines_at(DAY, "a", ("Ann", "one two three"), ("Bo", "three two one")), client="acme")
    with db.write() as connection:
        return tokens.create(connection, "acme")


@pytest.fixture
def api_server(settings: Settings, database_url: str, token: str) -> Iterator[uvicorn.Server]:
    with served(create_app(settings, database_url, ENGINE, body_within_s=1.0)) as running:
        yield running


@pytest.fixture
def url(api_server: uvicorn.Server) -> str:
    return f"http://127.0.0.1:{api_server.config.port}"


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crew_pipeline.api.limits.TOLD_AFTER_S", 0.01)


def limited(settings: Settings, database_url: str, **limits: int) -> TestClient:
    return TestClient(create_app(settings.model_copy(update=limits), database_url, ENGINE), base_url="http://localhost")


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def raw(url: str, head: str, body: bytes = b"", wait_s: float = 5) -> tuple[bytes, float]:
    """What is answered to bytes that are sent as they are, and when."""
    address = httpx.URL(url)
    began = time.monotonic()
    with socket.create_connection((address.host, address.port or 80), wait_s) as connection:
        connection.sendall(head.encode() + b"\r\n\r\n" + body)
        answer = b""
        try:
            while part := connection.recv(65536):
                answer += part
        except ConnectionResetError:
            pass
    return answer, time.monotonic() - began


def test_who_may_not_ask_is_told_so_before_the_body_is_read(url: str) -> None:
    head = f"POST {FEEDBACK} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 200000"
    answer, took = raw(url, head)
    assert answer.startswith(b"HTTP/1.1 401")
    assert b"problem+json" in answer
    assert took < 1.0


@pytest.mark.parametrize("length", [str(LARGEST_BODY + 1), "100000000000", "-1", "x"])
def test_a_body_that_is_too_large_is_refused_by_its_head(url: str, token: str, length: str) -> None:
    head = f"POST {FEEDBACK} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: {length}"
    answer, _ = raw(url, head)
    assert answer[:12] in {b"HTTP/1.1 413", b"HTTP/1.1 400"}


def test_a_body_that_goes_on_is_cut_off_where_it_is_too_large(url: str, token: str) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(10_000):
            yield b" " * 10_000

    answer = httpx.post(f"{url}{FEEDBACK}", content=endless(), headers=bearer(token))
    assert answer.status_code == 413
    assert str(LARGEST_BODY) in answer.json()["detail"]


def test_a_body_that_does_not_come_is_waited_for_a_while_only(url: str, token: str) -> None:
    head = (
        f"POST {FEEDBACK} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
        "Content-Type: application/json\r\nContent-Length: 100"
    )
    answer, took = raw(url, head, b'{"verdict":')
    assert answer.startswith(b"HTTP/1.1 408")
    assert 0.9 < took < 4


def test_heads_and_addresses_have_bounds(url: str, token: str) -> None:
    long = httpx.get(f"{url}/api/calendar?x={'a' * LONGEST_QUERY}", headers=bearer(token))
    wide = httpx.get(f"{url}/api/calendar", headers={**bearer(token), "X-Much": "a" * LARGEST_HEAD})
    assert (long.status_code, wide.status_code) == (414, 431)
    for answer in (long, wide):
        assert answer.headers["content-type"] == "application/problem+json"


def test_half_requests_are_cut_off_and_others_served(url: str, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from crew_pipeline.api.connections import BoundedHttp

    monkeypatch.setattr(BoundedHttp, "head_within_s", 0.5)
    address = httpx.URL(url)
    with ExitStack() as stack:
        halves = [
            stack.enter_context(socket.create_connection((address.host, address.port or 80), 5)) for _ in range(50)
        ]
        for number, half in enumerate(halves):
            half.sendall(b"" if number % 2 else b"GET /api/calendar HTTP/1.1\r\nHost: x\r\nX-A")
        assert httpx.get(f"{url}/healthz").status_code == 200
        for half in halves:
            with suppress(ConnectionResetError):
                assert half.recv(10) == b""


def test_one_connection_too_many_is_refused_at_once(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from crew_pipeline.api.connections import BoundedHttp

    monkeypatch.setattr(BoundedHttp, "most_of_a_peer", 5)
    address = httpx.URL(url)
    with ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(socket.create_connection((address.host, address.port or 80), 5))
        time.sleep(0.2)
        answer, _ = raw(url, "GET /healthz HTTP/1.1\r\nHost: x")
        assert answer.startswith(b"HTTP/1.1 503")
    time.sleep(0.2)
    assert httpx.get(f"{url}/healthz").status_code == 200


def test_a_reader_who_takes_nothing_is_cut_off(
    api_server: uvicorn.Server, url: str, token: str, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    from crew_pipeline.api.connections import BoundedHttp

    monkeypatch.setattr(BoundedHttp, "stuck_after_s", 0.5)
    said = tuple(("Ann", f"{number} " + "word " * 2_000) for number in range(1_000))
    bring(db, lines_at("2025-01-16", "b", *said), client="acme")
    address = httpx.URL(url)
    with socket.create_connection((address.host, address.port or 80), 30) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        path = "/api/days/2025-01-16/conversations?wait_s=0"
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
        assert connection.recv(12) == b"HTTP/1.1 202"
        open_ones = api_server.server_state.connections
        assert open_ones
        until(lambda: not open_ones, "it is cut off")


def test_what_is_asked_too_often_is_answered_429(settings: Settings, database_url: str, token: str) -> None:
    put: dict[str, Any] = {"headers": bearer(token), "json": {"folding": "default"}}
    with limited(settings, database_url, limit_writes=3, limit_requests=20, limit_forces=1) as client:
        assert [client.put("/api/folding", **put).status_code for _ in range(5)] == [200, 200, 200, 429, 429]
        force = {"force_process": "true", "wait_s": "0"}
        path = f"/api/days/{DAY}/conversations"
        forced = [client.get(path, headers=bearer(token), params=force).status_code for _ in range(2)]
        assert forced == [202, 429]
        answers = [client.get("/api/calendar", headers=bearer(token)) for _ in range(20)]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused
    assert answers[0].status_code == 200
    assert 1 <= int(refused[0].headers["retry-after"]) <= 60
    assert "20 a minute" in refused[0].json()["detail"]


def test_who_asks_too_fast_is_slowed_down_before_it_is_refused(
    settings: Settings, database_url: str, token: str
) -> None:
    with limited(settings, database_url, limit_requests=600) as client, ThreadPoolExecutor(8) as pool:
        started = time.monotonic()
        asked = [pool.submit(client.get, "/api/calendar", headers=bearer(token)) for _ in range(60)]
        codes = [answer.result().status_code for answer in asked]
        # Fifty together, then ten a second.
        assert codes == [200] * 60
        assert time.monotonic() - started > 0.9


def test_clients_are_counted_apart_and_this_machine_not_at_all(
    settings: Settings, database_url: str, db: Database
) -> None:
    with limited(settings, database_url, limit_requests=2) as client:
        assert {client.get("/api/calendar").status_code for _ in range(10)} == {200}
    with db.write() as connection:
        one, same, other = (tokens.create(connection, name) for name in ("acme", "acme", "rival"))
    with limited(settings, database_url, limit_requests=2) as client:
        asked = [one, same, one, other, same]
        codes = [client.get("/api/calendar", headers=bearer(token)).status_code for token in asked]
    assert codes == [200, 200, 429, 200, 429]


def test_processes_count_together(settings: Settings, database_url: str, token: str) -> None:
    put: dict[str, Any] = {"headers": bearer(token), "json": {"folding": "default"}}

    def puts(client: TestClient, count: int) -> list[int]:
        return [client.put("/api/folding", **put).status_code for _ in range(count)]

    def wrong(client: TestClient, count: int) -> list[int]:
        return [client.get("/api/calendar", headers=bearer(f"crew_{number}")).status_code for number in range(count)]

    def left(client: TestClient, kind: str, who: str) -> int:
        limits = client.app.state.services.limits  # type: ignore[attr-defined]
        return int(limits._limiter.get_window_stats(limits._items[kind], _hashed(who)).remaining)

    bounds = {"limit_writes": 9, "limit_wrong_tokens": 3, "limit_requests": 1000}
    # What is counted is forgotten with the minute, so this must not begin at the end of one.
    if (left_s := 60 - time.time() % 60) < 20:
        time.sleep(left_s)
    with limited(settings, database_url, **bounds) as one, limited(settings, database_url, **bounds) as other:
        assert puts(one, 6) == [200] * 6
        assert wrong(one, 3) == [401] * 3
        until(lambda: left(other, "writes", "acme") == 3, "the changes are heard of")
        until(lambda: left(other, "wrong_tokens", "testclient") == 0, "the wrong tokens are heard of")
        assert puts(other, 4) == [200, 200, 200, 429]
        assert wrong(other, 1) == [429]
        # What was refused has not been counted, neither here nor there.
        until(lambda: left(one, "writes", "acme") == 0, "those of the other are heard of")
        assert puts(one, 1) == [429]
        # Many addresses at once are told as well.
        for number in range(260):
            asyncio.run(one.app.state.services.limits.count_wrong_token(f"10.0.{number}.1"))  # type: ignore[attr-defined]
        until(lambda: left(other, "wrong_tokens", "10.0.259.1") == 2, "all of them are heard of")


def test_a_process_that_hears_no_other_counts_for_itself(
    settings: Settings, database_url: str, token: str, query: Callable[..., list[tuple[object, ...]]]
) -> None:
    put: dict[str, Any] = {"headers": bearer(token), "json": {"folding": "default"}}
    with limited(settings, database_url, limit_writes=2) as client:
        listening = "datname = current_database() AND query LIKE 'LISTEN%'"
        assert query(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {listening}")
        assert [client.put("/api/folding", **put).status_code for _ in range(3)] == [200, 200, 429]


def test_wrong_tokens_are_told_so_for_a_while_only(settings: Settings, database_url: str, token: str) -> None:
    with limited(settings, database_url, limit_wrong_tokens=3) as client:
        codes = [client.get("/api/calendar", headers=bearer(f"crew_{number}")).status_code for number in range(5)]
        assert codes == [401, 401, 401, 429, 429]
        assert client.get("/api/calendar", headers=bearer(token)).status_code == 200
        assert client.get("/api/calendar").status_code == 401
