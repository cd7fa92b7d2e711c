"""The routes of summaries: what days come to, what was said before, and where the same was said."""

from __future__ import annotations

import time
from typing import Any

import pytest
from fastapi.testclient import TestClient

from crew_pipeline.storage.database import Database
from crew_pipeline_tests.conftest import Ready
from crew_pipeline_tests.history.summaries.talk import FIRST, LATER, NOW, SAID, Meetings


@pytest.fixture
def meetings(db: Database, make_ready: Ready) -> Meetings:
    made = Meetings(db, make_ready)
    made.hold()
    return made


def conversation(api: TestClient, day: str) -> dict[str, Any]:
    found: dict[str, Any] = api.get(f"/api/days/{day}/conversations").json()["data"][0]
    return found


@pytest.mark.usefixtures("meetings")
def test_a_conversation_a_day_and_a_week_come_to_the_same_points(api: TestClient) -> None:
    of_day = api.get(f"/api/days/{FIRST}/summary").json()
    of_conversation = api.get(f"/api/conversations/{conversation(api, FIRST)['id']}/summary").json()
    of_week = api.get("/api/summary", params={"from": FIRST}).json()
    assert of_day["decisions"] == of_conversation["decisions"] == of_week["decisions"] != []
    assert of_day["prose"] is None
    both = api.get("/api/summary", params={"from": FIRST, "to": LATER}).json()
    assert [point["day"] for point in both["decisions"]] == [FIRST, LATER]
    line = api.get(f"/api/lines/{of_day['decisions'][0]['line_id']}").json()
    assert line["text"] == of_day["decisions"][0]["text"]


@pytest.mark.usefixtures("meetings")
def test_without_a_language_model_the_answer_says_so_and_holds_all_else(api: TestClient) -> None:
    found = api.get(f"/api/days/{FIRST}/summary", params={"prose": True}).json()
    assert "CREW_LLM_URL" in found["prose"]["problem"]
    assert found["decisions"]


@pytest.mark.usefixtures("meetings")
def test_what_was_said_before_is_told_of_a_day_and_of_a_conversation(api: TestClient) -> None:
    of_day = api.get(f"/api/days/{NOW}/recall").json()
    of_conversation = api.get(f"/api/conversations/{conversation(api, NOW)['id']}/recall").json()
    assert of_day["decided"] == of_conversation["decided"]
    assert [point["text"] for point in of_day["decided"]] == [SAID[LATER][1][1]]
    assert api.get(f"/api/days/{FIRST}/recall").json()["last"] is None


@pytest.mark.parametrize(
    "path",
    [
        "/api/conversations/nobody/summary", "/api/conversations/nobody/recall", "/api/lines/nobody/said",
        "/api/lines/nobody-1/said", f"/api/lines/{'x' * 150}-{'9' * 40}/said", "/api/themes/99/summary",
        "/api/themes/99/development",
    ],
)  # fmt: skip
def test_what_is_not_there_is_a_problem_with_a_remedy(api: TestClient, path: str) -> None:
    answer = api.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


@pytest.mark.parametrize(
    ("params", "status"),
    [
        ({}, 200), ({"from": "0001-01-01"}, 200), ({"from": "9999-12-31"}, 200), ({"to": "0001-01-02"}, 200),
        ({"from": "2025-01-02", "to": "2025-01-01"}, 422), ({"from": "2020-01-01", "to": "2025-01-01"}, 422),
        ({"from": "soon"}, 422),
    ],
)  # fmt: skip
def test_any_days_get_an_answer_or_a_clear_problem(api: TestClient, params: dict[str, str], status: int) -> None:
    assert api.get("/api/summary", params=params).status_code == status


def where_said(api: TestClient, line_id: str, times: int) -> dict[str, Any]:
    deadline = time.monotonic() + 20
    while True:
        found: dict[str, Any] = api.get(f"/api/lines/{line_id}/said").json()
        if found["times"] == times and not found["indexing"]:
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


def test_where_the_same_was_said_is_judged_and_not_only_near(api: TestClient, db: Database, make_ready: Ready) -> None:
    meetings = Meetings(db, make_ready)
    asked = "could you please send me the report of the third quarter"
    meetings.say("2025-01-06", ("Ann", asked), ("Ben", "sure, in a minute or two"))
    meetings.say(
        "2025-01-07",
        ("Ann", asked),
        ("Ann", asked),
        ("Eve", "could you send me the report of the third quarter, please"),
    )
    meetings.say("2025-01-14", ("Ann", "could you please send me the report of the fourth quarter"))
    line_id = f"{conversation(api, '2025-01-06')['id']}-0"
    found = where_said(api, line_id, 4)
    assert (found["days"], found["first"], found["last"]) == (2, "2025-01-06", "2025-01-07")
    assert found["weeks"] == [{"from": "2025-01-06", "times": 4}]
    assert sorted(place["same_words"] for place in found["places"]) == [False, True, True, True]
    assert (found["hours"][0][9], found["hours"][1][9]) == (1, 3)
    assert all("fourth" not in place["text"] for place in found["places"])
