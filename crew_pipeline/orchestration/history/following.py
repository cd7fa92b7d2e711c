"""Jobs that follow the days, and the ticks that ask for their runs."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from dagster import (
    AssetSelection,
    RunRequest,
    RunsFilter,
    ScheduleDefinition,
    ScheduleEvaluationContext,
    SkipReason,
    define_asset_job,
    in_process_executor,
    schedule,
)

from crew_pipeline.days.pace import allowance
from crew_pipeline.model import Trigger
from crew_pipeline.orchestration import tags
from crew_pipeline.orchestration.resources import DatabaseResource
from crew_pipeline.orchestration.ticks import UNFINISHED, skip_while_at_work, status_at_start
from crew_pipeline.settings import Settings
from crew_pipeline.storage.database import Database

Wanted = Mapping[str, str] | None
"""The tags of the run that is wanted, beside those that all have; None where there is nothing to do."""


def build_job(job: str, assets: Sequence[str], description: str) -> Any:
    """Some assets, in one process."""
    return define_asset_job(
        job, selection=AssetSelection.assets(*assets), executor_def=in_process_executor, description=description
    )


def run_request(job: str, wanted: Wanted, settings: Settings, tick: datetime) -> RunRequest | None:
    """The one run that a tick asks for."""
    if wanted is None:
        return None
    return RunRequest(
        run_key=f"{job}:{tick.isoformat()}",
        tags={**wanted, **tags.lane_tags(allowance(settings, tick), 0), tags.TRIGGER: Trigger.SCHEDULE.value},
    )


def build_schedule(
    settings: Settings, job: str, cron: str, wanted: Callable[[Database], Wanted], said: tuple[str, str]
) -> ScheduleDefinition:
    """The schedule of a job; switched on from the start unless background jobs are turned off.

    Args:
        said: what it does, and what is the case where there is nothing to do.
    """
    does, nothing = said

    @schedule(
        name=job,
        job_name=job,
        cron_schedule=cron,
        execution_timezone=settings.timezone,
        default_status=status_at_start(settings),
        description=f"{does} Skips while an earlier run is still at work.",
    )
    def follows(context: ScheduleEvaluationContext, database: DatabaseResource) -> RunRequest | SkipReason:
        earlier = RunsFilter(statuses=UNFINISHED, job_name=job)
        if skip := skip_while_at_work(context.instance, "run", earlier):
            return skip
        request = run_request(job, wanted(database.db), settings, context.scheduled_execution_time)
        return request or SkipReason(nothing)

    return follows
