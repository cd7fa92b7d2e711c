"""The system's upkeep through Dagster: when it runs, what it shows, and which of Dagster's own runs it removes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import time_machine
from dagster import AssetKey, DagsterInstance, DagsterRunStatus
from dagster._core.storage.partition_status_cache import get_and_update_asset_status_cache_value
from dagster._daemon.types import DaemonHeartbeat

from crew_pipeline.days.planning import DayBatch
from crew_pipeline.dedup.embedding import ModelNotFoundError
from crew_pipeline.dedup.text_vectors import TextEncoder, Vectors
from crew_pipeline.model import Trigger
from crew_pipeline.orchestration.build import build_defs
from crew_pipeline.orchestration.instance import daemon_age_s, dagster_instance
from crew_pipeline.orchestration.partitions import day_partitions
from crew_pipeline.orchestration.resources import DatabaseResource
from crew_pipeline.orchestration.runs import DayRunner
from crew_pipeline.orchestration.ticks import next_run
from crew_pipeline.orchestration.upkeep.assets import look_after
from crew_pipeline.orchestration.upkeep.old_runs import OldRuns
from crew_pipeline.orchestration.upkeep.schedules import build_upkeep_schedules
from crew_pipeline.settings import Settings
from crew_pipeline.shipped import shipped
from crew_pipeline.storage.database import Database, dagster_url, ensure_database
from crew_pipeline.storage.embedded import EmbeddedPostgres
from crew_pipeline.upkeep.retention import Removed
from crew_pipeline_tests.conftest import bring, lines_at

Query = Callable[..., list[tuple[object, ...]]]

FIRST, SECOND, THIRD, LAST = (f"2025-01-{day}" for day in (15, 16, 17, 18))


@pytest.fixture
def own_instance(
    server: EmbeddedPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[DagsterInstance]:
    """An instance on Postgres with the shipped configuration whose history is this test's alone."""
    name = f"dagster_{tmp_path.name.replace('-', '_')}"
    ensure_database(server.url("postgres"), name)
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", dagster_url(server.url(name)))
    (tmp_path / "dagster.yaml").write_bytes(shipped("dagster.yaml").read_bytes())
    with dagster_instance(tmp_path) as made:
        yield made


def numbers(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, object]:
    (event,) = result.asset_materializations_for_node(asset)
    return {name: value.value for name, value in event.metadata.items()}


def run_ids(instance: DagsterInstance) -> set[str]:
    return {run.run_id for run in instance.get_runs()}


def ticks(settings: Settings, name: str, start: datetime, count: int) -> list[str]:
    """When a schedule comes next, as the clocks of its zone show it, the present being ``start``."""
    (schedule,) = [one for one in build_upkeep_schedules(settings) if one.name == name]
    assert schedule.execution_timezone == settings.timezone
    found = []
    with time_machine.travel(start, tick=False) as traveller:
        for _ in range(count):
            moment = next_run(str(schedule.cron_schedule), settings, datetime.now(UTC))
            traveller.move_to(moment)
            found.append(moment.astimezone(settings.zone).strftime("%d %H:%M %z"))
    return found


def test_health_is_looked_at_every_five_minutes(settings: Settings) -> None:
    start = datetime(2025, 1, 20, 12, 1, tzinfo=UTC)
    assert ticks(settings, "health", start, 3) == ["20 12:05 +0000", "20 12:10 +0000", "20 12:15 +0000"]


@pytest.mark.parametrize(
    ("zone", "start", "expected"),
    [
        ("UTC", datetime(2025, 3, 29, 12, tzinfo=UTC), ["30 02:00 +0000", "31 02:00 +0000"]),
        ("Asia/Tokyo", datetime(2025, 3, 29, 12, tzinfo=UTC), ["30 02:00 +0900", "31 02:00 +0900"]),
        # 02:00 is left out that night: it comes at the moment at which it would have been.
        ("Europe/Berlin", datetime(2025, 3, 29, 12, tzinfo=UTC), ["30 03:00 +0200", "31 02:00 +0200"]),
        # 02:00 comes twice that night, housekeeping with the second.
        ("Europe/Berlin", datetime(2025, 10, 25, 12, tzinfo=UTC), ["26 02:00 +0100", "27 02:00 +0100"]),
    ],
)
def test_housekeeping_comes_once_a_night_in_the_configured_zone_also_when_clocks_change(
    settings: Settings, zone: str, start: datetime, expected: list[str]
) -> None:
    assert ticks(settings.model_copy(update={"timezone": zone}), "housekeeping", start, 2) == expected


def test_the_hour_of_housekeeping_can_be_chosen(settings: Settings) -> None:
    chosen = settings.model_copy(update={"housekeeping_hour": 23})
    assert ticks(chosen, "housekeeping", datetime(2025, 1, 20, 12, tzinfo=UTC), 1) == ["20 23:00 +0000"]


@pytest.mark.parametrize(("name", "job"), [("health", "take_health_sample"), ("housekeeping", "keep_house")])
def test_a_tick_is_skipped_while_an_earlier_run_is_at_work(
    definitions: dg.Definitions, fresh_instance: DagsterInstance, name: str, job: str
) -> None:
    schedule = definitions.resolve_schedule_def(name)
    moment = datetime(2025, 1, 20, 2, tzinfo=UTC)
    context = dg.build_schedule_context(instance=fresh_instance, scheduled_execution_time=moment)
    (request,) = schedule.evaluate_tick(context).run_requests
    assert request.run_key == f"{name}:2025-01-20T02:00:00+00:00"
    run = fresh_instance.create_run_for_job(definitions.resolve_job_def(job), status=DagsterRunStatus.STARTED)
    assert "still at work" in str(schedule.evaluate_tick(context).skip_message)
    fresh_instance.report_run_failed(run)
    assert len(schedule.evaluate_tick(context).run_requests) == 1


@pytest.mark.parametrize(("enabled", "status"), [(True, "RUNNING"), (False, "STOPPED")])
def test_upkeep_is_a_background_job(settings: Settings, enabled: bool, status: str) -> None:
    chosen = settings.model_copy(update={"enable_background_jobs": enabled})
    assert {one.default_status.value for one in build_upkeep_schedules(chosen)} == {status}


def test_a_sample_is_shown_as_numbers_of_the_asset(
    db: Database, definitions: dg.Definitions, fresh_instance: DagsterInstance, query: Query
) -> None:
    bring(db, lines_at(FIRST, "a", ("Ann", "one")) + lines_at(SECOND, "b", ("Bo", "two")))
    query("UPDATE data_items SET semantic_status = 'queued' WHERE session_id = 'a'")
    beat = datetime.now(UTC).timestamp() - 3_600
    fresh_instance.add_daemon_heartbeat(DaemonHeartbeat(beat, "SCHEDULER", "one", None))
    result = definitions.resolve_job_def("take_health_sample").execute_in_process(instance=fresh_instance)
    shown = numbers(result, "system_health")
    assert (shown["days_waiting"], shown["days_asked"], shown["oldest_day_waiting"]) == (2, 1, FIRST)
    assert (shown["workers"], shown["runs_ended"], shown["runs_failed"]) == (0, 0, 0)
    assert shown["daemon_heartbeat_age_s"] >= 3_600
    assert "worker_heartbeat_age_s" not in shown
    assert all(
        isinstance(value, int | float) for name, value in shown.items() if name not in {"oldest_day_waiting", "host"}
    )
    assert query("SELECT count(*) FROM health_samples") == [(1,)]
    kinds = {kind for (kind,) in query("SELECT kind FROM alerts WHERE resolved_at IS NULL")}
    assert kinds >= {"worker_missing", "daemon_silent"}
    logged = [event.message for event in fresh_instance.all_logs(result.run_id)]
    assert any("alert raised: Dagster's daemon has not been heard of" in message for message in logged)


def test_the_daemon_is_as_old_as_its_freshest_part(fresh_instance: DagsterInstance) -> None:
    assert daemon_age_s(fresh_instance) is None
    now = datetime.now(UTC)
    for part, back in (("SCHEDULER", 90), ("SENSOR", 30), ("BACKFILL", 900)):
        beat = (now - timedelta(seconds=back)).timestamp()
        fresh_instance.add_daemon_heartbeat(DaemonHeartbeat(beat, part, "one", None))
    with time_machine.travel(now, tick=False):
        assert daemon_age_s(fresh_instance) == pytest.approx(30, abs=0.01)


def test_a_worker_stands_in_for_a_daemon_that_takes_no_samples(
    db: Database, settings: Settings, own_instance: DagsterInstance, query: Query
) -> None:
    beat = datetime.now(UTC).timestamp() - 600
    own_instance.add_daemon_heartbeat(DaemonHeartbeat(beat, "SCHEDULER", "one", None))
    raised = []
    threads = [threading.Thread(target=lambda: raised.extend(look_after(db, settings, own_instance))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert query("SELECT count(*) FROM health_samples") == [(1,)]
    assert [news.state for news in raised if news.alert.kind == "daemon_silent"] == ["raised"]
    query("UPDATE health_samples SET taken_at = now() - interval '5 minutes'")
    assert list(look_after(db, settings, own_instance)) == []
    assert query("SELECT count(*) FROM health_samples") == [(1,)]
    query("UPDATE health_samples SET taken_at = now() - interval '331 seconds'")
    own_instance.add_daemon_heartbeat(DaemonHeartbeat(datetime.now(UTC).timestamp(), "SCHEDULER", "one", None))
    turned = look_after(db, settings, own_instance)
    assert ("daemon_silent", "resolved") in [(news.alert.kind, news.state) for news in turned]
    assert query("SELECT count(*) FROM health_samples") == [(2,)]


def test_housekeeping_tells_what_it_removed(
    db: Database, definitions: dg.Definitions, fresh_instance: DagsterInstance, query: Query
) -> None:
    query("INSERT INTO day_events (client, day, type, payload, created_at) SELECT 'acme', '2025-01-15', 'x', '{}', "
          "now() - interval '8 days' FROM generate_series(1, 3)")  # fmt: skip
    job = definitions.resolve_job_def("keep_house")
    shown = numbers(job.execute_in_process(instance=fresh_instance), "housekeeping")
    assert (shown["events_removed"], shown["dagster_runs_removed"], shown["finished"]) == (3, 0, True)
    again = numbers(job.execute_in_process(instance=fresh_instance), "housekeeping")
    assert {value for name, value in again.items() if name.endswith("_removed")} == {0}


def test_housekeeping_that_cannot_clean_a_table_says_which_and_cleans_the_others(
    db: Database, definitions: dg.Definitions, fresh_instance: DagsterInstance, query: Query
) -> None:
    query("ALTER TABLE preliminary_documents RENAME TO elsewhere")
    query("INSERT INTO day_events (client, day, type, payload, created_at) VALUES ('acme', '2025-01-15', 'x', '{}', "
          "now() - interval '8 days')")  # fmt: skip
    job = definitions.resolve_job_def("keep_house")
    result = job.execute_in_process(instance=fresh_instance, raise_on_error=False)
    assert not result.success
    failure = result.failure_data_for_node("housekeeping").user_failure_data
    assert failure.description == "not cleaned: preliminary_documents (ProgrammingError)"
    assert failure.metadata["seconds"].value >= 0
    assert query("SELECT count(*) FROM day_events") == [(0,)]


class Missing(TextEncoder):
    """One whose model is gone."""

    def encode(self, texts: Sequence[str]) -> Vectors:
        raise ModelNotFoundError("The model is gone.")


class Past:
    """Runs of the real jobs in a history of their own, all of them older than what is kept."""

    def __init__(self, instance: DagsterInstance, settings: Settings, database_url: str) -> None:
        self.instance = instance
        self.settings = settings
        self._database = DatabaseResource(url=database_url)

    def day(self, day: str, encoder: TextEncoder | None = None) -> str:
        resources = {"database": self._database, "encoder": encoder or TextEncoder()}
        runner = DayRunner(build_defs(self.settings, resources), self.instance)
        when = date.fromisoformat(day)
        return runner.run(DayBatch(when, when, 1, 1, 1), trigger=Trigger.COMMAND, force=True).run_id

    def housekeeping(self) -> str:
        job = build_defs(self.settings, {"database": self._database}).resolve_job_def("keep_house")
        return job.execute_in_process(instance=self.instance).run_id

    def create(self, job: str, **more: Any) -> dg.DagsterRun:
        definition = build_defs(self.settings, {"database": self._database}).resolve_job_def(job)
        return self.instance.create_run_for_job(definition, **more)

    def never_begun(self, day: str) -> str:
        run = self.create("materialize_days", tags={"dagster/partition": day})
        self.instance.report_run_failed(run)
        return run.run_id

    def clean(self, batch: int = 100) -> int:
        step = OldRuns(self.instance, datetime.now(UTC) + timedelta(hours=1), batch)
        removed = 0
        more = True
        while more:
            count, more = step()
            removed += count
        return removed

    def partitions(self, asset: str) -> tuple[list[str], list[str]]:
        """The materialized and the failed partitions, as the Dagster UI finds them when it builds its cache anew."""
        key, days = AssetKey(asset), day_partitions(self.settings)
        self.instance.event_log_storage.wipe_asset_cached_status(key)
        found = get_and_update_asset_status_cache_value(self.instance, key, days)
        assert found is not None
        return (
            list(found.deserialize_materialized_partition_subsets(days).get_partition_keys()),
            list(found.deserialize_failed_partition_subsets(days).get_partition_keys()),
        )


@pytest.fixture
def past(own_instance: DagsterInstance, settings: Settings, database_url: str) -> Past:
    return Past(own_instance, settings, database_url)


def test_old_runs_go_but_for_those_that_the_state_of_partitions_rests_on(past: Past, db: Database) -> None:
    """A day that was made twice, one whose run never began, one that failed half way and is made good later."""
    for number, day in enumerate((FIRST, SECOND, THIRD, LAST)):
        bring(db, lines_at(day, f"s{number}", ("Ann", f"line {number} of several")))
    superseded, newest = past.day(FIRST), past.day(FIRST)
    repeated, never_began = past.never_begun(SECOND), past.never_begun(SECOND)
    half_way, last = past.day(THIRD, Missing()), past.day(LAST)
    kept_house, kept_house_last = past.housekeeping(), past.housekeeping()
    unfinished = past.create("keep_house", status=DagsterRunStatus.STARTED).run_id
    before = {asset: past.partitions(asset) for asset in ("line_embeddings", "day_document")}
    assert before == {asset: ([FIRST, LAST], [SECOND, THIRD]) for asset in before}

    assert past.clean(batch=2) == len({superseded, repeated, kept_house})
    assert run_ids(past.instance) == {newest, never_began, half_way, last, kept_house_last, unfinished}
    assert {asset: past.partitions(asset) for asset in before} == before
    assert past.clean() == 0

    repaired = past.day(THIRD)
    assert past.clean() == 1
    assert run_ids(past.instance) == {newest, never_began, repaired, last, kept_house_last, unfinished}
    assert past.partitions("day_document") == ([FIRST, THIRD, LAST], [SECOND])


def test_runs_that_ended_lately_stay(past: Past) -> None:
    recent = {past.housekeeping(), past.housekeeping()}
    assert OldRuns(past.instance, datetime.now(UTC) - timedelta(hours=1))() == Removed(0, more=False)
    assert run_ids(past.instance) == recent


def test_a_run_whose_removal_was_interrupted_is_removed_the_next_time(
    past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, last = past.housekeeping(), past.housekeeping()

    def killed(_run_id: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(past.instance, "delete_run", killed)
        with pytest.raises(KeyboardInterrupt):
            past.clean()
    assert run_ids(past.instance) == {old, last}
    assert past.instance.all_logs(old) == []
    assert past.clean() == 1
    assert run_ids(past.instance) == {last}
    assert past.instance.all_logs(last) != []


def test_runs_of_a_backfill_that_goes_on_stay(past: Past) -> None:
    from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill

    old, last = past.housekeeping(), past.housekeeping()
    past.instance.add_run_tags(old, {"dagster/backfill": "going"})
    backfill = PartitionBackfill(
        backfill_id="going",
        partition_set_origin=None,
        status=BulkActionStatus.REQUESTED,
        partition_names=[],
        from_failure=False,
        tags={},
        backfill_timestamp=0.0,
        reexecution_steps=[],
    )
    past.instance.add_backfill(backfill)
    assert past.clean() == 0
    assert run_ids(past.instance) == {old, last}
    past.instance.update_backfill(backfill.with_status(BulkActionStatus.COMPLETED_SUCCESS))
    assert past.clean() == 1


def test_what_waits_longer_than_a_sweep_takes_is_overdue(
    db: Database, definitions: dg.Definitions, fresh_instance: DagsterInstance, query: Query
) -> None:
    def checked() -> Any:
        job = definitions.resolve_job_def("take_health_sample")
        (found,) = [
            event.asset_check_evaluation_data
            for event in job.execute_in_process(instance=fresh_instance).all_events
            if event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION
        ]
        return found

    today = datetime.now(UTC).date()
    bring(db, lines_at(today.isoformat(), "a", ("Ann", "one")), today=today)
    bring(db, lines_at("2025-01-15", "b", ("Ann", "an older day is a backlog, left to the sweep")), today=today)
    assert checked().passed
    query("UPDATE data_items SET updated_at = now() - interval '3 hours'")
    late = checked()
    assert (late.passed, late.metadata["overdue"].value) == (False, 1)
    assert f"acme, {today}: for 3.0 h" in late.description
    query("UPDATE data_items SET semantic_status = 'completed'")
    assert checked().passed
