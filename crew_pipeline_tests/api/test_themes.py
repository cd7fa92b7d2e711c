"""The routes of themes: read, corrected, and never another client's."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient

from crew_pipeline.history.themes import update
from crew_pipeline.storage.database import Database
from crew_pipeline_tests.conftest import Ready
from crew_pipeline_tests.history.themes.talk import FIRST, OPTIONS, SUBJECTS, History

CLIENT = "default"


@pytest.fixture
def history(db: Database, make_ready: Ready) -> History:
    talk = History(db, make_ready)
    talk.weeks(3, CLIENT)
    update.update(db, CLIENT, OPTIONS, "UTC")
    return talk


def themes(api: TestClient) -> dict[str, dict[str, Any]]:
    """By the subject that names them."""
    found = api.get("/api/themes").json()["themes"]
    return {subject: theme for theme in found for subject in SUBJECTS if subject in " ".join(theme["words"])}


@pytest.mark.usefixtures("history")
def test_themes_are_listed_with_what_is_in_them(api: TestClient) -> None:
    found = themes(api)
    assert {*found} == {*SUBJECTS}
    kitten = found["kitten"]
    assert kitten["name"].split(", ") == kitten["words"][:3]
    assert (kitten["first_day"], kitten["kind"], kitten["is_named"]) == (FIRST.isoformat(), "found", False)
    assert "kitten" in kitten["line"]["text"]
    assert api.get(f"/api/lines/{kitten['line']['line_id']}").status_code == 200
    detail = api.get(f"/api/themes/{kitten['id']}", params={"by": "month"}).json()
    assert detail["timeline"] == [{"from": "2025-01-01", "conversations": kitten["conversations"], "of": 45}]
    assert sum(map(sum, detail["hours"])) == kitten["conversations"]
    assert sum(topic["segments"] for topic in detail["topics"]) == kitten["segments"]
    assert len(api.get(f"/api/themes/{kitten['id']}").json()["timeline"]) == 3


@pytest.mark.usefixtures("history")
def test_segments_follow_each_other_page_by_page(api: TestClient) -> None:
    kitten = themes(api)["kitten"]
    found: list[dict[str, Any]] = []
    cursor = None
    while True:
        params = {"limit": 7, **({"cursor": cursor} if cursor else {})}
        page = api.get(f"/api/themes/{kitten['id']}/segments", params=params).json()
        found += page["segments"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert len(found) == kitten["segments"]
    assert [segment["day"] for segment in found] == sorted((segment["day"] for segment in found), reverse=True)
    lines = [line["line_id"] for segment in found for line in segment["lines"]]
    assert len(lines) == len({*lines})
    assert all("kitten" in line["text"] for segment in found for line in segment["lines"])


@pytest.mark.usefixtures("history")
def test_what_people_make_of_themes_is_kept(api: TestClient, db: Database) -> None:
    found = themes(api)
    kitten, cellar, football = (found[subject]["id"] for subject in ("kitten", "cellar", "football"))
    assert api.put(f"/api/themes/{kitten}/name", json={"name": "Our cat"}).json() == {"id": kitten}
    assert api.put("/api/themes/words/Pump").status_code == 204
    assert api.get("/api/themes/words").json() == {"words": ["Pump"]}
    part = api.post(f"/api/themes/{cellar}/split", json={}).json()["id"]
    assert api.post(f"/api/themes/{part}/merge", json={"into": football}).json() == {"id": football}
    line = api.get(f"/api/themes/{cellar}/segments").json()["segments"][0]["lines"][0]["line_id"]
    assert api.post(f"/api/themes/{kitten}/lines", json={"line_id": line}).json() == {"id": kitten}
    update.update(db, CLIENT, OPTIONS, "UTC", anew=True)
    now = {theme["id"]: theme for theme in api.get("/api/themes").json()["themes"]}
    assert now[kitten]["name"] == "Our cat"
    assert part not in now
    assert all("pump" not in " ".join(theme["words"]) for theme in now.values())
    assert api.get(f"/api/themes/{part}").json()["theme"]["id"] == football
    moved = api.get(f"/api/themes/{kitten}/segments", params={"limit": 100}).json()["segments"]
    assert line in {one["line_id"] for segment in moved for one in segment["lines"]}
    assert api.put(f"/api/themes/{kitten}/name", json={"name": None}).status_code == 200
    assert api.delete("/api/themes/words/Pump").status_code == 204
    assert themes(api)["kitten"]["is_named"] is False


@pytest.mark.usefixtures("history")
def test_a_theme_of_ones_own_is_made_and_taken_back(api: TestClient) -> None:
    made = api.post("/api/themes", json={"name": "Work stress", "examples": ["there is far too much to do"]})
    assert made.status_code == 201
    theme = f"/api/themes/{made.json()['id']}"
    assert api.get(theme).json()["theme"]["name"] == "Work stress"
    assert api.delete(theme).status_code == 204
    assert api.get(theme).status_code == 404
    assert api.get(f"{theme}/segments").status_code == 404


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize(("method", "path", "body", "status"), [
    ("GET", "/api/themes/9999", None, 404),
    ("GET", "/api/themes/9999/segments", None, 404),
    ("PUT", "/api/themes/9999/name", {"name": "x"}, 404),
    ("PUT", "/api/themes/1/name", {"name": ""}, 422),
    ("PUT", "/api/themes/1/name", {"name": "a\nb"}, 422),
    ("POST", "/api/themes/9999/merge", {"into": 1}, 404),
    ("POST", "/api/themes/9999/split", {"topics": [1]}, 404),
    ("POST", "/api/themes/9999/lines", {"line_id": "a-1"}, 404),
    ("POST", "/api/themes", {"name": "x", "examples": []}, 422),
    ("POST", "/api/themes", {"name": "x", "examples": ["abc"] * 21}, 422),
    ("DELETE", "/api/themes/9999", None, 404),
    ("GET", "/api/themes/1/segments?cursor=nonsense", None, 404),
    ("GET", "/api/themes/1/segments?cursor=2025-99-99~1~a", None, 404),
    ("GET", "/api/themes/1?by=year", None, 422),
    ("GET", "/api/themes/1/segments?cursor=2025-01-01~1~a%00", None, 404),
    ("GET", f"/api/themes/{'9' * 5000}", None, 404),
    ("DELETE", f"/api/feedback/{'9' * 5000}", None, 404),
])  # fmt: skip
def test_what_cannot_be_done_is_said(api: TestClient, method: str, path: str, body: object, status: int) -> None:
    answer = api.request(method, path, json=body)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.usefixtures("history")
def test_a_line_that_is_in_no_theme_cannot_be_moved(api: TestClient) -> None:
    kitten = themes(api)["kitten"]["id"]
    for line in ("nobody-1", "nobody", "a-" + "9" * 30):
        assert api.post(f"/api/themes/{kitten}/lines", json={"line_id": line}).status_code == 404


def test_another_clients_themes_are_not_there(api: TestClient, history: History, db: Database) -> None:
    history.add(FIRST + timedelta(weeks=9), ["kitten"], "rival")
    assert api.get("/api/themes", params={"client": "rival"}).json() == {"themes": [], "fitted_at": None}
    kitten = themes(api)["kitten"]["id"]
    assert api.get(f"/api/themes/{kitten}", params={"client": "rival"}).status_code == 404
    assert api.put(f"/api/themes/{kitten}/name", params={"client": "rival"}, json={"name": "x"}).status_code == 404


def test_a_client_without_talk_has_no_themes_but_those_of_its_own(api: TestClient) -> None:
    assert api.get("/api/themes").json() == {"themes": [], "fitted_at": None}
    for name in ("Work", "Home"):
        assert api.post("/api/themes", json={"name": name, "examples": ["there is too much to do"]}).status_code == 201
    for word in ("a", "b"):
        assert api.put(f"/api/themes/words/{word}").status_code == 204
    assert api.get("/api/themes/words").json() == {"words": ["a", "b"]}
    assert {theme["name"] for theme in api.get("/api/themes").json()["themes"]} == {"Work", "Home"}
