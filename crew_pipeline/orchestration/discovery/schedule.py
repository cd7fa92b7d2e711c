"""When history tables are looked at: by the configured cron expression."""

import logging

from dagster import RunRequest, RunsFilter, ScheduleDefinition, ScheduleEvaluationContext, SkipReason, schedule

from crew_pipeline.model import Trigger
from crew_pipeline.orchestration import tags
from crew_pipeline.orchestration.dagster_internals import is_cron
from crew_pipeline.orchestration.ticks import UNFINISHED, next_run, skip_while_at_work, status_at_start
from crew_pipeline.settings import DEFAULT_DISCOVERY_CRON, Settings

logger = logging.getLogger(__name__)

_WITHIN_S = 900


def discovery_cron(settings: Settings) -> str:
    """The configured cron expression; the default, with a warning, where it is not valid."""
    if is_cron(settings.discovery_cron):
        return settings.discovery_cron
    logger.warning(
        "CREW_DISCOVERY_CRON=%r is no cron expression; using %r", settings.discovery_cron, DEFAULT_DISCOVERY_CRON
    )
    return DEFAULT_DISCOVERY_CRON


def build_discovery_schedule(settings: Settings) -> ScheduleDefinition:
    """The schedule; it logs when it comes next."""
    cron = discovery_cron(settings)

    @schedule(
        name="discovery",
        job_name=tags.DISCOVERY_JOB,
        cron_schedule=cron,
        execution_timezone=settings.timezone,
        default_status=status_at_start(settings),
        description="Looks for new conversations in the history tables; skips while an earlier look is still at work.",
    )
    def discovery(context: ScheduleEvaluationContext) -> RunRequest | SkipReason:
        tick = context.scheduled_execution_time
        context.log.info(f"the next discovery runs at {next_run(cron, settings, tick).isoformat()}")
        earlier = RunsFilter(statuses=UNFINISHED, job_name=tags.DISCOVERY_JOB)
        if skip := skip_while_at_work(context.instance, "discovery", earlier):
            return skip
        return RunRequest(
            run_key=f"discovery:{tick.isoformat()}",
            tags={tags.TRIGGER: Trigger.SCHEDULE.value, tags.MAX_RUNTIME: str(_WITHIN_S)},
        )

    return discovery
