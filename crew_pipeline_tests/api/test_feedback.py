"""Readers say over HTTP what lines are; bad input is refused in a sentence and stores nothing."""

from __future__ import annotations

import json
from datetime import date

import pytest
from fastapi.testclient import TestClient

from crew_pipeline.model import ClientDay
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.days import content
from crew_pipeline_tests.conftest import bring, lines_at

PATH = "/api/days/2025-01-15/feedback"


@pytest.fixture
def line_ids(db: Database) -> list[str]:
    said = lines_at("2025-01-15", "a", ("Ann", "the invoice export times out"), ("Bo", "nobody answers the phone"))
    bring(db, said, client="default")
    with db.read() as connection:
        found = content.lines_of(connection, ClientDay("default", date(2025, 1, 15)))
    return [f"{line.conversation_id}-{line.position}" for line in found]


def test_a_verdict_is_stored_listed_exported_and_taken_back(api: TestClient, line_ids: list[str]) -> None:
    said = {"verdict": "same", "line_id": line_ids[0], "other_line_id": line_ids[1]}
    answer = api.post(PATH, json=said)
    assert answer.status_code == 201
    number = answer.json()["id"]
    assert api.post(PATH, json=said).json()["id"] == number
    (listed,) = api.get("/api/feedback").json()["feedback"]
    assert (listed["id"], listed["verdict"], listed["undone_at"]) == (number, "same", None)
    assert json.loads(api.get("/api/feedback/pairs.jsonl").text)["duplicate"] is True
    assert api.delete(f"/api/feedback/{number}").status_code == 200
    assert api.delete(f"/api/feedback/{number}").status_code == 404
    assert api.get("/api/feedback").json()["feedback"] == []
    assert len(api.get("/api/feedback?undone=true").json()["feedback"]) == 1


def test_another_client_sees_and_changes_nothing(api: TestClient, line_ids: list[str]) -> None:
    said = {"verdict": "different", "line_id": line_ids[0], "other_line_id": line_ids[1]}
    assert api.post(f"{PATH}?client=rival", json=said).status_code == 404
    number = api.post(PATH, json=said).json()["id"]
    assert api.get("/api/feedback?client=rival").json()["feedback"] == []
    assert api.delete(f"/api/feedback/{number}?client=rival").status_code == 404


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ({"verdict": "same", "line_id": "x-1", "other_line_id": "x-2"}, 404),
        ({"verdict": "same", "line_id": "x-1", "other_line_id": "x-1"}, 422),
        ({"verdict": "maybe", "line_id": "x-1", "other_line_id": "x-2"}, 422),
        ({"verdict": "same", "line_id": "\x00", "other_line_id": "'; DROP TABLE lines"}, 422),
        ({"verdict": "same", "line_id": "x", "other_line_id": "'; DROP TABLE lines"}, 404),
        ({"verdict": "hide", "line_id": ""}, 422),
        ({"verdict": "same", "line_id": "x-1"}, 422),
        ({"verdict": "show", "line_id": "x-1"}, 404),
        ({"verdict": "hide", "line_id": "x-1"}, 404),
        ({"verdict": "show", "line_id": "x-1", "other_line_id": "x-2"}, 422),
        ({"verdict": "same", "line_id": "x-1", "other_line_id": "x-2", "start": 3}, 422),
        ({"verdict": "show", "line_id": "x-1", "end": -1}, 422),
        ([], 422),
    ],
)
def test_bad_verdicts_are_refused_in_a_sentence(
    api: TestClient, line_ids: list[str], said: object, status: int
) -> None:
    answer = api.post(PATH, json=said)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"]
    assert api.get("/api/feedback").json()["feedback"] == []


def test_a_part_of_a_line_can_be_shown_for_ever_and_a_place_outside_it_not(
    api: TestClient, line_ids: list[str]
) -> None:
    said = {"verdict": "show", "line_id": line_ids[0]}
    answer = api.post(PATH, json=said)
    assert answer.status_code == 201, answer.json()
    (listed,) = api.get("/api/feedback").json()["feedback"]
    assert (listed["verdict"], listed["left_text"]) == ("show", "the invoice export times out")
    assert json.loads(api.get("/api/feedback/pairs.jsonl").text)["passage"] is True
    assert api.post(PATH, json={**said, "start": 900}).status_code == 422
    nobody = api.post(PATH, json={"verdict": "hide", "line_id": line_ids[0]})
    assert nobody.status_code == 422
    assert "Ann has no standing text" in nobody.json()["detail"]
