"""Days are made ready as sessions arrive: a sensor looks for new ones, and asks for their days once they are quiet."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from dagster import (
    AssetMaterialization,
    DefaultSensorStatus,
    RunRequest,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    sensor,
)

from crew_pipeline.days.pace import Allowance, allowance
from crew_pipeline.days.planning import MAX_DAYS_PER_RUN, DayBatch, batches, run_key
from crew_pipeline.days.rests import quiet_needed
from crew_pipeline.discovery.discover import RoundPlan, apply_crews_file, discover
from crew_pipeline.discovery.report import CrewReport
from crew_pipeline.model import Trigger
from crew_pipeline.orchestration import tags
from crew_pipeline.orchestration.discovery import metadata
from crew_pipeline.orchestration.partitions import Span
from crew_pipeline.orchestration.resources import DatabaseResource
from crew_pipeline.settings import Settings
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.days import queue
from crew_pipeline.storage.sources.rounds import totals

TICK_S = 20.0
"""Time that one tick gives all history tables together (s); Dagster ends a tick after 60."""
MOST_OLDER_DAYS = MAX_DAYS_PER_RUN
"""More older days than this are a backlog, left to the sweep."""


def day_requests(changes: Sequence[queue.Change], settings: Settings, now: datetime) -> list[RunRequest]:
    """Which days to ask for: those with conversations that have changed and gone quiet.

    Today and yesterday always, in a lane of their own; older days while they are few. A run key contains what has
    changed, so a tick that is repeated, or finds the same again, asks for nothing twice. A cursor would miss what
    changes while a run is at work on its day.
    """
    span = Span.of(settings)
    quiet = [
        change
        for change in changes
        if now - change.updated_at >= quiet_needed(change.usual_rest_s, change.last_said)
        and span.holds(change.work.day, settings, now)
    ]
    recent = now.astimezone(settings.zone).date() - timedelta(days=1)
    older = {change.work.day for change in quiet if change.work.day < recent}
    wanted = [change for change in quiet if change.work.day >= recent or len(older) <= MOST_OLDER_DAYS]
    allowed = allowance(settings, now)
    newest = [change for change in wanted if change.work.day >= recent]
    others = [change for change in wanted if change.work.day < recent]
    return [
        *_requests(newest, settings, allowed, tags.recent_lane_tags),
        *_requests(others, settings, allowed, tags.lane_tags),
    ]


def _requests(
    changes: Sequence[queue.Change],
    settings: Settings,
    allowed: Allowance,
    lane_of: Callable[[Allowance, int], dict[str, str]],
) -> list[RunRequest]:
    planned = batches(
        [change.work for change in changes], max_conversations=settings.sweep_batch, max_days=MAX_DAYS_PER_RUN
    )
    return [_request(batch, changes, lane_of(allowed, number)) for number, batch in enumerate(planned)]


def _request(batch: DayBatch, changes: Sequence[queue.Change], share: dict[str, str]) -> RunRequest:
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
        job_name=tags.DAY_JOB,
        run_config=tags.day_config(retry_failed=False),
        tags={
            **tags.partition_tags(batch),
            **share,
            tags.TRIGGER: Trigger.SENSOR.value,
            tags.PRIORITY: str(batch.priority),
            tags.RUN_RETRIES: "0",
        },
    )


def _found(db: Database, reports: Sequence[CrewReport]) -> list[AssetMaterialization]:
    """What the sensor has found, as the asset tells it, whose own rounds come after it and would find nothing."""
    if not any(report.scanned for report in reports):
        return []
    with db.read() as connection:
        figures = metadata.of_round(reports, totals(connection))
    version = {tags.DATA_VERSION: tags.OUTSIDE_VERSION}
    return [AssetMaterialization(tags.HISTORY_TABLES, metadata=figures, tags=version)]


def build_arrivals(settings: Settings) -> SensorDefinition:
    """The sensor; switched on from the start unless background jobs are turned off."""
    status = DefaultSensorStatus.RUNNING if settings.enable_background_jobs else DefaultSensorStatus.STOPPED

    @sensor(
        name="new_sessions",
        job_name=tags.DAY_JOB,
        minimum_interval_seconds=10,
        default_status=status,
        description="Notices new sessions in history tables and makes the days they touch ready once they are quiet.",
    )
    def new_sessions(context: SensorEvaluationContext, database: DatabaseResource) -> SensorResult:
        now = datetime.now(UTC)
        if problem := apply_crews_file(database.db, settings, now):
            context.log.warning(problem)
        plan = RoundPlan(Trigger.SENSOR, due=True, patrol=False, budget_s=TICK_S)
        reports = discover(database.db, settings, now, plan=plan)
        for report in reports:
            if report.error or report.scanned:
                context.log.info(f"{report.client}/{report.crew}: {report.error or report.summary}")
        with database.db.read() as connection:
            changes = queue.changes_of_discovery(connection, now.astimezone(settings.zone).date() - timedelta(days=1))
        asked = day_requests(changes, settings, now)
        skipped = None if asked else "no day has changed and gone quiet"
        return SensorResult(run_requests=asked, skip_reason=skipped, asset_events=_found(database.db, reports))

    return new_sessions
