"""Sources that are emptied, edited, crowded, odd or hostile lose nothing, tell nothing, and stop nobody else."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from crew_pipeline.discovery import incremental, scan
from crew_pipeline.discovery.check import check_source
from crew_pipeline.discovery.discover import RoundPlan, apply_crews_file, discover, discover_session
from crew_pipeline.settings import Settings
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.sources.crews import HistorySource, history_sources, set_history
from crew_pipeline_tests.conftest import NOW, bring, lines_at
from crew_pipeline_tests.histories import History

Query = Callable[..., list[tuple[object, ...]]]


def history_source(db: Database, client: str) -> HistorySource:
    with db.read() as connection:
        return history_sources(connection, client)[0]


def n8n(history: History, session: str, *texts: str, keys: tuple[int, ...] = ()) -> None:
    for number, words in enumerate(texts):
        message = json.dumps({"type": "human", "content": words})
        if keys:
            history.sql("INSERT INTO told VALUES (%s, %s, %s)", keys[number], session, message)
        else:
            history.sql("INSERT INTO told (session_id, message) VALUES (%s, %s)", session, message)


def test_sessions_cleared_one_after_the_other_lose_nothing_where_ids_come_again(
    tmp_path: Path, db: Database, settings: Settings, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "langchain.db"
    monkeypatch.setenv("LANGCHAIN", f"sqlite:///{path}")
    with db.write() as connection:
        set_history(connection, "acme", "agents", "LANGCHAIN", "message_store")

    def change(*statements: str) -> None:
        with sqlite3.connect(path) as connection:
            for statement in statements:
                connection.execute(statement)
        (report,) = discover(db, settings, NOW)
        assert report.error is None

    def said(session: str, words: str) -> str:
        message = json.dumps({"type": "human", "data": {"content": words}})
        return f"INSERT INTO message_store (session_id, message) VALUES ('{session}', '{message}')"

    change(
        "CREATE TABLE message_store (id INTEGER PRIMARY KEY, session_id TEXT, message TEXT)",
        *(said("b", f"b{number}") for number in range(7)),
        *(said("a", f"old{number}") for number in range(3)),
    )
    change("DELETE FROM message_store WHERE session_id = 'a'")
    change("DELETE FROM message_store WHERE session_id = 'b'")
    change(*(said("a", f"new{number}") for number in range(12)))
    texts = [row[0] for row in query("SELECT text FROM lines ORDER BY text")]
    expected = [*(f"b{n}" for n in range(7)), *(f"old{n}" for n in range(3)), *(f"new{n}" for n in range(12))]
    assert texts == sorted(expected)


@pytest.mark.parametrize("way", ["webhook", "full", "round"])
def test_no_way_of_reading_overwrites_after_a_table_was_emptied(history: History, way: str) -> None:
    history.make().say("a", "old1", "old2", "old3", at="2025-01-15T09:00:00Z")
    history.discover()
    history.sql("TRUNCATE told RESTART IDENTITY")
    history.say("a", "new1", "new2", at="2025-01-15T10:00:00Z")
    if way == "webhook":
        with history.db.read() as connection:
            (source,) = history_sources(connection)
        assert discover_session(history.db, history.settings, NOW, source, "a").error is None
    else:
        history.discover(use_optimized_discovery=way != "full")
    history.discover()
    assert history.texts("a") == ["old1", "old2", "old3", "new1", "new2"]


def test_a_table_that_is_emptied_during_a_round_overwrites_nothing(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    history.make().say("a", "old1", "old2", "old3", at="2025-01-15T09:00:00Z")
    history.discover()
    patrol = incremental.CrewRound._patrol

    def emptied(self: incremental.CrewRound) -> None:
        history.sql("TRUNCATE told RESTART IDENTITY")
        history.say("a", "new1", "new2", at="2025-01-15T10:00:00Z")
        patrol(self)

    monkeypatch.setattr(incremental.CrewRound, "_patrol", emptied)
    history.discover()
    monkeypatch.undo()
    monkeypatch.setenv("HISTORIES", history.url)
    history.discover()
    assert sorted(history.texts("a")) == ["new1", "new2", "old1", "old2", "old3"]


def test_withdrawing_takes_only_what_the_source_has_no_more(history: History, query: Query) -> None:
    history.make("n8n")
    n8n(history, "a", *(f"a{number}" for number in range(6)))
    n8n(history, "b", "b0", "b1")
    history.discover(deleted_sessions="withdraw")
    history.sql("DELETE FROM told WHERE session_id = 'b'")
    history.sql("DELETE FROM told WHERE id <= 2")
    for _ in range(3):
        history.discover(deleted_sessions="withdraw")
    assert history.texts() == ["a2", "a3", "a4", "a5"]
    assert query("SELECT text FROM withdrawn_lines ORDER BY text") == [("a0",), ("a1",), ("b0",), ("b1",)]


@pytest.mark.parametrize("kept", ["keep", "withdraw"])
def test_what_an_emptied_table_held_is_noticed_as_deleted(history: History, query: Query, kept: str) -> None:
    history.make().say("a", "one")
    history.say("b", "two")
    history.discover(deleted_sessions=kept)
    history.sql("TRUNCATE told RESTART IDENTITY")
    history.discover(deleted_sessions=kept)
    left = query("SELECT count(*) FILTER (WHERE source_deleted_at IS NOT NULL), count(*) FROM data_items")
    assert left == [(2, 2) if kept == "keep" else (0, 0)]


def test_a_source_that_falls_back_and_comes_again_brings_nothing_twice(history: History) -> None:
    history.make("n8n")
    n8n(history, "a", *(f"text {number}" for number in range(10)))
    history.discover()
    for _ in range(3):
        history.sql("CREATE TABLE aside AS SELECT * FROM told WHERE id > 5; DELETE FROM told WHERE id > 5")
        history.discover()
        history.sql("INSERT INTO told SELECT * FROM aside; DROP TABLE aside")
        history.discover()
    assert history.texts() == [f"text {number}" for number in range(10)]


def test_imported_conversations_of_a_crew_are_not_its_tables_to_delete(history: History, query: Query) -> None:
    bring(history.db, lines_at("2025-01-15", "imported", ("Ann", "kept")), crew="agents")
    history.make().say("a", "one")
    history.say("b", "two")
    history.discover(deleted_sessions="withdraw")
    history.sql("DELETE FROM told WHERE session_id = 'a'")
    history.discover(deleted_sessions="withdraw")
    assert sorted(history.texts()) == ["kept", "two"]


def test_a_crew_that_is_set_up_otherwise_during_a_round_ends_it(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    history.make()
    for number in range(6):
        history.say(f"s{number}", f"text {number}")
    history.sql("CREATE TABLE other (LIKE told INCLUDING ALL)")
    read_on = incremental.CrewRound._read_on

    def moving(self: incremental.CrewRound) -> bool:
        more = read_on(self)
        with history.db.write() as another:
            set_history(another, "acme", "agents", "HISTORIES", "other")
        return more

    monkeypatch.setattr(incremental.CrewRound, "_read_on", moving)
    chosen = history.settings.model_copy(update={"discovery_batch": 2})
    (report,) = discover(history.db, chosen, NOW)
    assert "set up otherwise" in str(report.error)
    assert history.texts() == ["text 0", "text 1"]


def plain(history: History, rows: str) -> None:
    history.sql(f"INSERT INTO told SELECT {rows}")


def test_any_number_of_rows_of_one_moment_is_read(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "MOST_ROWS", 100)
    history.make("plain", also="CREATE INDEX ON told (created_at)")
    plain(history, "'a', 'Ann', 'before ' || n, '2025-01-20T08:59Z'::timestamptz FROM generate_series(1, 60) AS n")
    plain(history, "'a', 'Ann', 'text ' || n, '2025-01-20T09:00Z'::timestamptz FROM generate_series(1, 1500) AS n")
    plain(history, "'b', 'Ann', 'after', '2025-01-20T09:01Z'::timestamptz")
    history.discover()
    assert len(set(history.texts())) == 1561
    assert history.discover().reading.lines_read == 0


def test_of_two_rows_of_one_moment_one_may_be_deleted(history: History) -> None:
    history.make("plain", also="CREATE INDEX ON told (created_at)")
    plain(history, "'a', 'Ann', said, '2025-01-20T09:00Z'::timestamptz FROM unnest(ARRAY['X', 'Y']) AS said")
    history.discover()
    history.sql("DELETE FROM told WHERE text = 'X'")
    for _ in range(2):
        history.discover()
    assert history.texts() == ["X", "Y"]


def test_a_crew_may_go_from_table_to_table_whatever_their_keys(history: History) -> None:
    history.make("plain", also="CREATE INDEX ON told (created_at)")
    plain(history, "'a', 'Ann', 'by time', '2025-01-20T09:00Z'::timestamptz")
    history.sql(
        "CREATE TABLE second (LIKE told); INSERT INTO second VALUES ('a', 'Ann', 'same time', '2025-01-20T09:00Z')"
    )
    history.sql("CREATE TABLE third (id int PRIMARY KEY, session_id text, speaker text, text text)")
    history.sql("INSERT INTO third VALUES (1, 'a', 'Ann', 'by id')")
    for name in ("told", "second", "third", "told", "third"):
        with history.db.write() as connection:
            set_history(connection, "acme", "agents", "HISTORIES", name)
        history.discover()
    assert sorted(history.texts("a")) == ["by id", "by time", "same time"]


@pytest.mark.parametrize("moment", ["infinity", "-infinity", "0044-03-15 BC", "12000-01-01"])
def test_a_row_with_an_impossible_time_is_refused_and_the_others_are_read(history: History, moment: str) -> None:
    history.make().say("a", "one", "two")
    history.sql("UPDATE told SET created_at = %s WHERE id = 1", moment)
    report = history.discover()
    assert (report.rejected, history.texts()) == (1, ["two"])


@pytest.mark.parametrize("moment", ["infinity", "-infinity", "0044-03-15 BC", None])
def test_an_impossible_time_as_a_key_holds_nothing_up(history: History, moment: str | None) -> None:
    history.make("plain", also="CREATE INDEX ON told (created_at)")
    history.sql("INSERT INTO told VALUES ('a', 'Ann', 'odd', %s)", moment)
    plain(history, "'a', 'Ann', 'even', '2025-01-20T09:00Z'::timestamptz")
    history.discover()
    assert history.texts() == ["even"]


def test_json_of_any_depth_is_refused_and_stops_nobody(history: History) -> None:
    history.make().say("a", "one")
    deep = "[" * 3000 + "]" * 3000
    history.sql("INSERT INTO told (session_id, message) VALUES ('a', %s)", f'{{"type": "ai", "content": {deep}}}')
    report = history.discover()
    assert (report.rejected, history.texts()) == (1, ["one"])


def test_a_null_id_that_comes_later_holds_nothing_up(history: History, query: Query) -> None:
    history.sql("CREATE TABLE told (id int, session_id text, message jsonb)")
    with history.db.write() as connection:
        set_history(connection, "acme", "agents", "HISTORIES", "told")
    n8n(history, "a", "one", keys=(1,))
    assert any("unique" in warning for warning in history.discover().warnings)
    n8n(history, "a", "no id")
    n8n(history, "a", "two", keys=(2,))
    assert not history.discover().begun_anew
    assert history.texts() == ["one", "two"]


def test_text_that_is_not_utf_8_is_refused_row_by_row(
    tmp_path: Path, db: Database, settings: Settings, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "odd.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE told (id INTEGER PRIMARY KEY, session_id TEXT, speaker TEXT, text TEXT)")
        connection.execute("INSERT INTO told VALUES (1, 'a', 'Ann', CAST(X'FFFE41' AS TEXT)), (2, 'a', 'Ann', 'fine')")
    monkeypatch.setenv("ODD", f"sqlite:///{path}")
    with db.write() as connection:
        set_history(connection, "acme", "agents", "ODD", "told")
    (report,) = discover(db, settings, NOW)
    assert (report.error, report.rejected) == (None, 1)
    assert query("SELECT text FROM lines") == [("fine",)]


def test_a_column_that_is_added_to_the_source_changes_nothing(history: History) -> None:
    history.make().say("a", "one")
    history.discover()
    history.sql("ALTER TABLE told ADD username text")
    history.say("a", "two")
    assert history.discover().rejected == 0
    assert history.texts() == ["one", "two"]


def test_a_mapping_that_is_corrected_corrects_the_lines(history: History, query: Query) -> None:
    history.sql(
        "CREATE TABLE told (id int PRIMARY KEY, session_id text, role text, who text, text text, "
        "created_at timestamptz)"
    )
    history.sql("INSERT INTO told VALUES (1, 'a', 'user', 'Ann', 'hello', '2025-01-15T09:00Z')")
    for column, speaker in (("role", "user"), ("who", "Ann")):
        with history.db.write() as connection:
            set_history(connection, "acme", "agents", "HISTORIES", "told", {"speaker": column})
        history.discover(use_optimized_discovery=False)
        assert query("SELECT speaker, text FROM lines") == [(speaker, "hello")]


def test_sessions_may_be_whole_numbers(history: History) -> None:
    history.sql(
        "CREATE TABLE told (id serial PRIMARY KEY, session_id bigint, message jsonb); CREATE INDEX ON told (session_id)"
    )
    with history.db.write() as connection:
        set_history(connection, "acme", "agents", "HISTORIES", "told")
    n8n(history, "17", "one")
    n8n(history, "18", "two")
    history.discover()
    history.sql("DELETE FROM told WHERE session_id = 18")
    assert history.discover().deleted == ["18"]
    assert history.texts("17") == ["one"]


def test_ids_that_lie_far_apart_make_few_blocks(history: History, query: Query) -> None:
    history.make("n8n", also="ALTER TABLE told ALTER id TYPE bigint")
    history.sql("""INSERT INTO told SELECT 1736931600000 * 4194304 + n * 4194304 * 60, 's' || n % 7,
                   '{"type": "ai", "content": "x"}' FROM generate_series(1::bigint, 3000) AS n""")
    assert history.discover().ingested.lines_new == 3000
    assert query("SELECT count(*) BETWEEN 1 AND 10 FROM crew_discovery_blocks") == [(True,)]
    late = 1736931600000 * 4194304 + 17
    n8n(history, "late", "late", keys=(late,))
    history.discover()
    assert history.texts("late") == ["late"]


def test_gaps_are_looked_up_by_the_index_one_by_one(history: History) -> None:
    history.make("n8n")
    history.sql("""INSERT INTO told SELECT n * 100 + k, 's' || n, '{"type": "ai", "content": "x"}'
                   FROM generate_series(1, 300) AS n, generate_series(1, 50) AS k""")
    history.discover()
    history.sql("ANALYZE told")
    n8n(history, "late", "first", "last", keys=(29_960, 29_870))
    report = history.discover()
    assert report.reading.lines_read == 2
    assert sorted(history.texts("late")) == ["first", "last"]


def test_rows_of_times_to_come_hide_no_late_ones(history: History) -> None:
    history.make()
    for number in range(8):
        history.say(f"future{number}", "tomorrow", at="2025-01-21T09:00:00Z")
    with history.transaction() as slow:
        history.say_in(slow, "slow", "late")
        history.say("quick", "now")
        history.discover(discovery_batch=2)
        slow.commit()
    history.discover(discovery_batch=2)
    assert sorted(history.texts()) == ["late", "now"]


def test_a_full_reading_keeps_to_its_time_and_goes_on(history: History) -> None:
    history.make()
    for number in range(5):
        history.say(f"s{number}", f"text {number}")
    rounds = 0
    while not history.discover(use_optimized_discovery=False, discovery_batch=1, discovery_timeout_s=1e-6).finished:
        rounds += 1
    assert rounds == 4
    assert len(history.texts()) == 5


def test_no_secret_and_no_words_are_logged(
    history: History, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG, logger="crew_pipeline")
    history.make().say("a", "secret words")
    monkeypatch.setenv("HISTORIES", "postgresql://user:pass@word@127.0.0.1:1/none")
    (report,) = discover(history.db, history.settings, NOW)
    assert "%40" in str(report.error)
    monkeypatch.setenv("HISTORIES", "postgresql://user:hunter2@127.0.0.1:1/none")
    discover(history.db, history.settings, NOW)
    assert not any(secret in caplog.text for secret in ("hunter2", "word@", "secret words"))
    assert logging.getLogger("httpx").level == logging.WARNING


def test_applying_the_crews_file_again_undoes_neither_backoff_nor_anything_else(
    tmp_path: Path, db: Database, settings: Settings, query: Query
) -> None:
    path = tmp_path / "crews.yaml"
    path.write_text("clients: {acme: {crews: {agents: {table: told, source_env: NOT_SET}}}}")
    chosen = settings.model_copy(update={"crews_file": path})
    for _ in range(3):
        assert apply_crews_file(db, chosen, NOW) is None
        discover(db, chosen, NOW, plan=RoundPlan(due=True))
    assert query("SELECT count(*) FROM crew_discovery_rounds") == [(1,)]
    path.write_text("clients: [")
    assert "no YAML" in str(apply_crews_file(db, chosen, NOW))
    assert len(discover(db, chosen, datetime.now(UTC))) == 1


def test_an_edited_row_is_not_taken_for_a_new_beginning_again_and_again(history: History, query: Query) -> None:
    history.make("n8n")
    n8n(history, "a", *(f"text {number}" for number in range(20)))
    history.discover()
    history.sql("""UPDATE told SET message = '{"type": "human", "content": "otherwise"}' WHERE id = 17""")
    for _ in range(4):
        assert not history.discover().begun_anew
    ((watermark,),) = query("SELECT watermark FROM crew_discovery_state")
    assert watermark["bases"] == [[0, 0]]


def test_ids_that_are_not_unique_lose_nothing(history: History, query: Query) -> None:
    history.sql("CREATE TABLE told (id int, session_id text, message jsonb)")
    with history.db.write() as connection:
        set_history(connection, "acme", "agents", "HISTORIES", "told")
    history.sql("""INSERT INTO told SELECT n / 2, 'a', jsonb_build_object('type', 'ai', 'content', 'text ' || n)
                   FROM generate_series(0, 399) AS n""")
    for _ in range(3):
        assert history.discover().rejected == 0
    assert len(history.texts()) == len(set(history.texts())) == 400


def test_a_session_cleared_and_begun_again_a_hundred_times_under_the_same_ids_loses_nothing(
    history: History, query: Query
) -> None:
    history.make()
    for number in range(100):
        history.sql("TRUNCATE told RESTART IDENTITY")
        at = f"2025-01-15T{number // 6:02d}:{number % 6}0:00Z"
        history.say("a", f"{number} one", f"{number} two", at=at)
        history.discover()
    assert history.texts() == [f"{number} {word}" for number in range(100) for word in ("one", "two")]


@pytest.mark.parametrize("key", [2**63 - 1, 2**63 - 2000, 2**62, -(2**63), -5])
def test_an_extreme_id_stops_nobody(history: History, key: int) -> None:
    history.make("n8n", also="ALTER TABLE told ALTER id TYPE bigint")
    n8n(history, "a", "one", "two")
    n8n(history, "a", "extreme", keys=(key,))
    history.discover()
    n8n(history, "a", "three")
    history.discover()
    assert [text for text in history.texts() if text != "extreme"] == ["one", "two", "three"]


def test_ids_of_great_size_may_begin_anew_often(history: History) -> None:
    history.make("n8n", also="ALTER TABLE told ALTER id TYPE bigint")
    for number in range(15):
        history.sql("TRUNCATE told")
        n8n(history, "a", f"{number} one", f"{number} two", keys=(10**18 + 7 * number % 3, 10**18 + 100))
        history.discover()
    assert len(history.texts()) == 30


def test_a_session_that_was_withdrawn_and_comes_back_as_it_was_is_read_again(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "BLOCK_OF_IDS", 64)
    monkeypatch.setattr(incremental, "PATROL_ROWS", 50)
    history.make("n8n")
    for session in "abc":
        n8n(history, session, *(f"{session} {number}" for number in range(60)))
    for _ in range(4):
        history.discover(deleted_sessions="withdraw")
    history.sql(
        "CREATE TABLE aside AS SELECT * FROM told WHERE session_id = 'b'; DELETE FROM told WHERE session_id = 'b'"
    )
    for _ in range(2):
        history.discover(deleted_sessions="withdraw")
    assert history.texts("b") == []
    history.sql("INSERT INTO told SELECT * FROM aside")
    for _ in range(6):
        history.discover(deleted_sessions="withdraw")
    assert len(history.texts("b")) == 60


def test_what_was_edited_is_kept_when_its_session_loses_its_beginning(
    history: History, monkeypatch: pytest.MonkeyPatch, query: Query
) -> None:
    monkeypatch.setattr(scan, "BLOCK_OF_IDS", 16)
    history.make("n8n")
    n8n(history, "a", *(f"text {number}" for number in range(40)))
    history.discover(deleted_sessions="withdraw")
    history.sql("""UPDATE told SET message = '{"type": "human", "content": "other words"}' WHERE id = 30""")
    history.sql("DELETE FROM told WHERE id = 1")
    for _ in range(3):
        history.discover(deleted_sessions="withdraw")
    assert set(history.texts()) == {*(f"text {number}" for number in range(1, 40) if number != 29), "other words"}


def test_all_deleted_sessions_of_a_stretch_are_withdrawn(history: History) -> None:
    history.make("plain", also="CREATE INDEX ON told (created_at)")
    plain(history, "'s' || n, 'Ann', 'text', '2025-01-20T09:00Z'::timestamptz + n * interval '0.1 second' "
                   "FROM generate_series(1, 1200) AS n")  # fmt: skip
    history.discover(deleted_sessions="withdraw")
    history.sql("DELETE FROM told WHERE session_id <> 's7'")
    for _ in range(3):
        history.discover(deleted_sessions="withdraw")
    assert history.texts() == ["text"]


def test_without_times_only_a_speaker_who_goes_on_edits_and_the_first_words_are_kept(
    history: History, query: Query
) -> None:
    history.make("n8n")
    n8n(history, "a", "Hi")
    n8n(history, "a", "Hello")
    history.discover()
    history.sql("TRUNCATE told RESTART IDENTITY")
    history.sql("""INSERT INTO told (session_id, message) VALUES ('a', '{"type": "ai", "content": "Hi! I am here"}')""")
    n8n(history, "a", "Hello there")
    history.discover()
    history.discover()
    texts = {*history.texts(), *(str(row[0]) for row in query("SELECT text FROM withdrawn_lines"))}
    assert texts == {"Hi", "Hello", "Hi! I am here", "Hello there"}


def test_a_message_of_a_table_without_ids_that_grows_is_one_line(history: History) -> None:
    history.make("plain", also="CREATE INDEX ON told (created_at)")
    plain(history, "'a', 'Ann', 'm' || n, '2025-01-20T09:00Z'::timestamptz FROM generate_series(1, 5) AS n")
    history.discover()
    history.sql("UPDATE told SET text = 'm3 and more' WHERE text = 'm3'")
    history.discover(use_optimized_discovery=False)
    history.discover()
    assert sorted(history.texts()) == ["m1", "m2", "m3 and more", "m4", "m5"]


def test_sessions_that_lose_their_oldest_rows_are_not_looked_for_in_vain_each_time(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    history.make("n8n")
    for number in range(10):
        n8n(history, f"s{number}", "one", "two", "three")
    history.discover()
    history.sql("DELETE FROM told WHERE id IN (SELECT min(id) FROM told GROUP BY session_id)")
    history.discover()
    looked: list[int] = []
    original = scan.sessions_present

    def watched(connection: object, table: object, names: list[str]) -> dict[str, int]:
        looked.append(len(names))
        return original(connection, table, names)

    monkeypatch.setattr(scan, "sessions_present", watched)
    history.discover()
    assert looked == []
    assert len(history.texts()) == 30


@pytest.mark.parametrize(
    "name",
    ["lines", "public.lines", "PUBLIC.data_items", "api_tokens", "pg_catalog.pg_authid", "pg_shadow",
     "information_schema.tables", "alembic_version"],
)  # fmt: skip
@pytest.mark.parametrize("source_env", [None, "OWN"])
def test_tables_that_hold_all_clients_lines_are_no_history_tables(
    db: Database, settings: Settings, name: str, source_env: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OWN", db.url)
    bring(db, lines_at("2025-01-15", "a", ("Ann", "a secret of acme")), client="acme")
    with db.write() as connection:
        set_history(connection, "rival", "spy", source_env, name)
    (report,) = discover(db, settings, NOW)
    assert report.error is not None
    assert "no history table" in report.error
    assert "secret" not in str(check_source(db, settings, history_source(db, "rival")))
