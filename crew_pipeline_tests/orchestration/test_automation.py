"""Schedules and sensors, evaluated on a real instance over a real database."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from unittest import mock

import dagster as dg
import pytest
import time_machine
from dagster import DagsterInstance, DagsterRunStatus

from crew_pipeline.days import claims
from crew_pipeline.model import ClientDay
from crew_pipeline.orchestration.days.arrivals import build_arrivals
from crew_pipeline.orchestration.days.endings import build_endings
from crew_pipeline.orchestration.days.sweep import build_sweep
from crew_pipeline.orchestration.discovery.schedule import build_discovery_schedule
from crew_pipeline.orchestration.ticks import next_run
from crew_pipeline.settings import Settings
from crew_pipeline.storage.database import Database
from crew_pipeline_tests.conftest import NOW, Run, bring, lines_at
from crew_pipeline_tests.histories import History

Query = Callable[..., list[tuple[object, ...]]]


def sweep(definitions: dg.Definitions, instance: DagsterInstance) -> dg.ScheduleEvaluationContext:
    context = dg.build_schedule_context(
        instance=instance,
        scheduled_execution_time=datetime(2025, 1, 20, 12, tzinfo=UTC),
        resources={"database": definitions.resources["database"]},
    )
    return definitions.resolve_schedule_def("sweep").evaluate_tick(context)


def test_a_sweep_requests_what_waits_and_nothing_when_all_is_ready(
    db: Database, definitions: dg.Definitions, fresh_instance: DagsterInstance
) -> None:
    assert sweep(definitions, fresh_instance).run_requests == []
    bring(db, lines_at("2025-01-15", "a", ("Ann", "one")) + lines_at("2025-01-20", "b", ("Bo", "two")))
    requests = sweep(definitions, fresh_instance).run_requests
    assert [request.tags["dagster/partition"] for request in requests] == ["2025-01-20", "2025-01-15"]


def test_a_sweep_skips_its_tick_while_an_earlier_one_is_at_work(
    db: Database, definitions: dg.Definitions, fresh_instance: DagsterInstance
) -> None:
    bring(db, lines_at("2025-01-15", "a", ("Ann", "one")))
    job = definitions.resolve_job_def("materialize_days")
    fresh_instance.create_run_for_job(job, status=DagsterRunStatus.STARTED, tags={"crew/trigger": "sweep"})
    result = sweep(definitions, fresh_instance)
    assert result.run_requests == []
    assert "earlier sweep is still at work" in result.skip_message


def test_failed_days_are_not_swept_again(
    db: Database, definitions: dg.Definitions, fresh_instance: DagsterInstance, query: Query
) -> None:
    bring(db, lines_at("2025-01-15", "a", ("Ann", "one")))
    query("UPDATE data_items SET semantic_status = 'failed'")
    assert sweep(definitions, fresh_instance).run_requests == []


def test_the_sensor_makes_recent_days_ready_once_they_are_quiet(
    db: Database, definitions: dg.Definitions, fresh_instance: DagsterInstance, query: Query
) -> None:
    bring(db, lines_at("2025-01-20", "a", ("Ann", "one")) + lines_at("2025-01-02", "b", ("Bo", "old")))
    query("UPDATE data_items SET updated_at = :then", then=NOW)

    def tick(moment: datetime) -> list[str]:
        with time_machine.travel(moment, tick=False):
            database = {"database": definitions.resources["database"]}
            with dg.build_sensor_context(instance=fresh_instance, resources=database) as context:
                found = definitions.resolve_sensor_def("new_sessions").evaluate_tick(context).run_requests
        return [request.tags["dagster/partition"] for request in found or []]

    assert tick(datetime(2025, 1, 20, 12, 0, 30, tzinfo=UTC)) == []
    assert tick(datetime(2025, 1, 20, 12, 2, tzinfo=UTC)) == ["2025-01-20"]


def test_the_sensor_notices_new_sessions_and_asks_once_for_the_days_they_touch(
    history: History, definitions: dg.Definitions, fresh_instance: DagsterInstance, query: Query
) -> None:
    history.make().say("a", "long ago", at="2025-01-02T09:00:00Z")
    database = {"database": definitions.resources["database"]}

    def tick() -> list[tuple[str, str | None]]:
        with (
            time_machine.travel(datetime(2025, 1, 20, 12, 2, tzinfo=UTC), tick=False),
            dg.build_sensor_context(instance=fresh_instance, resources=database) as context,
        ):
            found = definitions.resolve_sensor_def("new_sessions").evaluate_tick(context).run_requests
        return [(request.tags["dagster/partition"], request.run_key) for request in found or []]

    assert tick() == []
    assert history.texts() == ["long ago"]
    query("UPDATE data_items SET updated_at = :then", then=NOW)
    (first,), (again,) = tick(), tick()
    assert first == again
    assert first[0] == "2025-01-02"
    history.say("b", "as long ago", at="2025-01-02T10:00:00Z")
    tick()
    query("UPDATE data_items SET updated_at = :then WHERE session_id = 'b'", then=NOW.replace(minute=1))
    (changed,) = tick()
    assert changed[0] == "2025-01-02"
    assert changed[1] != first[1]


def test_the_discovery_schedule_tells_when_it_runs_next_and_waits_for_an_earlier_run(
    definitions: dg.Definitions, fresh_instance: DagsterInstance, settings: Settings
) -> None:
    schedule = definitions.resolve_schedule_def("discovery")
    moment = datetime(2025, 1, 20, 12, 5, tzinfo=UTC)
    context = dg.build_schedule_context(instance=fresh_instance, scheduled_execution_time=moment)
    (request,) = schedule.evaluate_tick(context).run_requests
    assert request.run_key == "discovery:2025-01-20T12:05:00+00:00"
    assert next_run("*/5 * * * *", settings, moment) == datetime(2025, 1, 20, 12, 10, tzinfo=UTC)
    job = definitions.resolve_job_def("discover_conversations")
    fresh_instance.create_run_for_job(job, status=DagsterRunStatus.STARTED)
    assert "earlier discovery is still at work" in str(schedule.evaluate_tick(context).skip_message)


def settle(definitions: dg.Definitions, instance: DagsterInstance, run_id: str) -> None:
    """Let the sensor see that a run has failed."""
    event = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.RUN_FAILURE).records[0]
    context = dg.build_run_status_sensor_context(
        sensor_name="settle_after_failure",
        dagster_event=event.event_log_entry.dagster_event,
        dagster_instance=instance,
        dagster_run=instance.get_run_by_id(run_id),
        resources={"database": definitions.resources["database"]},
    )
    definitions.resolve_sensor_def("settle_after_failure")(context)


def test_a_run_that_was_twice_found_silent_has_failed_and_one_that_lives_goes_on(
    db: Database, definitions: dg.Definitions, fresh_instance: DagsterInstance, query: Query
) -> None:
    job = definitions.resolve_job_def("materialize_days")
    lost, overtaken, revived, alive = (
        fresh_instance.create_run_for_job(job, status=DagsterRunStatus.STARTED).run_id for _ in range(4)
    )
    days = {name: date(2025, 1, number + 1) for number, name in enumerate((lost, overtaken, revived, alive))}
    for token, day in days.items():
        bring(db, lines_at(day.isoformat(), token, ("Ann", "one")))
        with db.write() as connection:
            assert claims.acquire(connection, ClientDay("acme", day), token, 60)
    query("UPDATE day_claims SET claimed_at = now() - interval '5 minutes'")
    query("UPDATE day_claims SET expires_at = now() - interval '2 minutes' WHERE token <> :alive", alive=alive)
    with db.write() as connection:
        assert claims.acquire(connection, ClientDay("acme", days[overtaken]), "another", 60)
    cursor: str | None = None

    def tick() -> None:
        nonlocal cursor
        context = dg.build_sensor_context(
            instance=fresh_instance, cursor=cursor, resources={"database": definitions.resources["database"]}
        )
        result = definitions.resolve_sensor_def("lost_runs").evaluate_tick(context)
        cursor = result.cursor

    def states() -> list[DagsterRunStatus]:
        return [fresh_instance.get_run_by_id(token).status for token in days]

    tick()
    assert states() == [DagsterRunStatus.STARTED] * 4
    with db.write() as connection:
        assert claims.prolong(connection, revived, 60)
    tick()
    failed, started = DagsterRunStatus.FAILURE, DagsterRunStatus.STARTED
    assert states() == [failed, failed, started, started]
    tick()
    assert states() == [failed, failed, started, started]


def test_the_days_of_a_run_that_failed_are_tried_again_after_a_pause(
    db: Database, definitions: dg.Definitions, fresh_instance: DagsterInstance, query: Query
) -> None:
    bring(db, lines_at("2025-01-15", "a", ("Ann", "one")))
    job = definitions.resolve_job_def("materialize_days")
    run = fresh_instance.create_run_for_job(job)
    client_day = ClientDay("acme", date(2025, 1, 15))
    with db.write() as connection:
        claims.acquire(connection, client_day, run.run_id, 60)
        claims.begin(connection, client_day)
    fresh_instance.report_run_failed(run)
    settle(definitions, fresh_instance, run.run_id)
    assert query("SELECT semantic_status, retry_at > now() FROM data_items") == [("failed", True)]
    assert query("SELECT outcome FROM day_claims") == [("retried",)]


def test_a_sweep_whose_time_is_over_has_not_failed_its_days(
    db: Database, definitions: dg.Definitions, fresh_instance: DagsterInstance, query: Query
) -> None:
    bring(db, lines_at("2025-01-15", "a", ("Ann", "one")))
    job = definitions.resolve_job_def("materialize_days")
    run = fresh_instance.create_run_for_job(job, tags={"crew/trigger": "sweep", "dagster/max_runtime": "0"})
    with db.write() as connection:
        claims.take(connection, ClientDay("acme", date(2025, 1, 15)), run.run_id, 60, background=True)
    begun = dg.DagsterEvent(dg.DagsterEventType.RUN_START.value, run.job_name)
    fresh_instance.report_dagster_event(begun, run.run_id)
    fresh_instance.report_run_failed(fresh_instance.get_run_by_id(run.run_id), "Exceeded maximum runtime of 0 seconds.")
    settle(definitions, fresh_instance, run.run_id)
    assert query("SELECT semantic_status, retry_at FROM data_items") == [("pending", None)]
    assert query("SELECT outcome FROM day_claims") == [("released",)]


@pytest.mark.parametrize(("enabled", "status"), [(True, "RUNNING"), (False, "STOPPED")])
def test_background_jobs_can_be_switched_off(settings: Settings, enabled: bool, status: str) -> None:
    chosen = settings.model_copy(update={"enable_background_jobs": enabled})
    schedules = [build_sweep(chosen), build_discovery_schedule(chosen)]
    assert {schedule.default_status.value for schedule in schedules} == {status}
    assert build_arrivals(chosen).default_status.value == status
    assert {ending.default_status.value for ending in build_endings(chosen)} == {"RUNNING"}


def test_the_discovery_job_reads_history_tables_and_names_those_that_fail(
    db: Database, definitions: dg.Definitions, fresh_instance: DagsterInstance, query: Query
) -> None:
    from crew_pipeline.storage.sources.crews import set_history

    query("CREATE TABLE told (id bigserial PRIMARY KEY, session_id text, message jsonb, created_at timestamptz)")
    query("""INSERT INTO told (session_id, message, created_at)
             VALUES ('a', '{"speaker": "Ann", "text": "hello"}', '2025-01-15T09:00:00Z')""")
    with db.write() as connection:
        set_history(connection, "acme", "good", None, "told")
        set_history(connection, "acme", "missing", None, "not_there")
    job = definitions.resolve_job_def("discover_conversations")
    result = job.execute_in_process(instance=fresh_instance, raise_on_error=False)
    assert not result.success
    assert "not_there" in result.failure_data_for_node("history_tables").user_failure_data.description
    assert query("SELECT text FROM lines") == [("hello",)]


def test_a_run_of_the_ui_that_the_instance_s_own_limit_ends_has_not_failed_its_days(
    db: Database, definitions: dg.Definitions, fresh_instance: DagsterInstance, query: Query
) -> None:
    bring(db, lines_at("2025-01-15", "a", ("Ann", "one")))
    run = fresh_instance.create_run_for_job(definitions.resolve_job_def("materialize_days"))
    with db.write() as connection:
        claims.take(connection, ClientDay("acme", date(2025, 1, 15)), run.run_id, 60, background=True)
    fresh_instance.report_dagster_event(dg.DagsterEvent(dg.DagsterEventType.RUN_START.value, run.job_name), run.run_id)
    fresh_instance.report_run_failed(fresh_instance.get_run_by_id(run.run_id), "Exceeded maximum runtime of 0 seconds.")
    settings_of = {**(fresh_instance.run_monitoring_settings or {}), "max_runtime_seconds": 0}
    with mock.patch.object(type(fresh_instance), "run_monitoring_settings", settings_of):
        settle(definitions, fresh_instance, run.run_id)
    assert query("SELECT semantic_status, retry_at FROM data_items") == [("pending", None)]


def test_what_the_sensor_finds_stands_in_the_asset_that_it_keeps_up_to_date(
    db: Database, definitions: dg.Definitions, fresh_instance: DagsterInstance, history: History
) -> None:
    history.make()
    history.say("s", "hello", "again")
    with dg.build_sensor_context(fresh_instance, definitions=definitions, resources={
        "database": definitions.resources["database"]
    }) as context:  # fmt: skip
        first = definitions.resolve_sensor_def("new_sessions").evaluate_tick(context)
        second = definitions.resolve_sensor_def("new_sessions").evaluate_tick(context)
    (found,) = first.asset_events
    assert found.asset_key == dg.AssetKey("history_tables")
    assert (found.metadata["conversations_new"].value, found.metadata["sessions_scanned"].value) == (1, 1)
    assert second.asset_events == []


def test_every_run_says_who_asked_for_it_whose_days_it_takes_and_how_much_it_may_use(
    db: Database, definitions: dg.Definitions, fresh_instance: DagsterInstance
) -> None:
    bring(db, lines_at("2025-01-15", "a", ("Ann", "one")))
    job = definitions.resolve_job_def("materialize_days")
    one = {"ops": {"make_days": {"config": {"client": "acme"}}}}
    told = [
        job.execute_in_process(instance=fresh_instance, partition_key="2025-01-15", run_config=config, tags=tags)
        for config, tags in ((None, {}), (one, {}), (None, {"dagster/backfill": "abc"}),
                             (None, {"crew/trigger": "sweep", "crew/cores": "0.10"}))
    ]  # fmt: skip
    shown = [fresh_instance.get_run_by_id(result.run_id).tags for result in told]
    assert [(tags["crew/trigger"], tags["crew/client"]) for tags in shown] == [
        ("ui", "all"), ("ui", "acme"), ("backfill", "all"), ("sweep", "all"),
    ]  # fmt: skip
    assert [float(tags["crew/cores"]) > 0 for tags in shown] == [True] * 4
    assert shown[3]["crew/cores"] == "0.10"


def test_a_client_that_is_not_there_fails_the_run_with_a_sentence(run_days: Run) -> None:
    outcome = run_days("2025-01-15", client="acmee")
    assert (outcome.success, outcome.error) == (
        False, "There is no client acmee; 'crew clients list' names those that there are.",
    )  # fmt: skip
