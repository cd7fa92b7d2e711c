"""A day's results: as files, over time, and at another operating point."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from datetime import date

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from crew_pipeline.days.exporting import COLUMNS, exported
from crew_pipeline.model import Folds
from crew_pipeline.settings import Settings
from crew_pipeline.storage.database import Database
from crew_pipeline_tests.conftest import Ready, bring, lines_at

DAY = "2025-01-15"
FORMULAS = ("＝1+1", "\n=1", "  =1", "=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", '=HYPERLINK("http://evil")')


def entry(*texts: str, speaker: str = "Ann", title: str | None = "a talk") -> dict[str, object]:
    return {
        "id": "c", "session_id": "s", "crew": "desk", "title": title, "line_count": len(texts),
        "started_at": "2025-01-15T09:00:00Z", "ended_at": "2025-01-15T10:00:00Z",
        "display_conversation": [
            {"line_id": f"c-{number}", "speaker": speaker, "spoken_at": "2025-01-15T23:30:00Z", "text": text,
             "hidden_variations": []} for number, text in enumerate(texts)
        ],
    }  # fmt: skip


@given(texts=st.lists(st.text(), max_size=5), speaker=st.sampled_from(FORMULAS))
def test_no_cell_of_a_table_is_a_formula_and_nothing_is_lost(texts: list[str], speaker: str) -> None:
    written = exported([entry(*texts, *FORMULAS, speaker=speaker)], date(2025, 1, 15), "UTC", "csv").decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(written, newline="")))
    assert list(rows[0]) == list(COLUMNS)
    assert [row["text"].removeprefix("'") for row in rows] == [text.removeprefix("'") for text in (*texts, *FORMULAS)]
    signs = tuple("=+-@＝＋－＠")
    assert not [cell for row in rows for cell in row.values() if cell.lstrip().startswith(signs)]


@given(texts=st.lists(st.text(), max_size=5))
def test_json_lines_hold_every_line_as_it_was_said(texts: list[str]) -> None:
    written = exported([entry(*texts)], date(2025, 1, 15), "UTC", "jsonl")
    assert [json.loads(row)["text"] for row in written.splitlines()] == texts


def test_markdown_is_read_in_the_zone_of_the_conversations_and_keeps_rows_together() -> None:
    written = exported(
        [entry("first row\nsecond row", speaker="*Ann*", title="# no\nheading")],
        date(2025, 1, 15),
        "Asia/Tokyo",
        "markdown",
    ).decode()
    assert written == (
        "# 2025-01-15 (Asia/Tokyo)\n\n## \\# no heading\n\ndesk, 18:00 to 19:00, 1 lines\n\n"
        "- 08:30 **\\*Ann\\*** first row\n  second row\n"
    )


@pytest.fixture
def two_versions(
    api: TestClient, db: Database, make_ready: Ready, fold_second_under_first: Callable[[str], Folds]
) -> list[str]:
    bring(db, lines_at(DAY, "s", ("Ann", "one two three"), ("Ben", "three two one")), client="default")
    return [make_ready(DAY), make_ready(DAY, folds=fold_second_under_first(DAY))]


def test_results_are_listed_with_the_run_that_made_them_and_compared(api: TestClient, two_versions: list[str]) -> None:
    listed = api.get(f"/api/days/{DAY}/versions").json()["versions"]
    assert {(one["version"], one["is_current"], one["folded"]) for one in listed} == {
        (two_versions[0], False, 0),
        (two_versions[1], True, 1),
    }
    changes = f"/api/days/{DAY}/changes"
    told = api.get(changes, params={"from": two_versions[0], "to": two_versions[1]}).json()
    assert [(line["text"], line["under_text"], line["reason"]) for line in told["folded"]] == [
        ("three two one", "one two three", "says the same")
    ]
    assert [told[kind] for kind in ("unfolded", "came", "went")] == [[], [], []]
    assert told["counts"] == {"folded": 1, "unfolded": 0, "came": 0, "went": 0}
    back = api.get(changes, params={"from": two_versions[1], "to": two_versions[0]}).json()
    assert [line["text"] for line in back["unfolded"]] == ["three two one"]
    assert api.get(changes, params={"from": "gone", "to": two_versions[0]}).status_code == 404
    other = api.get(changes, params={"from": two_versions[0], "to": two_versions[1], "client": "other"})
    assert other.status_code == 404


def test_files_hold_what_is_served(api: TestClient, two_versions: list[str]) -> None:
    for view, lines in (("condensed", 1), ("full", 2)):
        answer = api.get(f"/api/days/{DAY}/export", params={"format": "jsonl", "view": view})
        assert answer.headers["content-disposition"].startswith(f'attachment; filename="{DAY}')
        assert len(answer.content.splitlines()) == lines
    assert api.get(f"/api/days/{DAY}/export", params={"format": "exe"}).status_code == 422
    assert api.get(f"/api/days/{DAY}/export", params={"client": "other"}).text == f"# {DAY} (UTC)\n"


def test_an_operating_point_is_tried_chosen_and_left_again(api: TestClient, settings: Settings) -> None:
    assert api.get(f"/api/days/{DAY}/folding", params={"at": "loose"}).status_code == 409
    assert api.get("/api/folding").json()["own"] is False
    assert api.put("/api/folding", json={"folding": "loose"}).json()["folding"] == "loose"
    assert api.get("/api/folding").json() == {"folding": "loose", "own": True}
    assert api.put("/api/folding", json={"folding": "default"}).json()["folding"] == settings.folding
    assert api.put("/api/folding", json={"folding": "tight"}).status_code == 422
