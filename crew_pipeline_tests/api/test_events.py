"""One stream of all days: over a WebSocket, as server-sent events, and page by page."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from types import MappingProxyType
from typing import Any

import httpx
import orjson
import pytest
import websockets
from httpx_sse import connect_sse

from crew_pipeline.api.app import create_app
from crew_pipeline.model import ClientDay
from crew_pipeline.settings import Settings
from crew_pipeline.storage import tokens
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.days.events import EventType, emit
from crew_pipeline_tests.api.following import DEADLINE_S, served, until
from crew_pipeline_tests.conftest import ENGINE, bring, lines_at

Query = Callable[..., list[tuple[object, ...]]]
DAYS = (date(2025, 1, 15), date(2025, 1, 16))


@pytest.fixture
def port(settings: Settings, database_url: str, db: Database) -> Iterator[int]:
    bring(db, lines_at("2025-01-15", "a", ("Ann", "one two three")), client="acme")
    with served(create_app(settings, database_url, ENGINE)) as server:
        yield server.config.port


def happen(db: Database, name: str, day: date = DAYS[0], client: str = "acme") -> None:
    with db.write() as connection:
        emit(connection, ClientDay(client, day), EventType.PROGRESS, {"message": name}, None)


def page(port: int, after: int | None = None, **also: Any) -> dict[str, Any]:
    params = {"client": "acme", **({} if after is None else {"after": after}), **also}
    answer = httpx.get(f"http://127.0.0.1:{port}/api/days/events", params=params)
    assert answer.status_code == 200
    told: dict[str, Any] = answer.json()
    return told


def streamed(
    port: int, count: int, headers: Mapping[str, str] = MappingProxyType({}), after: int | None = None
) -> list[Any]:
    params = {"client": "acme", **({} if after is None else {"after": after})}
    with (
        httpx.Client(timeout=DEADLINE_S) as client,
        connect_sse(
            client, "GET", f"http://127.0.0.1:{port}/api/days/events", params=params, headers=dict(headers)
        ) as source,
    ):
        told = source.iter_sse()
        return [next(told) for _ in range(count)]


def messages_of(told: list[Any]) -> list[str]:
    return [event.json().get("message", event.json()["type"]) for event in told]


def test_pages_go_on_where_the_last_one_ended(port: int, db: Database) -> None:
    assert page(port) == {"events": [], "next": 0}
    for number in range(5):
        happen(db, str(number), DAYS[number % 2])
    happen(db, "of another client", client="rival")
    assert page(port) == {"events": [], "next": 5}
    first = page(port, 0, limit=3)
    assert [event["message"] for event in first["events"]] == ["0", "1", "2"]
    rest = page(port, first["next"])
    assert [(event["message"], event["days_date"]) for event in rest["events"]] == [
        ("3", "2025-01-16"),
        ("4", "2025-01-15"),
    ]
    assert page(port, rest["next"]) == {"events": [], "next": 5}


def test_a_stream_begins_now_and_comes_back_where_it_was(port: int, db: Database) -> None:
    happen(db, "before")
    later = threading.Timer(0.5, happen, (db, "later", DAYS[1]))
    later.start()
    snapshot, event = streamed(port, 2)
    later.join()
    assert snapshot.json()["days"] == [{"days_date": "2025-01-15", "semantic_status": "pending"}]
    assert event.json()["message"] == "later"
    assert event.json()["days_date"] == "2025-01-16"
    happen(db, "while away")
    assert messages_of(streamed(port, 2, {"Last-Event-ID": event.id})) == ["snapshot", "while away"]
    assert messages_of(streamed(port, 4, after=0)) == ["snapshot", "before", "later", "while away"]


def test_a_socket_of_all_days_tells_the_same(port: int, db: Database) -> None:
    async def follow() -> list[dict[str, Any]]:
        url = f"ws://127.0.0.1:{port}/ws/days?client=acme&after=1"
        async with asyncio.timeout(DEADLINE_S), websockets.connect(url, proxy=None) as socket:
            told = [orjson.loads(await socket.recv())]
            for name, day in (("second", DAYS[1]), ("third", DAYS[0])):
                await asyncio.to_thread(happen, db, name, day)
                told.append(orjson.loads(await socket.recv()))
            return told

    happen(db, "first")
    snapshot, *told = asyncio.run(follow())
    assert snapshot["type"] == "snapshot"
    assert told == page(port, 1)["events"]


def test_who_followed_a_client_that_is_forgotten_hears_what_comes_after(port: int, db: Database, query: Query) -> None:
    for number in range(5):
        happen(db, str(number))

    async def follow() -> list[str]:
        url = f"ws://127.0.0.1:{port}/ws/days?client=acme&after=5"
        async with asyncio.timeout(DEADLINE_S), websockets.connect(url, proxy=None) as socket:
            told = [orjson.loads(await socket.recv())["type"]]
            await asyncio.to_thread(query, "TRUNCATE day_events, client_counters")
            for name in ("new", "newer"):
                await asyncio.to_thread(happen, db, name)
                told.append(orjson.loads(await socket.recv())["message"])
            return told

    assert asyncio.run(follow()) == ["snapshot", "new", "newer"]
    assert [event["message"] for event in page(port, 1)["events"]] == ["newer"]
    assert page(port, 99) == {"events": [], "next": 2}


def test_a_head_without_an_end_ends_at_once(port: int) -> None:
    with httpx.Client() as client:
        for _ in range(3):
            answer = client.head(f"http://127.0.0.1:{port}/api/days/events", headers={"Accept": "text/event-stream"})
            assert answer.status_code == 200
            # The connection goes on with what is asked next.
            assert client.head(f"http://127.0.0.1:{port}/api/days/latest").status_code == 200
            latest = client.get(f"http://127.0.0.1:{port}/api/days/latest", params={"client": "acme"})
            assert latest.json() == {"day": "2025-01-15"}


def test_streams_end_when_the_server_stops(settings: Settings, database_url: str, db: Database) -> None:
    ended = threading.Event()

    def follow(port: int) -> None:
        with (
            httpx.Client(timeout=DEADLINE_S) as client,
            client.stream(
                "GET", f"http://127.0.0.1:{port}/api/days/events", headers={"Accept": "text/event-stream"}
            ) as answer,
        ):
            for _ in answer.iter_lines():
                following.set()
        ended.set()

    following = threading.Event()
    with served(create_app(settings, database_url, ENGINE)) as server:
        thread = threading.Thread(target=follow, args=(server.config.port,))
        thread.start()
        assert following.wait(DEADLINE_S)
    assert ended.wait(DEADLINE_S)
    thread.join()


def test_a_stream_ends_with_the_token_it_was_opened_with(port: int, db: Database) -> None:
    with db.write() as connection:
        token = tokens.create(connection, "acme")
        (kept,) = tokens.list_all(connection)
    headers = {"Authorization": f"Bearer {token}", "Accept": "text/event-stream"}
    url = f"http://127.0.0.1:{port}/api/days/events"
    assert httpx.get(url).status_code == 401
    with httpx.Client(timeout=DEADLINE_S) as client, client.stream("GET", url, headers=headers) as answer:
        lines = answer.iter_lines()
        next(lines)
        with db.write() as connection:
            tokens.revoke(connection, kept.id)
        assert [line for line in lines if line.startswith("data:") and "snapshot" not in line] == []


def test_a_client_has_room_for_so_many_followers(settings: Settings, database_url: str, db: Database) -> None:
    with db.write() as connection:
        token = tokens.create(connection, "acme")
    headers = {"Authorization": f"Bearer {token}", "Accept": "text/event-stream"}
    app = create_app(settings.model_copy(update={"limit_followers": 1}), database_url, ENGINE)
    with served(app) as server, httpx.Client(timeout=DEADLINE_S) as client:
        url = f"http://127.0.0.1:{server.config.port}/api/days/events"
        with client.stream("GET", url, headers=headers) as first:
            assert first.status_code == 200
            second = client.get(url, headers=headers)
            assert second.status_code == 429
            assert second.headers["content-type"] == "application/problem+json"
        until(lambda: not app.state.services.followers._there, "the first has left")
