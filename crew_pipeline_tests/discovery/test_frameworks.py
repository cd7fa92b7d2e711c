"""Tables of agent frameworks are read by the columns that their makers give them, with nothing said by the user."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest

from crew_pipeline.discovery.discover import discover
from crew_pipeline.discovery.frameworks import recognise
from crew_pipeline.discovery.sources import opened
from crew_pipeline.discovery.table import examine
from crew_pipeline.settings import Settings
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.sources.crews import history_sources, set_history
from crew_pipeline_tests.conftest import NOW, SHARED

Query = Callable[..., list[tuple[object, ...]]]


class Table(NamedTuple):
    """A table of a framework: its definition, its rows, what they say, what is left out of them."""

    framework: str
    name: str
    columns: str
    rows: list[tuple[object, ...]]
    said: list[tuple[str, str]]
    left_out: dict[str, int]


def at(second: int) -> str:
    return f"2025-01-15T09:30:{second:02}Z"


CHAINLIT_ROWS: list[tuple[object, ...]] = [
    ("a1", "t1", None, "user_message", "ann", "", "Where is the key?", at(0)),
    ("a2", "t1", "a1", "run", "on_message", "Where is the key?", "", at(1)),
    ("a3", "t1", "a2", "tool", "search", "key", "drawer", at(2)),
    ("a4", "t1", "a2", "assistant_message", "Assistant", "", "In the drawer.", at(3)),
    ("a5", "t1", "a2", "assistant_message", "Assistant", "", "", at(4)),
]
KEY = [("user", "Where is the key?"), ("assistant", "In the drawer.")]


def event(author: str, *parts: dict[str, object], **more: object) -> dict[str, object]:
    return {"author": author, "invocation_id": "e-1", "content": {"role": "model", "parts": list(parts)}, **more}


TABLES = [
    Table(
        "Chainlit",
        "steps",
        '"id" {uuid}, "threadId" TEXT, "parentId" TEXT, "type" TEXT, "name" TEXT, "input" TEXT, "output" TEXT, '
        '"createdAt" TEXT',
        CHAINLIT_ROWS,
        [("ann", "Where is the key?"), ("Assistant", "In the drawer.")],
        {"steps of agents": 2, "empty messages": 1},
    ),
    Table(
        "Flowise",
        "chat_message",
        'id {uuid}, role VARCHAR(255), chatflowid VARCHAR(255), content TEXT, "sourceDocuments" TEXT, '
        '"createdDate" TIMESTAMP, "chatId" VARCHAR(255), "sessionId" VARCHAR(255)',
        [
            ("f1", "userMessage", "flow", "Where is the key?", None, "2025-01-15 09:30:00", "c1", None),
            ("f2", "apiMessage", "flow", "In the drawer.", "[]", "2025-01-15 09:30:05", "c1", None),
        ],
        KEY,
        {},
    ),
    Table(
        "Google ADK",
        "events",
        "id {uuid}, app_name VARCHAR(128), user_id VARCHAR(128), session_id VARCHAR(128), invocation_id VARCHAR(256), "
        "author VARCHAR(256), timestamp TIMESTAMP, content {json}",
        [
            ("e1", "app", "u", "s1", "i", "user", "2025-01-15 09:30:00",
             json.dumps({"role": "user", "parts": [{"text": "Where is the key?"}]})),
            ("e2", "app", "u", "s1", "i", "finder", "2025-01-15 09:30:01",
             json.dumps({"parts": [{"functionCall": {"name": "search", "args": {}}}]})),
            ("e3", "app", "u", "s1", "i", "finder", "2025-01-15 09:30:02", None),
            ("e4", "app", "u", "s1", "i", "finder", "2025-01-15 09:30:03",
             json.dumps({"parts": [{"text": "In the drawer."}]})),
        ],
        [("user", "Where is the key?"), ("finder", "calls search"), ("finder", "In the drawer.")],
        {"empty messages": 1},
    ),
    Table(
        "Google ADK",
        "events",
        "id {uuid}, app_name VARCHAR(128), user_id VARCHAR(128), session_id VARCHAR(128), invocation_id VARCHAR(256), "
        "timestamp TIMESTAMP, event_data {json}",
        [
            ("e1", "app", "u", "s1", "i", "2025-01-15 09:30:00",
             json.dumps(event("user", {"text": "Where is the key?"}))),
            ("e2", "app", "u", "s1", "i", "2025-01-15 09:30:01",
             json.dumps({"author": "finder", "invocation_id": "i", "actions": {"state_delta": {"x": 1}}})),
            ("e3", "app", "u", "s1", "i", "2025-01-15 09:30:02",
             json.dumps(event("finder", {"functionResponse": {"name": "search"}}))),
            ("e4", "app", "u", "s1", "i", "2025-01-15 09:30:03",
             json.dumps(event("finder", {"text": "In the drawer."}))),
        ],
        [("user", "Where is the key?"), ("finder", "In the drawer.")],
        {"events without words": 1, "results of tools": 1},
    ),
    Table(
        "OpenAI Agents SDK",
        "agent_messages",
        "id INTEGER PRIMARY KEY, session_id TEXT, message_data TEXT, created_at TIMESTAMP",
        [
            (1, "s1", json.dumps({"role": "user", "content": "Where is the key?"}), "2025-01-15 09:30:00"),
            (2, "s1", json.dumps({"type": "reasoning", "summary": []}), "2025-01-15 09:30:01"),
            (3, "s1", json.dumps({"role": "assistant", "type": "message",
                                  "content": [{"type": "output_text", "text": "In the drawer."}]}),
             "2025-01-15 09:30:02"),
        ],
        KEY,
        {"thoughts": 1},
    ),
    Table(
        "Vercel's chat",
        "Message_v2",
        'id {uuid}, "chatId" TEXT, role VARCHAR(32), parts {json}, attachments {json}, "createdAt" TIMESTAMP',
        [
            ("m1", "c1", "user", json.dumps([{"type": "text", "text": "Where is the key?"}]), "[]",
             "2025-01-15 09:30:00"),
            ("m2", "c1", "assistant", json.dumps([{"type": "step-start"}, {"type": "text", "text": "In the drawer."}]),
             "[]", "2025-01-15 09:30:01"),
        ],
        KEY,
        {},
    ),
]  # fmt: skip


def insert(table: Table, mark: str) -> str:
    return f'INSERT INTO "{table.name}" VALUES ({", ".join([mark] * len(table.rows[0]))})'


@pytest.mark.parametrize("table", TABLES, ids=lambda table: f"{table.framework} {table.name}")
@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_a_framework_s_table_is_read_as_it_is(
    table: Table,
    dialect: str,
    db: Database,
    settings: Settings,
    owner_url: str,
    query: Query,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    types = {"uuid": "TEXT PRIMARY KEY", "json": "JSON"}
    if dialect == "sqlite":
        monkeypatch.setenv("AGENTS_DB", f"sqlite:///{tmp_path / 'agents.sqlite'}")
        with sqlite3.connect(tmp_path / "agents.sqlite") as source:
            source.execute(f'CREATE TABLE "{table.name}" ({table.columns.format(**types)})')
            source.executemany(insert(table, "?"), table.rows)
    else:
        monkeypatch.setenv("AGENTS_DB", owner_url)
        with psycopg.connect(owner_url, autocommit=True) as connection:
            connection.execute(f'CREATE TABLE "{table.name}" ({table.columns.format(**types)})')  # type: ignore[call-overload]
            connection.cursor().executemany(insert(table, "%s"), table.rows)  # type: ignore[arg-type]
    with db.write() as store:
        set_history(store, "acme", "agents", "AGENTS_DB", table.name)
    with db.read() as store:
        (source_of,) = history_sources(store, None)
    with opened(source_of, db, 30) as connection_to, connection_to.begin():
        framework = examine(connection_to, table.name, {}).framework
    assert framework is not None
    assert framework.name == table.framework
    (report,) = discover(db, settings, NOW)
    assert (report.error, report.rejections) == (None, [])
    assert query("SELECT speaker, text FROM lines ORDER BY spoken_at") == table.said
    assert query("SELECT count(DISTINCT conversation_id) FROM lines") == [(1,)]
    assert report.as_dict()["left_out"] == table.left_out
    (again,) = discover(db, settings, NOW)
    assert (again.reading.lines_read, again.ingested.lines_new) == (0, 0)


def test_times_that_are_kept_as_texts_are_read_on_and_what_is_none_is_passed_over(
    db: Database, settings: Settings, owner_url: str, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTS_DB", owner_url)
    steps = TABLES[0]
    with psycopg.connect(owner_url, autocommit=True) as connection:
        connection.execute(f"CREATE TABLE steps ({steps.columns.format(uuid='TEXT', json='JSON')})")  # type: ignore[call-overload]
        row = [*CHAINLIT_ROWS[0][:-1]]
        for moment in (
            at(1),
            "yesterday",
            "2025-02-30T10:00:00Z",
            "2025-01-15T25:00:00Z",
            None,
            "2025-01-15 09:30:02.5+00",
        ):
            connection.cursor().execute(insert(steps, "%s"), [*row, moment])  # type: ignore[arg-type]
    with db.write() as store:
        set_history(store, "acme", "agents", "AGENTS_DB", "steps")
    (report,) = discover(db, settings, NOW)
    assert (report.error, report.ingested.lines_new) == (None, 2)
    with psycopg.connect(owner_url, autocommit=True) as connection:
        connection.cursor().execute(insert(steps, "%s"), [*row, at(9)])  # type: ignore[arg-type]
    (report,) = discover(db, settings, NOW)
    assert (report.ingested.lines_new, report.ingested.conversations_changed) == (1, 1)
    assert query("SELECT count(*) FROM lines") == [(3,)]


@pytest.mark.parametrize("columns", [["id", "session_id", "message"], ["session_id", "speaker", "text", "created_at"]])
def test_other_tables_are_no_framework_s(columns: list[str]) -> None:
    assert recognise(columns) is None


@pytest.mark.corpus
def test_the_table_of_an_agents_sdk_that_failed_is_read(
    db: Database,
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    query: Query,
) -> None:
    source = SHARED / "found" / "35-agents-sdk" / "agents.sqlite"
    if not source.exists():
        pytest.skip("the shared inputs that failed are not here")
    copy = tmp_path / "agents.sqlite"
    copy.write_bytes(source.read_bytes())
    monkeypatch.setenv("AGENTS_DB", f"sqlite:///{copy}")
    with db.write() as store:
        set_history(store, "acme", "agents", "AGENTS_DB", "agent_messages")
    (report,) = discover(db, settings, NOW)
    assert (report.error, report.rejected) == (None, 0)
    assert query("SELECT text FROM lines ORDER BY position") == [
        ("What is the weather in Oslo?",), ("calls get_weather",), ("It is snowing in Oslo.",),
    ]  # fmt: skip


@pytest.mark.corpus
def test_the_tables_with_contents_as_json_that_failed_are_read(
    db: Database, settings: Settings, owner_url: str, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = SHARED / "found" / "36-json-content" / "tables.sql"
    if not source.exists():
        pytest.skip("the shared inputs that failed are not here")
    monkeypatch.setenv("AGENTS_DB", owner_url)
    with psycopg.connect(owner_url, autocommit=True) as connection:
        connection.execute(source.read_bytes())
    with db.write() as store:
        set_history(store, "acme", "first", "AGENTS_DB", "messages")
        set_history(store, "acme", "second", "AGENTS_DB", "Message_v2")
    for report in discover(db, settings, NOW):
        assert (report.error, report.rejected) == (None, 0)
    assert [text for (text,) in query("SELECT text FROM lines ORDER BY spoken_at, text")] == [
        "How do I bleed a radiator?", "How do I reset the heater?", "Hold the button for ten seconds.",
        "A plain JSON string with ü.", "Hold it a little longer.", "calls reset_heater",
    ]  # fmt: skip
