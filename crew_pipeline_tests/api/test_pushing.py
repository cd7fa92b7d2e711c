"""Lines that a source pushes: taken in once, all or none, whatever is sent twice, at once or wrong."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from fastapi.testclient import TestClient

from crew_pipeline.storage.database import Database
from crew_pipeline.storage.sources.crews import set_history

Query = Callable[..., list[tuple[object, ...]]]

PATH = "/api/conversations"
TWO = [
    {"line": 1, "speaker": "Ann", "text": "hello there", "created_at": "2025-01-15T09:00:00Z"},
    {"line": 2, "speaker": "Ben", "text": "good morning", "created_at": "2025-01-15T09:01:00Z"},
]


def told(*lines: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"crew": "shop", "session_id": "s1", "lines": list(lines), **more}


def stored(query: Query) -> list[tuple[object, ...]]:
    return query("SELECT position, speaker, text FROM lines ORDER BY conversation_id, position")


def test_what_is_pushed_is_a_conversation_that_waits_to_be_made(api: TestClient, query: Query) -> None:
    answer = api.post(PATH, json=told(*TWO, title="A sale"), params={"client": "acme"})
    assert answer.status_code == 201
    content = answer.json()
    assert content["lines"] == {"new": 2, "changed": 0, "unchanged": 0, "forgotten": 0}
    assert content["days"] == ["2025-01-15"]
    assert content["conversation"]["title"] == "A sale"
    assert content["conversation"]["semantic_status"] == "pending"
    assert query("SELECT client, line_count FROM data_items") == [("acme", 2)]
    shown = api.get("/api/days/2025-01-15/conversations", params={"client": "acme", "wait_s": 0}).json()
    assert [line["text"] for line in shown["data"][0]["display_conversation"]] == ["hello there", "good morning"]


def test_numbered_lines_that_come_again_change_nothing(api: TestClient, query: Query) -> None:
    api.post(PATH, json=told(*TWO))
    again = api.post(PATH, json=told(*TWO))
    assert (again.status_code, again.json()["lines"]["unchanged"]) == (200, 2)
    edited = api.post(PATH, json=told({**TWO[1], "text": "good evening"}))
    assert edited.json()["lines"] == {"new": 0, "changed": 1, "unchanged": 0, "forgotten": 0}
    assert stored(query) == [(1, "Ann", "hello there"), (2, "Ben", "good evening")]
    assert query("SELECT text FROM withdrawn_lines") == [("good morning",)]


def test_lines_without_numbers_go_on_after_the_last_and_once_a_key(api: TestClient, query: Query) -> None:
    words = [{"speaker": "Ann", "text": "one"}, {"speaker": "Ann", "text": "two"}]
    refused = api.post(PATH, json=told(*words))
    assert refused.status_code == 422
    assert "Idempotency-Key" in refused.json()["detail"]
    first = api.post(PATH, json=told(*words), headers={"Idempotency-Key": "a"})
    same = api.post(PATH, json=told(*words), headers={"Idempotency-Key": "a"})
    assert (first.status_code, first.content) == (same.status_code, same.content)
    api.post(PATH, json=told(*words), headers={"Idempotency-Key": "b"})
    assert [row[0] for row in stored(query)] == [0, 1, 2, 3]
    assert query("SELECT days_date::text FROM data_items") == [(f"{datetime.now(UTC):%Y-%m-%d}",)]
    other = api.post(PATH, json=told({"speaker": "Ann", "text": "three"}), headers={"Idempotency-Key": "b"})
    assert other.status_code == 409
    assert "another request" in other.json()["detail"]


def test_a_request_that_is_sent_twice_at_once_is_done_once(api: TestClient, query: Query) -> None:
    answers = []

    def push() -> None:
        body = told({"speaker": "Ann", "text": "one"})
        answers.append(api.post(PATH, json=body, headers={"Idempotency-Key": "a"}).content)

    threads = [threading.Thread(target=push) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(stored(query)) == 1
    assert len(set(answers)) == 1


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "no JSON"),
        (b"[]", "must be an object"),
        (b"\xff", "no JSON"),
        (told(*TWO, crew=""), "crew must be a name"),
        (told(*TWO, session_id="a\nb"), "session_id must be a name"),
        (told(*TWO, more=1), "'more' is no field"),
        (told(), "1 to 5,000"),
        (told(*([TWO[0]] * 5_001)), "1 to 5,000"),
        (told(TWO[0], {"speaker": "Ann", "text": "x"}), "every line has a number"),
        (told(TWO[0], {**TWO[1], "created_at": "soon"}), "lines[1]: created_at"),
        (told(TWO[0], {**TWO[1], "created_at": "2999-01-01T00:00:00Z"}), "lines[1]: created_at"),
        (told(TWO[0], {**TWO[1], "text": 5}), "lines[1]: text must be a text"),
        (told(TWO[0], {**TWO[1], "text": "a\x00b"}), "NUL"),
        (told(TWO[0], {**TWO[1], "line": -1}), "lines[1]: line must be"),
        (told(TWO[0], {**TWO[1], "line": True}), "lines[1]: line must be"),
        (told(TWO[0], {**TWO[1], "mood": "good"}), "lines[1]: 'mood' is no field"),
        (told(TWO[0], "Ben: hi"), "either every line"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_used_is_named_and_nothing_is_taken_in(
    api: TestClient, query: Query, body: Any, words: str
) -> None:
    answer = api.post(PATH, content=body) if isinstance(body, bytes) else api.post(PATH, json=body)
    assert answer.status_code == 422
    assert words in answer.json()["detail"]
    assert stored(query) == []


def test_a_crew_that_is_read_from_a_table_takes_no_pushes(api: TestClient, db: Database, query: Query) -> None:
    with db.write() as connection:
        set_history(connection, "default", "shop", "SOURCE", "talk")
    answer = api.post(PATH, json=told(*TWO))
    assert answer.status_code == 409
    assert "history table" in answer.json()["detail"]
    assert stored(query) == []


def test_what_was_forgotten_stays_out(api: TestClient, query: Query) -> None:
    pushed = api.post(PATH, json=told(*TWO), headers={"Idempotency-Key": "a"}).json()
    forgotten = {"conversation_id": pushed["conversation"]["id"]}
    assert api.post("/api/forget", json=forgotten).status_code == 200
    assert query("SELECT count(*) FROM api_answers") == [(0,)]
    again = api.post(PATH, json=told(*TWO)).json()
    assert again["lines"] == {"new": 0, "changed": 0, "unchanged": 0, "forgotten": 2}
    assert stored(query) == []


def test_the_body_is_described(api: TestClient) -> None:
    described = api.get("/openapi.json").json()
    schema = described["paths"][PATH]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert schema == {"$ref": "#/components/schemas/NewLines"}
    assert set(described["components"]["schemas"]) >= {"NewLines", "NewLine"}
    assert described["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
