"""When what the days show is embedded: every five minutes, the newest days first, as long as any is without vectors."""

from collections.abc import Sequence
from datetime import datetime

from dagster import RunRequest, RunsFilter, ScheduleDefinition, ScheduleEvaluationContext, SkipReason, schedule

from crew_pipeline.days.pace import allowance
from crew_pipeline.days.planning import MAX_DAYS_PER_RUN, batches
from crew_pipeline.dedup.embedding import vectors_id
from crew_pipeline.model import Trigger
from crew_pipeline.orchestration import tags
from crew_pipeline.orchestration.resources import DatabaseResource
from crew_pipeline.orchestration.ticks import UNFINISHED, skip_while_at_work, status_at_start
from crew_pipeline.settings import Settings
from crew_pipeline.storage.days.queue import Work
from crew_pipeline.storage.evidence import embeddings

CRON = "*/5 * * * *"
_MOST_DAYS = 1_000


def embedding_request(work: Sequence[Work], settings: Settings, tick: datetime) -> RunRequest | None:
    """The one run that a tick asks for: the newest days that go together; None where all days have their vectors."""
    planned = batches(work, max_conversations=settings.sweep_batch, max_days=MAX_DAYS_PER_RUN)
    if not planned:
        return None
    return RunRequest(
        run_key=f"embed:{tick.isoformat()}",
        tags={
            **tags.partition_tags(planned[0]),
            **tags.lane_tags(allowance(settings, tick), 0),
            tags.TRIGGER: Trigger.SCHEDULE.value,
        },
    )


def build_embedding_schedule(settings: Settings) -> ScheduleDefinition:
    """The schedule; switched on from the start unless background jobs are turned off."""

    @schedule(
        name="embed_texts",
        job_name=tags.EMBEDDING_JOB,
        cron_schedule=CRON,
        execution_timezone=settings.timezone,
        default_status=status_at_start(settings),
        description="Embeds what the newest days show. Skips while an earlier run is still at work.",
    )
    def embed_texts(context: ScheduleEvaluationContext, database: DatabaseResource) -> RunRequest | SkipReason:
        earlier = RunsFilter(statuses=UNFINISHED, job_name=tags.EMBEDDING_JOB)
        if skip := skip_while_at_work(context.instance, "run", earlier):
            return skip
        model = vectors_id(settings.model, settings.precision)
        with database.db.read() as connection:
            work = embeddings.days_without(connection, model, _MOST_DAYS)
        request = embedding_request(work, settings, context.scheduled_execution_time)
        return request or SkipReason("what every day shows is embedded")

    return embed_texts
