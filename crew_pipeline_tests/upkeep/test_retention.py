"""Housekeeping removes what is due and nothing else, in batches, however often it runs or is interrupted."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from crew_pipeline.days import claims, publishing
from crew_pipeline.model import ClientDay
from crew_pipeline.settings import Settings
from crew_pipeline.storage.database import Database
from crew_pipeline.upkeep.retention import Removed, drop_old_outputs, keep_house, table_steps
from crew_pipeline_tests.conftest import bring, lines_at

Query = Callable[..., list[tuple[object, ...]]]

A_MINUTE = 60.0


def clean(db: Database, settings: Settings, batch: int = 1_000) -> dict[str, int]:
    """What was removed, by step, of those that removed anything."""
    report = keep_house(table_steps(db, settings, batch), A_MINUTE)
    assert report.finished
    assert report.errors == {}
    return {name: removed for name, removed in report.removed.items() if removed}


def add_events(query: Query, day: str, ago: str, count: int = 1) -> None:
    query(
        "INSERT INTO day_events (client, day, type, payload, created_at) SELECT 'acme', CAST(:day AS date), "
        "CAST(:ago AS text), '{}', now() - CAST(CAST(:ago AS text) AS interval) FROM generate_series(1, :count)",
        day=day,
        ago=ago,
        count=count,
    )


def add_claims(query: Query, day: str, *ended: tuple[str, str]) -> None:
    """Closed claims: how long ago they ended, and their outcome; the token is the former."""
    for ago, outcome in ended:
        query(
            "INSERT INTO day_claims (client, day, token, expires_at, ended_at, outcome) VALUES ('acme', "
            "CAST(:day AS date), CAST(:ago AS text), now(), now() - CAST(CAST(:ago AS text) AS interval), :outcome)",
            day=day,
            ago=ago,
            outcome=outcome,
        )


def add_document(query: Query, day: str, version: str, ago: str, *, current: bool = False) -> None:
    query(
        "INSERT INTO day_documents (client, day, version, is_current, engine, body, conversation_count, line_count, "
        "hidden_count, processed_at, token) "
        "VALUES ('acme', CAST(:day AS date), :version, :current, 'e', '[]', 0, 0, 0, "
        "now() - CAST(CAST(:ago AS text) AS interval), 't')",
        day=day,
        version=version,
        ago=ago,
        current=current,
    )


def claims_left(query: Query) -> list[object]:
    return [token for (token,) in query("SELECT token FROM day_claims ORDER BY ended_at DESC")]


@pytest.mark.parametrize(
    ("status", "kept"),
    [("completed", False), ("failed", False), ("pending", True), ("queued", True), ("processing", True)],
)
def test_old_events_go_but_for_those_of_a_day_that_waits_or_is_in_work(
    db: Database, settings: Settings, query: Query, status: str, kept: bool
) -> None:
    bring(db, lines_at("2025-01-15", "a", ("Ann", "one")))
    query("UPDATE data_items SET semantic_status = :status", status=status)
    for ago in ("8 days", "7 days 1 minute", "6 days 23 hours"):
        add_events(query, "2025-01-15", ago)
        add_events(query, "2025-01-16", ago)
    clean(db, settings)
    left = {day: set() for day in (date(2025, 1, 15), date(2025, 1, 16))}
    for day, ago in query("SELECT day, type FROM day_events"):
        left[day].add(ago)
    assert left[date(2025, 1, 16)] == {"6 days 23 hours"}
    assert len(left[date(2025, 1, 15)]) == (3 if kept else 1)


def test_events_of_a_day_that_is_claimed_stay(db: Database, settings: Settings, query: Query) -> None:
    add_events(query, "2025-01-15", "8 days")
    with db.write() as connection:
        claims.acquire(connection, ClientDay("acme", date(2025, 1, 15)), "at work", 60)
    assert clean(db, settings) == {}


def test_superseded_results_go_when_they_are_old_and_the_one_in_force_stays_however_old(
    db: Database, settings: Settings, query: Query
) -> None:
    add_document(query, "2025-01-15", "first", "400 days")
    add_document(query, "2025-01-15", "second", "31 days")
    add_document(query, "2025-01-15", "third", "29 days")
    add_document(query, "2025-01-15", "in force", "1 day", current=True)
    add_document(query, "2025-01-16", "old and in force", "400 days", current=True)
    assert clean(db, settings) == {"superseded_documents": 2}
    assert query("SELECT version FROM day_documents ORDER BY version") == [
        ("in force",), ("old and in force",), ("third",),
    ]  # fmt: skip


def test_old_claims_go_but_for_the_newest_of_a_day_and_those_that_are_open(
    db: Database, settings: Settings, query: Query
) -> None:
    add_claims(query, "2025-01-15", ("60 days", "completed"), ("50 days", "failed"), ("40 days", "completed"))
    add_claims(query, "2025-01-16", ("45 days", "completed"), ("10 days", "completed"), ("5 days", "failed"))
    with db.write() as connection:
        claims.acquire(connection, ClientDay("acme", date(2025, 1, 17)), "open", 60)
    query("UPDATE day_claims SET claimed_at = now() - interval '90 days'")
    assert clean(db, settings) == {"claims": 3}
    assert claims_left(query) == ["open", "5 days", "10 days", "40 days"]


def test_failures_in_a_row_are_the_same_before_and_after(db: Database, settings: Settings, query: Query) -> None:
    client_day = ClientDay("acme", date(2025, 1, 15))
    add_claims(query, "2025-01-15", ("60 days", "retried"), ("50 days", "failed"))
    add_claims(query, "2025-01-15", ("45 days", "retried"), ("40 days", "overtaken"))
    with db.read() as connection:
        assert claims.failures_in_a_row(connection, client_day) == 2
    assert clean(db, settings) == {"claims": 1}
    with db.read() as connection:
        assert claims.failures_in_a_row(connection, client_day) == 2


def test_records_go_when_they_are_old_and_alerts_only_once_they_are_over(
    db: Database, settings: Settings, query: Query
) -> None:
    bring(db, lines_at("2025-01-15", "a", ("Ann", "one")))
    query("""INSERT INTO crew_discovery_rounds (crew_id, trigger, started_at, seconds, rows_read, sessions_scanned,
                 sessions_created, sessions_changed, sessions_skipped, sessions_failed, rows_refused, finished)
             SELECT id, 'test', now() - make_interval(days => ago), 0, 0, 0, 0, 0, 0, 0, 0, true
             FROM crews, unnest(ARRAY[29, 31]) AS ago""")
    query("""INSERT INTO alerts (kind, subject, message, raised_at, seen_at, resolved_at)
             SELECT coalesce('over ' || ago, 'lasts'), 'x', 'x', now() - interval '90 days', now(),
                    now() - make_interval(days => ago)
             FROM unnest(ARRAY[29, 31, NULL]) AS ago""")
    query("""INSERT INTO health_samples (taken_at, host, days_waiting, conversations_waiting, days_asked, days_failed,
                 workers, cpu_percent, memory_free_mb, runs_ended, runs_failed)
             SELECT now() - make_interval(days => ago), 'box', 0, 0, 0, 0, 0, 0, 9, 0, 0
             FROM unnest(ARRAY[29, 31]) AS ago""")
    assert clean(db, settings) == {"discovery_rounds": 1, "resolved_alerts": 1, "health_samples": 1}
    assert query("SELECT kind FROM alerts ORDER BY kind") == [("lasts",), ("over 29",)]
    assert clean(db, settings.model_copy(update={"keep_records_d": 28})) == {
        "discovery_rounds": 1, "resolved_alerts": 1, "health_samples": 1,
    }  # fmt: skip


def test_a_first_look_goes_with_its_claim_and_stays_while_that_lives(
    db: Database, settings: Settings, query: Query
) -> None:
    for day, token in ((13, "lives"), (14, "ended"), (15, "died")):
        client_day = ClientDay("acme", date(2025, 1, day))
        with db.write() as connection:
            claims.acquire(connection, client_day, token, 60)
            claims.begin(connection, client_day)
            assert publishing.show_first_look(connection, client_day, token, b"[]", "a look")
    with db.write() as connection:
        claims.give_back(connection, "ended")
    query("UPDATE day_claims SET expires_at = now() - interval '1 second' WHERE token = 'died'")
    assert clean(db, settings) == {"preliminary_documents": 2}
    assert query("SELECT token FROM preliminary_documents") == [("lives",)]


def test_cleaning_goes_in_batches_and_a_second_time_changes_nothing(
    db: Database, settings: Settings, query: Query
) -> None:
    add_events(query, "2025-01-15", "8 days", 25)
    steps = table_steps(db, settings, batch=10)
    assert [steps["events"]() for _ in range(3)] == [
        Removed(10, more=True),
        Removed(10, more=True),
        Removed(5, more=False),
    ]
    add_events(query, "2025-01-15", "8 days", 20)
    add_claims(query, "2025-01-15", ("60 days", "completed"), ("40 days", "completed"))
    assert clean(db, settings, batch=10) == {"events": 20, "claims": 1}
    before = query("SELECT count(*) FROM day_events") + query("SELECT count(*) FROM day_claims")
    assert clean(db, settings, batch=10) == {}
    assert query("SELECT count(*) FROM day_events") + query("SELECT count(*) FROM day_claims") == before


def test_what_was_removed_before_it_was_killed_stays_removed_and_the_next_time_goes_on(
    db: Database, settings: Settings, query: Query
) -> None:
    add_events(query, "2025-01-15", "8 days", 25)
    add_document(query, "2025-01-15", "old", "40 days")

    def killed() -> Removed:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        keep_house({**table_steps(db, settings, batch=10), "killed": killed}, A_MINUTE)
    assert query("SELECT count(*) FROM day_events") == [(15,)]
    assert clean(db, settings, batch=10) == {"events": 15}


def test_a_step_that_breaks_does_not_keep_the_others_from_their_work(
    db: Database, settings: Settings, query: Query
) -> None:
    add_events(query, "2025-01-15", "8 days", 25)
    broken = ValueError("broken")

    def breaks() -> Removed:
        raise broken

    report = keep_house({"breaks": breaks, **table_steps(db, settings, batch=10)}, A_MINUTE)
    assert report.errors == {"breaks": broken}
    assert report.removed["events"] == 25


def test_when_time_is_over_the_rest_is_left_for_the_next_time(db: Database, settings: Settings, query: Query) -> None:
    add_events(query, "2025-01-15", "8 days")
    report = keep_house(table_steps(db, settings), within_s=0.0)
    assert not report.finished
    assert report.removed["events"] == 0
    assert clean(db, settings) == {"events": 1}


def test_two_that_clean_at_once_remove_everything_once(db: Database, settings: Settings, query: Query) -> None:
    add_events(query, "2025-01-15", "8 days", 400)
    removed: list[int] = []
    ready = threading.Barrier(2)

    def run() -> None:
        ready.wait()
        removed.append(keep_house(table_steps(db, settings, batch=10), A_MINUTE).removed["events"])

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    clean(db, settings)
    assert query("SELECT count(*) FROM day_events") == [(0,)]
    assert 0 < sum(removed) <= 400


def test_events_that_a_transaction_holds_are_passed_over_and_not_waited_for(
    db: Database, settings: Settings, query: Query
) -> None:
    add_events(query, "2025-01-15", "8 days", 3)
    with db.write() as connection:
        connection.exec_driver_sql("SELECT 1 FROM day_events ORDER BY seq LIMIT 1 FOR UPDATE")
        assert clean(db, settings) == {"events": 2}
    assert clean(db, settings) == {"events": 1}


def test_what_old_runs_have_printed_goes_and_nothing_else(tmp_path: Path) -> None:
    now = datetime(2025, 1, 20, tzinfo=UTC)

    def printed(run: str, age_d: float, *more: str) -> Path:
        folder = tmp_path / run / "compute_logs"
        folder.mkdir(parents=True)
        for file in (folder / "step.err", *(tmp_path / run / name for name in more)):
            file.write_text("words")
        for path in (*folder.iterdir(), folder):
            os.utime(path, (now.timestamp() - age_d * 86_400,) * 2)
        return folder

    old, young, shared = printed("old", 31), printed("young", 29), printed("shared", 31, "a result")
    (tmp_path / "schedules.db").write_text("kept")
    assert drop_old_outputs(tmp_path, timedelta(days=30), now, most=1) == (1, True)
    assert drop_old_outputs(tmp_path, timedelta(days=30), now) == (1, False)
    assert [old.exists(), young.exists(), shared.exists()] == [False, True, False]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["schedules.db", "shared", "young"]
    assert drop_old_outputs(tmp_path / "not there", timedelta(days=30), now) == (0, False)
