"""Crews can be set up from a file, compared with their sources, and only under names that are safe."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from crew_pipeline.discovery.compare import compare
from crew_pipeline.discovery.discover import discover
from crew_pipeline.discovery.registry import apply_registry, read_registry
from crew_pipeline.settings import load_settings
from crew_pipeline.storage.conversations import clients
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.sources.crews import CrewError, history_sources, set_history
from crew_pipeline_tests.conftest import NOW
from crew_pipeline_tests.histories import History

Query = Callable[..., list[tuple[object, ...]]]

LISTED = """
clients:
  acme:
    folding: strict
    crews:
      agents: {table: n8n_chat_histories, source_env: AGENTS_DB}
      desk: {table: desk_log, columns: {text: body}}
  rival:
    active: false
    crews:
      agents: {table: histories}
"""


def write(path: Path, content: str) -> Path:
    path.write_text(content)
    return path


def sources(db: Database) -> list[tuple[str, str, str]]:
    with db.read() as connection:
        return [(one.client, one.code, one.history_table) for one in history_sources(connection)]


def test_a_file_of_crews_is_set_up_and_applying_it_twice_changes_nothing(
    tmp_path: Path, db: Database, query: Query
) -> None:
    registry = read_registry(write(tmp_path / "crews.yaml", LISTED))
    for _ in range(2):
        with db.write() as connection:
            applied = apply_registry(connection, registry, load_settings(), NOW)
        assert applied.read == ["acme/agents", "acme/desk"]
        assert sources(db) == [("acme", "agents", "n8n_chat_histories"), ("acme", "desk", "desk_log")]
    assert query("SELECT client, folding, active FROM clients ORDER BY client") == [
        ("acme", "strict", True),
        ("rival", None, False),
    ]


def test_crews_that_a_file_does_not_list_stay_unless_pruned(tmp_path: Path, db: Database) -> None:
    with db.write() as connection:
        set_history(connection, "acme", "older", None, "older")
    registry = read_registry(write(tmp_path / "crews.yaml", "clients: {acme: {crews: {desk: {table: desk_log}}}}"))
    with db.write() as connection:
        apply_registry(connection, registry, load_settings(), NOW)
    assert [code for _, code, _ in sources(db)] == ["desk", "older"]
    with db.write() as connection:
        assert apply_registry(connection, registry, load_settings(), NOW, prune=True).stopped == ["acme/older"]
    assert [code for _, code, _ in sources(db)] == ["desk"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("clients: [", "is no YAML"),
        ("", "the file"),
        ("clients: {acme: {crews: {a: {}}}}", "clients.acme.crews.a.table"),
        ("clients: {acme: {crews: {a: {table: x, password: y}}}}", "password"),
        ("clients: {acme: {folding: wild}}", "folding"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_in_a_sentence(tmp_path: Path, content: str, said: str) -> None:
    with pytest.raises(CrewError, match=said):
        read_registry(write(tmp_path / "crews.yaml", content))
    with pytest.raises(CrewError, match="cannot be read"):
        read_registry(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize(
    "wrong",
    [
        {"table": "Histories`"},
        {"table": "x" * 129},
        {"table": "x\ny"},
        {"table": 'x"; DROP TABLE lines; --'},
        {"table": ""},
        {"table": "x", "columns": {"text": "body; --"}},
        {"table": "x", "columns": {"words": "body"}},
        {"table": "x", "source_env": "postgresql://user:hunter2@db/x"},
    ],
)
def test_only_safe_names_are_taken_and_an_address_is_not_repeated(db: Database, wrong: dict) -> None:
    chosen = {"source_env": None, "columns": None, **wrong}
    with db.write() as connection, pytest.raises(CrewError) as caught:
        set_history(connection, "acme", "x", chosen["source_env"], chosen["table"], chosen["columns"])
    assert "hunter2" not in str(caught.value)


def test_a_client_that_is_not_active_is_not_discovered(history: History) -> None:
    history.make().say("a", "one")
    with history.db.write() as connection:
        clients.set_active(connection, "acme", active=False)
    assert discover(history.db, history.settings, NOW) == []


def test_the_comparison_finds_what_the_store_lacks_and_what_it_has_alone(history: History, query: Query) -> None:
    history.make().say("a", "one", "two", "two")
    history.discover()
    with history.db.read() as connection:
        (source,) = history_sources(connection)
    assert compare(history.db, source, history.settings, NOW).agrees
    query("DELETE FROM lines WHERE position = 3")
    history.say("b", "three")
    history.sql("DELETE FROM told WHERE id = 1")
    found = compare(history.db, source, history.settings, NOW)
    assert not found.agrees
    assert (found.rows, found.missing_count, found.only_stored_count) == (3, 2, 1)
    assert [session for session, _ in found.missing] == ["a", "b"]
    assert found.only_stored == [("a", 1)]
    assert query("SELECT count(*) FROM lines") == [(2,)]


@pytest.mark.parametrize("name", ["USE_OPTIMIZED_DISCOVERY", "CREW_USE_OPTIMIZED_DISCOVERY"])
def test_the_old_way_is_a_switch_away(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "false")
    assert not load_settings().use_optimized_discovery
