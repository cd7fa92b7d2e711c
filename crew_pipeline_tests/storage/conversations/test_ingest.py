"""Whatever arrives twice, late, half or at once ends in the same conversations, and nothing is lost."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from datetime import UTC, date, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from crew_pipeline.storage.conversations.ingest import SourceLine
from crew_pipeline.storage.database import Database
from crew_pipeline_tests.conftest import bring, lines_at

Query = Callable[..., list[tuple[object, ...]]]
DAY = "2025-01-15"


def stored(db: Database) -> list[tuple[object, ...]]:
    with db.read() as connection:
        rows = connection.execute(
            text(
                "SELECT session_id, days_date, started_at, ended_at, line_count, content_hash, "
                "(SELECT array_agg(position || ' ' || speaker || ': ' || text ORDER BY position) FROM lines "
                "WHERE conversation_id = id) FROM data_items ORDER BY session_id"
            )
        )
        return [tuple(row) for row in rows]


def clear(db: Database) -> None:
    with db.write() as connection:
        connection.execute(text("DELETE FROM data_items"))
        connection.execute(text("DELETE FROM crews"))


def test_lines_become_conversations_whatever_the_order_they_come_in(db: Database) -> None:
    lines = lines_at(DAY, "a", ("Ann", "one"), ("Bo", "two"), ("Ann", "three")) + lines_at(DAY, "b", ("Cy", "four"))
    bring(db, lines)
    expected = stored(db)
    assert [(row[0], row[4]) for row in expected] == [("a", 3), ("b", 1)]
    for seed in range(5):
        clear(db)
        shuffled = lines[:]
        random.Random(seed).shuffle(shuffled)
        bring(db, shuffled)
        assert stored(db) == expected


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=st.lists(st.lists(st.integers(0, 11), max_size=8), min_size=1, max_size=4))
def test_pieces_that_overlap_end_in_the_whole(db: Database, parts: list[list[int]]) -> None:
    every = lines_at(DAY, "a", *((f"s{n % 3}", f"line {n}") for n in range(12)))
    clear(db)
    bring(db, every)
    whole = stored(db)
    clear(db)
    for part in [*parts, list(range(12))]:
        bring(db, [every[number] for number in part])
    assert stored(db) == whole


def test_a_second_time_changes_nothing_and_says_so(db: Database) -> None:
    lines = lines_at(DAY, "a", ("Ann", "one"), ("Bo", "two"))
    first, second = bring(db, lines), bring(db, lines)
    assert (first.conversations_new, first.lines_new) == (1, 2)
    assert (second.conversations_new, second.conversations_changed, second.conversations_unchanged) == (0, 0, 1)
    assert (second.lines_new, second.lines_changed, second.lines_unchanged) == (0, 0, 2)
    assert second.days == []


def test_a_conversation_that_grows_or_changes_is_pending_again(db: Database, query: Query) -> None:
    bring(db, lines_at(DAY, "a", ("Ann", "one")) + lines_at(DAY, "b", ("Bo", "two")))
    query("UPDATE data_items SET semantic_status = 'completed'")
    grown = bring(db, lines_at(DAY, "a", ("Ann", "one"), ("Bo", "more")))
    assert (grown.conversations_changed, grown.lines_new, grown.lines_changed) == (1, 1, 0)
    assert query("SELECT session_id, semantic_status FROM data_items ORDER BY 1") == [
        ("a", "pending"),
        ("b", "completed"),
    ]
    changed = bring(db, lines_at(DAY, "b", ("Bo", "corrected")))
    assert (changed.conversations_changed, changed.lines_new, changed.lines_changed) == (1, 0, 1)
    assert query("SELECT semantic_status FROM data_items WHERE session_id = 'b'") == [("pending",)]


def test_an_earlier_line_that_comes_late_moves_the_conversation_to_its_day(db: Database, query: Query) -> None:
    bring(db, lines_at("2025-01-16", "a", ("Ann", "later"), first=5, hour=0))
    query(
        "INSERT INTO day_documents (client, day, version, is_current, engine, body, conversation_count, line_count, "
        "hidden_count, token) VALUES ('acme', '2025-01-16', 'v', true, 'e', '', 1, 1, 0, 't')"
    )
    report = bring(db, lines_at("2025-01-15", "a", ("Ann", "earlier"), hour=23))
    assert report.days == [date(2025, 1, 15), date(2025, 1, 16)]
    assert query("SELECT days_date FROM data_items") == [(date(2025, 1, 15),)]
    assert query("SELECT engine FROM day_documents") == [("",)]


def test_a_day_begins_in_the_configured_zone(db: Database, query: Query) -> None:
    late = SourceLine("a", 0, datetime(2025, 1, 15, 23, 30, tzinfo=UTC), "Ann", "late", 1)
    bring(db, [late], zone="Europe/Berlin")
    assert query("SELECT days_date FROM data_items") == [(date(2025, 1, 16),)]


def test_a_number_given_twice_is_a_repeat_or_a_conflict_never_a_loss(db: Database) -> None:
    (line,) = lines_at(DAY, "a", ("Ann", "one"))
    report = bring(db, [line, line._replace(source_line=2), line._replace(text="other", source_line=3)])
    assert (report.lines_new, report.lines_unchanged) == (1, 1)
    ((number, reason),) = report.conflicts
    assert number == 3
    assert "line 0 of session a stands in the source twice" in reason
    assert "first in line 1" in reason


def test_sessions_of_the_same_name_in_other_crews_and_clients_are_others(db: Database, query: Query) -> None:
    lines = lines_at(DAY, "a", ("Ann", "one"))
    for client, crew in (("acme", "desk"), ("acme", "floor"), ("rival", "desk")):
        assert bring(db, lines, client=client, crew=crew).conversations_new == 1
    assert len(query("SELECT DISTINCT id FROM data_items")) == 3


@pytest.mark.parametrize(
    ("day", "priority"), [("2025-01-20", 3), ("2025-01-19", 3), ("2025-01-14", 2), ("2025-01-13", 1)]
)
def test_recent_days_come_first(db: Database, query: Query, day: str, priority: int) -> None:
    bring(db, lines_at(day, "a", ("Ann", "one")))
    assert query("SELECT processing_priority FROM data_items") == [(priority,)]


def test_a_source_that_fails_in_the_middle_leaves_nothing(db: Database, query: Query) -> None:
    def broken() -> object:
        yield from lines_at(DAY, "a", ("Ann", "one"), ("Bo", "two"))
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        bring(db, broken())
    assert query("SELECT (SELECT count(*) FROM lines), (SELECT count(*) FROM data_items)") == [(0, 0)]


def test_imports_at_the_same_time_lose_and_double_nothing(db: Database, query: Query) -> None:
    every = [
        line
        for session in ("a", "b", "c")
        for line in lines_at(DAY, session, *((f"s{n}", f"{session} {n}") for n in range(30)))
    ]
    errors: list[Exception] = []

    def run(seed: int) -> None:
        mine = every[:]
        random.Random(seed).shuffle(mine)
        try:
            for start in range(0, len(mine), 25):
                bring(db, mine[start : start + 25])
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert query("SELECT count(*) FROM lines") == [(90,)]
    assert query("SELECT session_id, line_count FROM data_items ORDER BY 1") == [("a", 30), ("b", 30), ("c", 30)]
    whole = stored(db)
    clear(db)
    bring(db, every)
    assert stored(db) == whole
