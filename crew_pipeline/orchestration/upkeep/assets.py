"""The system's own upkeep: how it is, every five minutes, and housekeeping, once a day."""

import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from dagster import (
    AssetExecutionContext,
    AssetsDefinition,
    AssetSelection,
    DagsterInstance,
    DefaultScheduleStatus,
    Failure,
    MaterializeResult,
    RunRequest,
    RunsFilter,
    ScheduleDefinition,
    ScheduleEvaluationContext,
    SkipReason,
    asset,
    define_asset_job,
    in_process_executor,
    schedule,
)
from sqlalchemy import Connection, text

from crew_pipeline.orchestration import tags
from crew_pipeline.orchestration.days.sweep import UNFINISHED, while_at_work
from crew_pipeline.orchestration.failures import TRANSIENT_RETRIES, is_transient
from crew_pipeline.orchestration.resources import DatabaseResource
from crew_pipeline.orchestration.upkeep.old_runs import OldRuns
from crew_pipeline.settings import Settings
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.upkeep.alerts import News
from crew_pipeline.storage.upkeep.health import Sample
from crew_pipeline.upkeep.health import Look, look
from crew_pipeline.upkeep.retention import Report, Step, keep_house, table_steps

GROUP = "operation"
HEALTH_JOB = "take_health_sample"
HOUSEKEEPING_JOB = "keep_house"
HEALTH_CRON = "*/5 * * * *"
HOUSEKEEPING_WITHIN_S = 600.0
"""Time for housekeeping of one night (s); what is left over is for the next."""
SILENCE = timedelta(minutes=5, seconds=30)
"""A newest sample that is older means that nobody takes them by schedule."""

_HEALTH_WITHIN_S = 240
_URGENT = "10"


def build_operation(settings: Settings) -> list[AssetsDefinition]:
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
        found = look(database.db, settings, lambda: daemon_age_s(context.instance))
        assert found is not None
        for news in found.news:
            context.log.warning(f"alert {news.state}: {news.alert.message}")
        return MaterializeResult(metadata=_health_metadata(found))

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
        with database.db.read() as connection:
            runs_before = _database_time(connection) - timedelta(days=settings.keep_runs_d)
        steps: dict[str, Step] = {
            **table_steps(database.db, settings),
            "dagster_runs": OldRuns(context.instance, runs_before),
        }
        report = keep_house(steps, HOUSEKEEPING_WITHIN_S)
        metadata = _housekeeping_metadata(report, time.monotonic() - started)
        if report.errors:
            for name, error in report.errors.items():
                context.log.error(f"{name}: {error}")
            names = ", ".join(f"{name} ({type(error).__name__})" for name, error in report.errors.items())
            passing = any(is_transient(error) for error in report.errors.values())
            raise Failure(description=f"not cleaned: {names}", metadata=metadata, allow_retries=passing)
        return MaterializeResult(metadata=metadata)

    return [system_health, housekeeping]


def operation_jobs() -> list[Any]:
    """A job for each of the two assets."""
    return [
        define_asset_job(
            name,
            selection=AssetSelection.assets(materialized),
            executor_def=in_process_executor,
            description=description,
        )
        for name, materialized, description in (
            (HEALTH_JOB, "system_health", "How the system is."),
            (HOUSEKEEPING_JOB, "housekeeping", "Old records go."),
        )
    ]


def build_operation_schedules(settings: Settings) -> list[ScheduleDefinition]:
    """When the two jobs run; switched on from the start unless background jobs are turned off."""
    plans = (
        ("health", HEALTH_JOB, HEALTH_CRON, _HEALTH_WITHIN_S, "Takes a sample of the system."),
        (
            "housekeeping",
            HOUSEKEEPING_JOB,
            f"0 {settings.housekeeping_hour} * * *",
            int(HOUSEKEEPING_WITHIN_S) * 2,
            "Removes old records.",
        ),
    )
    return [_schedule(settings, *plan) for plan in plans]


def _schedule(
    settings: Settings, name: str, job: str, cron: str, within_s: int, description: str
) -> ScheduleDefinition:
    status = DefaultScheduleStatus.RUNNING if settings.enable_background_jobs else DefaultScheduleStatus.STOPPED

    @schedule(
        name=name,
        job_name=job,
        cron_schedule=cron,
        execution_timezone=settings.timezone,
        default_status=status,
        description=f"{description} Skips while an earlier run is still at work.",
    )
    def tick(context: ScheduleEvaluationContext) -> RunRequest | SkipReason:
        if skip := while_at_work(context.instance, "run", RunsFilter(statuses=UNFINISHED, job_name=job)):
            return skip
        return RunRequest(
            run_key=f"{name}:{context.scheduled_execution_time.isoformat()}",
            tags={tags.TRIGGER: "schedule", "dagster/max_runtime": str(within_s), tags.PRIORITY: _URGENT},
        )

    return tick


def daemon_age_s(instance: DagsterInstance) -> float | None:
    """How long ago Dagster's daemon has beaten (s), whichever part of it did last; None where it never has.

    A part may be silent for minutes while it works off something long; Dagster itself ends a daemon of which a part has
    died.
    """
    beats = [beat.timestamp for beat in instance.get_daemon_heartbeats().values()]
    return max(0.0, time.time() - max(beats)) if beats else None


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
    found = look(db, settings, lambda: daemon_age_s(instance), unless_within=SILENCE)
    return found.news if found else []


def _database_time(connection: Connection) -> datetime:
    moment = connection.scalar(text("SELECT now()"))
    assert isinstance(moment, datetime)
    return moment


def _health_metadata(found: Look) -> dict[str, Any]:
    """The figures of a sample, those that are there, as numbers: the Dagster UI plots them over time."""
    sample: Sample = found.sample
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
