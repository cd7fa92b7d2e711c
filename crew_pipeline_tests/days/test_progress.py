"""What visitors are told of a day's progress grows, never falls back, and is an honest guess."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import pytest

from crew_pipeline.days import claims
from crew_pipeline.days import progress as told_progress
from crew_pipeline.days.progress import Reporter, remaining
from crew_pipeline.days.status import state_of
from crew_pipeline.model import ClientDay
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.days import queue
from crew_pipeline_tests.conftest import bring, lines_at

Query = Callable[..., list[tuple[object, ...]]]
CLIENT_DAY = ClientDay("acme", date(2025, 1, 15))


def told(query: Query) -> list[tuple[str, float]]:
    rows = query(
        "SELECT payload->>'stage', payload->>'progress' FROM day_events WHERE payload ? 'progress' ORDER BY seq"
    )
    return [(str(stage), float(str(progress))) for stage, progress in rows]


def test_a_day_that_lets_others_go_first_goes_on_from_where_it_was(
    db: Database, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(told_progress, "_AT_MOST_EVERY_S", 0)
    bring(db, lines_at("2025-01-15", "a", ("Ann", "one")))
    for turn in ("first", "second"):
        with db.write() as connection:
            assert claims.take(connection, CLIENT_DAY, turn, 60, 100)
        reporter = Reporter(db, CLIENT_DAY, turn)
        reporter.stage("discovering")
        reporter.stage("embedding", 1, 2, "texts embedded")
        for seconds in (0.1, 0.4, 300):
            query("UPDATE day_claims SET claimed_at = now() - :back * interval '1 second' WHERE ended_at IS NULL",
                  back=seconds)  # fmt: skip
            reporter.stage("comparing", message="pairs of lines read")
        with db.write() as connection:
            claims.pause(connection, CLIENT_DAY, turn, "9 pairs read")
            state = state_of(connection, CLIENT_DAY)
        assert (state["semantic_status"], state["progress"]) == ("queued", told(query)[-1][1])
    stages = told(query)
    assert [progress for _, progress in stages] == sorted(progress for _, progress in stages)
    comparing = [progress for stage, progress in stages if stage == "comparing"][:3]
    assert comparing[0] < comparing[1] < comparing[2] < 0.9
    assert stages[-1][0] == "queued"


def test_what_was_told_of_an_earlier_making_does_not_count(db: Database, query: Query) -> None:
    bring(db, lines_at("2025-01-15", "a", ("Ann", "one")))
    with db.write() as connection:
        claims.take(connection, CLIENT_DAY, "first", 60, 100)
        Reporter(db, CLIENT_DAY, "another")
        told_progress.tell(connection, CLIENT_DAY, "first", "writing", 0.98, "writing the day")
        claims.give_back(connection, "first")
        claims.take(connection, CLIENT_DAY, "second", 60, 100)
    Reporter(db, CLIENT_DAY, "second").stage("embedding", 0, 2, "texts embedded")
    assert told(query)[-2:] == [("discovering", 0.0), ("embedding", 0.02)]


def test_others_go_first_only_where_somebody_waits_for_them(db: Database) -> None:
    other = ClientDay("acme", date(2025, 1, 16))
    for day in ("2025-01-15", "2025-01-16"):
        bring(db, lines_at(day, f"on {day}", ("Ann", "one")))
    with db.write() as connection:
        claims.take(connection, CLIENT_DAY, "at work", 60)
        assert not queue.others_wait(connection, CLIENT_DAY)
        claims.want(connection, other)
        connection.exec_driver_sql("UPDATE data_items SET semantic_status = 'queued' WHERE days_date = '2025-01-16'")
        assert queue.others_wait(connection, CLIENT_DAY)


@pytest.mark.parametrize("whole_s", [10.0, 107.0, 600.0])
def test_the_time_that_is_left_is_near_the_truth_where_the_estimate_is_right(whole_s: float) -> None:
    for passed in range(1, 9):
        spent_s = whole_s * passed / 10
        fraction = 0.1 + 0.8 * passed / 10
        assert abs(remaining(fraction, spent_s, whole_s) - (whole_s - spent_s)) <= 0.25 * whole_s
