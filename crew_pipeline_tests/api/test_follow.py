"""Following a day: everything once and in order, for many clients, through breaks, and past those that do not read."""

from __future__ import annotations

import asyncio
import logging
import random
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, aclosing, asynccontextmanager, closing
from datetime import date
from pathlib import Path

import orjson
import pytest
import uvicorn
from sqlalchemy import create_engine, text

from crew_pipeline.api.app import create_app
from crew_pipeline.model import ClientDay
from crew_pipeline.serving.feed import Feeds
from crew_pipeline.serving.listener import Listener
from crew_pipeline.settings import Settings
from crew_pipeline.storage import tokens
from crew_pipeline.storage.database import Database, application_url
from crew_pipeline.storage.embedded import EmbeddedPostgres
from crew_pipeline_tests.api.following import (
    DAY,
    DEADLINE_S,
    Told,
    allow_many_files,
    api_processes,
    connected,
    emit_events,
    followed,
    followed_with_breaks,
    mute,
    polled,
    served,
    taken_from,
    until,
)
from crew_pipeline_tests.conftest import ENGINE, Ready, bring, lines_at

Query = Callable[..., list[tuple[object, ...]]]
CLIENT_DAY = ClientDay("default", date.fromisoformat(DAY))


@pytest.fixture(autouse=True)
def _talk(db: Database) -> None:
    bring(db, lines_at(DAY, "a", ("Ann", "one two three"), ("Bo", "three two one")), client="default")


def _happen(db: Database, make_ready: Ready, count: int = 60) -> threading.Thread:
    """Events from several writers, then the final one; from a thread, so that clients can follow meanwhile."""

    def happen() -> None:
        emit_events(db, count)
        make_ready(DAY)

    thread = threading.Thread(target=happen)
    thread.start()
    return thread


async def _all_follow(ports: list[int], then: Callable[[], threading.Thread]) -> list[Told]:
    """What a client on each of ``ports`` is told; ``then`` is called when all have joined."""
    joined = asyncio.Semaphore(0)
    async with asyncio.TaskGroup() as group:
        clients = [group.create_task(followed(port, joined.release)) for port in ports]
        for _ in ports:
            await joined.acquire()
        thread = await asyncio.to_thread(then)
    await asyncio.to_thread(thread.join)
    return [client.result() for client in clients]


def test_500_clients_are_told_every_event_once_and_in_order_and_closed(
    db: Database, database_url: str, make_ready: Ready, tmp_path: Path
) -> None:
    allow_many_files()
    with api_processes(1, database_url, tmp_path) as ports:
        told = asyncio.run(_all_follow(ports * 500, lambda: _happen(db, make_ready)))
        expected = polled(*ports)
    assert len(expected) == 61
    assert expected[-1]["type"] == "processing_completed"
    assert len(told) == 500
    assert all(one == expected for one in told)


def test_clients_of_two_processes_are_told_the_same(
    db: Database, database_url: str, make_ready: Ready, tmp_path: Path
) -> None:
    with api_processes(2, database_url, tmp_path) as ports:
        told = asyncio.run(_all_follow(ports * 20, lambda: _happen(db, make_ready)))
        expected, *others = [polled(port) for port in ports]
    assert len(expected) == 61
    assert all(one == expected for one in [*others, *told])


def test_clients_that_leave_and_come_back_miss_nothing_and_hear_nothing_twice(
    settings: Settings, database_url: str, db: Database, make_ready: Ready
) -> None:
    async def follow(port: int) -> list[Told]:
        thread = _happen(db, make_ready)
        told = await asyncio.gather(*(followed_with_breaks(port, random.Random(seed)) for seed in range(25)))
        await asyncio.to_thread(thread.join)
        return told

    with served(create_app(settings, database_url, ENGINE)) as server:
        told = asyncio.run(follow(server.config.port))
        expected = polled(server.config.port)
    assert len(expected) == 61
    assert all(one == expected for one in told)


def test_a_client_that_does_not_read_is_cut_off_while_the_others_are_told_everything(
    settings: Settings, database_url: str, db: Database, make_ready: Ready
) -> None:
    large, count = "x" * 40_000, 80

    def happen() -> threading.Thread:
        emit_events(db, count, payload=large)
        until(lambda: len(server.server_state.connections) == 10, "only the ten that read are connected")
        return _happen(db, make_ready, 0)

    with served(create_app(settings, database_url, ENGINE, send_within_s=0.5)) as server:
        port = server.config.port
        with closing(mute(port)) as client:
            until(lambda: len(server.server_state.connections) == 1, "it is connected")
            told = asyncio.run(_all_follow([port] * 10, happen))
            expected = polled(port)
            assert taken_from(client) < count * len(large) // 4
    assert len(expected) == count + 1
    assert all(one == expected for one in told)


def test_clients_that_never_answer_the_close_are_let_go_however_much_is_left_unsent(
    settings: Settings, database_url: str, db: Database, make_ready: Ready, query: Query
) -> None:
    emit_events(db, 40, payload="x" * 7_000)
    numbers = [int(str(seq)) for (seq,) in query("SELECT seq FROM day_events ORDER BY seq")]
    with served(create_app(settings, database_url, ENGINE, send_within_s=0.5)) as server, ExitStack() as clients:
        for after in numbers:
            clients.enter_context(closing(mute(server.config.port, after)))
        until(lambda: len(server.server_state.connections) > 0, "some are connected")
        make_ready(DAY)
        until(lambda: not server.server_state.connections, "all are let go")


def test_the_server_stops_while_clients_follow_that_read_and_that_do_not(
    settings: Settings, database_url: str, db: Database
) -> None:
    async def follow(server: uvicorn.Server) -> tuple[int, int | None]:
        async with asyncio.timeout(DEADLINE_S), connected(server.config.port) as client:
            await asyncio.to_thread(emit_events, db, 20, payload="x" * 40_000)
            told = [await client.recv() for _ in range(21)]
            server.should_exit = True
            await client.wait_closed()
            return len(told), client.close_code

    with (
        served(create_app(settings, database_url, ENGINE, send_within_s=0.5)) as server,
        closing(mute(server.config.port)),
    ):
        until(lambda: len(server.server_state.connections) == 1, "it is connected")
        assert asyncio.run(follow(server)) == (21, 1012)
        until(lambda: not server.server_state.connections, "both are let go")


def test_what_a_client_says_is_no_reason_to_stop_telling_it(
    settings: Settings, database_url: str, db: Database, make_ready: Ready
) -> None:
    async def follow(port: int) -> Told:
        async with asyncio.timeout(DEADLINE_S), connected(port) as client:
            await client.recv()
            for _ in range(50):
                await client.send("hello?")
            thread = _happen(db, make_ready, 5)
            # Its pong comes behind all that was said.
            await (await client.ping())
            told = [orjson.loads(message) async for message in client]
            await asyncio.to_thread(thread.join)
            return told

    with served(create_app(settings, database_url, ENGINE)) as server:
        assert asyncio.run(follow(server.config.port)) == polled(server.config.port)


def test_a_day_that_nobody_follows_any_more_is_given_up(settings: Settings, database_url: str) -> None:
    app = create_app(settings, database_url, ENGINE)

    async def leave(port: int) -> None:
        async with connected(port) as one, connected(port) as other:
            await one.recv()
            await other.recv()
            assert len(app.state.services.feeds) == 1

    with served(app) as server:
        asyncio.run(leave(server.config.port))
        until(lambda: len(app.state.services.feeds) == 0, "the feed is given up")


@asynccontextmanager
async def _feeds(db: Database, database_url: str, **more: float) -> AsyncIterator[Feeds]:
    listener = Listener(db)
    await listener.start()
    feeds = Feeds(db, listener, **more)  # type: ignore[arg-type]
    try:
        yield feeds
    finally:
        feeds.stop()
        await listener.stop()


async def _numbers(feeds: Feeds, after: int = 0, pause_s: float = 0.0) -> list[int]:
    """The numbers of the events that one follower is told, who takes ``pause_s`` seconds over each message."""
    found: list[int] = []
    async with asyncio.timeout(DEADLINE_S), aclosing(feeds.follow(CLIENT_DAY, after)) as messages:
        assert (await anext(messages)).seq == after
        async for message in messages:
            found.append(message.seq)
            await asyncio.sleep(pause_s)
    return found


def test_a_follower_that_the_buffer_has_left_behind_reads_on_in_the_table(
    db: Database, database_url: str, make_ready: Ready, query: Query
) -> None:
    async def follow() -> list[list[int]]:
        async with _feeds(db, database_url, held=7) as feeds:
            early = asyncio.gather(*(_numbers(feeds, pause_s=0.002 * pace) for pace in range(4)))
            thread = _happen(db, make_ready, 120)
            late = asyncio.gather(*(_numbers(feeds, after) for after in (0, numbers[0], numbers[150], numbers[-1])))
            await asyncio.to_thread(thread.join)
            return [*await early, *await late]

    emit_events(db, 200)
    numbers = [int(str(seq)) for (seq,) in query("SELECT seq FROM day_events ORDER BY seq")]
    *early, whole, but_one, half, fresh = asyncio.run(follow())
    every = [seq for (seq,) in query("SELECT seq FROM day_events ORDER BY seq")]
    assert len(every) == 321
    assert all(one == every for one in [*early, whole])
    assert (but_one, half, fresh) == (every[1:], every[151:], every[200:])


def test_a_follower_with_nothing_to_hear_is_pinged(db: Database, database_url: str, make_ready: Ready) -> None:
    async def follow() -> list[str]:
        kinds: list[str] = []
        async with _feeds(db, database_url, ping_s=0.05) as feeds, asyncio.timeout(DEADLINE_S):
            async for message in feeds.follow(CLIENT_DAY, 0):
                kinds.append(orjson.loads(message.text)["type"])
                if len(kinds) == 4:
                    await asyncio.to_thread(make_ready, DAY)
        return kinds

    kinds = asyncio.run(follow())
    assert kinds[:4] == ["snapshot", "ping", "ping", "ping"]
    assert kinds[-1] == "processing_completed"


def test_followers_keep_their_place_while_the_database_is_away(
    server: EmbeddedPostgres,
    db: Database,
    database_url: str,
    make_ready: Ready,
    query: Query,
    caplog: pytest.LogCaptureFixture,
) -> None:
    name = db.engine.url.database
    admin = create_engine(application_url(server.url("postgres")), isolation_level="AUTOCOMMIT")

    def reachable(yes: bool) -> None:
        with admin.connect() as connection:
            connection.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS {str(yes).lower()}"))
            if not yes:
                connection.execute(
                    text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"), {"name": name}
                )

    async def follow() -> list[list[int]]:
        async with _feeds(db, database_url, held=7) as feeds:
            before = asyncio.create_task(_numbers(feeds, pause_s=0.05))
            await asyncio.to_thread(emit_events, db, 20)
            await asyncio.to_thread(reachable, False)
            meanwhile = asyncio.create_task(_numbers(feeds))
            await asyncio.to_thread(until, lambda: "trying again" in caplog.text, "it was looked for in vain")
            await asyncio.to_thread(reachable, True)
            await asyncio.to_thread(emit_events, db, 20)
            await asyncio.to_thread(make_ready, DAY)
            return [await before, await meanwhile]

    with caplog.at_level(logging.WARNING):
        told = asyncio.run(follow())
    admin.dispose()
    every = [seq for (seq,) in query("SELECT seq FROM day_events ORDER BY seq")]
    assert len(every) == 41
    assert told == [every, every]


@pytest.mark.parametrize("way", ["revoked", "expired"])
def test_a_follower_whose_token_is_over_is_closed(
    settings: Settings, database_url: str, db: Database, way: str
) -> None:
    def end() -> None:
        with db.write() as connection:
            if way == "revoked":
                tokens.revoke(connection, 1)
            else:
                connection.execute(text("UPDATE api_tokens SET expires_at = now() WHERE id = 1"))

    async def follow(port: int) -> tuple[int | None, bool]:
        async with (
            asyncio.timeout(DEADLINE_S),
            connected(port, token=first) as ended,
            connected(port, token=second) as other,
        ):
            for client in (ended, other):
                assert orjson.loads(await client.recv())["type"] == "snapshot"
            await asyncio.to_thread(end)
            await ended.wait_closed()
            return ended.close_code, other.close_code is None

    with db.write() as connection:
        first, second = tokens.create(connection, "default"), tokens.create(connection, "default")
    with served(create_app(settings, database_url, ENGINE)) as server:
        assert asyncio.run(follow(server.config.port)) == (1008, True)
