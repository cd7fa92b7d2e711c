"""The route of search: what it answers, and to whom."""

from __future__ import annotations

import shutil
import threading
import time
from typing import Any

import pytest
from fastapi.testclient import TestClient

from crew_pipeline.api.app import create_app
from crew_pipeline.history.search.index import SEARCH_FOLDER, ClientIndex
from crew_pipeline.settings import Settings
from crew_pipeline.storage import tokens
from crew_pipeline.storage.database import Database
from crew_pipeline_tests.conftest import ENGINE, Ready, bring, lines_at

DAY = "2025-01-15"


def searched(api: TestClient, query: str, **more: Any) -> dict[str, Any]:
    """What is found once everything is in the index."""
    deadline = time.monotonic() + 20
    while True:
        answer = api.get("/api/search", params={"q": query, **more})
        assert answer.status_code == 200, answer.text
        content: dict[str, Any] = answer.json()
        if not content["indexing"]:
            return content
        assert time.monotonic() < deadline, "it is not indexed"
        time.sleep(0.05)


def test_a_day_is_searched_soon_after_its_document_is_there(api: TestClient, db: Database, make_ready: Ready) -> None:
    assert searched(api, "kettle")["results"] == []
    bring(db, lines_at(DAY, "a", ("Ann", "the kettle is broken"), ("Ben", "buy another kettle")), client="default")
    make_ready(DAY)
    deadline = time.monotonic() + 30
    while not (found := searched(api, "kettle")["results"]):
        assert time.monotonic() < deadline, "it is not found"
        time.sleep(0.05)
    assert {one["text"] for one in found} == {"the kettle is broken", "buy another kettle"}
    place = found[0]["places"][0]
    assert api.get(f"/api/lines/{place['line_id']}").json()["text"] == found[0]["text"]


def test_pages_follow_each_other(api: TestClient, db: Database, make_ready: Ready) -> None:
    said = [("Ann", f"the report of hall {number}") for number in range(25)]
    bring(db, lines_at(DAY, "a", *said), client="default")
    make_ready(DAY)
    texts: list[str] = []
    cursor: str | None = "0"
    while cursor is not None:
        page = searched(api, "report", cursor=cursor)
        assert page["total"] == 25
        texts += [one["text"] for one in page["results"]]
        cursor = page["next_cursor"]
    assert len(texts) == len({*texts}) == 25


@pytest.mark.parametrize(
    "params",
    [
        {}, {"q": ""}, {"q": "x" * 1_001}, {"q": "x", "mode": "vibes"}, {"q": "x", "from": "yesterday"},
        {"q": "x", "from": "2025-02-01", "to": "2025-01-01"}, {"q": "x", "limit": 0}, {"q": "x", "limit": 51},
        {"q": "x", "crew": "a\x00b"}, {"q": "x", "fuzziness": 2},
    ],
)  # fmt: skip
def test_what_is_no_search_is_refused_in_a_sentence(api: TestClient, params: dict[str, Any]) -> None:
    answer = api.get("/api/search", params=params)
    assert answer.status_code == 422
    assert answer.json()["detail"]


@pytest.mark.parametrize("query", ["\x00", "'; DROP TABLE lines; --", "\u202e" * 900, "*" * 900, '"' * 900, "%", "_"])
def test_hostile_queries_are_answered(api: TestClient, db: Database, make_ready: Ready, query: str) -> None:
    bring(db, lines_at(DAY, "a", ("Ann", "hello")), client="default")
    make_ready(DAY)
    assert api.get("/api/search", params={"q": query}).status_code in {200, 422}


def test_nobody_finds_what_another_client_said(api: TestClient, db: Database, make_ready: Ready) -> None:
    for client in ("acme", "rival"):
        bring(db, lines_at(DAY, "a", ("Ann", f"a secret of {client}"), ("Ann", "what both say")), client=client)
        make_ready(DAY, client)
    with db.write() as connection:
        shown = {client: tokens.create(connection, client) for client in ("acme", "rival")}
    for client, token in shown.items():
        api.headers["Authorization"] = f"Bearer {token}"
        assert [one["text"] for one in searched(api, "secret")["results"]] == [f"a secret of {client}"]
        (both,) = searched(api, "what both say", mode="words")["results"]
        assert both["times"] == 1
    api.headers["Authorization"] = f"Bearer {shown['acme']}"
    assert api.get("/api/search", params={"q": "secret", "client": "rival"}).status_code == 403


@pytest.mark.parametrize("cursor", ["-1", "x", "101", "0" * 200, "1.5"])
def test_a_cursor_of_something_else_is_none(api: TestClient, cursor: str) -> None:
    assert api.get("/api/search", params={"q": "x", "cursor": cursor}).status_code == 404


def test_related_conversations_are_asked_for_by_id(api: TestClient, db: Database, make_ready: Ready) -> None:
    bring(db, lines_at(DAY, "a", ("Ann", "the kettle is broken")), client="default")
    make_ready(DAY)
    assert api.get("/api/conversations/nothing/related").status_code == 404
    (conversation,) = api.get("/api/conversations").json()["data"]
    answer = api.get(f"/api/conversations/{conversation['id']}/related").json()
    # It has no vectors yet, and nothing else is there.
    assert answer["related"] == []
    assert api.get(f"/api/conversations/{conversation['id']}/related", params={"limit": 99}).status_code == 422


def test_an_index_that_cannot_be_written_is_written_once_it_can(
    settings: Settings, api: TestClient, db: Database, make_ready: Ready, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring(db, lines_at(DAY, "a", ("Ann", "the kettle is broken")), client="default")
    make_ready(DAY)
    update = ClientIndex.update
    failures = [ValueError("damaged"), OSError("no space left"), RuntimeError("whatever")]

    def failing(self: ClientIndex, *values: Any, **more: Any) -> Any:
        if failures:
            raise failures.pop()
        return update(self, *values, **more)

    monkeypatch.setattr(ClientIndex, "update", failing)
    shutil.rmtree(settings.home_path / SEARCH_FOLDER, ignore_errors=True)
    assert searched(api, "kettle")["results"]
    assert not failures


def test_a_server_that_is_told_to_stop_does_not_wait_for_an_index(
    settings: Settings, database_url: str, db: Database, make_ready: Ready, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring(db, lines_at(DAY, "a", ("Ann", "the kettle is broken")), client="default")
    make_ready(DAY)
    begun, ended = threading.Event(), threading.Event()

    def endless(self: ClientIndex, *_: Any, rest: Any, **__: Any) -> None:
        begun.set()
        try:
            while True:
                time.sleep(0.05)
                rest(1)
        finally:
            ended.set()

    monkeypatch.setattr(ClientIndex, "update", endless)
    with TestClient(create_app(settings, database_url, ENGINE), base_url="http://localhost") as client:
        assert client.get("/api/search", params={"q": "kettle"}).json()["indexing"]
        assert begun.wait(10)
        started = time.monotonic()
    assert time.monotonic() - started < 10
    assert ended.wait(10)
