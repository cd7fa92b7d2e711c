"""A client's events become visible in the order of their numbers, whichever transaction is slow."""

from __future__ import annotations

import threading
import time
from datetime import date

from crew_pipeline.model import ClientDay
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.days.events import AllDays, EventType, emit, events_after, latest_events

DAY = date(2025, 1, 15)
DEADLINE_S = 30


def _emit(db: Database, name: str, client: str = "acme", day: date = DAY) -> None:
    with db.write() as connection:
        emit(connection, ClientDay(client, day), EventType.PROGRESS, {"name": name}, None)


def _seen(db: Database, client: str = "acme") -> list[str]:
    with db.read() as connection:
        return [event.payload["name"] for event in events_after(connection, ClientDay(client, DAY), 0)]


def test_events_are_numbered_as_they_become_visible(db: Database) -> None:
    with db.write() as slow:
        emit(slow, ClientDay("acme", DAY), EventType.PROGRESS, {"name": "slow"}, None)
        _emit(db, "quick")
        assert _seen(db) == ["quick"]
    assert _seen(db) == ["quick", "slow"]
    with db.read() as connection:
        first, second = events_after(connection, ClientDay("acme", DAY), 0)
        assert [event.payload["name"] for event in events_after(connection, ClientDay("acme", DAY), first.seq)] == [
            "slow"
        ]
        assert latest_events(connection, ClientDay("acme", DAY), 1) == [second]


def test_an_event_that_is_taken_back_has_no_number(db: Database) -> None:
    with db.read() as slow:
        emit(slow, ClientDay("acme", DAY), EventType.PROGRESS, {"name": "never"}, None)
        slow.rollback()
    _emit(db, "first")
    with db.read() as connection:
        assert [(event.seq, event.payload["name"]) for event in events_after(connection, AllDays("acme"), 0)] == [
            (1, "first")
        ]


def test_transactions_with_several_clients_do_not_block_each_other_for_ever(db: Database) -> None:
    errors: list[Exception] = []

    def write() -> None:
        try:
            for _ in range(100):
                with db.write() as connection:
                    for client in ("acme", "bolt"):
                        emit(connection, ClientDay(client, DAY), EventType.PROGRESS, {"name": "x"}, None)
        except Exception as error:
            errors.append(error)

    writers = [threading.Thread(target=write) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(DEADLINE_S)
    assert errors == []


def test_numbers_tell_nothing_of_other_clients(db: Database) -> None:
    for number in range(5):
        _emit(db, str(number), client="busy")
    _emit(db, "one")
    _emit(db, "two", day=date(2025, 1, 16))
    with db.read() as connection:
        told = events_after(connection, AllDays("acme"), 0)
    assert [(event.seq, event.day.day, event.payload["name"]) for event in told] == [(1, 15, "one"), (2, 16, "two")]


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
