"""The sweep: every two hours runs are asked for over what waits in the queue, most urgent first.

It claims nothing: its runs do, when they begin (``DayWork.claim`` in ``day_work``).
"""

from collections.abc import Sequence
from datetime import datetime

from dagster import RunRequest, RunsFilter, ScheduleDefinition, ScheduleEvaluationContext, SkipReason, schedule

from crew_pipeline.days.pace import allowance
from crew_pipeline.days.planning import MAX_DAYS_PER_RUN, batches
from crew_pipeline.dedup.config import fingerprint_of
from crew_pipeline.model import Trigger
from crew_pipeline.orchestration import tags
from crew_pipeline.orchestration.partitions import Span
from crew_pipeline.orchestration.resources import DatabaseResource
from crew_pipeline.orchestration.ticks import UNFINISHED, skip_while_at_work, status_at_start
from crew_pipeline.settings import Settings
from crew_pipeline.storage.days import queue

_MOST_DAYS = 10_000
_NO_PARTITIONS = (
    "are no partitions (these begin on {}); 'crew up' sees to it once no run is at work, a Dagster of your own when it "
    "is started anew with the variables of 'crew env'"
)


def sweep_requests(work: Sequence[queue.Work], settings: Settings, tick: datetime) -> list[RunRequest]:
    """What a sweep asks for: batches in the order of the queue, spread over as many lanes as may run at once.

    What does not fit into the time between two sweeps is left to the next, with the order and the share of that time.
    """
    planned = batches(work, max_conversations=settings.sweep_batch, max_days=MAX_DAYS_PER_RUN)
    allowed = allowance(settings, tick)
    return [
        RunRequest(
            run_key=f"sweep:{tick.isoformat()}:{batch.first}..{batch.last}",
            job_name=tags.DAY_JOB,
            # Days that have failed are left alone until their pause is over.
            run_config=tags.day_config(retry_failed=False),
            tags={
                **tags.partition_tags(batch),
                **tags.lane_tags(allowed, number),
                tags.TRIGGER: Trigger.SWEEP.value,
                tags.PRIORITY: str(batch.priority),
                tags.MAX_RUNTIME: str(settings.sweep_timeout_min * 60),
                tags.RUN_RETRIES: "0",
            },
        )
        for number, batch in enumerate(allowed.fitting(planned, settings.sweep_interval_h * 3600))
    ]


def build_sweep(settings: Settings) -> ScheduleDefinition:
    """The schedule. Its runs claim the days themselves, when they start (``assets.discovered_conversations``)."""

    @schedule(
        name="sweep",
        job_name=tags.DAY_JOB,
        cron_schedule=f"0 */{settings.sweep_interval_h} * * *",
        execution_timezone=settings.timezone,
        default_status=status_at_start(settings),
        description="Takes days from the queue, most urgent first; skips while an earlier sweep is still at work.",
    )
    def sweep(context: ScheduleEvaluationContext, database: DatabaseResource) -> list[RunRequest] | SkipReason:
        earlier = RunsFilter(statuses=UNFINISHED, tags={tags.TRIGGER: Trigger.SWEEP.value})
        if skip := skip_while_at_work(context.instance, "sweep", earlier):
            return skip
        tick = context.scheduled_execution_time
        with database.db.write() as connection:
            queue.refresh_priorities(connection, tick, settings.timezone)
            waiting = queue.work(connection, fingerprint_of(settings), which="waiting", most=_MOST_DAYS)
        span = Span.of(settings)
        known = [work for work in waiting if span.holds(work.day, settings, tick)]
        if left := len(waiting) - len(known):
            context.log.warning(f"{left} days {_NO_PARTITIONS.format(span.first)}")
        return sweep_requests(known, settings, tick) or SkipReason("every day is ready")

    return sweep
