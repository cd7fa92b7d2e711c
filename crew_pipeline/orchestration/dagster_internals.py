"""What is used of Dagster that it does not promise: gathered here, with a test each that says what is relied on."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from dagster import AssetKey, AssetRecordsFilter, DagsterInstance, DagsterRun
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData,
)
from dagster._core.execution.backfill import BulkActionsFilter, BulkActionStatus
from dagster._core.storage.tags import BACKFILL_ID_TAG
from dagster._core.utils import make_new_run_id
from dagster._utils.schedules import cron_string_iterator, is_valid_cron_schedule
from dagster._utils.tags import TagConcurrencyLimitsCounter
from sqlalchemy import inspect

from crew_pipeline.orchestration import tags

__all__ = ["BACKFILL_ID_TAG", "TagConcurrencyLimitsCounter"]

_UNFINISHED_BACKFILLS = [BulkActionStatus.REQUESTED, BulkActionStatus.CANCELING, BulkActionStatus.FAILING]


def new_run_id() -> str:
    """An id for a run to come, so that its days can be claimed before it starts."""
    return str(make_new_run_id())


def is_cron(expression: str) -> bool:
    """Whether Dagster can schedule by a cron expression."""
    return is_valid_cron_schedule(expression)


def cron_moments(expression: str, after: datetime, timezone: str) -> Iterator[datetime]:
    """When a cron expression is due, from ``after`` on."""
    return cron_string_iterator(after.timestamp() + 1, expression, timezone)


def unfinished_backfills(instance: DagsterInstance) -> set[str]:
    """The ids of backfills that are not over."""
    backfills = instance.get_backfills(filters=BulkActionsFilter(statuses=_UNFINISHED_BACKFILLS))
    return {backfill.backfill_id for backfill in backfills}


def instance_without_logs(home: str) -> DagsterInstance:
    """The instance of a folder, for a process that executes runs itself: its output is its own, not kept as theirs."""
    from dagster._core.instance.ref import InstanceRef

    nowhere = {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"}
    return DagsterInstance.from_ref(InstanceRef.from_dir(home, overrides={"compute_logs": nowhere}))


def longest_s(instance: DagsterInstance, run: DagsterRun) -> float | None:
    """How long a run may take (s): as its tag says, else as the instance is configured; None where nothing says."""
    tagged = run.tags.get(tags.MAX_RUNTIME)
    configured = (instance.run_monitoring_settings or {}).get("max_runtime_seconds")
    limit = tagged if tagged is not None else configured
    return None if limit is None else float(limit)


def checked(
    instance: DagsterInstance, asset: str, partition: str
) -> AssetCheckEvaluationTargetMaterializationData | None:
    """What a check of a partition's last materialization names, for Dagster to tell whether it is of the newest one."""
    wanted = AssetRecordsFilter(asset_key=AssetKey(asset), asset_partitions=[partition])
    found = instance.fetch_materializations(wanted, limit=1).records
    if not found:
        return None
    return AssetCheckEvaluationTargetMaterializationData(
        storage_id=found[0].storage_id, run_id=found[0].run_id, timestamp=found[0].timestamp
    )


def complete_tables(instance: DagsterInstance) -> None:
    """Make the tables that are missing because a process ended while Dagster made its own: it makes each in a
    transaction of its own, and asks afterwards for one of them only.

    Tables of another version of Dagster are left to ``dagster instance migrate``.
    """
    from dagster._core.storage.event_log.schema import SqlEventLogStorageMetadata
    from dagster._core.storage.runs.schema import RunStorageSqlMetadata
    from dagster._core.storage.schedules.schema import ScheduleStorageSqlMetadata

    stores: list[tuple[Any, Any]] = [
        (instance.run_storage, RunStorageSqlMetadata),
        (instance.event_log_storage, SqlEventLogStorageMetadata),
        (instance.schedule_storage, ScheduleStorageSqlMetadata),
    ]
    for storage, metadata in stores:
        if not hasattr(storage, "_init_db"):
            continue
        missing = set(metadata.tables) - set(inspect(storage._engine).get_table_names())
        found, newest = storage.alembic_version()
        if (missing or found is None) and found in {None, newest}:
            storage._init_db()
            for follows in ("migrate", "optimize", "reindex_events", "reindex_assets"):
                getattr(storage, follows, lambda: None)()


def execute_run(packed_arguments: Any, instance: DagsterInstance) -> int:
    """Execute a run that a launcher has sent, in this process.

    Args:
        packed_arguments: what Dagster packs for ``dagster api execute_run``.

    Returns:
        0, or 1 for a run that failed.
    """
    from dagster._cli.api import _execute_run_command_body
    from dagster._grpc.types import ExecuteRunArgs
    from dagster._serdes import unpack_value

    arguments = unpack_value(packed_arguments, as_type=ExecuteRunArgs)
    return _execute_run_command_body(arguments.run_id, instance, lambda _event: None, set_exit_code_on_failure=True)
