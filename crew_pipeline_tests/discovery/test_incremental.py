"""Incremental discovery reads each message once and loses none, whatever the source does between two rounds."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable

import pytest
from sqlalchemy import event

from crew_pipeline.discovery import incremental, sources
from crew_pipeline.storage.sources.crews import set_history
from crew_pipeline_tests.histories import History

Query = Callable[..., list[tuple[object, ...]]]


def test_only_rows_that_are_new_are_read(history: History) -> None:
    history.make().say("a", "one", "two")
    first = history.discover()
    assert (first.reading.lines_read, first.ingested.conversations_new) == (2, 1)
    history.say("a", "three")
    history.say("b", "four")
    second = history.discover()
    assert second.reading.lines_read == 2
    assert (second.ingested.conversations_new, second.ingested.conversations_changed) == (1, 1)
    assert history.discover().reading.lines_read == 0
    assert history.texts() == ["one", "two", "three", "four"]


def test_a_transaction_that_commits_late_is_found(history: History) -> None:
    history.make()
    with history.transaction() as slow, history.transaction() as slower:
        history.say_in(slow, "slow", "s1", "s2")
        history.say_in(slower, "slower", "r1")
        history.say("quick", "q1")
        history.discover()
        assert history.texts() == ["q1"]
        history.say("quick", "q2")
        slow.commit()
        history.discover()
        assert history.texts() == ["s1", "s2", "q1", "q2"]
        slower.rollback()
    history.discover()
    assert history.texts() == ["s1", "s2", "q1", "q2"]


def test_the_first_row_of_all_may_commit_last(history: History) -> None:
    history.make()
    with history.transaction() as slow:
        history.say_in(slow, "slow", "first")
        history.say("quick", "second")
        history.discover()
        slow.commit()
    history.discover()
    assert history.texts() == ["first", "second"]


def test_a_cached_sequence_hands_out_low_ids_long_after(history: History) -> None:
    history.make(also="ALTER SEQUENCE told_id_seq CACHE 50")
    with history.transaction() as one, history.transaction() as other:
        for number in range(5):
            history.say_in(one, "one", f"one {number}")
            one.commit()
            history.say_in(other, "other", f"other {number}")
            other.commit()
            history.discover()
    assert history.texts("one") == [f"one {number}" for number in range(5)]
    assert history.texts("other") == [f"other {number}" for number in range(5)]


def test_times_play_no_part_where_there_is_an_id(history: History) -> None:
    history.make().say("a", "now", at="2025-01-20T09:00:00Z")
    history.discover()
    history.say("a", "before", at="2025-01-10T23:59:00Z")
    history.discover()
    assert history.texts() == ["now", "before"]


def test_a_session_belongs_to_the_day_it_began_in(history: History, query: Query) -> None:
    history.make().say("a", "late", at="2025-01-15T23:59:30Z")
    history.discover()
    history.say("a", "past midnight", at="2025-01-16T00:00:30Z")
    report = history.discover()
    assert [day.isoformat() for day in report.ingested.days] == ["2025-01-15"]
    assert query("SELECT days_date::text, line_count FROM data_items") == [("2025-01-15", 2)]


def test_a_row_of_a_time_to_come_is_taken_in_when_it_has_come(history: History) -> None:
    history.make().say("a", "tomorrow", at="2025-01-21T09:00:00Z")
    history.say("a", "today")
    report = history.discover()
    assert (len(report.not_yet), report.rejected, history.texts()) == (1, 0, ["today"])
    history.sql("UPDATE told SET created_at = '2025-01-20T09:00:00Z' WHERE id = 1")
    history.discover()
    assert history.texts() == ["tomorrow", "today"]


def test_a_row_inserted_far_below_is_found_by_the_patrol(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crew_pipeline.discovery.scan.BLOCK_OF_IDS", 10)
    monkeypatch.setattr("crew_pipeline.discovery.watermark.MOST_GAPS", 2)
    monkeypatch.setattr(incremental, "PATROL_BLOCKS", 2)
    history.make(also="INSERT INTO told (id, session_id, message) SELECT n * 2, 'a', "
                 """'{"type": "ai", "content": "x"}' FROM generate_series(1, 60) AS n""")  # fmt: skip
    history.discover()
    history.sql(
        """INSERT INTO told (id, session_id, message) VALUES (7, 'late', '{"type": "ai", "content": "late"}')"""
    )
    for _ in range(12):
        history.discover()
    assert history.texts("late") == ["late"]
    assert len(history.texts()) == 61


@pytest.mark.parametrize("kept", ["keep", "withdraw"])
def test_a_session_that_is_cleared_and_begun_again(history: History, query: Query, kept: str) -> None:
    history.make().say("b", "another")
    history.say("a", "old one", "old two")
    history.discover(deleted_sessions=kept)
    history.sql("DELETE FROM told WHERE session_id = 'a'")
    history.say("a", "old one", "new two")
    for _ in range(3):
        history.discover(deleted_sessions=kept)
    left = ["old one", "new two"]
    assert history.texts("a") == (["old one", "old two", *left] if kept == "keep" else left)
    aside = query("SELECT text FROM withdrawn_lines ORDER BY position")
    assert aside == ([] if kept == "keep" else [("old one",), ("old two",)])
    assert history.texts("b") == ["another"]


@pytest.mark.parametrize("kept", ["keep", "withdraw"])
def test_a_deleted_session_is_noticed(history: History, query: Query, kept: str) -> None:
    history.make().say("gone", "one", "two")
    history.say("stays", "three")
    history.discover(deleted_sessions=kept)
    query("UPDATE data_items SET semantic_status = 'completed'")
    history.sql("DELETE FROM told WHERE session_id = 'gone'")
    reports = [history.discover(deleted_sessions=kept) for _ in range(3)]
    assert [report.deleted for report in reports].count(["gone"]) == 1
    found = query("SELECT session_id, source_deleted_at IS NOT NULL, semantic_status FROM data_items ORDER BY 1")
    if kept == "keep":
        assert found == [("gone", True, "completed"), ("stays", False, "completed")]
        assert history.texts("gone") == ["one", "two"]
    else:
        assert found == [("stays", False, "completed")]
        assert [day.isoformat() for day in reports[0].ingested.days] == ["2025-01-15"]
        assert query("SELECT session_id, text FROM withdrawn_lines ORDER BY position") == [
            ("gone", "one"),
            ("gone", "two"),
        ]


def test_a_session_that_comes_back_is_no_longer_deleted(history: History, query: Query) -> None:
    history.make().say("a", "one")
    history.say("b", "two")
    history.discover()
    history.sql("DELETE FROM told WHERE session_id = 'a'")
    history.discover()
    assert query("SELECT count(*) FROM data_items WHERE source_deleted_at IS NOT NULL") == [(1,)]
    history.say("a", "three")
    history.discover()
    assert query("SELECT count(*) FROM data_items WHERE source_deleted_at IS NOT NULL") == [(0,)]
    assert history.texts("a") == ["one", "three"]


def test_a_table_that_is_emptied_and_counts_from_one_again_loses_nothing(history: History) -> None:
    history.make().say("a", "one", "two", "three")
    history.discover()
    history.sql("TRUNCATE told RESTART IDENTITY")
    history.say("a", "four", "five", at="2025-01-15T10:00:00Z")
    assert history.discover().begun_anew
    history.say("a", "six", "seven", "eight", at="2025-01-15T11:00:00Z")
    report = history.discover()
    assert not report.begun_anew
    assert history.texts("a") == ["one", "two", "three", "four", "five", "six", "seven", "eight"]
    assert history.discover().reading.lines_read == 0


def test_an_emptied_table_is_noticed_before_it_fills_again(history: History) -> None:
    history.make().say("a", "one", "two")
    history.discover()
    history.sql("TRUNCATE told RESTART IDENTITY")
    history.discover()
    history.discover()
    history.say("a", "three", "four", "five", at="2025-01-15T10:00:00Z")
    history.discover()
    assert history.texts("a") == ["one", "two", "three", "four", "five"]


def test_a_copy_of_the_table_with_other_ids_brings_nothing_twice(history: History) -> None:
    history.make().say("a", "one", "two")
    history.say("b", "three")
    history.say("a", "four")
    history.discover()
    history.sql("ALTER TABLE told RENAME TO before")
    history.sql("CREATE TABLE told (LIKE before INCLUDING ALL); CREATE SEQUENCE again OWNED BY told.id; "
                "ALTER TABLE told ALTER id SET DEFAULT nextval('again'); "
                "INSERT INTO told (session_id, message, created_at) "
                "SELECT session_id, message, created_at FROM before ORDER BY session_id, id")  # fmt: skip
    history.say("b", "five", at="2025-01-15T12:00:00Z")
    for _ in range(3):
        history.discover()
    assert sorted(history.texts()) == ["five", "four", "one", "three", "two"]
    assert history.texts("b") == ["three", "five"]


def test_another_table_for_the_same_crew_is_read_from_its_beginning(history: History) -> None:
    history.make().say("a", "one", "two")
    history.discover()
    history.sql("CREATE TABLE moved AS SELECT id + 1000 AS id, session_id, message, created_at FROM told")
    history.sql(
        'INSERT INTO moved VALUES (1010, \'a\', \'{"type": "human", "content": "three"}\', \'2025-01-15T10:00Z\')'
    )
    with history.db.write() as connection:
        set_history(connection, "acme", "agents", "HISTORIES", "moved")
    assert history.discover().begun_anew
    assert history.texts() == ["one", "two", "three"]
    assert not history.discover().begun_anew


def test_batches_take_a_bounded_number_of_sessions(history: History) -> None:
    history.make()
    for number in range(25):
        history.say(f"s{number}", f"text {number}")
    sizes: list[int] = []
    original = incremental.ingest

    def watched(connection: object, **values: object) -> object:
        sizes.append(len({line.session_id for line in values["lines"]}))
        return original(connection, **values)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(incremental, "ingest", watched)
        report = history.discover(discovery_batch=10)
    assert sizes == [10, 10, 5]
    assert report.ingested.conversations_new == 25


def test_what_the_time_does_not_suffice_for_is_read_the_next_time(history: History) -> None:
    history.make()
    for number in range(4):
        history.say(f"s{number}", f"text {number}")
    first = history.discover(discovery_batch=1, discovery_timeout_s=1e-6)
    assert (first.finished, first.ingested.conversations_new) == (False, 1)
    assert history.discover(discovery_batch=1).finished
    assert history.texts() == ["text 0", "text 1", "text 2", "text 3"]


def test_a_round_that_dies_between_two_batches_is_taken_up_again(history: History) -> None:
    history.make()
    for number in range(6):
        history.say(f"s{number}", f"text {number}")
    calls = 0
    original = incremental.ingest

    def dying(connection: object, **values: object) -> object:
        nonlocal calls
        calls += 1
        done = original(connection, **values)
        if calls == 2:
            raise KeyboardInterrupt
        return done

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(incremental, "ingest", dying)
        with pytest.raises(KeyboardInterrupt):
            history.discover(discovery_batch=2)
    assert history.texts() == ["text 0", "text 1"]
    assert history.discover(discovery_batch=2).reading.lines_read == 4
    assert history.texts() == [f"text {number}" for number in range(6)]


def test_two_rounds_at_once_read_every_row_once(history: History) -> None:
    history.make()
    for number in range(60):
        history.say(f"s{number}", f"text {number}")
    reports = []
    threads = [threading.Thread(target=lambda: reports.append(history.discover(discovery_batch=3))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(report.reading.lines_read for report in reports) == 60
    assert sum(report.ingested.conversations_new for report in reports) == 60


def test_nothing_can_be_written_through_a_source(history: History) -> None:
    history.make().say("a", "one")
    with history.db.read() as connection:
        (source,) = incremental_sources(connection)
    with sources.opened(source, history.db, 5) as reader, pytest.raises(Exception, match="read-only"):
        reader.exec_driver_sql("DELETE FROM told")
    assert history.sql("SELECT count(*) FROM told") == [(1,)]


def incremental_sources(connection: object) -> list[object]:
    from crew_pipeline.storage.sources.crews import history_sources

    return history_sources(connection)


def test_the_old_way_reads_the_whole_table_and_changes_nothing(history: History) -> None:
    history.make().say("a", "one", "two")
    history.discover()
    full = history.discover(use_optimized_discovery=False)
    assert (full.reading.lines_read, full.ingested.lines_new, full.ingested.conversations_changed) == (2, 0, 0)
    history.say("a", "three")
    history.discover(use_optimized_discovery=False)
    assert history.discover().ingested.lines_new == 0
    assert history.texts() == ["one", "two", "three"]


def test_n8n_memory_without_times_or_an_index_is_read_and_its_times_are_marked(history: History, query: Query) -> None:
    history.make("n8n")
    messages = [
        {"type": "human", "content": "hello", "additional_kwargs": {}, "response_metadata": {}},
        {"type": "ai", "content": "", "tool_calls": [{"name": "search", "args": {"q": "x"}, "id": "1"}]},
        {"type": "tool", "content": [{"type": "text", "text": "found"}, {"type": "image_url"}], "name": "search"},
        {"type": "ai", "content": "Here you are.", "tool_calls": [], "invalid_tool_calls": []},
    ]
    for message in messages:
        history.sql("INSERT INTO told (session_id, message) VALUES ('a', %s)", json.dumps(message))
    report = history.discover()
    assert any("tells no time" in warning for warning in report.warnings)
    assert query("SELECT speaker, text, spoken_at::text FROM lines ORDER BY position") == [
        ("human", "hello", "2025-01-20 12:00:00+00"),
        ("ai", "calls search", "2025-01-20 12:00:00+00"),
        ("search", "found", "2025-01-20 12:00:00+00"),
        ("ai", "Here you are.", "2025-01-20 12:00:00+00"),
    ]
    assert query("SELECT times_inferred FROM data_items") == [(True,)]
    query("UPDATE crew_discovery_state SET watermark = NULL")
    history.db.close()
    assert history.discover().ingested.lines_changed == 0


def test_statements_of_an_n8n_round_never_look_for_a_session(history: History) -> None:
    history.make("n8n")
    for number in range(30):
        message = json.dumps({"type": "human", "content": f"text {number}"})
        history.sql("INSERT INTO told (session_id, message) VALUES (%s, %s)", f"s{number % 5}", message)
    history.discover()
    history.sql("INSERT INTO told (session_id, message) VALUES ('s1', %s)", json.dumps({"type": "ai", "content": "x"}))
    seen: list[str] = []
    original = sources.source_engine

    def watched(*values: object) -> object:
        made = original(*values)
        event.listen(made, "before_cursor_execute", lambda *args: seen.append(args[2]))
        return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "source_engine", watched)
        assert history.discover().reading.lines_read == 1
    assert not any("session_id IN" in statement or "session_id =" in statement for statement in seen)


def test_langchain_history_with_uuids_is_read(history: History) -> None:
    history.make("langchain")
    session = "7b1d0e0e-6a3c-4a6e-9b57-0a2f3c7d1e11"
    for message in (
        {"type": "human", "data": {"content": "hello", "type": "human", "name": None, "example": False}},
        {"type": "ai", "data": {"content": [{"type": "text", "text": "hi"}, "there"], "tool_calls": []}},
    ):
        history.sql("INSERT INTO told (session_id, message) VALUES (%s, %s)", session, json.dumps(message))
    history.discover()
    assert history.texts(session) == ["hello", "hi\nthere"]


def plain(history: History, session: str, text: str, at: str) -> None:
    history.sql("INSERT INTO told VALUES (%s, 'Ann', %s, %s)", session, text, at)


def test_a_table_without_an_id_is_read_by_its_times(history: History) -> None:
    history.make("plain", also="CREATE INDEX ON told (created_at)")
    plain(history, "a", "one", "2025-01-20T09:00:00Z")
    plain(history, "a", "two", "2025-01-20T09:00:00Z")
    assert history.discover().reading.lines_read == 2
    plain(history, "a", "three", "2025-01-20T09:00:00Z")
    plain(history, "b", "earlier", "2025-01-20T08:59:00Z")
    plain(history, "a", "four", "2025-01-20T09:00:01Z")
    history.discover()
    assert sorted(history.texts()) == ["earlier", "four", "one", "three", "two"]
    plain(history, "c", "clock an hour back", "2025-01-20T08:00:01Z")
    history.discover()
    assert history.texts("c") == ["clock an hour back"]
    assert history.texts("a") == ["one", "two", "three", "four"]
    assert history.discover().reading.lines_read == 0


def test_an_old_time_in_a_table_without_an_id_is_found_by_the_patrol(history: History) -> None:
    history.make("plain", also="CREATE INDEX ON told (created_at)")
    plain(history, "a", "now", "2025-01-20T09:00:00Z")
    history.discover()
    plain(history, "b", "years ago", "2019-03-01T09:00:00Z")
    history.discover()
    assert sorted(history.texts()) == ["now", "years ago"]


def test_a_time_to_come_does_not_carry_the_watermark_away(history: History) -> None:
    history.make("plain", also="CREATE INDEX ON told (created_at)")
    plain(history, "a", "tomorrow", "2025-01-21T09:00:00Z")
    plain(history, "a", "one", "2025-01-20T09:00:00Z")
    assert len(history.discover().not_yet) == 1
    plain(history, "a", "two", "2025-01-20T09:01:00Z")
    history.discover()
    assert history.texts() == ["one", "two"]
