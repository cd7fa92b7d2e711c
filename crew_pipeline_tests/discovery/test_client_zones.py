"""A client may have a time zone of its own: its conversations stand in the days that it lives."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from crew_pipeline.discovery.discover import discover
from crew_pipeline.discovery.exports.export import open_export
from crew_pipeline.discovery.importing import import_export
from crew_pipeline.discovery.registry import Registry, apply_registry
from crew_pipeline.settings import Settings
from crew_pipeline.storage.conversations import clients, rezoning
from crew_pipeline.storage.conversations.ingest import SourceLine
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.days import queue
from crew_pipeline_tests.conftest import NOW, bring
from crew_pipeline_tests.histories import History

Query = Callable[..., list[tuple[object, ...]]]
LATE = datetime(2025, 1, 14, 20, tzinfo=UTC)
"""Already the 15th in Tokyo."""


def days(query: Query, client: str) -> list[int]:
    return [row[0].day for row in query(f"SELECT DISTINCT days_date FROM data_items WHERE client = '{client}'")]


def set_zone(db: Database, settings: Settings, client: str, zone: str | None) -> rezoning.Rezoned:
    with db.write() as connection:
        return rezoning.set_timezone(connection, settings, client, zone, NOW)


def test_only_its_own_conversations_move_and_go_back(db: Database, query: Query, settings: Settings) -> None:
    for client in ("acme", "kita"):
        bring(db, [SourceLine("s", 0, LATE, "Ann", "good evening to all of you", 0)], client=client)
    moved = set_zone(db, settings, "kita", "Asia/Tokyo")
    assert (moved.conversations, moved.days) == (1, {"kita": [date(2025, 1, 14), date(2025, 1, 15)]})
    assert (days(query, "acme"), days(query, "kita")) == ([14], [15])
    with db.read() as connection:
        assert rezoning.in_other_days(connection, settings.timezone) == 0
        assert clients.timezones(connection) == ["Asia/Tokyo"]
    assert set_zone(db, settings, "kita", "Asia/Tokyo") == rezoning.Rezoned(0, {})
    set_zone(db, settings, "kita", None)
    assert days(query, "kita") == [14]


def test_imports_read_times_without_a_zone_in_the_clients_own(
    db: Database, query: Query, settings: Settings, tmp_path: Path
) -> None:
    set_zone(db, settings, "kita", "Asia/Tokyo")
    path = tmp_path / "talk.csv"
    path.write_text("session_id,speaker,text,created_at\ns,Ann,good morning to all of you,2025-01-15 00:30:00\n")
    for client in ("acme", "kita"):
        import_export(db, open_export(path), client=client, crew="talk", settings=settings, now=NOW)
    told = {row[0]: row[1] for row in query("SELECT client, started_at FROM data_items")}
    assert told["acme"] - told["kita"] == timedelta(hours=9)
    assert (days(query, "acme"), days(query, "kita")) == ([15], [15])


def test_discovery_places_sessions_in_the_clients_days(history: History, query: Query) -> None:
    history.make().say("s", "good evening to all of you", at=LATE.isoformat())
    registry = Registry.model_validate({"clients": {"acme": {"timezone": "Asia/Tokyo"}}})
    with history.db.write() as connection:
        apply_registry(connection, registry, history.settings, NOW)
    discover(history.db, history.settings, NOW)
    assert days(query, "acme") == [15]


def test_what_is_recent_is_so_by_the_clients_clock(db: Database, query: Query, settings: Settings) -> None:
    for client in ("acme", "kita"):
        bring(db, [SourceLine("s", 0, LATE, "Ann", "good evening to all of you", 0)], client=client)
    with db.write() as connection:
        clients.set_timezone(connection, "kita", "Asia/Tokyo")
        queue.refresh_priorities(connection, datetime(2025, 1, 15, 20, tzinfo=UTC), "UTC")
    priorities = dict(query("SELECT client, processing_priority FROM data_items"))
    assert priorities["kita"] < priorities["acme"]
