"""When things happen by themselves: discovery by its cron setting, the sweep every two hours."""

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from dagster import (
    DagsterInstance,
    DagsterRunStatus,
    DefaultScheduleStatus,
    RunRequest,
    RunsFilter,
    ScheduleDefinition,
    ScheduleEvaluationContext,
    SkipReason,
    schedule,
)
from dagster._utils.schedules import cron_string_iterator, is_valid_cron_schedule

from crew_pipeline.days.pace import allowance
from crew_pipeline.days.planning import Batch, batches
from crew_pipeline.dedup.config import fingerprint_of
from crew_pipeline.orchestration import tags
from crew_pipeline.orchestration.days.assets import MAX_DAYS_PER_RUN, Scope
from crew_pipeline.orchestration.days.tables import FIRST_ASSET
from crew_pipeline.orchestration.discovery.assets import DISCOVERY_JOB
from crew_pipeline.orchestration.jobs import DAY_JOB
from crew_pipeline.orchestration.resources import DatabaseResource
from crew_pipeline.settings import DEFAULT_DISCOVERY_CRON, Settings
from crew_pipeline.storage.days import queue

logger = logging.getLogger(__name__)

_DISCOVERY_WITHIN_S = 900
UNFINISHED = [
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]


def discovery_cron(settings: Settings) -> str:
    """The configured cron expression; the default, with a warning, where it is not valid."""
    if is_valid_cron_schedule(settings.discovery_cron):
        return settings.discovery_cron
    logger.warning(
        "CREW_DISCOVERY_CRON=%r is no cron expression; using %r", settings.discovery_cron, DEFAULT_DISCOVERY_CRON
    )
    return DEFAULT_DISCOVERY_CRON


def range_tags(batch: Batch) -> dict[str, str]:
    """The tags by which Dagster knows the days of a run."""
    if batch.first == batch.last:
        return {"dagster/partition": batch.first.isoformat()}
    return {
        "dagster/asset_partition_range_start": batch.first.isoformat(),
        "dagster/asset_partition_range_end": batch.last.isoformat(),
    }


def background_config() -> dict[str, Any]:
    """Runs that nobody asked for leave days alone that have failed."""
    return {"ops": {FIRST_ASSET: {"config": Scope(retry_failed=False).model_dump()}}}


def sweep_requests(work: Sequence[queue.Work], settings: Settings, tick: datetime) -> list[RunRequest]:
    """What a sweep asks for: batches in the order of the queue, spread over as many lanes as may run at once.

    What does not fit into the time between two sweeps is the next one's, in the order and by the share that hold then.
    """
    planned = batches(work, max_conversations=settings.sweep_batch, max_days=MAX_DAYS_PER_RUN)
    allowed = allowance(settings, tick)
    return [
        RunRequest(
            run_key=f"sweep:{tick.isoformat()}:{batch.first}..{batch.last}",
            job_name=DAY_JOB,
            run_config=background_config(),
            tags={
                **range_tags(batch),
                **allowed.tags(number),
                tags.TRIGGER: tags.SWEEP,
                tags.PRIORITY: str(batch.priority),
                tags.MAX_RUNTIME: str(settings.sweep_timeout_min * 60),
                tags.RUN_RETRIES: "0",
            },
        )
        for number, batch in enumerate(allowed.fitting(planned, settings.sweep_interval_h * 3600))
    ]


def build_schedules(settings: Settings) -> list[ScheduleDefinition]:
    """Discovery and sweep; switched on from the start unless background jobs are turned off."""
    status = DefaultScheduleStatus.RUNNING if settings.enable_background_jobs else DefaultScheduleStatus.STOPPED

    @schedule(
        name="sweep",
        job_name=DAY_JOB,
        cron_schedule=f"0 */{settings.sweep_interval_h} * * *",
        execution_timezone=settings.timezone,
        default_status=status,
        description="Takes days from the queue, most urgent first; skips while an earlier sweep is still at work.",
    )
    def sweep(context: ScheduleEvaluationContext, database: DatabaseResource) -> list[RunRequest] | SkipReason:
        if skip := while_at_work(
            context.instance, "sweep", RunsFilter(statuses=UNFINISHED, tags={tags.TRIGGER: tags.SWEEP})
        ):
            return skip
        tick = context.scheduled_execution_time
        fingerprint = fingerprint_of(settings)
        with database.db.write() as connection:
            queue.refresh_priorities(connection, tick.astimezone(settings.zone).date())
            waiting = queue.work(connection, fingerprint, with_failed=False, most=10_000)
        requests = sweep_requests(waiting, settings, tick)
        return requests or SkipReason("every day is ready")

    cron = discovery_cron(settings)

    @schedule(
        name="discovery",
        job_name=DISCOVERY_JOB,
        cron_schedule=cron,
        execution_timezone=settings.timezone,
        default_status=status,
        description="Looks for new conversations in the history tables; skips while an earlier look is still at work.",
    )
    def discovery(context: ScheduleEvaluationContext) -> RunRequest | SkipReason:
        tick = context.scheduled_execution_time
        context.log.info(f"the next discovery runs at {next_run(cron, settings, tick).isoformat()}")
        if skip := while_at_work(
            context.instance, "discovery", RunsFilter(statuses=UNFINISHED, job_name=DISCOVERY_JOB)
        ):
            return skip
        return RunRequest(
            run_key=f"discovery:{tick.isoformat()}",
            tags={tags.TRIGGER: "schedule", "dagster/max_runtime": str(_DISCOVERY_WITHIN_S)},
        )

    return [sweep, discovery]


def while_at_work(instance: DagsterInstance, what: str, runs: RunsFilter) -> SkipReason | None:
    """The reason to skip a tick while one of ``runs``, which names the unfinished ones, is queued or running."""
    unfinished = instance.get_run_records(runs, limit=1)
    if not unfinished:
        return None
    return SkipReason(f"an earlier {what} is still at work (run {unfinished[0].dagster_run.run_id})")


def next_run(cron: str, settings: Settings, after: datetime) -> datetime:
    """When a cron expression comes next, in the configured time zone."""
    moments = cron_string_iterator(after.timestamp() + 1, cron, settings.timezone)
    return next(moments)
