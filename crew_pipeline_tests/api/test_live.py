"""Talk that is under way: what was said before comes as it is spoken of again, to who posts and to who follows."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import orjson
import pytest
import websockets
from sqlalchemy import text

from crew_pipeline.api.app import create_app
from crew_pipeline.serving.live import LiveTalks
from crew_pipeline.settings import Settings
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.history.live import KEPT
from crew_pipeline.upkeep.retention import table_steps
from crew_pipeline_tests.api.following import DEADLINE_S, served
from crew_pipeline_tests.conftest import ENGINE, Ready, bring, lines_at
from crew_pipeline_tests.history.summaries.talk import FIRST, LATER, SAID, Meetings

ASKS = {"speaker": "Eve", "text": "What is the case of the remote control made of in the end?"}


@pytest.fixture
def meetings(db: Database, make_ready: Ready) -> Meetings:
    made = Meetings(db, make_ready)
    made.hold(FIRST, LATER)
    return made


@pytest.fixture
def port(settings: Settings, database_url: str) -> Any:
    with served(create_app(settings, database_url, ENGINE)) as server:
        yield server.config.port


def post(port: int, *lines: dict[str, str], session: str = "now") -> httpx.Response:
    said = {"session_id": session, "lines": list(lines)}
    return httpx.post(f"http://127.0.0.1:{port}/api/live", json=said, timeout=30)


def follow(port: int, session: str = "now") -> websockets.connect:
    return websockets.connect(f"ws://127.0.0.1:{port}/ws/live/{session}", proxy=None)


async def told(socket: websockets.ClientConnection) -> dict[str, Any]:
    async with asyncio.timeout(DEADLINE_S):
        message: dict[str, Any] = orjson.loads(await socket.recv())
    return message


@pytest.mark.usefixtures("meetings")
def test_who_posts_is_told_what_was_decided(port: int) -> None:
    answer = post(port, ASKS)
    assert answer.status_code == 200, answer.text
    content = answer.json()
    assert (content["seq"], content["websocket_url"]) == (1, "/ws/live/now")
    assert [point["text"] for point in content["recall"]["decided"]] == [SAID[LATER][1][1]]
    assert content["recall"]["last"]["day"] == LATER
    nothing = post(port, {"speaker": "Eve", "text": "Hello there"}, session="a/b c").json()
    assert (nothing["recall"]["last"], nothing["websocket_url"]) == (None, "/ws/live/a%2Fb%20c")


@pytest.mark.usefixtures("meetings")
def test_who_follows_is_told_as_it_is_said(port: int) -> None:
    async def scene() -> None:
        async with follow(port) as one, follow(port) as other, follow(port, "elsewhere") as away:
            for socket in (one, other, away):
                assert (await told(socket))["recall"]["decided"] == []
            await asyncio.to_thread(post, port, {"speaker": "Eve", "text": "hi"}, ASKS)
            for socket in (one, other):
                message = await told(socket)
                assert (message["type"], message["seq"], message["session_id"]) == ("recall", 2, "now")
                assert [point["text"] for point in message["recall"]["decided"]] == [SAID[LATER][1][1]]
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await away.recv()

    asyncio.run(scene())


@pytest.mark.usefixtures("meetings")
def test_what_discovery_brings_of_the_session_counts_as_well(port: int, db: Database, make_ready: Ready) -> None:
    async def scene() -> None:
        async with follow(port) as socket:
            assert (await told(socket))["recall"]["decided"] == []
            await asyncio.to_thread(
                bring, db, lines_at("2025-01-20", "now", (ASKS["speaker"], ASKS["text"])), client="default"
            )
            await asyncio.to_thread(make_ready, "2025-01-20")
            assert (await told(socket))["recall"]["last"]["day"] == LATER

    asyncio.run(scene())


def test_only_the_last_lines_are_kept_and_for_a_day(port: int, db: Database, settings: Settings) -> None:
    for number in range(KEPT + 3):
        post(port, {"speaker": "Eve", "text": f"line number {number}"})
    with db.read() as connection:
        seq, lines = connection.execute(text("SELECT seq, lines FROM live_talks")).one()
    assert (seq, lines[0], len(lines)) == (KEPT + 3, ["Eve", "line number 3"], KEPT)
    drop = table_steps(db, settings)["talks_under_way"]
    assert drop().removed == 0
    with db.write() as connection:
        connection.execute(text("UPDATE live_talks SET updated_at = now() - interval '25 hours'"))
    assert drop().removed == 1


@pytest.mark.parametrize(
    "content",
    [
        {}, {"session_id": "now"}, {"session_id": "now", "lines": []}, {"session_id": "", "lines": [ASKS]},
        {"session_id": "now", "lines": [ASKS] * 51}, {"session_id": "now", "lines": [{"speaker": "Eve"}]},
        {"session_id": "now", "lines": [{"speaker": "Eve", "text": "a\x00b"}]},
        {"session_id": "now", "lines": [{"speaker": "Eve", "text": "x" * 4_001}]},
    ],
)  # fmt: skip
def test_what_is_no_talk_is_a_problem(port: int, content: dict[str, Any]) -> None:
    answer = httpx.post(f"http://127.0.0.1:{port}/api/live", json=content)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")


def test_a_follower_is_pinged_and_outlives_a_database_that_is_away(
    settings: Settings, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = create_app(settings, database_url, ENGINE)
    services = app.state.services
    object.__setattr__(services, "live", LiveTalks(services.db, services.listener, ping_s=0.2))
    with served(app) as server:

        async def scene() -> None:
            async with follow(server.config.port) as socket:
                assert [(await told(socket))["type"] for _ in range(3)] == ["recall", "ping", "ping"]

        asyncio.run(scene())
