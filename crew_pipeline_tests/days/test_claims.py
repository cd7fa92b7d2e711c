"""One claimant at a time; a claim that dies is taken over; whoever was overtaken cannot write."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection

from crew_pipeline.days import claims, publishing, requests
from crew_pipeline.days.retries import Patience
from crew_pipeline.dedup.document import Document, build
from crew_pipeline.model import ClientDay
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.days import content, documents, preliminary, queue
from crew_pipeline.storage.days.events import events_after
from crew_pipeline_tests.conftest import bring, lines_at

Query = Callable[..., list[tuple[object, ...]]]
DAY = date(2025, 1, 15)
CLIENT_DAY = ClientDay("acme", DAY)


def acquire(db: Database, token: str, ttl: int = 60) -> bool:
    with db.write() as connection:
        return claims.acquire(connection, CLIENT_DAY, token, ttl)


def expire(query: Query, token: str) -> None:
    query("UPDATE day_claims SET expires_at = now() - interval '1 second' WHERE token = :token", token=token)


def first_look(connection: Connection) -> bytes | None:
    look = preliminary.current(connection, CLIENT_DAY)
    return look and look.body


def document_of(db: Database) -> Document:
    with db.read() as connection:
        return build(
            "acme",
            content.conversations_of(connection, CLIENT_DAY),
            content.lines_of(connection, CLIENT_DAY),
            {},
            "engine",
        )


def publish(db: Database, token: str, document: Document) -> None:
    with db.write() as connection:
        publishing.publish(connection, CLIENT_DAY, document, "engine", token)


def begin(db: Database) -> None:
    with db.write() as connection:
        claims.begin(connection, CLIENT_DAY)


def test_a_day_has_one_claimant(db: Database) -> None:
    assert acquire(db, "one")
    assert acquire(db, "one")
    assert not acquire(db, "two")
    with db.write() as connection:
        claims.finish(connection, CLIENT_DAY, "one", "completed")
    assert acquire(db, "two")


def test_of_many_that_claim_at_once_one_wins(db: Database) -> None:
    won: list[str] = []

    def run(token: str) -> None:
        if acquire(db, token):
            won.append(token)

    threads = [threading.Thread(target=run, args=(f"token {number}",)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1


def test_an_expired_claim_is_taken_over_and_its_token_never_claims_that_day_again(db: Database, query: Query) -> None:
    acquire(db, "slow")
    expire(query, "slow")
    assert acquire(db, "quick")
    assert not acquire(db, "slow")
    with db.write() as connection:
        claims.finish(connection, CLIENT_DAY, "quick", "completed")
    assert not acquire(db, "slow")
    assert query("SELECT token, outcome FROM day_claims ORDER BY token") == [
        ("quick", "completed"),
        ("slow", "overtaken"),
    ]


def test_an_expired_claim_that_nobody_took_is_prolonged_by_its_holder(db: Database, query: Query) -> None:
    acquire(db, "slow")
    expire(query, "slow")
    assert acquire(db, "slow")
    assert not acquire(db, "other")


def test_an_overtaken_run_cannot_write_over_what_came_after_it(db: Database, query: Query) -> None:
    bring(db, lines_at("2025-01-15", "a", ("Ann", "first of all")))
    acquire(db, "slow")
    begin(db)
    old = document_of(db)
    expire(query, "slow")
    acquire(db, "quick")
    bring(db, lines_at("2025-01-15", "a", ("Ann", "first of all"), ("Bo", "second of all")))
    begin(db)
    publish(db, "quick", document_of(db))
    with pytest.raises(publishing.OvertakenError):
        publish(db, "slow", old)
    with db.read() as connection:
        stored = documents.current(connection, CLIENT_DAY, "engine")
    assert stored is not None
    assert b"second of all" in stored.body
    assert not stored.stale


def test_only_rows_that_were_read_are_completed(db: Database, query: Query) -> None:
    bring(db, lines_at("2025-01-15", "a", ("Ann", "one")) + lines_at("2025-01-15", "b", ("Bo", "two")))
    acquire(db, "run")
    begin(db)
    made = document_of(db)
    bring(db, lines_at("2025-01-15", "b", ("Bo", "two"), ("Bo", "grew meanwhile")))
    bring(db, lines_at("2025-01-15", "c", ("Cy", "arrived meanwhile")))
    publish(db, "run", made)
    assert query("SELECT session_id, semantic_status FROM data_items ORDER BY 1") == [
        ("a", "completed"),
        ("b", "pending"),
        ("c", "pending"),
    ]
    with db.read() as connection:
        stored = documents.current(connection, CLIENT_DAY, "engine")
    assert stored is not None
    assert stored.stale


def test_a_conversation_that_left_the_day_meanwhile_leaves_it_out_of_date(db: Database) -> None:
    bring(db, lines_at("2025-01-15", "a", ("Ann", "stays")))
    bring(db, lines_at("2025-01-15", "b", ("Bo", "moves"), first=3, hour=0))
    acquire(db, "run")
    begin(db)
    made = document_of(db)
    bring(db, lines_at("2025-01-14", "b", ("Bo", "began earlier"), hour=23))
    publish(db, "run", made)
    with db.read() as connection:
        stored = documents.current(connection, CLIENT_DAY, "engine")
        waiting = {work.day for work in queue.work(connection, "engine")}
    assert stored is not None
    assert stored.outdated
    assert waiting == {date(2025, 1, 14), DAY}


def test_the_same_content_keeps_its_version_and_another_engine_is_out_of_date(db: Database, query: Query) -> None:
    bring(db, lines_at("2025-01-15", "a", ("Ann", "one")))
    for token in ("one", "two"):
        acquire(db, token)
        begin(db)
        publish(db, token, document_of(db))
    assert query("SELECT count(*) FROM day_documents") == [(1,)]
    with db.read() as connection:
        assert documents.current(connection, CLIENT_DAY, "another engine").outdated
        assert [work.day for work in queue.work(connection, "another engine")] == [DAY]
        assert queue.work(connection, "engine") == []


def test_a_failure_is_recorded_told_and_closes_the_claim(db: Database, query: Query) -> None:
    bring(db, lines_at("2025-01-15", "a", ("Ann", "one")))
    acquire(db, "run")
    begin(db)
    with db.write() as connection:
        claims.fail(connection, CLIENT_DAY, "run", "it broke", Patience(0, 0))
    assert query("SELECT semantic_status, semantic_error, retry_at FROM data_items") == [("failed", "it broke", None)]
    with db.read() as connection:
        assert [event.type for event in events_after(connection, ClientDay("acme", DAY), 0)] == ["processing_failed"]
        assert claims.held(connection, "run") == []
    assert acquire(db, "next")


def test_what_is_given_back_waits_again(db: Database, query: Query) -> None:
    bring(db, lines_at("2025-01-15", "a", ("Ann", "one")))
    acquire(db, "run")
    begin(db)
    with db.write() as connection:
        assert claims.give_back(connection, "run") == [CLIENT_DAY]
    assert query("SELECT semantic_status FROM data_items") == [("pending",)]
    assert acquire(db, "next")


PATIENCE = Patience(at_once=2, later=3, backoff_s=600)


def fail_once(db: Database, query: Query, token: str, *, at_once: bool) -> tuple[object, ...]:
    acquire(db, token)
    begin(db)
    with db.write() as connection:
        claims.settle_failure(connection, token, "it broke", PATIENCE, at_once=at_once)
    ((status, pause),) = query(
        "SELECT semantic_status, round(extract(epoch FROM retry_at - now()) / 60)::int FROM data_items"
    )
    return status, pause


def test_a_day_that_keeps_failing_is_tried_at_once_then_later_and_then_set_aside(db: Database, query: Query) -> None:
    bring(db, lines_at("2025-01-15", "a", ("Ann", "one")))
    found = [fail_once(db, query, f"run {number}", at_once=True) for number in range(6)]
    minutes = [None, None, 10, 20, 40, None]
    assert found == [("queued" if n < 2 else "failed", minutes[n]) for n in range(6)]
    outcomes = query("SELECT outcome FROM day_claims ORDER BY ended_at")
    assert outcomes == [("retried",)] * 5 + [("failed",)]


def test_in_the_background_there_is_a_pause_before_each_try(db: Database, query: Query) -> None:
    bring(db, lines_at("2025-01-15", "a", ("Ann", "one")))
    found = [fail_once(db, query, f"run {number}", at_once=False) for number in range(6)]
    assert found == [("failed", minutes) for minutes in (10, 10, 10, 20, 40, None)]


@given(st.integers(0, 8), st.integers(0, 8), st.floats(1, 1e6))
def test_pauses_grow_and_come_to_an_end(at_once: int, later: int, backoff_s: float) -> None:
    patience = Patience(at_once, later, backoff_s)
    pauses = [patience.pause(failures) for failures in range(1, at_once + later + 2)]
    assert pauses[:at_once] == [0.0] * at_once
    assert pauses[-1] is None
    assert None not in pauses[:-1]
    assert pauses[at_once:-1] == sorted(pauses[at_once:-1])
    assert all(pause <= 6 * 3600 for pause in pauses[:-1])


def test_a_background_claim_yields_to_a_reader_who_waits(db: Database, query: Query) -> None:
    bring(db, lines_at("2025-01-15", "a", ("Ann", "one")))
    with db.write() as connection:
        assert claims.take(connection, CLIENT_DAY, "sweep", 60, background=True)
        assert queue.work(connection, "e", which="urgent") == []
        assert not claims.take(connection, CLIENT_DAY, "reader's run", 60)
        assert not requests.request(connection, CLIENT_DAY, outdated=True, waiting=False)
        assert requests.request(connection, CLIENT_DAY)
        assert not requests.request(connection, CLIENT_DAY)
        assert [work.client_day for work in queue.work(connection, "e", which="urgent")] == [CLIENT_DAY]
        assert not claims.take(connection, CLIENT_DAY, "another sweep", 60, background=True)
        assert claims.take(connection, CLIENT_DAY, "reader's run", 60)
    with pytest.raises(publishing.OvertakenError):
        publish(db, "sweep", document_of(db))
    publish(db, "reader's run", document_of(db))
    assert query("SELECT token, outcome FROM day_claims ORDER BY claimed_at, token DESC") == [
        ("sweep", "yielded"),
        ("reader's run", "completed"),
    ]
    with db.read() as connection:
        assert claims.failures_in_a_row(connection, CLIENT_DAY) == 0


def test_a_day_that_was_asked_for_is_given_up_by_whatever_of_the_background_takes_it(
    db: Database, query: Query
) -> None:
    bring(db, lines_at("2025-01-15", "a", ("Ann", "one")))
    with db.write() as connection:
        requests.request(connection, CLIENT_DAY)
        assert claims.take(connection, CLIENT_DAY, "sweep", 60, background=True)
        assert [work.client_day for work in queue.work(connection, "e", which="urgent")] == [CLIENT_DAY]
        assert claims.give_back(connection, "sweep") == [CLIENT_DAY]
    assert query("SELECT semantic_status FROM data_items") == [("queued",)]
    with db.write() as connection:
        assert claims.take(connection, CLIENT_DAY, "next sweep", 60, background=True)
        claims.settle_failure(connection, "next sweep", "it broke", PATIENCE)
    assert query("SELECT semantic_status FROM data_items") == [("queued",)]


def test_content_that_changes_begins_the_tries_anew(db: Database, query: Query) -> None:
    bring(db, lines_at("2025-01-15", "a", ("Ann", "one")))
    for number in range(4):
        fail_once(db, query, f"run {number}", at_once=True)
    bring(db, lines_at("2025-01-15", "a", ("Ann", "two")))
    with db.write() as connection:
        assert claims.failures_in_a_row(connection, CLIENT_DAY) == 0


def test_settling_several_days_and_an_import_over_them_never_wait_for_each_other(db: Database) -> None:
    client_days = [ClientDay("acme", date(2025, 1, 10 + number)) for number in range(6)]
    names = [
        (client_day.day.isoformat(), f"{client_day.day} {number}") for client_day in client_days for number in range(20)
    ]
    everything = [line for day, session in names for line in lines_at(day, session, ("Ann", "one"))]
    bring(db, everything)
    errors: list[Exception] = []

    def repeatedly(work: Callable[[int], object]) -> None:
        try:
            for number in range(10):
                work(number)
        except Exception as error:
            errors.append(error)

    def grow(number: int) -> None:
        bring(db, [line._replace(text=f"changed {number}") for line in everything])

    def settle(number: int) -> None:
        for client_day in client_days:
            with db.write() as connection:
                claims.take(connection, client_day, f"run {number}", 60)
        with db.write() as connection:
            claims.settle_failure(connection, f"run {number}", "it broke", PATIENCE)

    threads = [threading.Thread(target=repeatedly, args=(work,)) for work in (grow, settle)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_a_first_look_stays_between_two_turns(db: Database) -> None:
    bring(db, lines_at("2025-01-15", "a", ("Ann", "one")))
    with db.write() as connection:
        claims.take(connection, CLIENT_DAY, "turn", 60)
        publishing.show_first_look(connection, CLIENT_DAY, "turn", b"[1]", "a look")
        claims.pause(connection, CLIENT_DAY, "turn", "512 of 9,000 lines embedded")
        assert first_look(connection) == b"[1]"
        claims.take(connection, CLIENT_DAY, "next turn", 60)
        assert first_look(connection) == b"[1]"
        claims.give_back(connection, "next turn")


def test_a_reader_who_waits_does_not_take_a_day_from_another_readers_run(db: Database) -> None:
    bring(db, lines_at("2025-01-15", "a", ("Ann", "one")))
    with db.write() as connection:
        assert claims.take(connection, CLIENT_DAY, "one", 60)
        requests.request(connection, CLIENT_DAY)
        assert not claims.take(connection, CLIENT_DAY, "two", 60)


@pytest.mark.parametrize("jump", ["1 hour", "-1 hour"])
def test_a_clock_that_jumps_an_hour_neither_keeps_a_dead_claim_nor_harms_a_live_one(
    db: Database, query: Query, jump: str
) -> None:
    bring(db, lines_at("2025-01-15", "a", ("Ann", "one")))
    with db.write() as connection:
        claims.take(connection, CLIENT_DAY, "dead", 60)
    query("UPDATE day_claims SET expires_at = expires_at - CAST(:jump AS interval)", jump=jump)
    with db.write() as connection:
        assert [work.client_day for work in queue.work(connection, "e", which="urgent")] == [CLIENT_DAY]
        assert claims.take(connection, CLIENT_DAY, "next", 60)
    query("UPDATE day_claims SET expires_at = expires_at - CAST(:jump AS interval)", jump=jump)
    with db.write() as connection:
        assert claims.prolong(connection, "next", 60) == 1
        assert not claims.take(connection, CLIENT_DAY, "third", 60)


def test_what_changed_since_a_day_was_taken_is_not_taken_with_it(db: Database, query: Query) -> None:
    bring(db, lines_at("2025-01-15", "a", ("Ann", "one")))
    with db.write() as connection:
        assert claims.take(connection, CLIENT_DAY, "run", 60)
    bring(db, lines_at("2025-01-15", "b", ("Bo", "two")))
    with db.write() as connection:
        assert claims.take(connection, CLIENT_DAY, "run", 60)
    assert query("SELECT semantic_status FROM data_items ORDER BY session_id") == [("processing",), ("pending",)]


def test_a_claim_is_handed_over_once(db: Database, query: Query) -> None:
    bring(db, lines_at("2025-01-15", "a", ("Ann", "one")))
    acquire(db, "request")
    with db.write() as connection:
        assert claims.take(connection, CLIENT_DAY, "run", 60, after="request")
        assert not claims.take(connection, CLIENT_DAY, "second run", 60, after="request")
        assert claims.held(connection, "run") == [CLIENT_DAY]
    assert query("SELECT semantic_status FROM data_items") == [("processing",)]


def test_a_day_that_is_paused_goes_behind_the_others_that_wait(db: Database, query: Query) -> None:
    other = ClientDay("acme", date(2025, 1, 16))
    for client_day in (CLIENT_DAY, other):
        bring(db, lines_at(client_day.day.isoformat(), f"s {client_day.day}", ("Ann", "one")))
    with db.write() as connection:
        for client_day in (CLIENT_DAY, other):
            requests.request(connection, client_day)
        claims.take(connection, CLIENT_DAY, "run", 60)
        claims.pause(connection, CLIENT_DAY, "run", "512 of 9,000 lines embedded")
        assert [work.client_day for work in queue.work(connection, "e", which="urgent")] == [other, CLIENT_DAY]
        assert claims.failures_in_a_row(connection, CLIENT_DAY) == 0


def test_runs_that_died_count_as_failures(db: Database, query: Query) -> None:
    for token in ("one", "two"):
        acquire(db, token)
        expire(query, token)
    acquire(db, "three")
    with db.read() as connection:
        assert claims.failures_in_a_row(connection, CLIENT_DAY) == 2
        assert claims.overtaken_tokens(connection, CLIENT_DAY) == ["one", "two"]


def test_a_status_and_an_import_never_wait_for_each_other(db: Database) -> None:
    lines = [line for n in range(200) for line in lines_at("2025-01-15", f"session {n}", ("Ann", "one"))]
    bring(db, lines)
    errors: list[Exception] = []

    def repeatedly(work: Callable[[int], object]) -> None:
        try:
            for number in range(12):
                work(number)
        except Exception as error:
            errors.append(error)

    def grow(number: int) -> None:
        bring(db, [line._replace(text=f"changed {number}") for line in lines[:: -1 if number % 2 else 1]])

    threads = [threading.Thread(target=repeatedly, args=(work,)) for work in (grow, lambda _: begin(db))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_a_heartbeat_keeps_a_claim_for_as_long_as_its_process_lives(db: Database) -> None:
    acquire(db, "run", ttl=1)
    with claims.heartbeat(db, "run", 1):
        time.sleep(2)
        assert not acquire(db, "other", ttl=1)
    time.sleep(1.5)
    assert acquire(db, "other")


def test_days_that_a_live_claim_holds_are_not_in_the_queue(db: Database, query: Query) -> None:
    bring(db, lines_at("2025-01-15", "a", ("Ann", "one")))
    acquire(db, "run")
    begin(db)
    with db.read() as connection:
        assert queue.work(connection, "engine") == []
        assert [work.day for work in queue.work(connection, "engine", claimed_as=["run"])] == [DAY]
        assert [work.day for work in queue.work(connection, "engine", claimed_as=["new run", "run"])] == [DAY]
    expire(query, "run")
    with db.read() as connection:
        assert [work.day for work in queue.work(connection, "engine", which="urgent")] == [DAY]


def test_a_day_whose_run_was_cancelled_waits_until_it_is_asked_for_again(db: Database, query: Query) -> None:
    bring(db, lines_at("2025-01-15", "a", ("Ann", "one")))
    with db.write() as connection:
        assert claims.take(connection, CLIENT_DAY, "run", 60)
        claims.cancel(connection, "run")
        assert queue.work(connection, "e", which="urgent") == []
    assert query("SELECT semantic_status FROM data_items") == [("pending",)]
    assert query("SELECT outcome FROM day_claims") == [("released",)]
