"""The warm worker makes the days that readers ask for, most urgent first, and gives up on one after its tries."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import date

import httpx
import pytest
from dagster import DagsterInstance, DagsterRunStatus
from fastapi.testclient import TestClient
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from crew_pipeline.api.app import create_app
from crew_pipeline.days import claims, pair_memory, publishing, requests
from crew_pipeline.days.retries import Patience
from crew_pipeline.dedup.config import fingerprint_of
from crew_pipeline.dedup.pair_scorer import BundledScorer
from crew_pipeline.model import ClientDay
from crew_pipeline.orchestration.build import build_defs
from crew_pipeline.orchestration.days import day_work
from crew_pipeline.orchestration.resources import DatabaseResource
from crew_pipeline.orchestration.runs import DayRunner, RunOutcome
from crew_pipeline.processes.pool import RECYCLED
from crew_pipeline.settings import Settings, load_settings
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.days import preliminary, queue
from crew_pipeline.upkeep.overview import failed_days, release_failed
from crew_pipeline.workers import worker as worker_module
from crew_pipeline.workers.warm import STUCK, WarmMaker
from crew_pipeline.workers.worker import Worker
from crew_pipeline_tests.conftest import bring, lines_at

Query = Callable[..., list[tuple[object, ...]]]
DAY = date(2025, 1, 15)
CLIENT_DAY = ClientDay("default", DAY)


@pytest.fixture
def make_worker(
    settings: Settings, database_url: str, db: Database, instance: DagsterInstance
) -> Callable[..., Worker]:
    def make(**changes: object) -> Worker:
        # The process of the tests holds the models of all of them, and is not started anew.
        chosen = settings.model_copy(update={"memory_limit_mb": 8192, **changes})
        runner = DayRunner(build_defs(chosen, {"database": DatabaseResource(url=database_url)}), instance)
        return Worker(chosen, db, WarmMaker(chosen, db, runner), fingerprint_of(chosen))

    return make


@pytest.fixture
def serving(make_worker: Callable[..., Worker]) -> Iterator[Worker]:
    worker = make_worker(poll_s=30)
    thread = threading.Thread(target=worker.serve)
    thread.start()
    yield worker
    worker.stop()
    thread.join(timeout=60)
    assert not thread.is_alive()


def ask(db: Database, client_day: ClientDay = CLIENT_DAY, *, force: bool = False) -> None:
    with db.write() as connection:
        assert requests.request(connection, client_day, force=force)


def test_only_days_that_were_asked_for_are_made(db: Database, make_worker: Callable[..., Worker], query: Query) -> None:
    bring(db, lines_at("2025-01-15", "a", ("Ann", "one two three")), client="default")
    bring(db, lines_at("2025-01-16", "b", ("Ann", "one two three")), client="default")
    worker = make_worker()
    assert not worker.work_once()
    ask(db)
    assert worker.work_once()
    assert query("SELECT day FROM day_documents") == [(DAY,)]
    assert not worker.work_once()


def test_a_run_is_a_dagster_run_with_its_trigger_and_client(
    db: Database, make_worker: Callable[..., Worker], instance: DagsterInstance, query: Query
) -> None:
    bring(db, lines_at("2025-01-15", "a", ("Ann", "one two three")), client="default")
    ask(db)
    make_worker().work_once()
    ((token,),) = query("SELECT token FROM day_documents")
    run = instance.get_run_by_id(token)
    assert run.is_success
    assert run.tags["crew/trigger"] == "on-demand"
    assert run.tags["crew/client"] == "default"
    assert run.tags["dagster/partition"] == "2025-01-15"


def test_readers_of_a_missing_day_get_a_first_look_before_the_document(
    db: Database, make_worker: Callable[..., Worker], query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = [("Ann", "The update to version 4.2 broke my login."), ("Ann", "The update to version 4.2 broke my login.")]
    bring(db, lines_at("2025-01-15", "a", *said), client="default")
    seen: list[tuple[int, bool]] = []
    publish = publishing.publish

    def watched(connection: Connection, client_day: ClientDay, *values: object) -> object:
        look = preliminary.current(connection, client_day)
        assert look is not None
        assert look.body is not None
        (shown,) = json.loads(look.body)[0]["display_conversation"]
        seen.append((len(shown["hidden_variations"]), shown["is_deduplicated"]))
        return publish(connection, client_day, *values)

    monkeypatch.setattr(publishing, "publish", watched)
    ask(db)
    assert make_worker().work_once()
    assert seen == [(1, True)]
    assert query("SELECT count(*) FROM preliminary_documents") == [(0,)]
    told = query("SELECT payload->>'preliminary' FROM day_events WHERE payload ? 'preliminary'")
    assert told == [("true",)]


def test_a_day_without_a_first_look_is_made_all_the_same(
    db: Database, make_worker: Callable[..., Worker], query: Query
) -> None:
    query("DROP TABLE preliminary_documents")
    query("CREATE VIEW preliminary_documents AS SELECT client, day, token, ''::bytea AS body, now() AS created_at "
          "FROM day_claims WHERE false")  # fmt: skip
    query("CREATE RULE kept AS ON DELETE TO preliminary_documents DO INSTEAD NOTHING")
    bring(db, lines_at("2025-01-15", "a", ("Ann", "one two three")), client="default")
    ask(db)
    assert make_worker().work_once()
    assert query("SELECT semantic_status FROM data_items") == [("completed",)]


def test_a_day_that_fails_is_tried_again_and_then_set_aside_with_its_error(
    db: Database, make_worker: Callable[..., Worker], query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring(db, lines_at("2025-01-15", "a", ("Ann", "one two three")), client="default")

    def refuse(*_: object) -> None:
        with db.write() as connection:
            connection.exec_driver_sql("DO $$ BEGIN RAISE 'no room'; END $$")

    lines_held = day_work.lines_held
    monkeypatch.setattr(day_work, "lines_held", refuse)
    ask(db)
    worker = make_worker(on_demand_retries=2, background_retries=0)
    for _ in range(3):
        assert worker.work_once()
    assert not worker.work_once()
    ((status, error),) = query("SELECT semantic_status, semantic_error FROM data_items")
    assert status == "failed"
    assert "RaiseException; the log of Dagster run" in str(error)
    assert "no room" not in str(error)
    assert query("SELECT outcome FROM day_claims ORDER BY ended_at") == [("retried",), ("retried",), ("failed",)]
    monkeypatch.setattr(day_work, "lines_held", lines_held)
    (set_aside,) = failed_days(db)["days"]
    assert (set_aside["day"], set_aside["client"]) == ("2025-01-15", "default")
    assert "RaiseException" in set_aside["error"]
    assert release_failed(db, None, "somebody else") == []
    assert [one["day"] for one in release_failed(db, DAY, None)] == ["2025-01-15"]
    assert failed_days(db)["days"] == []
    worker.work_once()
    assert query("SELECT semantic_status, semantic_error FROM data_items") == [("completed", None)]


def test_a_day_whose_worker_died_is_taken_over(db: Database, make_worker: Callable[..., Worker], query: Query) -> None:
    bring(db, lines_at("2025-01-15", "a", ("Ann", "one two three")), client="default")
    ask(db)
    with db.write() as connection:
        claims.acquire(connection, CLIENT_DAY, "dead", 60)
        claims.begin(connection, CLIENT_DAY)
    worker = make_worker()
    assert not worker.work_once()
    query("UPDATE day_claims SET expires_at = now() - interval '1 second'")
    assert worker.work_once()
    assert query("SELECT outcome FROM day_claims WHERE token = 'dead'") == [("overtaken",)]
    assert query("SELECT semantic_status FROM data_items") == [("completed",)]


def test_a_day_that_kills_its_workers_is_set_aside(
    db: Database, make_worker: Callable[..., Worker], instance: DagsterInstance, query: Query
) -> None:
    bring(db, lines_at("2025-01-15", "a", ("Ann", "one two three")), client="default")
    ask(db)
    runs = [instance.create_run_for_job(build_defs(load_settings()).resolve_job_def("materialize_days"),
                                        status=DagsterRunStatus.STARTED).run_id for _ in range(3)]  # fmt: skip
    for run_id in runs:
        with db.write() as connection:
            claims.acquire(connection, CLIENT_DAY, run_id, 60)
            claims.begin(connection, CLIENT_DAY)
        query("UPDATE day_claims SET expires_at = now() - interval '1 second' WHERE ended_at IS NULL")
    worker = make_worker(on_demand_retries=2, background_retries=0, claim_ttl_s=0)
    assert not worker.work_once()
    assert query("SELECT semantic_status FROM data_items") == [("failed",)]
    worker._maker.tend()
    assert [instance.get_run_by_id(run_id).status for run_id in runs] == [DagsterRunStatus.FAILURE] * 3


def test_a_long_day_goes_on_in_turns_with_the_others_and_reads_nothing_twice(
    db: Database, make_worker: Callable[..., Worker], query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pair_memory, "AT_ONCE", 2)
    read: list[tuple[str, str]] = []
    logits = BundledScorer.logits

    def recorded(self: BundledScorer, pairs: list[tuple[str, str]]) -> object:
        read.extend(pairs)
        return logits(self, pairs)

    monkeypatch.setattr(BundledScorer, "logits", recorded)
    said = [
        ("Ann", text)
        for subject in ("the printer on the second floor", "our invoice export", "the mail server")
        for text in (f"{subject} does not work again", f"so {subject} does not work again")
    ]
    bring(db, lines_at("2025-01-15", "a", *said), client="default")
    bring(db, lines_at("2025-01-16", "b", ("Ann", "one two three")), client="default")
    ask(db)
    ask(db, ClientDay("default", date(2025, 1, 16)))
    worker = make_worker(on_demand_limit_s=0.000001)
    for _ in range(3):
        assert worker.work_once()
    assert not worker.work_once()
    outcomes = query("SELECT extract(day FROM day)::int, outcome FROM day_claims ORDER BY ended_at")
    assert outcomes == [(15, "paused"), (16, "completed"), (15, "completed")]
    assert len(read) == len(set(read)) == 3
    told = query("SELECT payload->>'message' FROM day_events WHERE payload->>'stage' = 'queued'")
    assert told == [("2 pairs of lines read; others go first",)]


def test_a_day_that_the_database_broke_off_is_given_back_and_counts_no_failure(
    db: Database, make_worker: Callable[..., Worker], query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring(db, lines_at("2025-01-15", "a", ("Ann", "one two three")), client="default")
    ask(db)
    run, broken = DayRunner.run, threading.Event()

    def break_once(self: DayRunner, *values: object, **named: object) -> object:
        if not broken.is_set():
            broken.set()
            raise RuntimeError("wrapped") from OperationalError("SELECT 1", {}, Exception("gone"))
        return run(self, *values, **named)

    monkeypatch.setattr(DayRunner, "run", break_once)
    worker = make_worker(poll_s=0.1)
    thread = threading.Thread(target=worker.serve)
    thread.start()
    deadline = time.monotonic() + 60
    while query("SELECT semantic_status FROM data_items") != [("completed",)] and time.monotonic() < deadline:
        time.sleep(0.1)
    worker.stop()
    thread.join(timeout=60)
    assert query("SELECT outcome FROM day_claims ORDER BY claimed_at") == [("released",), ("completed",)]


def test_a_disk_that_is_full_for_a_moment_loses_nothing(
    db: Database, make_worker: Callable[..., Worker], query: Query
) -> None:
    bring(db, lines_at("2025-01-15", "a", ("Ann", "one two three")), client="default")
    query("CREATE SEQUENCE tries")
    query("GRANT ALL ON SEQUENCE tries TO crew_app")
    query("""
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF nextval('tries') < 2 THEN RAISE 'could not extend file: No space left on device' USING ERRCODE = '53100';
            END IF; RETURN NEW; END $$
    """)
    query("CREATE TRIGGER refuse BEFORE INSERT ON day_documents FOR EACH ROW EXECUTE FUNCTION refuse()")
    ask(db)
    assert make_worker().work_once()
    assert query("SELECT outcome FROM day_claims") == [("completed",)]
    assert query("SELECT last_value FROM tries") == [(2,)]


@pytest.mark.parametrize(
    ("changes", "stopping_for_s", "status", "outcome", "left_with"),
    [
        ({"stuck_after_s": 0.01}, None, "queued", "retried", STUCK),
        ({"worker_grace_s": 0.01}, 5.0, "queued", "released", 0),
        ({}, 5.0, "processing", None, None),
    ],
)
def test_a_run_that_hangs_or_outlasts_a_stop_is_ended_and_its_day_given_back(
    db: Database,
    settings: Settings,
    database_url: str,
    instance: DagsterInstance,
    query: Query,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, float],
    stopping_for_s: float | None,
    status: str,
    outcome: str | None,
    left_with: int | None,
) -> None:
    chosen = settings.model_copy(update=changes)
    started, over = threading.Event(), threading.Event()

    def hang(*_: object, **__: object) -> RunOutcome:
        started.set()
        over.wait(60)
        return RunOutcome("", False, "it hung")

    monkeypatch.setattr(DayRunner, "run", hang)
    runner = DayRunner(build_defs(chosen, {"database": DatabaseResource(url=database_url)}), instance)
    left: list[int] = []
    maker = WarmMaker(chosen, db, runner, left.append)
    bring(db, lines_at("2025-01-15", "a", ("Ann", "one two three")), client="default")
    ask(db)
    with db.read() as connection:
        (work,) = queue.work(connection, fingerprint_of(chosen), which="urgent")
    thread = threading.Thread(target=maker.make, args=(work,))
    thread.start()
    assert started.wait(60)
    time.sleep(0.05)
    maker.oversee(stopping_for_s)
    assert left == ([] if left_with is None else [left_with])
    assert query("SELECT semantic_status, outcome FROM data_items, day_claims") == [(status, outcome)]
    over.set()
    thread.join(timeout=60)


def test_a_hundred_readers_of_a_missing_day_cause_one_run_and_one_that_leaves_stops_nobody(
    db: Database, settings: Settings, database_url: str, serving: Worker, query: Query
) -> None:
    said = [("Ann", "the export times out"), ("Ann", "The export times out")]
    bring(db, lines_at("2025-01-15", "a", *said), client="default")
    app = create_app(settings, database_url, fingerprint_of(settings))

    async def read_all() -> list[httpx.Response | BaseException]:
        transport = httpx.ASGITransport(app=app, client=("127.0.0.1", 5))
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=120) as api,
        ):
            reads = [
                asyncio.create_task(api.get("/api/days/2025-01-15/conversations", params={"wait_s": 30}))
                for _ in range(100)
            ]
            await asyncio.sleep(0.05)
            for leaving in reads[:10]:
                leaving.cancel()
            return await asyncio.gather(*reads, return_exceptions=True)

    answers = asyncio.run(read_all())
    assert all(isinstance(one, asyncio.CancelledError) for one in answers[:10])
    stayed = [one for one in answers[10:] if isinstance(one, httpx.Response)]
    assert [one.status_code for one in stayed] == [200] * 90
    assert {json.dumps(one.json()["data"]) for one in stayed} == {json.dumps(stayed[0].json()["data"])}
    assert query("SELECT outcome FROM day_claims") == [("completed",)]


def test_twenty_missing_days_at_once_are_all_made_the_urgent_first_past_a_sweep(
    db: Database, settings: Settings, database_url: str, make_worker: Callable[..., Worker], query: Query
) -> None:
    all_days = [date(2025, 1, number) for number in range(1, 21)]
    for day in all_days:
        bring(db, lines_at(day.isoformat(), f"s {day}", ("Ann", f"line of day {day.day}")), client="default")
    with db.write() as connection:
        for day in all_days[:5]:
            assert claims.take(connection, ClientDay("default", day), "a sweep at work", 60, background=True)
        for day in all_days:
            assert requests.request(connection, ClientDay("default", day))
    worker = make_worker()
    while worker.work_once():
        pass
    assert query("SELECT DISTINCT semantic_status FROM data_items") == [("completed",)]
    made = query("SELECT extract(day FROM day)::int FROM day_claims WHERE outcome = 'completed' ORDER BY ended_at")
    assert [number for (number,) in made] == [19, 20, *range(14, 19), *range(1, 14)]
    assert query("SELECT count(*) FROM day_claims WHERE outcome = 'yielded'") == [(5,)]


def test_a_run_that_was_only_suspended_is_not_reported_dead(
    db: Database, make_worker: Callable[..., Worker], instance: DagsterInstance, query: Query
) -> None:
    other = ClientDay("default", date(2025, 1, 16))
    for client_day in (CLIENT_DAY, other):
        bring(
            db,
            lines_at(client_day.day.isoformat(), f"s {client_day.day}", ("Ann", "one two three")),
            client="default",
        )
    job = build_defs(load_settings()).resolve_job_def("materialize_days")
    sweep = instance.create_run_for_job(job, status=DagsterRunStatus.STARTED).run_id
    with db.write() as connection:
        for client_day in (CLIENT_DAY, other):
            claims.take(connection, client_day, sweep, 60, background=True)
    query("UPDATE day_claims SET expires_at = now() - interval '1 second'")
    worker = make_worker(claim_ttl_s=0)
    assert worker.work_once()
    with db.write() as connection:
        assert claims.prolong(connection, sweep, 60) == 1
    worker._maker.tend()
    assert instance.get_run_by_id(sweep).status == DagsterRunStatus.STARTED


def test_a_failed_day_that_is_asked_for_again_is_really_tried_and_keeps_its_reason(
    db: Database, make_worker: Callable[..., Worker], query: Query
) -> None:
    bring(db, lines_at("2025-01-15", "a", ("Ann", "one two three")), client="default")
    patience = Patience(0, 8)
    for number in range(4):
        with db.write() as connection:
            claims.take(connection, CLIENT_DAY, f"run {number}", 60)
            claims.fail(connection, CLIENT_DAY, f"run {number}", "the real reason", patience)
    with db.write() as connection:
        assert claims.failures_in_a_row(connection, CLIENT_DAY) == 4
    ask(db, force=True)
    assert make_worker().work_once()
    assert query("SELECT semantic_status, semantic_error FROM data_items") == [("completed", None)]


def test_a_reader_of_a_missing_day_gets_it_from_the_warm_worker(
    db: Database, settings: Settings, database_url: str, serving: Worker
) -> None:
    bring(
        db,
        lines_at("2025-01-15", "a", ("Ann", "the export times out"), ("Bo", "ok"), ("Cy", "The export times out")),
        client="default",
    )
    app = create_app(settings, database_url, fingerprint_of(settings))
    with TestClient(app, base_url="http://localhost") as api:
        answer = api.get("/api/days/2025-01-15/conversations", params={"wait_s": 30})
        assert answer.status_code == 200
        content = answer.json()
        assert content["data"][0]["hidden_count"] == 1
        assert content["metadata"]["cache_hit"] is False
        again = api.get("/api/days/2025-01-15/conversations").json()
        assert again["metadata"]["cache_hit"] is True
        assert again["data"] == content["data"]
        deadline = time.monotonic() + 10
        while api.get("/readyz").json()["dependencies"]["worker"] != "ok" and time.monotonic() < deadline:
            time.sleep(0.2)
        assert api.get("/readyz").json()["dependencies"]["worker"] == "ok"


def test_a_worker_that_has_grown_too_large_asks_to_be_started_anew_after_its_day(
    db: Database, make_worker: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch, query: Query
) -> None:
    bring(db, lines_at("2025-01-15", "a", ("Ann", "one two three")), client="default")
    ask(db)
    worker = make_worker(memory_limit_mb=1024)
    monkeypatch.setattr(worker, "_limit_mb", lambda: 1024)
    monkeypatch.setattr(worker_module, "resident_mb", lambda: 9_000)
    assert worker.serve() == RECYCLED
    assert query("SELECT semantic_status FROM data_items") == [("completed",)]
