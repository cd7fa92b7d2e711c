"""What was said on a day stands in that day, however long its conversation goes on, and nothing is lost over it."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from crew_pipeline.model import ClientDay
from crew_pipeline.storage.conversations import imports, parts, rezoning
from crew_pipeline.storage.conversations.ingest import CrewKey, SourceLine, SourceTraits, ingest, withdraw
from crew_pipeline.storage.conversations.parts import Calendar
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.sources.crews import ensure_crew
from crew_pipeline_tests.conftest import TODAY, bring

Query = Callable[..., list[tuple[object, ...]]]
START = datetime(2025, 3, 3, 9, tzinfo=UTC)
CALENDAR = Calendar("UTC", timedelta(hours=4), TODAY)


def said_at(*hours: float, session: str = "general") -> list[SourceLine]:
    """A line each at so many hours after nine o'clock on 3 March."""
    return [
        SourceLine(session, number, START + timedelta(hours=after), "Ann", f"line {number}", number)
        for number, after in enumerate(hours)
    ]


def days(query: Query) -> dict[date, list[int]]:
    """The positions that each day holds."""
    rows = query(
        "SELECT days_date, array_agg(position ORDER BY position) FROM data_items JOIN lines ON conversation_id = id "
        "GROUP BY 1 ORDER BY 1"
    )
    return {day: positions for day, positions in rows}  # type: ignore[misc]  # noqa: C416


def stored(db: Database) -> list[tuple[object, ...]]:
    with db.read() as connection:
        rows = connection.execute(
            text(
                "SELECT id, session_id, title, days_date, started_at, ended_at, line_count, first_position, "
                "last_position, content_hash, (SELECT array_agg(position || ' ' || text ORDER BY position) FROM lines "
                "WHERE conversation_id = id) FROM data_items ORDER BY id"
            )
        )
        return [tuple(row) for row in rows]


def clear(db: Database) -> None:
    with db.write() as connection:
        connection.execute(text("DELETE FROM data_items"))
        connection.execute(text("DELETE FROM crews"))


@pytest.mark.parametrize(
    ("hours", "expected"),
    [
        ([0, 1, 24], {3: [0, 1], 4: [2]}),
        ([0, 24, 24 * 100], {3: [0], 4: [1], 11: [2]}),
        ([0, 9], {3: [0, 1]}),
        ([14, 14.9, 15.5, 17], {3: [0, 1, 2, 3]}),
        ([14, 15.5, 24], {3: [0, 1], 4: [2]}),
        ([12, 15.9, 20], {3: [0, 1], 4: [2]}),
        ([12, 15.9, 19.8, 23.7], {3: [0, 1, 2, 3]}),
    ],
    ids=["next-day", "months", "a-rest-within-a-day", "across-midnight", "then-the-day", "rests-at-4", "never-rests"],
)
def test_a_talk_that_rests_and_goes_on_another_day_is_a_part_of_that_day(
    db: Database, query: Query, hours: list[float], expected: dict[int, list[int]]
) -> None:
    bring(db, said_at(*hours))
    assert {day.day: positions for day, positions in days(query).items()} == expected


def test_the_first_part_has_the_id_of_the_session_and_every_part_its_title(db: Database, query: Query) -> None:
    bring(db, said_at(0))
    ((whole,),) = query("SELECT id FROM data_items")
    report = bring(db, said_at(0, 24, 48))
    assert (report.conversations_new, report.conversations_changed, report.lines_new) == (0, 1, 2)
    assert report.days == [date(2025, 3, 4), date(2025, 3, 5)]
    with db.write() as connection:
        crew = CrewKey("acme", "desk", ensure_crew(connection, "acme", "desk"))
        titles = SourceTraits(titles={"general": "The channel"})
        ingest(connection, crew=crew, lines=said_at(0, 24, 48, 72), calendar=CALENDAR, source=titles)
    rows = query("SELECT days_date, id, title FROM data_items ORDER BY 1")
    assert [row[1] == whole for row in rows] == [True, False, False, False]
    assert {row[2] for row in rows} == {"The channel"}
    with db.read() as connection:
        (part,) = parts.linked_on(connection, ClientDay("acme", date(2025, 3, 4)))
        (last,) = parts.linked_on(connection, ClientDay("acme", date(2025, 3, 6)))
    assert (part.before, part.before_day, part.after_day) == (whole, date(2025, 3, 3), date(2025, 3, 5))
    assert (last.before_day, last.after) == (date(2025, 3, 5), None)


def test_only_the_days_that_change_wait_again(db: Database, query: Query) -> None:
    bring(db, said_at(0, 24, 48))
    query("UPDATE data_items SET semantic_status = 'completed'")
    bring(db, [*said_at(0, 24, 48), SourceLine("general", 9, START + timedelta(hours=49), "Bo", "new", 9)])
    assert query("SELECT days_date FROM data_items WHERE semantic_status = 'pending'") == [(date(2025, 3, 5),)]


def test_a_line_between_joins_what_rested_and_its_removal_parts_it_again(db: Database, query: Query) -> None:
    lines = said_at(13, 14, 18, 22)  # at 22, 23, 3 and 7 o'clock
    bring(db, [lines[0], lines[1], lines[3]])
    assert [day.day for day in days(query)] == [3, 4]
    apart = stored(db)
    bring(db, [lines[2]], rest_h=4.5)
    assert list(days(query)) == [date(2025, 3, 3)]
    with db.write() as connection:
        crew = CrewKey("acme", "desk", ensure_crew(connection, "acme", "desk"))
        withdraw(connection, crew=crew, session_id="general", keep=[0, 1, 3], calendar=CALENDAR)
    assert stored(db) == apart


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    hours=st.lists(st.integers(0, 160).map(lambda half: half / 2), min_size=1, max_size=14),
    pieces=st.lists(st.lists(st.integers(0, 13), max_size=6), max_size=4),
    seed=st.integers(0, 99),
)
def test_any_order_of_arrival_ends_in_the_same_parts_and_ids(
    db: Database, query: Query, hours: list[float], pieces: list[list[int]], seed: int
) -> None:
    lines = said_at(*hours)
    clear(db)
    bring(db, lines)
    whole = stored(db)
    clear(db)
    for piece in pieces:
        bring(db, [lines[number % len(lines)] for number in piece])
    shuffled = lines[:]
    random.Random(seed).shuffle(shuffled)
    half = len(lines) // 2
    bring(db, shuffled[:half])
    bring(db, shuffled[half:])
    assert stored(db) == whole
    every = [position for positions in days(query).values() for position in positions]
    assert sorted(every) == list(range(len(lines)))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    hours=st.lists(st.integers(0, 160).map(lambda half: half / 2), min_size=2, max_size=12),
    kept=st.sets(st.integers(0, 11)),
)
def test_what_is_left_after_lines_are_gone_is_as_if_they_had_never_come(
    db: Database, hours: list[float], kept: set[int]
) -> None:
    lines = said_at(*hours)
    left = [line for line in lines if line.position in kept]
    clear(db)
    bring(db, left)
    expected = stored(db)
    clear(db)
    bring(db, lines)
    with db.write() as connection:
        crew = CrewKey("acme", "desk", ensure_crew(connection, "acme", "desk"))
        withdraw(connection, crew=crew, session_id="general", keep=sorted(kept), calendar=CALENDAR)
    assert stored(db) == expected


def test_taking_an_import_back_leaves_the_parts_that_others_brought(db: Database) -> None:
    lines = said_at(0, 24, 25, 48)
    bring(db, lines[2:])
    before = stored(db)
    with db.write() as connection:
        crew = CrewKey("acme", "desk", ensure_crew(connection, "acme", "desk"))
        number = imports.begin(connection, crew.id, "older.jsonl", "jsonl")
        done = ingest(connection, crew=crew, lines=lines, calendar=CALENDAR, source=SourceTraits(import_id=number))
        assert imports.finish(connection, number, done, {})
    assert stored(db) != before
    with db.write() as connection:
        imports.undo(connection, number, lambda _: CALENDAR)
    assert stored(db) == before


def test_days_begin_in_the_zone_also_on_the_night_that_clocks_change(db: Database, query: Query) -> None:
    berlin = ZoneInfo("Europe/Berlin")
    moments = [datetime(2025, 10, 25, 23, 30, tzinfo=berlin), datetime(2025, 10, 26, 2, 30, fold=1, tzinfo=berlin)]
    lines = [SourceLine("night", n, moment, "Ann", f"line {n}", n) for n, moment in enumerate(moments)]
    bring(db, lines, zone="Europe/Berlin")
    # Four hours by the clock's two readings, which is a rest; three by the first.
    assert [day.day for day in days(query)] == [25, 26]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    hours=st.lists(st.integers(0, 160).map(lambda half: half / 2), min_size=1, max_size=12),
    zones=st.permutations(["UTC", "America/Los_Angeles", "Asia/Tokyo"]),
)
def test_another_time_zone_moves_everything_to_where_it_would_have_come(
    db: Database, query: Query, hours: list[float], zones: list[str]
) -> None:
    lines = said_at(*hours) + said_at(*(hour + 7 for hour in hours), session="other")
    before, after, _ = zones
    clear(db)
    bring(db, lines, zone=after)
    expected = stored(db)
    clear(db)
    bring(db, lines, zone=before)
    query("UPDATE data_items SET semantic_status = 'completed'")
    with db.write() as connection:
        done = rezoning.rezone(connection, lambda _: Calendar(after, timedelta(hours=4), TODAY))
    assert stored(db) == expected
    with db.read() as connection:
        assert rezoning.in_other_days(connection, after) == 0
    changed = {day for of_client in done.days.values() for day in of_client}
    waiting = query("SELECT days_date FROM data_items WHERE semantic_status = 'pending'")
    assert changed >= {row[0] for row in waiting}
