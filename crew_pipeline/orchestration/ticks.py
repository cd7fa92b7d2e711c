"""What all schedules share: a tick is skipped while an earlier run of it is still queued or running."""

from __future__ import annotations

from datetime import datetime

from dagster import DagsterInstance, DagsterRunStatus, DefaultScheduleStatus, RunsFilter, SkipReason

from crew_pipeline.orchestration.dagster_internals import cron_moments
from crew_pipeline.settings import Settings

UNFINISHED = [
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]


def status_at_start(settings: Settings) -> DefaultScheduleStatus:
    """Switched on from the start unless background jobs are turned off."""
    return DefaultScheduleStatus.RUNNING if settings.enable_background_jobs else DefaultScheduleStatus.STOPPED


def skip_while_at_work(instance: DagsterInstance, what: str, runs: RunsFilter) -> SkipReason | None:
    """The reason to skip a tick while a run that ``runs`` selects is unfinished; None where there is none."""
    unfinished = instance.get_run_records(runs, limit=1)
    if not unfinished:
        return None
    return SkipReason(f"an earlier {what} is still at work (run {unfinished[0].dagster_run.run_id})")


def next_run(cron: str, settings: Settings, after: datetime) -> datetime:
    """When a cron expression comes next, in the configured time zone."""
    return next(cron_moments(cron, after, settings.timezone))
