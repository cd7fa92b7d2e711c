"""The sensors: recent days are made ready as they change, and finished runs give back what they still hold."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from dagster import (
    DagsterRunStatus,
    DefaultSensorStatus,
    RunRequest,
    RunStatusSensorContext,
    SensorDefinition,
    SensorEvaluationContext,
    SkipReason,
    run_status_sensor,
    sensor,
)

from crew_pipeline.orchestration.assets import MAX_DAYS_PER_RUN
from crew_pipeline.orchestration.jobs import DAY_JOB
from crew_pipeline.orchestration.planning import batches, run_key
from crew_pipeline.orchestration.resources import Database
from crew_pipeline.orchestration.schedules import TRIGGER_TAG, background_config, range_tags
from crew_pipeline.settings import Settings
from crew_pipeline.storage import claims, days

QUIET = timedelta(seconds=60)
"""A conversation that grew less than this ago is still going on; its day waits."""


def recent_day_requests(changes: Sequence[days.Change], settings: Settings, now: datetime) -> list[RunRequest]:
    """What the sensor asks for: days of priority 3 whose conversations have been quiet for a while."""
    quiet = [change for change in changes if now - change.updated_at >= QUIET]
    planned = batches(
        [change.work for change in quiet], max_conversations=settings.sweep_batch, max_days=MAX_DAYS_PER_RUN
    )
    return [
        RunRequest(
            run_key=run_key(
                batch,
                [
                    f"{change.work.client} {change.work.day} {change.updated_at.isoformat()}"
                    for change in quiet
                    if batch.first <= change.work.day <= batch.last
                ],
            ),
            job_name=DAY_JOB,
            run_config=background_config(),
            tags={**range_tags(batch), TRIGGER_TAG: "sensor", "dagster/priority": str(batch.priority)},
        )
        for batch in planned
    ]


def build_sensors(settings: Settings) -> list[SensorDefinition]:
    """Both sensors; the first is switched on from the start unless background jobs are turned off."""
    status = DefaultSensorStatus.RUNNING if settings.enable_background_jobs else DefaultSensorStatus.STOPPED

    @sensor(
        name="recent_days",
        job_name=DAY_JOB,
        minimum_interval_seconds=30,
        default_status=status,
        description="Makes today and yesterday ready as soon as their conversations have gone quiet.",
    )
    def recent_days(context: SensorEvaluationContext, database: Database) -> list[RunRequest] | SkipReason:
        now = datetime.now(settings.zone)
        with database.engine.connect() as connection:
            changes = days.recent_changes(connection, now.date() - timedelta(days=1))
        return recent_day_requests(changes, settings, now) or SkipReason("today and yesterday are ready")

    def settle(context: RunStatusSensorContext, database: Database) -> None:
        run = context.dagster_run
        with database.engine.begin() as connection:
            if run.status == DagsterRunStatus.FAILURE:
                error = f"the Dagster run {run.run_id} failed; its log says why"
                claims.settle_failure(connection, run.run_id, error, settings.on_demand_retries)
            for unit in claims.give_back(connection, run.run_id):
                context.log.info(f"{unit.client}, {unit.day}: given back to the queue")

    finished = [
        run_status_sensor(
            run_status=ended,
            name=f"settle_after_{ended.value.lower()}",
            default_status=DefaultSensorStatus.RUNNING,
            description="Gives back the days that a run held when it ended without finishing them.",
        )(settle)
        for ended in (DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED)
    ]
    return [recent_days, *finished]
