"""When a run ends, the days it still holds are given back; if it failed, they failed too. One whose host is gone ends
here."""

from collections.abc import Sequence

from dagster import (
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    DefaultSensorStatus,
    RunsFilter,
    RunStatusSensorContext,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    run_status_sensor,
    sensor,
)

from crew_pipeline.days import claims
from crew_pipeline.days.retries import Patience
from crew_pipeline.orchestration.dagster_internals import longest_s
from crew_pipeline.orchestration.days.day_work import is_awaited
from crew_pipeline.orchestration.resources import DatabaseResource
from crew_pipeline.settings import Settings

_LOST = "Nothing was heard of the process that executed this run; its host may be gone. Its days are made by others."
_ENDED = (DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED)


def build_endings(settings: Settings) -> Sequence[SensorDefinition]:
    """A sensor for each way in which a run may end; always switched on."""
    patience = Patience.of(settings)

    def settle(context: RunStatusSensorContext, database: DatabaseResource) -> None:
        run = context.dagster_run
        with database.db.write() as connection:
            awaited = is_awaited(run)
            if run.status == DagsterRunStatus.FAILURE and (awaited or not _cut_off(context.instance, run)):
                error = f"the Dagster run {run.run_id} failed; its log says why"
                claims.settle_failure(connection, run.run_id, error, patience, at_once=awaited)
            for client_day in claims.give_back(connection, run.run_id):
                context.log.info(f"{client_day}: given back to the queue")

    return [
        run_status_sensor(
            run_status=ended,
            name=f"settle_after_{ended.value.lower()}",
            default_status=DefaultSensorStatus.RUNNING,
            description="Gives back the days that a run held when it ended without finishing them.",
        )(settle)
        for ended in _ENDED
    ]


def build_lost_runs(settings: Settings) -> SensorDefinition:
    """A sensor that ends runs whose host is gone.

    A run launcher may not notice, as Celery's does not, and such a run keeps its place until its time is over.
    """

    @sensor(
        name="lost_runs",
        # Longer than a claim lives: in between a run that lives gives a sign, also after the database was away.
        minimum_interval_seconds=max(30, settings.claim_ttl_s),
        default_status=DefaultSensorStatus.RUNNING,
        description="Marks runs as failed that were found twice in a row to have let a day die.",
    )
    def lost_runs(context: SensorEvaluationContext, database: DatabaseResource) -> SensorResult:
        started = context.instance.get_runs(RunsFilter(statuses=[DagsterRunStatus.STARTED]))
        with database.db.read() as connection:
            silent = claims.silent(connection, [run.run_id for run in started])
        before = set((context.cursor or "").split())
        for run in started:
            if run.run_id in silent & before:
                context.instance.report_run_failed(run, _LOST)
        return SensorResult(skip_reason=f"{len(silent)} runs are silent", cursor=" ".join(sorted(silent - before)))

    return lost_runs


def _cut_off(instance: DagsterInstance, run: DagsterRun) -> bool:
    """Whether a run was ended because its time was over, its own or the instance's.

    In the background that is no failure of its days, which go on from there the next time.
    """
    limit = longest_s(instance, run)
    record = instance.get_run_record_by_id(run.run_id)
    if limit is None or record is None or record.start_time is None or record.end_time is None:
        return False
    return record.end_time - record.start_time >= limit
