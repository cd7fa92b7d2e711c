"""A day over HTTP: instant when it is ready, honest when it is not."""

from __future__ import annotations

import asyncio
import inspect
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from datetime import date, timedelta
from typing import Any, cast

import httpx
import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from sqlalchemy import Connection

from crew_pipeline.api import conversations, days, feedback, follow, operation
from crew_pipeline.api import lines as line_routes
from crew_pipeline.api.app import create_app
from crew_pipeline.days import claims, publishing, reading
from crew_pipeline.days.retries import Patience
from crew_pipeline.dedup.document import build
from crew_pipeline.model import ClientDay, Folds
from crew_pipeline.settings import Settings
from crew_pipeline.storage.conversations import clients
from crew_pipeline.storage.conversations.ingest import CrewKey, withdraw
from crew_pipeline.storage.conversations.parts import Calendar
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.days.content import conversations_of, lines_of
from crew_pipeline.storage.sources.crews import ensure_crew
from crew_pipeline.upkeep.overview import overview
from crew_pipeline_tests.conftest import ENGINE, TODAY, Ready, bring, lines_at

Query = Callable[..., list[tuple[object, ...]]]
DAY = "2025-01-15"
PATH = f"/api/days/{DAY}/conversations"
CLIENT_DAY = ClientDay("default", date(2025, 1, 15))
NEXT_LOOK = b'[{"id": "a", "display_conversation": [{"line_id": "a-1", "text": "seen", "hidden_variations": []}]}]'


@pytest.fixture
def talk(db: Database) -> None:
    bring(db, lines_at(DAY, "a", ("Ann", "one two three"), ("Bo", "three two one"), ("Ann", "four")), client="default")


@pytest.mark.usefixtures("talk")
def test_a_ready_day_is_a_hit_with_what_is_hidden_and_why(
    api: TestClient, make_ready: Ready, fold_second_under_first: Callable[[str], Folds]
) -> None:
    version = make_ready(DAY, folds=fold_second_under_first(DAY))
    answer = api.get(PATH)
    assert answer.status_code == 200
    content = answer.json()
    assert content["success"] is True
    metadata = content["metadata"]
    assert (metadata["processing_status"], metadata["cache_hit"], metadata["stale"]) == ("completed", True, False)
    assert (metadata["version"], metadata["semantic_enabled"]) == (version, True)
    (conversation,) = content["data"]
    assert (conversation["line_count"], conversation["hidden_count"]) == (3, 1)
    first, last = conversation["display_conversation"]
    (hidden,) = first["hidden_variations"]
    assert (hidden["speaker"], hidden["similarity"], hidden["reason"]) == ("Bo", 0.93, "says the same")
    assert first["represents_cluster"] == "k1"
    assert first["canonical_confidence"] == 0.91
    assert last["is_unique"]


@pytest.mark.usefixtures("talk")
def test_the_full_view_keeps_every_line_in_its_place(
    api: TestClient, make_ready: Ready, fold_second_under_first: Callable[[str], Folds]
) -> None:
    make_ready(DAY, folds=fold_second_under_first(DAY))
    for _ in range(2):
        (conversation,) = api.get(PATH, params={"view": "full"}).json()["data"]
        first, second, _ = conversation["display_conversation"]
        assert second["represented_by"] == first["line_id"]
        assert first["represented_by"] is None


def test_a_standing_text_is_followed_over_the_days(api: TestClient, db: Database, make_ready: Ready) -> None:
    manners = {1: "in plain words", 2: "in plain words", 3: "in verse", 4: "in verse", 5: "in plain words"}
    first = date.fromisoformat(DAY)
    days = {number: (first + timedelta(days=number)).isoformat() for number in manners}
    for number, manner in manners.items():
        prompt = f"You are the reviewer of a small team of builders.\nAnswer in three sentences, {manner}.\n"
        lines = [("Ann", f"{prompt}Is point {place} of day {number} good?") for place in range(3)]
        for client in ("default", "acme"):
            bring(db, lines_at(days[number], f"talk {number}", *lines), client=client)
    # Whichever day is ready first: what is told follows from those that are.
    for number in (4, 1, 3, 5, 2):
        make_ready(days[number])

    def told(number: int) -> tuple[int, bool]:
        (one,) = api.get(f"/api/days/{days[number]}/standing").json()["standing"]
        assert (one["speaker"], one["messages"]) == ("Ann", 3)
        return (date.fromisoformat(one["since"]) - first).days, one["changed"]

    assert [told(number) for number in manners] == [(1, False), (1, False), (3, True), (3, True), (5, True)]
    assert api.get(f"/api/days/{DAY}/standing").json() == {"standing": []}
    assert api.get(f"/api/days/{days[1]}/standing", params={"client": "acme"}).json() == {"standing": []}


PROMPT = (
    "You are the reviewer of a small team of builders.\nAnswer in at most three sentences, and in plain words.\n"
    "Never forget that you speak for the people who will use what is built, and who have not been asked about it.\n"
)


@pytest.fixture
def long_talk(db: Database) -> None:
    lines = [("Ann", f"{PROMPT}Is it good?"), ("Ann", f"{PROMPT}Is it good?"), ("Bo", f"{PROMPT}👍 So it is.")]
    bring(db, lines_at(DAY, "a", *lines), client="default")


@pytest.mark.usefixtures("long_talk")
@pytest.mark.parametrize("view", ["condensed", "full"])
def test_what_repeats_inside_messages_can_be_left_out_and_keeps_its_place(
    api: TestClient, make_ready: Ready, fold_second_under_first: Callable[[str], Folds], view: str
) -> None:
    make_ready(DAY, folds=fold_second_under_first(DAY))
    whole, omitted = (api.get(PATH, params={"view": view, "passages": passages}) for passages in ("whole", "omit"))
    assert whole.headers["etag"] != omitted.headers["etag"]
    counted = whole.json()["metadata"]
    assert counted["hidden_character_count"] == 2 * len(PROMPT) + len("Is it good?")
    assert counted["character_count"] == counted["hidden_character_count"] + len(f"{PROMPT}Is it good?👍 So it is.")
    ((one,), (other,)) = (answer.json()["data"] for answer in (whole, omitted))
    assert one["hidden_character_count"] == counted["hidden_character_count"]
    first, last = one["display_conversation"][0], one["display_conversation"][-1]
    (repeat,) = last["repeats"]
    assert (repeat["start"], repeat["end"], repeat["lines"]) == (0, len(PROMPT), 3)
    assert repeat["of"] == {"line_id": first["line_id"], "start": 0}
    assert last["text"] == f"{PROMPT}👍 So it is."
    left = other["display_conversation"][-1]
    assert (left["text"], left["repeats"]) == ("👍 So it is.", [repeat])
    hidden = [line for line in other["display_conversation"] if line.get("represented_by")]
    hidden += [line for shown in other["display_conversation"] for line in shown["hidden_variations"]]
    assert {(line["text"], line["repeats"][0]["of"]["line_id"]) for line in hidden} == {("", first["line_id"])}


@pytest.mark.usefixtures("long_talk")
def test_a_line_is_given_whole_with_where_it_is_hidden(
    api: TestClient, make_ready: Ready, fold_second_under_first: Callable[[str], Folds]
) -> None:
    (raw,) = api.get(PATH, params={"wait_s": 0}).json()["data"]
    first, second, last = (line["line_id"] for line in raw["display_conversation"])
    assert api.get(f"/api/lines/{second}").json()["represented_by"] is None
    make_ready(DAY, folds=fold_second_under_first(DAY))
    found = api.get(f"/api/lines/{second}").json()
    assert (found["represented_by"], found["day"], found["text"]) == (first, DAY, f"{PROMPT}Is it good?")
    assert api.get(f"/api/lines/{last}").json()["repeats"][0]["of"]["line_id"] == first
    assert [line["line_id"] for line in api.get(f"/api/lines/{first}").json()["hidden_variations"]] == [second]


@pytest.mark.usefixtures("long_talk")
def test_a_line_that_came_since_the_document_was_made_is_given(
    api: TestClient, make_ready: Ready, db: Database
) -> None:
    make_ready(DAY)
    bring(db, lines_at(DAY, "b", ("Cy", "arrived later")), client="default")
    with db.read() as connection:
        (line,) = (line for line in lines_of(connection, CLIENT_DAY) if line.speaker == "Cy")
    assert api.get(f"/api/lines/{line.conversation_id}-{line.position}").json()["text"] == "arrived later"


@pytest.mark.usefixtures("long_talk")
@pytest.mark.parametrize(
    "line_id", ["nothing", "a-", "a--1", "a-99999999999999999999", "%F0%9F%91%8D-1", "a-٣", "a-1e3"]
)
def test_a_line_that_is_not_there_is_a_404(api: TestClient, line_id: str) -> None:
    answer = api.get(f"/api/lines/{line_id}")
    assert answer.status_code == 404
    assert "line_id" in answer.json()["detail"]


def test_a_line_of_another_client_is_not_there(api: TestClient, db: Database) -> None:
    bring(db, lines_at(DAY, "a", ("Ann", "one two three")), client="other")
    (raw,) = api.get(PATH, params={"wait_s": 0, "client": "other"}).json()["data"]
    line_id = raw["display_conversation"][0]["line_id"]
    assert api.get(f"/api/lines/{line_id}").status_code == 404
    assert api.get(f"/api/lines/{line_id}", params={"client": "other"}).status_code == 200


@pytest.mark.usefixtures("talk")
def test_a_hit_carries_a_strong_etag_and_answers_304(api: TestClient, make_ready: Ready, db: Database) -> None:
    make_ready(DAY)
    etag = api.get(PATH).headers["etag"]
    assert etag.startswith('"')
    for sent in (etag, f'"other", {etag}', "*"):
        again = api.get(PATH, headers={"If-None-Match": sent})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    assert api.get(PATH, headers={"If-None-Match": '"other"'}).status_code == 200
    assert api.get(PATH, params={"view": "full"}).headers["etag"] != etag
    bring(db, lines_at(DAY, "b", ("Cy", "new")), client="default")
    make_ready(DAY)
    assert api.get(PATH, headers={"If-None-Match": etag}).status_code == 200


@pytest.mark.usefixtures("talk")
def test_a_day_that_grew_is_served_stale_at_once_and_asked_for(
    api: TestClient, make_ready: Ready, db: Database
) -> None:
    version = make_ready(DAY)
    bring(db, lines_at(DAY, "b", ("Cy", "arrived later")), client="default")
    answer = api.get(PATH, headers={"If-None-Match": f'"{version}-condensed-whole"'})
    metadata = answer.json()["metadata"]
    assert (metadata["stale"], metadata["cache_hit"], metadata["version"]) == (True, True, version)
    assert "etag" not in answer.headers
    assert answer.headers["cache-control"] == "no-store"
    assert api.get(f"/api/semantic/status/{DAY}").json()["semantic_status"] == "queued"


@pytest.mark.usefixtures("talk")
def test_a_document_of_another_engine_is_stale_and_asked_for(api: TestClient, make_ready: Ready) -> None:
    make_ready(DAY, fingerprint="another engine")
    assert api.get(PATH).json()["metadata"]["stale"] is True
    assert api.get(f"/api/semantic/status/{DAY}").json()["semantic_status"] == "queued"


@pytest.mark.usefixtures("talk")
def test_a_missing_day_answers_with_the_raw_conversations_after_the_wait(api: TestClient) -> None:
    started = time.monotonic()
    answer = api.get(PATH, params={"wait_s": "0.3"})
    assert 0.3 <= time.monotonic() - started < 5
    assert answer.status_code == 202
    content = answer.json()
    assert content["metadata"]["processing_status"] == "processing"
    assert [line["text"] for line in content["data"][0]["display_conversation"]] == [
        "one two three",
        "three two one",
        "four",
    ]
    assert content["data"][0]["hidden_count"] == 0
    for name in ("status_url", "events_url"):
        assert api.get(content["metadata"][name]).status_code == 200
    assert api.get(f"/api/semantic/status/{DAY}").json()["semantic_status"] == "queued"


@pytest.mark.usefixtures("talk")
def test_who_polls_a_missing_day_is_sent_what_is_new_only(
    api: TestClient, db: Database, make_ready: Ready, settings: Settings
) -> None:
    first = api.get(PATH, params={"wait_s": 0})
    assert (first.status_code, first.json()["metadata"]["timezone"]) == (202, settings.timezone)
    seen = {"If-None-Match": first.headers["etag"]}
    assert seen["If-None-Match"].startswith('W/"')
    again = api.get(PATH, params={"wait_s": 0}, headers=seen)
    assert (again.status_code, again.content, again.headers["retry-after"]) == (304, b"", "2")
    with db.write() as connection:
        assert claims.acquire(connection, CLIENT_DAY, "at work", 60)
        claims.begin(connection, CLIENT_DAY)
        publishing.show_first_look(connection, CLIENT_DAY, "at work", b"[]", "a look")
    assert api.get(PATH, params={"wait_s": 0}, headers=seen).status_code == 202
    with db.write() as connection:
        claims.give_back(connection, "at work")
    make_ready(DAY)
    assert api.get(PATH, headers=seen).status_code == 200


@pytest.mark.usefixtures("talk")
def test_a_day_names_the_zone_of_its_client_and_another_zone_is_another_answer(
    api: TestClient, db: Database, make_ready: Ready
) -> None:
    def set_zone(zone: str) -> None:
        with db.write() as connection:
            clients.set_timezone(connection, "default", zone)

    set_zone("Asia/Tokyo")
    assert api.get(PATH, params={"wait_s": 0}).json()["metadata"]["timezone"] == "Asia/Tokyo"
    make_ready(DAY)
    first = api.get(PATH)
    assert first.json()["metadata"]["timezone"] == "Asia/Tokyo"
    set_zone("Asia/Seoul")
    assert api.get(PATH, headers={"If-None-Match": first.headers["etag"]}).status_code == 200


@pytest.mark.usefixtures("talk")
def test_every_visit_is_counted_as_hit_stale_or_miss(
    api: TestClient, make_ready: Ready, db: Database, query: Query, settings: Settings
) -> None:
    api.get(PATH, params={"wait_s": 0})
    make_ready(DAY)
    for _ in range(3):
        api.get(PATH)
    bring(db, lines_at(DAY, "a", ("Ann", "one more"), first=7), client="default")
    api.get(PATH)
    api.portal.call(api.app.state.services.visits.write)
    assert dict(query("SELECT kind, visits FROM day_visits")) == {"hit": 3, "stale": 1, "miss": 1}
    assert query("SELECT bool_and(milliseconds > 0) FROM day_visits") == [(True,)]
    rate = overview(db, settings)["hit_rate"]["day"]
    assert (rate["hit"], rate["stale"], rate["miss"], rate["instant"]) == (3, 1, 1, 0.8)
    page = api.get("/metrics").text
    assert 'crew_day_visits_last_day{kind="hit"} 3.0' in page
    assert "crew_ready_days 1.0" in page
    assert "crew_day_visits_instant_ratio 0.8" in page


@pytest.mark.usefixtures("talk")
@pytest.mark.parametrize("shown", [{}, {"view": "full"}])
def test_the_lines_of_a_missing_day_are_put_together_once_until_they_change(
    api: TestClient, db: Database, monkeypatch: pytest.MonkeyPatch, shown: dict[str, str]
) -> None:
    put_together: list[ClientDay] = []
    raw = reading.raw

    def counted(connection: Connection, client_day: ClientDay, view: reading.View) -> bytes:
        put_together.append(client_day)
        return raw(connection, client_day, view)

    def texts() -> list[str]:
        answer = api.get(PATH, params={"wait_s": 0, **shown})
        assert answer.status_code == 202
        return [line["text"] for entry in answer.json()["data"] for line in entry["display_conversation"]]

    monkeypatch.setattr(reading, "raw", counted)
    assert texts() == texts() == ["one two three", "three two one", "four"]
    assert len(put_together) == 1
    bring(db, lines_at(DAY, "b", ("Cy", "five")), client="default")
    assert "five" in texts()
    leave(db, "a")
    assert texts() == ["five"]
    with db.write() as connection:
        claims.acquire(connection, CLIENT_DAY, "at work", 60)
        claims.begin(connection, CLIENT_DAY)
        publishing.show_first_look(connection, CLIENT_DAY, "at work", b"[]", "a look")
    assert texts() == texts() == []
    with db.write() as connection:
        publishing.show_first_look(connection, CLIENT_DAY, "at work", NEXT_LOOK, "the next")
    assert texts() == ["seen"]
    with db.write() as connection:
        claims.give_back(connection, "at work")
    assert texts() == ["five"]


@pytest.mark.usefixtures("talk")
def test_a_missing_day_shows_the_first_look_while_its_claim_lasts(api: TestClient, db: Database) -> None:
    with db.write() as connection:
        assert claims.acquire(connection, CLIENT_DAY, "at work", 60)
        claims.begin(connection, CLIENT_DAY)
        assert publishing.show_first_look(
            connection, CLIENT_DAY, "at work", b'[{"id": "first look", "display_conversation": []}]', "a look"
        )
        assert not publishing.show_first_look(connection, CLIENT_DAY, "overtaken", b"[]", "another")
    answer = api.get(PATH, params={"wait_s": 0})
    assert answer.status_code == 202
    assert answer.json()["metadata"]["preliminary"] is True
    assert answer.json()["data"][0]["id"] == "first look"
    with db.write() as connection:
        claims.give_back(connection, "at work")
    after = api.get(PATH, params={"wait_s": 0}).json()
    assert "preliminary" not in after["metadata"]
    assert after["data"][0]["line_count"] == 3


@pytest.mark.usefixtures("talk")
def test_a_missing_day_is_answered_as_soon_as_its_document_is_there(api: TestClient, make_ready: Ready) -> None:
    threading.Timer(1.0, make_ready, [DAY]).start()
    started = time.monotonic()
    answer = api.get(PATH, params={"wait_s": "20"})
    assert answer.status_code == 200
    assert answer.json()["metadata"]["cache_hit"] is False
    assert time.monotonic() - started < 10


@pytest.mark.usefixtures("talk")
def test_many_readers_of_a_missing_day_ask_for_it_once_and_all_get_it(
    api: TestClient, make_ready: Ready, query: Query
) -> None:
    answers: list[int] = []

    def read() -> None:
        answers.append(api.get(PATH, params={"wait_s": "20"}).status_code)

    threads = [threading.Thread(target=read) for _ in range(30)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    assert query("SELECT DISTINCT semantic_status FROM data_items") == [("queued",)]
    make_ready(DAY)
    for thread in threads:
        thread.join()
    assert answers == [200] * 30


@pytest.mark.usefixtures("talk")
def test_a_failed_day_answers_500_with_everything_as_it_was_said(api: TestClient, db: Database) -> None:
    with db.write() as connection:
        claims.acquire(connection, CLIENT_DAY, "run", 60)
        claims.begin(connection, CLIENT_DAY)
        claims.fail(connection, CLIENT_DAY, "run", "ValueError: it broke", Patience())
    answer = api.get(PATH)
    assert answer.status_code == 500
    content = answer.json()
    assert (content["success"], content["error"]) == (False, "ValueError: it broke")
    assert len(content["fallback_data"][0]["display_conversation"]) == 3
    assert content["metadata"]["processing_status"] == "failed"
    forced = api.get(PATH, params={"force_process": "true", "wait_s": "0"})
    assert forced.status_code == 202


@pytest.mark.usefixtures("talk")
def test_failed_days_are_listed_with_when_they_are_tried_again_and_can_be_tried_now(
    api: TestClient, db: Database, query: Query
) -> None:
    bring(db, lines_at("2025-01-10", "b", ("Ann", "set aside")), client="default")
    bring(db, lines_at("2025-01-10", "b", ("Ann", "of another")), client="other")
    for client_day, later in (
        (CLIENT_DAY, 3),
        (ClientDay("default", date(2025, 1, 10)), 0),
        (ClientDay("other", date(2025, 1, 10)), 0),
    ):
        with db.write() as connection:
            claims.take(connection, client_day, f"run {client_day}", 60)
            claims.fail(connection, client_day, f"run {client_day}", "ValueError: it broke", Patience(0, later))
    assert api.post(f"/api/semantic/retry/{DAY}", params={"client": "nobody"}).status_code == 404
    first, second = api.get("/api/semantic/failed").json()["days"]
    assert (first["days_date"], first["error"], first["line_count"]) == (DAY, "ValueError: it broke", 3)
    assert first["retry_at"] is not None
    assert (second["days_date"], second["retry_at"]) == ("2025-01-10", None)
    tried = api.post("/api/semantic/retry/2025-01-10")
    assert (tried.status_code, tried.json()["semantic_status"]) == (202, "queued")
    assert api.post("/api/semantic/retry/2025-01-10").status_code == 404
    assert [one["days_date"] for one in api.get("/api/semantic/failed").json()["days"]] == [DAY]
    assert query("SELECT client FROM data_items WHERE semantic_status = 'queued'") == [("default",)]


@pytest.mark.usefixtures("talk")
def test_an_exhausted_connection_pool_is_a_503_that_passes(settings: Settings, database_url: str) -> None:
    app = create_app(settings, database_url, "engine")

    async def try_both() -> tuple[httpx.Response, httpx.Response]:
        transport = httpx.ASGITransport(app=app, client=("127.0.0.1", 5))
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60) as client,
        ):
            async with AsyncExitStack() as taken:
                pool = app.state.services.db._loop_sides[asyncio.get_running_loop()].pool
                for _ in range(pool.max_size):
                    await taken.enter_async_context(pool.connection())
                refused = await client.get(PATH, params={"wait_s": 0})
            return refused, await client.get(PATH, params={"wait_s": 0})

    refused, served = asyncio.run(try_both())
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
    assert refused.headers["content-type"] == "application/problem+json"
    assert served.status_code == 202


@pytest.mark.usefixtures("talk")
def test_force_process_asks_again_for_a_ready_day(api: TestClient, make_ready: Ready) -> None:
    make_ready(DAY)
    threading.Timer(1.0, make_ready, [DAY]).start()
    content = api.get(PATH, params={"force_process": "true", "wait_s": "20"}).json()
    assert (content["metadata"]["cache_hit"], content["metadata"]["stale"]) == (False, False)


def test_a_day_that_holds_nothing_costs_no_thread(api: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refused(*_: object, **__: object) -> None:
        raise AssertionError("a thread is taken for somebody who asks for nothing again and again")

    with monkeypatch.context() as patched:
        patched.setattr(Database, "calling", refused)
        answer = api.get(PATH, params={"wait_s": 0})
    assert (answer.status_code, answer.json()["data"]) == (200, [])


def test_a_day_without_conversations_is_empty_and_complete(api: TestClient) -> None:
    content = api.get("/api/days/2025-01-14/conversations").json()
    assert (content["success"], content["data"]) == (True, [])
    assert content["metadata"]["processing_status"] == "completed"
    assert api.get("/api/semantic/status/2025-01-14").json()["semantic_status"] == "empty"


@pytest.mark.parametrize(
    "path",
    [
        "/api/days/2025-13-01/conversations",
        "/api/days/1736931600/conversations",
        "/api/days/1699920000/conversations",
        "/api/days/2025-1-1/conversations",
        "/api/days/yesterday/conversations",
        f"{PATH}?wait_s=31",
        f"{PATH}?wait_s=-1",
        f"{PATH}?wait_s=nan",
        f"{PATH}?view=upside-down",
        f"{PATH}?passages=some",
        f"{PATH}?client=",
        f"{PATH}?client=%00",
        f"/api/semantic/events/{DAY}?after=-1",
        f"/api/semantic/events/{DAY}?after=99999999999999999999",
        "/api/semantic/queue?limit=101",
    ],
)
def test_wrong_questions_are_answered_with_a_problem_document(api: TestClient, path: str) -> None:
    answer = api.get(path)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    content = answer.json()
    assert content["status"] == 422
    assert content["detail"]


def test_what_is_not_there_is_a_problem_document_too(api: TestClient) -> None:
    for method, path, status in (("GET", "/api/nothing", 404), ("POST", PATH, 405)):
        answer = api.request(method, path)
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"


def test_nothing_internal_is_shown_when_something_breaks(api: TestClient, query: Query) -> None:
    query("ALTER TABLE day_documents RENAME TO gone")
    answer = api.get(PATH)
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert "day_documents" not in answer.text
    assert "SELECT" not in answer.text


@pytest.mark.usefixtures("talk")
def test_the_queue_and_the_events_can_be_polled(api: TestClient, make_ready: Ready) -> None:
    assert api.get("/api/semantic/queue").json()["days"] == [
        {"days_date": DAY, "priority": 2, "conversation_count": 1, "line_count": 3}
    ]
    make_ready(DAY)
    assert api.get("/api/semantic/queue").json()["days"] == []
    told = api.get(f"/api/semantic/events/{DAY}").json()
    assert [event["type"] for event in told["events"]] == ["processing_completed"]
    assert api.get(f"/api/semantic/events/{DAY}", params={"after": told["next"]}).json()["events"] == []
    assert api.get("/api/days/latest").json() == {"day": DAY}


@pytest.mark.usefixtures("talk")
def test_the_websocket_tells_the_state_then_the_events_then_closes(api: TestClient, make_ready: Ready) -> None:
    with api.websocket_connect(f"ws://localhost/ws/semantic/{DAY}") as socket:
        snapshot: dict[str, Any] = socket.receive_json()
        assert (snapshot["type"], snapshot["semantic_status"]) == ("snapshot", "pending")
        make_ready(DAY)
        completed = socket.receive_json()
        assert (completed["type"], completed["conversations"]) == ("processing_completed", 1)
        assert completed["seq"] > snapshot["seq"]
        assert socket.receive()["type"] == "websocket.close"
    with api.websocket_connect(f"ws://localhost/ws/semantic/{DAY}?after={completed['seq']}") as socket:
        assert socket.receive_json()["semantic_status"] == "completed"
        assert socket.receive()["type"] == "websocket.close"


@pytest.mark.usefixtures("talk")
def test_the_websocket_of_a_day_that_is_made_again_does_not_end_with_the_old_run(
    api: TestClient, make_ready: Ready
) -> None:
    make_ready(DAY)
    api.get(PATH, params={"force_process": "true", "wait_s": "0"})
    with api.websocket_connect(f"ws://localhost/ws/semantic/{DAY}") as socket:
        assert socket.receive_json()["semantic_status"] == "queued"
        assert socket.receive_json()["type"] == "processing_completed"
        make_ready(DAY)
        assert socket.receive_json()["type"] == "processing_completed"
        assert socket.receive()["type"] == "websocket.close"


@pytest.mark.usefixtures("talk")
def test_a_long_history_of_events_is_told_whole(api: TestClient, make_ready: Ready, query: Query) -> None:
    query(
        "INSERT INTO day_events (client, day, type, payload) "
        "SELECT 'default', '2025-01-15', 'processing_progress', '{}' FROM generate_series(1, 2500)"
    )
    make_ready(DAY)
    with api.websocket_connect(f"ws://localhost/ws/semantic/{DAY}") as socket:
        kinds = [socket.receive_json()["type"] for _ in range(2502)]
        assert (kinds[0], kinds[-1], len(set(kinds))) == ("snapshot", "processing_completed", 3)
        assert socket.receive()["type"] == "websocket.close"


@pytest.mark.parametrize("query_of", ["", "view=full", "passages=omit&view=full", "client=default", "wait_s=0"])
def test_a_ready_day_is_the_same_by_the_short_way_and_by_its_route(
    api: TestClient, db: Database, make_ready: Ready, query_of: str
) -> None:
    bring(db, lines_at(DAY, "a", ("Ann", "one two three"), ("Bo", "one two three")), client="default")
    make_ready(DAY)
    short = api.get(f"/api/days/{DAY}/conversations?{query_of}")
    # Written in a way that is not plain, which the route reads all the same.
    route = api.get(f"/api/days/{DAY}/conversations?{query_of}&force_process=0")
    assert (short.status_code, short.content) == (200, route.content)
    kept = {"etag", "cache-control", "content-type", "vary", "content-length"}
    assert {name: short.headers.get(name) for name in kept} == {name: route.headers.get(name) for name in kept}
    tag = {"If-None-Match": short.headers["ETag"]}
    assert api.get(f"/api/days/{DAY}/conversations?{query_of}", headers=tag).status_code == 304


def test_health_and_readiness(api: TestClient, query: Query) -> None:
    assert api.get("/healthz").json() == {"status": "ok"}
    ready = api.get("/readyz")
    assert ready.status_code == 200
    assert ready.json()["dependencies"]["database"] == "ok"
    assert "none alive" in ready.json()["dependencies"]["worker"]
    query("UPDATE alembic_version SET version_num = '0001'")
    time.sleep(1.1)
    assert api.get("/readyz").status_code == 503


def test_the_api_imports_nothing_heavy() -> None:
    import subprocess
    import sys

    heavy = ("torch", "faiss", "dagster", "pandas")
    code = f"import crew_pipeline.api.app, sys; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_openapi_document_is_3_1_and_names_the_routes(api: TestClient) -> None:
    content = api.get("/openapi.json").json()
    assert content["openapi"].startswith("3.1")
    assert "/api/days/{day}/conversations" in content["paths"]


def test_no_dependency_of_a_route_costs_a_thread() -> None:
    def below(dependant: Dependant) -> Iterator[Dependant]:
        for dependency in dependant.dependencies:
            yield dependency
            yield from below(dependency)

    rooms = (conversations, days, feedback, follow, line_routes, operation)
    routes = [cast("APIRoute", route) for room in rooms for route in room.router.routes]
    called = [dependency.call for route in routes for dependency in below(route.dependant)]
    assert called
    assert all(inspect.iscoroutinefunction(call) for call in called)


@pytest.mark.usefixtures("talk")
def test_answers_of_one_tag_have_the_same_bytes(api: TestClient, make_ready: Ready) -> None:
    make_ready(DAY)
    answers = [api.get(PATH) for _ in range(3)]
    assert len({answer.content for answer in answers}) == 1
    assert len({answer.headers["etag"] for answer in answers}) == 1
    assert all(answer.headers["server-timing"].startswith("total;dur=") for answer in answers)
    assert answers[0].json()["metadata"]["processing_time_ms"] >= 0
    make_ready(DAY)
    again = api.get(PATH)
    assert again.headers["etag"] != answers[0].headers["etag"]


@pytest.mark.parametrize(
    ("path", "known"),
    [
        (f"{PATH}?viw=full", "view"),
        (f"{PATH}?client=default&force=true", "force_process"),
        ("/api/conversations?crews=desk", "crew"),
        (f"/api/semantic/status/{DAY}?day=1", "client"),
        ("/healthz?x=1", "there is none"),
    ],
)
def test_a_misspelt_parameter_is_refused_with_those_there_are(api: TestClient, path: str, known: str) -> None:
    refused = api.get(path)
    assert refused.status_code == 422
    assert "There is no query parameter" in refused.json()["detail"]
    assert known in refused.json()["detail"]


def test_the_page_can_be_loaded_again_and_shared_with_all_that_stands_in_its_address(api: TestClient) -> None:
    for address in ("/", f"/?day={DAY}", f"/?day={DAY}&client=acme&anything=else", "/?"):
        page = api.get(address)
        assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8"), address


def test_days_the_wrong_way_round_are_refused(api: TestClient) -> None:
    refused = api.get("/api/conversations", params={"from": "2025-02-01", "to": "2025-01-01"})
    assert (refused.status_code, "swap them" in refused.json()["detail"]) == (422, True)
    assert api.get("/api/conversations", params={"from": "2025-01-01", "to": "2025-01-01"}).status_code == 200


def test_the_documentation_needs_no_network(api: TestClient) -> None:
    for page in ("/docs", "/redoc"):
        content = api.get(page).text
        loaded = re.findall(r'(?:src|href)="([^"]+)"', content)
        assert loaded
        for address in loaded:
            assert address.startswith("/"), address
            assert api.get(address).status_code == 200


def leave(db: Database, session: str) -> None:
    """Have a session withdrawn, as one is that its source has deleted."""
    with db.write() as connection:
        crew = CrewKey("default", "desk", ensure_crew(connection, "default", "desk"))
        withdraw(
            connection, crew=crew, session_id=session, keep=[], calendar=Calendar("UTC", timedelta(hours=4), TODAY)
        )


def settles(api: TestClient, query: Callable[..., list[tuple[object, ...]]], day: str = DAY) -> dict[str, Any]:
    """The answer of a day that a page is open on: it asks again and again, and that is the end of it."""
    answers = [api.get(f"/api/days/{day}/conversations", params={"wait_s": 0}).json() for _ in range(4)]
    assert [answer["metadata"]["stale"] for answer in answers] == [False] * 4
    assert [answer["metadata"]["processing_status"] for answer in answers] == ["completed"] * 4
    assert query("SELECT count(*) FROM data_items WHERE semantic_status <> 'completed'") == [(0,)]
    assert query("SELECT count(*) FROM day_claims WHERE ended_at IS NULL") == [(0,)]
    return answers[-1]


@pytest.mark.usefixtures("talk")
def test_a_day_that_its_last_conversation_has_left_is_empty_and_done(
    api: TestClient, db: Database, make_ready: Ready, query: Callable[..., list[tuple[object, ...]]]
) -> None:
    make_ready(DAY)
    assert settles(api, query)["data"]
    leave(db, "a")
    assert settles(api, query)["data"] == []
    assert api.get(f"/api/semantic/status/{DAY}").json()["semantic_status"] == "empty"
    assert api.get("/api/semantic/queue").json() == {"days": []}
    assert api.get(PATH, params={"force_process": True, "wait_s": 0}).json()["data"] == []
    bring(db, lines_at(DAY, "b", ("Ann", "somebody speaks here again")), client="default")
    assert api.get(PATH, params={"wait_s": 0}).status_code == 202
    make_ready(DAY)
    assert len(settles(api, query)["data"]) == 1


@pytest.mark.usefixtures("talk")
def test_a_day_that_is_left_while_its_document_is_made_is_empty_and_done(
    api: TestClient, db: Database, query: Callable[..., list[tuple[object, ...]]]
) -> None:
    with db.write() as connection:
        assert claims.acquire(connection, CLIENT_DAY, "at work", 60)
        claims.begin(connection, CLIENT_DAY)
        talks, lines = conversations_of(connection, CLIENT_DAY), lines_of(connection, CLIENT_DAY)
    leave(db, "a")
    with db.write() as connection:
        publishing.publish(connection, CLIENT_DAY, build("default", talks, lines, {}, ENGINE), ENGINE, "at work")
    assert settles(api, query)["data"] == []
