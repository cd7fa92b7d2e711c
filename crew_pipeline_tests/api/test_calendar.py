"""A row a day: how much was said, how much of it is folded, how far the day is."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from crew_pipeline.model import ClientDay, DayState, Folds
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.days import calendar, states
from crew_pipeline_tests.conftest import Ready, bring, lines_at

TALK = (("Ann", "one two three"), ("Ben", "three two one"))


def rows(api: TestClient, **asked: str) -> list[tuple[str, int, int, int, str]]:
    answer = api.get("/api/calendar", params=asked).json()
    return [
        tuple(row[name] for name in ("date", "conversations", "lines", "folded", "state")) for row in answer["days"]
    ]


def test_every_state_of_a_day_is_told(
    api: TestClient, db: Database, make_ready: Ready, fold_second_under_first: Callable[[str], Folds]
) -> None:
    for number in range(11, 16):
        bring(db, lines_at(f"2025-01-{number}", f"s{number}", *TALK), client="default")
    bring(db, lines_at("2025-01-16", "other", *TALK), client="other")
    make_ready("2025-01-11", folds=fold_second_under_first("2025-01-11"))
    make_ready("2025-01-12", fingerprint="another engine")
    make_ready("2025-01-13")
    bring(db, lines_at("2025-01-13", "more", ("Ann", "a line that came later")), client="default")
    with db.write() as connection:
        states.set_status(connection, ClientDay("default", date(2025, 1, 14)), DayState.FAILED, error="no luck")
    assert rows(api) == [
        ("2025-01-11", 1, 2, 1, "ready"),
        ("2025-01-12", 1, 2, 0, "stale"),
        ("2025-01-13", 2, 3, 0, "stale"),
        ("2025-01-14", 1, 2, 0, "failed"),
        ("2025-01-15", 1, 2, 0, "waiting"),
    ]
    assert [row[0] for row in rows(api, **{"from": "2025-01-12", "to": "2025-01-13"})] == ["2025-01-12", "2025-01-13"]
    assert api.get("/api/calendar", params={"from": "2025-01-12", "to": "2025-01-11"}).status_code == 422


def test_it_is_sent_again_only_where_something_has_changed(api: TestClient, db: Database, make_ready: Ready) -> None:
    bring(db, lines_at("2025-01-15", "s", *TALK), client="default")
    tag = api.get("/api/calendar").headers["etag"]
    again = api.get("/api/calendar", headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")
    make_ready("2025-01-15")
    assert api.get("/api/calendar", headers={"If-None-Match": tag}).status_code == 200


@pytest.mark.usefixtures("api")
def test_ten_years_are_one_query_over_an_index(db: Database) -> None:
    with db.write() as connection:
        connection.execute(text("INSERT INTO clients (client) VALUES ('default')"))
        connection.execute(text("INSERT INTO crews (client, code) VALUES ('default', 'desk')"))
        connection.execute(
            text("""
                INSERT INTO data_items (id, client, crew_id, session_id, days_date, started_at, ended_at, line_count,
                                        content_hash, times_inferred, from_history)
                SELECT 'c' || number, 'default', (SELECT id FROM crews), 's' || number,
                       date '2015-01-01' + (number / 10), now(), now(), 10, '', false, false
                FROM generate_series(0, 36499) AS number
            """)
        )
        connection.execute(text("ANALYZE data_items"))
        found = calendar.between(connection, "default", "engine", None, None)
    assert len(found) == 3650
    assert {(day.conversations, day.lines, day.state) for day in found} == {(10, 100, "waiting")}
