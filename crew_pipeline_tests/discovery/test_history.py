"""History tables of real databases are read, and what fails of one crew does not stop the others."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text

from crew_pipeline.discovery.discover import discover
from crew_pipeline.discovery.messages import speaker_and_text
from crew_pipeline.discovery.records import RejectedLineError
from crew_pipeline.settings import Settings
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.sources.crews import CrewError, set_history
from crew_pipeline_tests.conftest import NOW

Query = Callable[..., list[tuple[object, ...]]]


def fill_sqlite(path: Path, rows: list[tuple[str, object, str]]) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS histories "
            "(id INTEGER PRIMARY KEY, session_id TEXT, message TEXT, created_at TEXT)"
        )
        connection.executemany(
            "INSERT INTO histories (session_id, message, created_at) VALUES (?, ?, ?)",
            [(session, json.dumps(message), moment) for session, message, moment in rows],
        )


def add_crew(db: Database, code: str, source_env: str | None, table: str = "histories") -> None:
    with db.write() as connection:
        set_history(connection, "acme", code, source_env, table)


def test_a_sqlite_history_is_read_and_reading_it_again_changes_nothing(
    tmp_path: Path, db: Database, settings: Settings, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source.db"
    fill_sqlite(source, [("a", {"role": "user", "content": "hello"}, "2025-01-15 09:00:00"),
                         ("b", {"type": "ai", "data": {"content": "hi there"}}, "2025-01-15 09:01:00"),
                         ("a", {"role": "ai", "content": [{"type": "text", "text": "part one"}, "part two"]},
                          "2025-01-15 09:02:00")])  # fmt: skip
    monkeypatch.setenv("SOURCE_OF_AGENTS", f"sqlite:///{source}")
    add_crew(db, "agents", "SOURCE_OF_AGENTS")
    (report,) = discover(db, settings, NOW)
    assert report.error is None
    assert (report.ingested.conversations_new, report.ingested.lines_new) == (2, 3)
    assert query("SELECT speaker, text FROM lines ORDER BY spoken_at") == [
        ("user", "hello"),
        ("ai", "hi there"),
        ("ai", "part one\npart two"),
    ]
    (again,) = discover(db, settings, NOW)
    assert (again.ingested.conversations_new, again.ingested.conversations_changed) == (0, 0)
    fill_sqlite(source, [("b", {"role": "user", "content": "one more"}, "2025-01-15 09:03:00")])
    (grown,) = discover(db, settings, NOW)
    assert (grown.ingested.conversations_changed, grown.ingested.lines_new) == (1, 1)


def test_a_postgres_history_with_jsonb_is_read_from_the_own_database(
    db: Database, settings: Settings, query: Query
) -> None:
    query(
        "CREATE TABLE agent_histories "
        "(id bigserial PRIMARY KEY, session_id uuid, message jsonb, created_at timestamptz)"
    )
    query(
        "INSERT INTO agent_histories (session_id, message, created_at) VALUES (gen_random_uuid(), :message, :moment)",
        message=json.dumps({"speaker": "Ann", "text": "hello"}),
        moment=NOW,
    )
    add_crew(db, "agents", None, "agent_histories")
    (report,) = discover(db, settings, NOW)
    assert report.ingested.lines_new == 1
    assert query("SELECT speaker, text, spoken_at FROM lines") == [("Ann", "hello", NOW)]


def test_a_row_that_cannot_be_used_is_counted_by_its_id(
    tmp_path: Path, db: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source.db"
    fill_sqlite(source, [("a", {"role": "user"}, "2025-01-15 09:00:00"),
                         ("a", {"role": "user", "content": "fine"}, "2025-01-15 09:01:00"),
                         ("a", ["no"], "2025-01-15 09:01:00"),
                         ("a", {"role": "user", "content": "when?"}, "some day")])  # fmt: skip
    monkeypatch.setenv("SOURCE_OF_AGENTS", f"sqlite:///{source}")
    add_crew(db, "agents", "SOURCE_OF_AGENTS")
    (report,) = discover(db, settings, NOW)
    assert report.ingested.lines_new == 1
    assert [number for number, _ in report.rejections] == [1, 3, 4]
    assert "no text" in report.rejections[0][1]


def test_two_sources_may_have_tables_of_one_name_and_other_columns(
    tmp_path: Path, db: Database, settings: Settings, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_sqlite(tmp_path / "one.db", [("a", {"role": "user", "content": "hello"}, "2025-01-15 09:00:00")])
    with sqlite3.connect(tmp_path / "two.db") as connection:
        connection.execute(
            "CREATE TABLE histories (number INTEGER PRIMARY KEY, thread_id TEXT, author TEXT, body TEXT)"
        )
        connection.execute("INSERT INTO histories VALUES (1, 't', 'Bo', 'hi')")
    for name in ("one", "two"):
        monkeypatch.setenv(f"SOURCE_{name.upper()}", f"sqlite:///{tmp_path / name}.db")
        add_crew(db, name, f"SOURCE_{name.upper()}")
    for _ in range(2):
        assert [report.error for report in discover(db, settings, NOW)] == [None, None]
    assert query("SELECT text FROM lines ORDER BY text") == [("hello",), ("hi",)]


def test_a_crew_that_fails_is_recorded_and_the_others_go_on(
    tmp_path: Path, db: Database, settings: Settings, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source.db"
    fill_sqlite(source, [("a", {"role": "user", "content": "hello"}, "2025-01-15 09:00:00")])
    monkeypatch.setenv("SOURCE_GOOD", f"sqlite:///{source}")
    monkeypatch.setenv("SOURCE_SECRET", "postgresql://user:hunter2@127.0.0.1:1/none")
    monkeypatch.setenv("SOURCE_WRONG", "not an address")
    add_crew(db, "a-missing-table", "SOURCE_GOOD", "nothing_here")
    add_crew(db, "b-unset", "SOURCE_UNSET")
    add_crew(db, "c-unreachable", "SOURCE_SECRET")
    add_crew(db, "d-wrong", "SOURCE_WRONG")
    monkeypatch.setenv("SOURCE_DRIVERLESS", "mssql+pymssql://user:hunter2@db/x")
    add_crew(db, "d-without-driver", "SOURCE_DRIVERLESS")
    add_crew(db, "e-good", "SOURCE_GOOD")
    reports = {report.crew: report for report in discover(db, settings, NOW)}
    assert reports["e-good"].error is None
    assert reports["e-good"].ingested.lines_new == 1
    assert "nothing_here" in str(reports["a-missing-table"].error)
    assert "SOURCE_UNSET is not set" in str(reports["b-unset"].error)
    assert "SOURCE_WRONG" in str(reports["d-wrong"].error)
    assert "needs the driver" in str(reports["d-without-driver"].error)
    assert not any("hunter2" in str(report.error) for report in reports.values())
    discover(db, settings, NOW)
    states = dict(query("SELECT code, consecutive_failures FROM crew_discovery_state JOIN crews ON id = crew_id"))
    assert states.pop("e-good") == 0
    assert set(states.values()) == {2}
    assert len(states) == 5


def test_a_server_elsewhere_is_read_by_a_user_who_may_only_read(
    external_url: str, db: Database, settings: Settings, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(external_url, autocommit=True) as owner:
        owner.execute("DROP TABLE IF EXISTS n8n_chat_histories; DROP ROLE IF EXISTS onlooker")
        owner.execute("CREATE TABLE n8n_chat_histories (id serial PRIMARY KEY, session_id varchar(255), message jsonb)")
        owner.execute("CREATE ROLE onlooker LOGIN PASSWORD 'look only'")
        owner.execute("GRANT SELECT ON n8n_chat_histories TO onlooker")
        owner.execute("INSERT INTO n8n_chat_histories (session_id, message) VALUES (%s, %s)",
                      ("a", json.dumps({"type": "human", "content": "hello"})))  # fmt: skip
        address = external_url.replace("postgres:correct-horse", "onlooker:look%20only")
        monkeypatch.setenv("N8N_DB", address)
        add_crew(db, "n8n", "N8N_DB", "n8n_chat_histories")
        (report,) = discover(db, settings, NOW)
        assert (report.error, report.ingested.conversations_new) == (None, 1)
        owner.execute("REVOKE SELECT ON n8n_chat_histories FROM onlooker")
        (refused,) = discover(db, settings, NOW)
        owner.execute("DROP TABLE n8n_chat_histories; DROP ROLE onlooker")
    assert "cannot be read" in str(refused.error)
    assert "look" not in str(refused.error)
    assert query("SELECT text FROM lines") == [("hello",)]


def test_a_table_name_that_is_more_than_a_name_is_refused(db: Database) -> None:
    with db.write() as connection, pytest.raises(CrewError, match="not a table name"):
        set_history(connection, "acme", "x", None, 'lines"; DROP TABLE lines; --')
    with db.read() as connection:
        assert connection.scalar(text("SELECT count(*) FROM lines")) == 0


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"speaker": "Ann", "text": "hi"}, ("Ann", "hi")),
        ({"type": "human", "content": "hi"}, ("human", "hi")),
        ('{"role": "ai", "content": "hi"}', ("ai", "hi")),
        ({"type": "ai", "data": {"content": "hi", "name": "Bot"}}, ("Bot", "hi")),
    ],
)
def test_messages_of_many_shapes_are_understood(message: object, expected: tuple[str, str]) -> None:
    assert speaker_and_text(message, Counter()) == expected


@pytest.mark.parametrize("message", [None, 3, [], "{", {"role": "ai"}, {"content": "x"}, {"role": "ai", "content": 3}])
def test_messages_without_speaker_or_text_are_refused(message: object) -> None:
    with pytest.raises(RejectedLineError):
        speaker_and_text(message, Counter())
