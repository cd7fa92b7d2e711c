"""The queue follows from the conversations: its order, its states, and what asking for a day does."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

from sqlalchemy import Engine

from crew_pipeline.storage import days, queue
from crew_pipeline.storage.claims import Unit
from crew_pipeline_tests.conftest import bring, lines_at

Query = Callable[..., list[tuple[object, ...]]]
UNIT = Unit("acme", date(2025, 1, 15))


def test_the_queue_is_by_priority_then_oldest_first(engine: Engine) -> None:
    for day in ("2025-01-20", "2025-01-03", "2025-01-16", "2025-01-02", "2025-01-19"):
        bring(engine, lines_at(day, f"s-{day}", ("Ann", "one")))
    with engine.connect() as connection:
        order = [(work.priority, work.day.day) for work in queue.work(connection, "e")]
        assert [work.day.day for work in queue.work(connection, "e", most=2)] == [19, 20]
    assert order == [(3, 19), (3, 20), (2, 16), (1, 2), (1, 3)]


def test_priorities_sink_as_days_age(engine: Engine) -> None:
    bring(engine, lines_at("2025-01-20", "a", ("Ann", "one")))
    with engine.begin() as connection:
        assert queue.refresh_priorities(connection, date(2025, 1, 20)) == 0
        assert queue.refresh_priorities(connection, date(2025, 1, 22)) == 1
        assert queue.work(connection, "e")[0].priority == 2
        queue.refresh_priorities(connection, date(2025, 2, 22))
        assert queue.work(connection, "e")[0].priority == 1


def test_a_day_is_as_far_as_the_least_finished_of_its_conversations(engine: Engine, query: Query) -> None:
    bring(engine, lines_at("2025-01-15", "a", ("Ann", "one")) + lines_at("2025-01-15", "b", ("Bo", "two")))

    def status() -> str:
        with engine.connect() as connection:
            return days.status_of(connection, UNIT).status

    query("UPDATE data_items SET semantic_status = 'completed'")
    assert status() == "completed"
    for lower in ("failed", "pending", "queued", "processing"):
        query("UPDATE data_items SET semantic_status = :status WHERE session_id = 'b'", status=lower)
        assert status() == lower
    with engine.connect() as connection:
        assert days.status_of(connection, Unit("nobody", UNIT.day)) is None


def test_asking_for_a_day_queues_it_once(engine: Engine, query: Query) -> None:
    bring(engine, lines_at("2025-01-15", "a", ("Ann", "one")))
    with engine.begin() as connection:
        assert queue.request(connection, UNIT)
        assert not queue.request(connection, UNIT)
        assert [work.unit for work in queue.work(connection, "e", urgent=True)] == [UNIT]
    query("UPDATE data_items SET semantic_status = 'failed'")
    with engine.begin() as connection:
        assert not queue.request(connection, UNIT)
        assert queue.request(connection, UNIT, force=True)
    query("UPDATE data_items SET semantic_status = 'completed'")
    with engine.begin() as connection:
        assert not queue.request(connection, UNIT)
        assert queue.request(connection, UNIT, outdated=True)


def test_a_day_whose_run_died_can_be_asked_for_again(engine: Engine, query: Query) -> None:
    bring(engine, lines_at("2025-01-15", "a", ("Ann", "one")))
    query("UPDATE data_items SET semantic_status = 'processing'")
    with engine.begin() as connection:
        assert queue.request(connection, UNIT)


def test_one_client_never_sees_another(engine: Engine) -> None:
    for client in ("acme", "rival"):
        bring(engine, lines_at("2025-01-15", "a", ("Ann", f"of {client}")), client=client)
    with engine.connect() as connection:
        assert [line.text for line in days.lines_of(connection, UNIT)] == ["of acme"]
        assert len(days.conversations_of(connection, UNIT)) == 1
        assert [work.client for work in queue.work(connection, "e", client="acme")] == ["acme"]
        assert days.units_on(connection, UNIT.day) == [Unit("acme", UNIT.day), Unit("rival", UNIT.day)]
