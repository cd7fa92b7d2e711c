"""What is used of Dagster that it does not promise: each test says what is relied on."""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import dagster as dg
import pytest
from dagster import DagsterInstance
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import pack_value
from sqlalchemy import inspect, text

from crew_pipeline.orchestration import dagster_internals

PACKAGE = Path(__file__).resolve().parents[2] / "crew_pipeline"


def test_they_are_used_in_one_module() -> None:
    using = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if re.search(r"^\s*(?:from|import) dagster(?:_\w+)?\._", path.read_text(), flags=re.MULTILINE)
    }
    assert using == {"orchestration/dagster_internals.py"}


def test_an_id_of_a_run_to_come_is_one_that_dagster_takes() -> None:
    run_id = dagster_internals.new_run_id()
    assert str(uuid.UUID(run_id)) == run_id
    assert run_id != dagster_internals.new_run_id()
    with dg.instance_for_test() as instance:
        instance.add_run(dg.DagsterRun("job", run_id))
        assert instance.get_run_by_id(run_id) is not None


def test_cron_expressions_are_those_that_schedules_take() -> None:
    assert dagster_internals.is_cron("*/5 * * * *")
    assert not dagster_internals.is_cron("every day")
    moments = dagster_internals.cron_moments("0 */2 * * *", datetime(2025, 1, 15, 9, 30, tzinfo=UTC), "Europe/Berlin")
    assert [moment.astimezone(UTC).hour for moment in islice(moments, 2)] == [11, 13]


def test_backfills_that_are_not_over_are_found() -> None:
    with dg.instance_for_test() as instance:
        for name, status in (("asked", BulkActionStatus.REQUESTED), ("over", BulkActionStatus.COMPLETED_SUCCESS)):
            instance.add_backfill(
                PartitionBackfill(
                    backfill_id=name,
                    status=status,
                    from_failure=False,
                    tags={dagster_internals.BACKFILL_ID_TAG: name},
                    backfill_timestamp=0.0,
                )
            )
        assert dagster_internals.unfinished_backfills(instance) == {"asked"}


def test_the_tag_of_a_backfill_is_the_one_that_its_runs_carry() -> None:
    assert dagster_internals.BACKFILL_ID_TAG == "dagster/backfill"


def test_a_run_that_a_launcher_has_sent_is_executed_here(instance: DagsterInstance) -> None:
    job = dg.reconstructable(small_job)
    run = instance.create_run_for_job(
        job.get_definition(), job_code_origin=job.get_python_origin(), tags={"made by": "a test"}
    )
    packed = pack_value(ExecuteRunArgs(job.get_python_origin(), run.run_id, instance.get_ref()))
    assert dagster_internals.execute_run(packed, instance) == 0
    done = instance.get_run_by_id(run.run_id)
    assert done is not None
    assert done.is_success


@dg.op
def nothing() -> None:
    """A step."""


@dg.job(executor_def=dg.in_process_executor)
def small_job() -> None:
    """A job of one step."""
    nothing()


def test_tags_are_counted_against_their_limits_as_the_daemon_does() -> None:
    lane = dg.DagsterRun(job_name="days", tags={"lane": "background"})
    limits = [{"key": "lane", "value": "background", "limit": 1}]
    assert not dagster_internals.TagConcurrencyLimitsCounter(limits, []).is_blocked(lane)
    assert dagster_internals.TagConcurrencyLimitsCounter(limits, [lane]).is_blocked(lane)


@pytest.mark.parametrize("lost", ["asset_keys", "kvs", "job_ticks", "alembic_version", "instance_info"])
def test_tables_that_a_killed_process_has_not_made_are_made(instance: DagsterInstance, lost: str) -> None:
    engine = instance.run_storage._engine  # type: ignore[attr-defined]
    before = set(inspect(engine).get_table_names())
    with engine.connect() as connection:
        connection.execute(text(f"DROP TABLE {lost} CASCADE"))
    dagster_internals.complete_tables(instance)
    assert set(inspect(engine).get_table_names()) == before
    found, newest = instance.run_storage.alembic_version()  # type: ignore[misc]
    assert found == newest


def test_tables_of_another_version_are_left_to_its_migration(instance: DagsterInstance) -> None:
    engine = instance.run_storage._engine  # type: ignore[attr-defined]
    with engine.connect() as connection:
        there = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        connection.execute(text("UPDATE alembic_version SET version_num = 'older'"))
        connection.execute(text("ALTER TABLE kvs RENAME TO kvs_aside"))
    try:
        dagster_internals.complete_tables(instance)
        assert "kvs" not in inspect(engine).get_table_names()
    finally:
        with engine.connect() as connection:
            connection.execute(text("ALTER TABLE kvs_aside RENAME TO kvs"))
            connection.execute(text("UPDATE alembic_version SET version_num = :there"), {"there": there})
