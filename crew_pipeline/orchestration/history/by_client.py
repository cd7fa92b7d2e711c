"""What follows a client's days as a whole: done client by client, and asked for by a tick where any is behind."""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, TypeVar

from dagster import (
    AssetExecutionContext,
    AssetSelection,
    Config,
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
from crew_pipeline.storage.conversations import clients
from crew_pipeline.storage.database import Database

T = TypeVar("T")

CRON = "*/10 * * * *"


class Extent(Config):
    """How much is made.

    Attributes:
        anew: all of it, from nothing but what people have said; else what has changed.
    """

    anew: bool = False


def names(db: Database) -> list[str]:
    """All clients."""
    with db.read() as connection:
        return clients.names(connection)


def each(of: Iterable[str], work: Callable[[str], T | None]) -> tuple[dict[str, T], dict[str, Exception]]:
    """What was done for each client, and what went wrong for which: one does not keep the others from theirs."""
    done: dict[str, T] = {}
    failed: dict[str, Exception] = {}
    for client in of:
        try:
            made = work(client)
        except Exception as error:
            failed[client] = error
        else:
            if made is not None:
                done[client] = made
    return done, failed


def tell(context: AssetExecutionContext, failed: dict[str, Exception], what: str) -> None:
    """Say for which clients it went wrong.

    Raises:
        ExceptionGroup: for any.
    """
    for client, error in failed.items():
        context.log.error(f"{client}: {what} not up to date ({type(error).__name__})")
    if failed:
        raise ExceptionGroup(f"Some clients' {what} not up to date", list(failed.values()))


def build_job(job: str, asset: str, description: str) -> Any:
    """An asset alone, in one process."""
    return define_asset_job(
        job, selection=AssetSelection.assets(asset), executor_def=in_process_executor, description=description
    )


def run_request(job: str, behind: list[str], settings: Settings, tick: datetime) -> RunRequest | None:
    """The run that a tick asks for, where any client is behind."""
    if not behind:
        return None
    return RunRequest(
        run_key=f"{job}:{tick.isoformat()}",
        tags={**tags.lane_tags(allowance(settings, tick), 0), tags.TRIGGER: Trigger.SCHEDULE.value},
    )


def build_schedule(
    settings: Settings, job: str, behind: Callable[[Database], list[str]], said: tuple[str, str]
) -> ScheduleDefinition:
    """The schedule of a job that follows the days; switched on from the start unless background jobs are turned off.

    Args:
        behind: the clients of whom something is to be done.
        said: what it does, and what is the case where there is nothing to do.
    """
    does, nothing = said

    @schedule(
        name=job,
        job_name=job,
        cron_schedule=CRON,
        execution_timezone=settings.timezone,
        default_status=status_at_start(settings),
        description=f"{does} Skips while an earlier run is still at work.",
    )
    def follows(context: ScheduleEvaluationContext, database: DatabaseResource) -> RunRequest | SkipReason:
        earlier = RunsFilter(statuses=UNFINISHED, job_name=job)
        if skip := skip_while_at_work(context.instance, "run", earlier):
            return skip
        request = run_request(job, behind(database.db), settings, context.scheduled_execution_time)
        return request or SkipReason(nothing)

    return follows
