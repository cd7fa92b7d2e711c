"""When the system looks after itself: a sample of its health every five minutes, housekeeping once a day."""

from dagster import RunRequest, RunsFilter, ScheduleDefinition, ScheduleEvaluationContext, SkipReason, schedule

from crew_pipeline.model import Trigger
from crew_pipeline.orchestration import tags
from crew_pipeline.orchestration.ticks import UNFINISHED, skip_while_at_work, status_at_start
from crew_pipeline.orchestration.upkeep.assets import HOUSEKEEPING_WITHIN_S
from crew_pipeline.settings import Settings

HEALTH_CRON = "*/5 * * * *"

_HEALTH_WITHIN_S = 240
_URGENT = "10"


def build_upkeep_schedules(settings: Settings) -> list[ScheduleDefinition]:
    """When the two jobs run; switched on from the start unless background jobs are turned off."""
    plans = (
        ("health", tags.HEALTH_JOB, HEALTH_CRON, _HEALTH_WITHIN_S, "Takes a sample of the system."),
        (
            "housekeeping",
            tags.HOUSEKEEPING_JOB,
            f"0 {settings.housekeeping_hour} * * *",
            int(HOUSEKEEPING_WITHIN_S) * 2,
            "Removes old records.",
        ),
    )
    return [_schedule(settings, *plan) for plan in plans]


def _schedule(
    settings: Settings, name: str, job: str, cron: str, within_s: int, description: str
) -> ScheduleDefinition:
    @schedule(
        name=name,
        job_name=job,
        cron_schedule=cron,
        execution_timezone=settings.timezone,
        default_status=status_at_start(settings),
        description=f"{description} Skips while an earlier run is still at work.",
    )
    def tick(context: ScheduleEvaluationContext) -> RunRequest | SkipReason:
        earlier = RunsFilter(statuses=UNFINISHED, job_name=job)
        if skip := skip_while_at_work(context.instance, "run", earlier):
            return skip
        return RunRequest(
            run_key=f"{name}:{context.scheduled_execution_time.isoformat()}",
            tags={tags.TRIGGER: Trigger.SCHEDULE.value, tags.MAX_RUNTIME: str(within_s), tags.PRIORITY: _URGENT},
        )

    return tick
