"""The system's own upkeep: its health, and removal of what is old."""

import time
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from dagster import (
    AssetExecutionContext,
    AssetsDefinition,
    AssetSelection,
    DagsterInstance,
    Failure,
    MaterializeResult,
    asset,
    define_asset_job,
    in_process_executor,
)

from crew_pipeline.orchestration import tags
from crew_pipeline.orchestration.failures import TRANSIENT_RETRIES, is_transient
from crew_pipeline.orchestration.instance import daemon_age_s
from crew_pipeline.orchestration.resources import DatabaseResource
from crew_pipeline.orchestration.upkeep.freshness import FRESHNESS
from crew_pipeline.orchestration.upkeep.old_runs import OldRuns
from crew_pipeline.settings import Settings
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.upkeep import retention
from crew_pipeline.storage.upkeep.alerts import News
from crew_pipeline.storage.upkeep.health import Sample
from crew_pipeline.upkeep.health import Look, look
from crew_pipeline.upkeep.retention import Report, Step, drop_old_outputs, keep_house, table_steps

GROUP = "operation"
HOUSEKEEPING_WITHIN_S = 600.0
"""Time for housekeeping of one night (s); what is left over is for the next."""
SILENCE = timedelta(minutes=5, seconds=30)
"""A newest sample that is older means that nobody takes them by schedule."""


def build_upkeep(settings: Settings) -> list[AssetsDefinition]:
    """The two assets; they have no partitions, since both are of the whole system."""

    @asset(
        name="system_health",
        group_name=GROUP,
        kinds={"postgres"},
        retry_policy=TRANSIENT_RETRIES,
        description="What waits, who is alive, and what the machine has left.",
    )
    def system_health(context: AssetExecutionContext, database: DatabaseResource) -> MaterializeResult[Any]:
        """One sample of the system; alerts that it raises or resolves are in the log."""
        looked = look(database.db, settings, lambda: daemon_age_s(context.instance))
        assert looked is not None
        for news in looked.news:
            context.log.warning(f"alert {news.state}: {news.alert.message}")
        return MaterializeResult(metadata=_health_metadata(looked))

    @asset(
        name="housekeeping",
        group_name=GROUP,
        kinds={"postgres"},
        retry_policy=TRANSIENT_RETRIES,
        description="Old records that were removed from the store and from Dagster.",
    )
    def housekeeping(context: AssetExecutionContext, database: DatabaseResource) -> MaterializeResult[Any]:
        """Remove what is old; steps that break are named after the others have been taken."""
        started = time.monotonic()
        report = keep_house(_steps(database.db, settings, context.instance), HOUSEKEEPING_WITHIN_S)
        metadata = _housekeeping_metadata(report, time.monotonic() - started)
        if report.errors:
            for name, error in report.errors.items():
                context.log.error(f"{name}: {error}")
            raise _not_cleaned(report, metadata)
        return MaterializeResult(metadata=metadata)

    return [system_health, housekeeping]


def upkeep_jobs() -> list[Any]:
    """A job for each of the two assets."""
    return [
        define_asset_job(
            name,
            selection=selection,
            executor_def=in_process_executor,
            description=description,
        )
        for name, selection, description in (
            (tags.HEALTH_JOB, AssetSelection.assets("system_health") | FRESHNESS, "How the system is."),
            (tags.HOUSEKEEPING_JOB, AssetSelection.assets("housekeeping"), "Old records go."),
        )
    ]


def look_after(db: Database, settings: Settings, instance: DagsterInstance) -> Sequence[News]:
    """Stand in for a daemon that does not take samples of the system; to be called every minute or so, by anybody.

    Takes one when the newest is over 5.5 minutes old, and raises and resolves alerts; else does nothing. However many
    processes call it at once, one takes the sample.

    Returns:
        Alerts that have turned.

    Raises:
        SQLAlchemyError: the database does not answer.
        DagsterPostgresException: Dagster's does not.
    """
    looked = look(db, settings, lambda: daemon_age_s(instance), unless_within=SILENCE)
    return looked.news if looked else []


def _steps(db: Database, settings: Settings, instance: DagsterInstance) -> dict[str, Step]:
    """What housekeeping removes: from the tables, and from Dagster's history."""
    with db.read() as connection:
        now = retention.now(connection)
    runs_before = now - timedelta(days=settings.keep_runs_d)
    printed = partial(
        drop_old_outputs, Path(instance.storage_directory()), timedelta(days=settings.keep_records_d), now
    )
    return {**table_steps(db, settings), "dagster_runs": OldRuns(instance, runs_before), "outputs_of_runs": printed}


def _not_cleaned(report: Report, metadata: dict[str, Any]) -> Failure:
    """The failure that names the steps that broke; tried again where one of them may pass."""
    names = ", ".join(f"{name} ({type(error).__name__})" for name, error in report.errors.items())
    passing = any(is_transient(error) for error in report.errors.values())
    return Failure(description=f"not cleaned: {names}", metadata=metadata, allow_retries=passing)


def _health_metadata(looked: Look) -> dict[str, Any]:
    """The figures of a sample, those that are there, as numbers: the Dagster UI plots them over time."""
    sample: Sample = looked.sample
    figures: dict[str, Any] = {
        "days_waiting": sample.days_waiting,
        "conversations_waiting": sample.conversations_waiting,
        "days_asked": sample.days_asked,
        "longest_wait_s": round(sample.longest_wait_s, 1),
        "oldest_day_waiting": sample.oldest_day.isoformat() if sample.oldest_day else None,
        "days_failed": sample.days_failed,
        "workers": sample.workers,
        "worker_heartbeat_age_s": _rounded(sample.worker_heartbeat_age_s),
        "daemon_heartbeat_age_s": _rounded(sample.daemon_heartbeat_age_s),
        "cpu_percent": round(sample.cpu_percent, 1),
        "memory_free_mb": sample.memory_free_mb,
        "disk_free_mb": sample.disk_free_mb,
        "runs_ended": sample.runs_ended,
        "runs_failed": sample.runs_failed,
        "host": sample.host,
    }
    return {name: value for name, value in figures.items() if value is not None}


def _housekeeping_metadata(report: Report, seconds: float) -> dict[str, Any]:
    return {
        **{f"{name}_removed": removed for name, removed in report.removed.items()},
        "seconds": round(seconds, 3),
        "finished": report.finished,
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)
