"""What follows a client's days one by one: made for the newest days first, as a tick asks for it."""

import time
from collections.abc import Callable, Sequence
from datetime import date, datetime
from typing import Any, TypeVar

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
from crew_pipeline.days.planning import MAX_DAYS_PER_RUN, batches
from crew_pipeline.model import ClientDay, Trigger
from crew_pipeline.orchestration import tags
from crew_pipeline.orchestration.resources import DatabaseResource
from crew_pipeline.orchestration.ticks import UNFINISHED, skip_while_at_work, status_at_start
from crew_pipeline.settings import Settings
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.days import states
from crew_pipeline.storage.days.queue import Work

T = TypeVar("T")

MOST_DAYS = 1_000
"""That a tick looks at."""


def each(db: Database, day: date, work: Callable[[Database, ClientDay], T | None]) -> tuple[list[T], float]:
    """What was done for each client's day where there was anything to do, and how long it took (s)."""
    started = time.monotonic()
    with db.read() as connection:
        client_days = states.client_days_on(connection, day)
    tried = [work(db.as_client(client_day.client), client_day) for client_day in client_days]
    return [done for done in tried if done is not None], round(time.monotonic() - started, 3)


def build_job(job: str, assets: Sequence[str], description: str) -> Any:
    """Assets of one or more days, in one process."""
    return define_asset_job(
        job, selection=AssetSelection.assets(*assets), executor_def=in_process_executor, description=description
    )


def request(job: str, work: Sequence[Work], settings: Settings, tick: datetime) -> RunRequest | None:
    """The one run that a tick asks for: the newest days that go together; None where there is nothing to do."""
    planned = batches(work, max_conversations=settings.sweep_batch, max_days=MAX_DAYS_PER_RUN)
    if not planned:
        return None
    return RunRequest(
        run_key=f"{job}:{tick.isoformat()}",
        tags={
            **tags.partition_tags(planned[0]),
            **tags.lane_tags(allowance(settings, tick), 0),
            tags.TRIGGER: Trigger.SCHEDULE.value,
        },
    )


def build_schedule(
    settings: Settings, job: str, cron: str, without: Callable[[Database], list[Work]], said: tuple[str, str]
) -> ScheduleDefinition:
    """The schedule of a job that follows the days; switched on from the start unless background jobs are turned off.

    Args:
        without: the days of which something is to be done, newest first.
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
        return request(job, without(database.db), settings, context.scheduled_execution_time) or SkipReason(nothing)

    return follows
