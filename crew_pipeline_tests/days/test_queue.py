"""The queue follows from the conversations: its order, and what asking for a day does."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

from crew_pipeline.days import claims, publishing, requests
from crew_pipeline.days.retries import Patience
from crew_pipeline.dedup.document import build
from crew_pipeline.model import ClientDay
from crew_pipeline.storage.conversations.ingest import SourceLine
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.days import content, queue
from crew_pipeline_tests.conftest import Ready, bring, lines_at

Query = Callable[..., list[tuple[object, ...]]]
CLIENT_DAY = ClientDay("acme", date(2025, 1, 15))


def test_the_queue_is_by_priority_then_oldest_first(db: Database) -> None:
    for day in ("2025-01-20", "2025-01-03", "2025-01-16", "2025-01-02", "2025-01-19"):
        bring(db, lines_at(day, f"s-{day}", ("Ann", "one")))
    with db.read() as connection:
        order = [(work.priority, work.day.day) for work in queue.work(connection, "e")]
        assert [work.day.day for work in queue.work(connection, "e", most=2)] == [19, 20]
    assert order == [(3, 19), (3, 20), (2, 16), (1, 2), (1, 3)]


def test_priorities_sink_as_days_age(db: Database) -> None:
    bring(db, lines_at("2025-01-20", "a", ("Ann", "one")))
    with db.write() as connection:
        assert queue.refresh_priorities(connection, datetime(2025, 1, 20, 12, tzinfo=UTC), "UTC") == 0
        assert queue.refresh_priorities(connection, datetime(2025, 1, 22, 12, tzinfo=UTC), "UTC") == 1
        assert queue.work(connection, "e")[0].priority == 2
        queue.refresh_priorities(connection, datetime(2025, 2, 22, 12, tzinfo=UTC), "UTC")
        assert queue.work(connection, "e")[0].priority == 1


def test_asking_for_a_day_queues_it_once(db: Database, query: Query) -> None:
    bring(db, lines_at("2025-01-15", "a", ("Ann", "one")))
    with db.write() as connection:
        assert requests.request(connection, CLIENT_DAY)
        assert not requests.request(connection, CLIENT_DAY)
        assert [work.client_day for work in queue.work(connection, "e", which="urgent")] == [CLIENT_DAY]
    query("UPDATE data_items SET semantic_status = 'failed'")
    with db.write() as connection:
        assert not requests.request(connection, CLIENT_DAY)
        assert requests.request(connection, CLIENT_DAY, force=True)
    query("UPDATE data_items SET semantic_status = 'completed'")
    with db.write() as connection:
        assert not requests.request(connection, CLIENT_DAY)
        assert requests.request(connection, CLIENT_DAY, outdated=True)


def test_a_failed_day_is_urgent_once_its_pause_is_over(db: Database, query: Query) -> None:
    bring(db, lines_at("2025-01-15", "a", ("Ann", "one")))
    for retry_at, expected in (("NULL", []), ("now() + interval '1 hour'", []), ("now()", [CLIENT_DAY])):
        query(f"UPDATE data_items SET semantic_status = 'failed', retry_at = {retry_at}")
        with db.read() as connection:
            assert [work.client_day for work in queue.work(connection, "e", which="urgent")] == expected


def test_who_asks_too_late_does_not_have_a_fresh_day_made_again(db: Database, query: Query, make_ready: Ready) -> None:
    bring(db, lines_at("2025-01-15", "a", ("Ann", "one")))
    make_ready("2025-01-15", "acme", fingerprint="engine")
    with db.write() as connection:
        assert not requests.request(connection, CLIENT_DAY, outdated=True, fingerprint="engine")
    assert query("SELECT semantic_status FROM data_items") == [("completed",)]
    with db.write() as connection:
        assert requests.request(connection, CLIENT_DAY, outdated=True, fingerprint="another engine")
    assert query("SELECT semantic_status FROM data_items") == [("queued",)]


def test_who_asks_while_a_day_is_being_published_waits_for_it(db: Database, query: Query) -> None:
    bring(db, lines_at("2025-01-15", "a", ("Ann", "one")))
    with db.write() as connection:
        assert claims.take(connection, CLIENT_DAY, "run", 60)
    asked: list[bool] = []

    def ask() -> None:
        with db.write() as late:
            asked.append(requests.request(late, CLIENT_DAY, outdated=True, fingerprint="engine"))

    visitor = threading.Thread(target=ask)
    with db.write() as connection:
        lines, conversations = (
            content.lines_of(connection, CLIENT_DAY),
            content.conversations_of(connection, CLIENT_DAY),
        )
        made = build("acme", conversations, lines, {}, "engine")
        publishing.publish(connection, CLIENT_DAY, made, "engine", "run")
        visitor.start()
        visitor.join(timeout=0.5)
        assert not asked
    visitor.join(timeout=30)
    assert asked == [False]
    assert query("SELECT semantic_status FROM data_items") == [("completed",)]


def test_a_day_whose_run_died_can_be_asked_for_again(db: Database, query: Query) -> None:
    bring(db, lines_at("2025-01-15", "a", ("Ann", "one")))
    query("UPDATE data_items SET semantic_status = 'processing'")
    with db.write() as connection:
        assert requests.request(connection, CLIENT_DAY)


def test_what_only_another_engine_outdates_comes_last_and_newest_first(
    db: Database, query: Query, make_ready: Ready
) -> None:
    for day in ("2025-01-02", "2025-01-20", "2025-01-10"):
        bring(db, lines_at(day, f"s-{day}", ("Ann", "one")))
        make_ready(day, "acme")
    bring(db, lines_at("2025-01-01", "waiting", ("Bo", "two")))
    with db.write() as connection:
        assert [(work.priority, work.day.day) for work in queue.work(connection, "another engine")] == [
            (1, 1), (0, 20), (0, 10), (0, 2),
        ]  # fmt: skip
        assert queue.work(connection, "another engine", which="urgent") == []
        requests.request(connection, ClientDay("acme", date(2025, 1, 10)), outdated=True)
        assert [work.day.day for work in queue.work(connection, "another engine", which="urgent")] == [10]


def test_readers_who_have_nothing_to_read_go_before_those_who_have(db: Database, make_ready: Ready) -> None:
    for day in ("2025-01-20", "2025-01-02"):
        bring(db, lines_at(day, f"s-{day}", ("Ann", "one")))
    make_ready("2025-01-20", "acme")
    with db.write() as connection:
        for day in (20, 2):
            requests.request(connection, ClientDay("acme", date(2025, 1, day)), outdated=True)
        assert [work.day.day for work in queue.work(connection, "e", which="urgent")] == [2, 20]


def test_a_failed_day_comes_back_when_its_pause_is_over(db: Database, query: Query) -> None:
    bring(db, lines_at("2025-01-15", "a", ("Ann", "one")))
    with db.write() as connection:
        claims.take(connection, CLIENT_DAY, "run", 60)
        claims.fail(connection, CLIENT_DAY, "run", "it broke", Patience(0, 1, 600))

    def waiting() -> list[ClientDay]:
        with db.read() as connection:
            changes = queue.changes_of_discovery(connection, date(2025, 1, 1))
            found = [work.client_day for work in queue.work(connection, "e", which="waiting")]
            assert [change.work.client_day for change in changes] == found
            return found

    assert waiting() == []
    query("UPDATE data_items SET retry_at = now() - interval '1 second'")
    assert waiting() == [CLIENT_DAY]
    query("UPDATE data_items SET retry_at = NULL")
    assert waiting() == []


def test_the_sensor_knows_how_long_the_conversations_of_a_crew_rest_and_how_they_end(db: Database) -> None:
    day = date(2025, 1, 15)

    def at(session: str, *seconds: int, text: str = "so it goes on") -> list[SourceLine]:
        return [
            SourceLine(
                session, place, datetime(2025, 1, 15, 9, tzinfo=UTC) + timedelta(seconds=second), "Ann", text, place
            )
            for place, second in enumerate(seconds)
        ]

    for number in range(4):
        bring(db, at(f"quick {number}", *range(0, 40, 4)), crew="quick")
        bring(db, at(f"slow {number}", 0, 90, 180), crew="slow", client="other")
    bring(db, at("last", 0, 4, text="thanks, bye!"), crew="quick")
    with db.read() as connection:
        changes = {change.work.client: change for change in queue.changes_of_discovery(connection, day)}
    assert changes["acme"].usual_rest_s == 4
    assert sorted(changes["acme"].last_said) == ["so it goes on"] * 4 + ["thanks, bye!"]
    assert changes["other"].usual_rest_s is None  # eight rests are too few
    bring(db, at("of another crew", 0, 500), crew="unknown")
    with db.read() as connection:
        (mixed, _) = queue.changes_of_discovery(connection, day)
    assert mixed.usual_rest_s is None


def test_who_asks_for_many_days_does_not_keep_others_waiting(db: Database, make_ready: Ready) -> None:
    for client, days in (("flood", range(1, 9)), ("calm", range(10, 12))):
        for day in days:
            bring(db, lines_at(f"2025-01-{day:02}", f"s{day}", ("Ann", "one")), client=client)
            with db.write() as connection:
                requests.request(connection, ClientDay(client, date(2025, 1, day)))
    order = []
    for number in range(6):
        with db.write() as connection:
            next_one = queue.work(connection, "e", which="urgent", most=1)[0]
            order.append(next_one.client)
            assert claims.acquire(connection, next_one.client_day, f"run {number}", 60, 1)
    assert sorted(order[:4]) == ["calm", "calm", "flood", "flood"]
    assert order[4:] == ["flood", "flood"]
