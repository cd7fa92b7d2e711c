"""The sensors: days are made ready as sessions arrive, and finished runs give back what they still hold."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from dagster import (
    DagsterInstance,
    DagsterRun,
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

from crew_pipeline.days.pace import allowance
from crew_pipeline.days.planning import Batch, batches, run_key
from crew_pipeline.discovery.discover import apply_crews_file, discover
from crew_pipeline.orchestration import tags
from crew_pipeline.orchestration.days.assets import MAX_DAYS_PER_RUN
from crew_pipeline.orchestration.days.sweep import background_config, range_tags
from crew_pipeline.orchestration.jobs import DAY_JOB
from crew_pipeline.orchestration.resources import DatabaseResource
from crew_pipeline.settings import Settings
from crew_pipeline.storage.days import claims, queue

QUIET = timedelta(seconds=60)
"""A conversation that grew less than this ago is still going on; its day waits."""
TICK_S = 20.0
"""Time that one tick gives all history tables together (s); Dagster ends a tick after 60."""
MOST_OLDER_DAYS = MAX_DAYS_PER_RUN
"""More older days than this are a backlog, which is the sweep's."""


def day_requests(changes: Sequence[queue.Change], settings: Settings, now: datetime) -> list[RunRequest]:
    """Which days to ask for: those with conversations that have changed and gone quiet.

    Today and yesterday always; older days while they are few. A run key contains what has changed, so that a tick which
    is repeated, or finds the same once more, asks for nothing twice; a cursor would pass over what changes while a run
    is at work on its day.
    """
    quiet = [change for change in changes if now - change.updated_at >= QUIET]
    recent = now.astimezone(settings.zone).date() - timedelta(days=1)
    older = {change.work.day for change in quiet if change.work.day < recent}
    wanted = [change for change in quiet if change.work.day >= recent or len(older) <= MOST_OLDER_DAYS]
    planned = batches(
        [change.work for change in wanted], max_conversations=settings.sweep_batch, max_days=MAX_DAYS_PER_RUN
    )
    allowed = allowance(settings, now)
    return [_request(batch, wanted, allowed.tags(number)) for number, batch in enumerate(planned)]


def _request(batch: Batch, changes: Sequence[queue.Change], share: dict[str, str]) -> RunRequest:
    key = run_key(
        batch,
        [
            f"{change.work.client} {change.work.day} {change.updated_at.isoformat()}"
            for change in changes
            if batch.first <= change.work.day <= batch.last
        ],
    )
    return RunRequest(
        run_key=key,
        job_name=DAY_JOB,
        run_config=background_config(),
        tags={
            **range_tags(batch),
            **share,
            tags.TRIGGER: tags.SENSOR,
            tags.PRIORITY: str(batch.priority),
            tags.RUN_RETRIES: "0",
        },
    )


def _cut_off(instance: DagsterInstance, run: DagsterRun) -> bool:
    """Whether a run was ended because its time was over: in the background that is no failure of its days, which go on
    from there the next time."""
    limit = run.tags.get(tags.MAX_RUNTIME)
    record = instance.get_run_record_by_id(run.run_id)
    if limit is None or record is None or record.start_time is None or record.end_time is None:
        return False
    return record.end_time - record.start_time >= float(limit)


def build_sensors(settings: Settings) -> list[SensorDefinition]:
    """All sensors; the first is switched on from the start unless background jobs are turned off."""
    status = DefaultSensorStatus.RUNNING if settings.enable_background_jobs else DefaultSensorStatus.STOPPED

    @sensor(
        name="new_sessions",
        job_name=DAY_JOB,
        minimum_interval_seconds=30,
        default_status=status,
        description="Notices new sessions in history tables and makes the days they touch ready once they are quiet.",
    )
    def new_sessions(context: SensorEvaluationContext, database: DatabaseResource) -> list[RunRequest] | SkipReason:
        now = datetime.now(UTC)
        if problem := apply_crews_file(database.db, settings):
            context.log.warning(problem)
        for report in discover(database.db, settings, now, trigger="sensor", due=True, patrol=False, budget_s=TICK_S):
            if report.error or report.scanned:
                context.log.info(f"{report.client}/{report.crew}: {report.error or report.summary}")
        with database.db.read() as connection:
            changes = queue.changes_of_discovery(connection, now.astimezone(settings.zone).date() - timedelta(days=1))
        return day_requests(changes, settings, now) or SkipReason("no day has changed and gone quiet")

    def settle(context: RunStatusSensorContext, database: DatabaseResource) -> None:
        run = context.dagster_run
        with database.db.write() as connection:
            waiting = run.tags.get(tags.TRIGGER) == tags.ON_DEMAND
            if run.status == DagsterRunStatus.FAILURE and (waiting or not _cut_off(context.instance, run)):
                error = f"the Dagster run {run.run_id} failed; its log says why"
                claims.settle_failure(connection, run.run_id, error, database.patience, at_once=waiting)
            for client_day in claims.give_back(connection, run.run_id):
                context.log.info(f"{client_day}: given back to the queue")

    finished = [
        run_status_sensor(
            run_status=ended,
            name=f"settle_after_{ended.value.lower()}",
            default_status=DefaultSensorStatus.RUNNING,
            description="Gives back the days that a run held when it ended without finishing them.",
        )(settle)
        for ended in (DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED)
    ]
    return [new_sessions, *finished]
