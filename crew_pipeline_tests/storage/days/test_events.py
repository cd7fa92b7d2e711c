"""Events of a client's day become visible in the order of their numbers, whichever transaction is slow."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import date

from crew_pipeline.model import ClientDay
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.days.events import EventType, emit, events_after, latest_events

Query = Callable[..., list[tuple[object, ...]]]
DAY = date(2025, 1, 15)
DEADLINE_S = 30


def _emit(db: Database, name: str, client: str = "acme", day: date = DAY) -> None:
    with db.write() as connection:
        emit(connection, ClientDay(client, day), EventType.PROGRESS, {"name": name}, None)


def _seen(db: Database, client: str = "acme") -> list[str]:
    with db.read() as connection:
        return [event.payload["name"] for event in events_after(connection, ClientDay(client, DAY), 0)]


def test_no_event_is_seen_before_one_of_its_day_with_a_lower_number(db: Database, query: Query) -> None:
    later = threading.Thread(target=_emit, args=(db, "later"))
    with db.write() as slow:
        first = emit(slow, ClientDay("acme", DAY), EventType.PROGRESS, {"name": "earlier"}, None)
        later.start()
        deadline = time.monotonic() + DEADLINE_S
        waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        while later.is_alive() and query(waiting) == [(0,)] and time.monotonic() < deadline:
            time.sleep(0.01)
        assert _seen(db) == []
    later.join(DEADLINE_S)
    assert _seen(db) == ["earlier", "later"]
    with db.read() as connection:
        assert [event.payload["name"] for event in events_after(connection, ClientDay("acme", DAY), first)] == ["later"]
        assert [event.payload["name"] for event in latest_events(connection, ClientDay("acme", DAY), 1)] == ["later"]


def test_an_event_that_is_taken_back_lets_the_next_one_through(db: Database) -> None:
    later = threading.Thread(target=_emit, args=(db, "later"))
    with db.read() as slow:
        emit(slow, ClientDay("acme", DAY), EventType.PROGRESS, {"name": "never"}, None)
        later.start()
        slow.rollback()
    later.join(DEADLINE_S)
    assert _seen(db) == ["later"]


def test_days_and_clients_do_not_wait_for_each_other(db: Database) -> None:
    with db.write() as slow:
        emit(slow, ClientDay("acme", DAY), EventType.PROGRESS, {"name": "slow"}, None)
        _emit(db, "another client", client="bolt")
        _emit(db, "another day", day=date(2025, 1, 16))
        assert _seen(db, "bolt") == ["another client"]


def test_a_reader_that_follows_many_writers_misses_none(db: Database) -> None:
    def write(number: int) -> None:
        for step in range(25):
            with db.write() as connection:
                emit(connection, ClientDay("acme", DAY), EventType.PROGRESS, {"name": f"{number}.{step}"}, None)
                # Without an order, a transaction that lingers here is overtaken by the others.
                time.sleep(0.002 * (number % 2))

    writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for writer in writers:
        writer.start()
    read: list[str] = []
    last = 0
    deadline = time.monotonic() + DEADLINE_S
    while len(read) < 100 and time.monotonic() < deadline:
        with db.read() as connection:
            for event in events_after(connection, ClientDay("acme", DAY), last, limit=7):
                read.append(event.payload["name"])
                last = event.seq
    for writer in writers:
        writer.join(DEADLINE_S)
    assert read == _seen(db)
    assert len(set(read)) == 100
