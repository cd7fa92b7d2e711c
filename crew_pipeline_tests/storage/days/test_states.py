"""What a day is follows from its conversations."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

from crew_pipeline.model import ClientDay
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.days import content, queue, states
from crew_pipeline_tests.conftest import bring, lines_at

Query = Callable[..., list[tuple[object, ...]]]
CLIENT_DAY = ClientDay("acme", date(2025, 1, 15))


def test_a_day_is_as_far_as_the_least_finished_of_its_conversations(db: Database, query: Query) -> None:
    bring(db, lines_at("2025-01-15", "a", ("Ann", "one")) + lines_at("2025-01-15", "b", ("Bo", "two")))

    def status() -> str:
        with db.read() as connection:
            return states.status_of(connection, CLIENT_DAY).state

    query("UPDATE data_items SET semantic_status = 'completed'")
    assert status() == "completed"
    for lower in ("failed", "pending", "queued", "processing"):
        query("UPDATE data_items SET semantic_status = :status WHERE session_id = 'b'", status=lower)
        assert status() == lower
    with db.read() as connection:
        assert states.status_of(connection, ClientDay("nobody", CLIENT_DAY.day)) is None


def test_one_client_never_sees_another(db: Database) -> None:
    for client in ("acme", "rival"):
        bring(db, lines_at("2025-01-15", "a", ("Ann", f"of {client}")), client=client)
    with db.read() as connection:
        assert [line.text for line in content.lines_of(connection, CLIENT_DAY)] == ["of acme"]
        assert len(content.conversations_of(connection, CLIENT_DAY)) == 1
        assert [work.client for work in queue.work(connection, "e", client="acme")] == ["acme"]
        assert states.client_days_on(connection, CLIENT_DAY.day) == [
            ClientDay("acme", CLIENT_DAY.day),
            ClientDay("rival", CLIENT_DAY.day),
        ]
