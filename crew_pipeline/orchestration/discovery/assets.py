"""The asset that discovery brings up to date: what the history tables of all crews hold."""

from datetime import UTC, datetime
from typing import Any

from dagster import (
    AssetExecutionContext,
    AssetsDefinition,
    AssetSelection,
    DagsterLogManager,
    DataVersion,
    Failure,
    MaterializeResult,
    asset,
    define_asset_job,
    in_process_executor,
)

from crew_pipeline.discovery.discover import RoundPlan, apply_crews_file, discover
from crew_pipeline.discovery.report import CrewReport
from crew_pipeline.model import Trigger
from crew_pipeline.orchestration import tags
from crew_pipeline.orchestration.discovery import metadata
from crew_pipeline.orchestration.failures import TRANSIENT_RETRIES
from crew_pipeline.orchestration.resources import DatabaseResource
from crew_pipeline.settings import Settings
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.sources.rounds import totals
from crew_pipeline.upkeep.alerts import watch_discovery


def build_history_tables(settings: Settings) -> AssetsDefinition:
    """The asset; it has no partitions, since one look at a history table tells of all its days."""

    @asset(
        name=tags.HISTORY_TABLES,
        group_name="discovery",
        deps=[tags.SOURCE_TABLES],
        kinds={"postgres"},
        retry_policy=TRANSIENT_RETRIES,
        description="What the history tables of all crews hold, as far as it has been discovered.",
    )
    def history_tables(context: AssetExecutionContext, database: DatabaseResource) -> MaterializeResult[Any]:
        """One round over all crews that are due; those that fail are named after the others have been read."""
        reports, figures = _round(context.log, database.db, settings)
        errors = [report.error for report in reports if report.error]
        if errors:
            raise Failure(description="; ".join(errors), metadata=figures, allow_retries=False)
        return MaterializeResult(metadata=figures, data_version=DataVersion(tags.OUTSIDE_VERSION))

    return history_tables


def discovery_job() -> Any:
    """One round over all active crews."""
    return define_asset_job(
        tags.DISCOVERY_JOB,
        selection=AssetSelection.assets(tags.HISTORY_TABLES),
        executor_def=in_process_executor,
        description="New conversations from the history tables.",
    )


def _round(log: DagsterLogManager, db: Database, settings: Settings) -> tuple[list[CrewReport], dict[str, Any]]:
    """One round and its figures."""
    if problem := apply_crews_file(db, settings, datetime.now(UTC)):
        log.warning(problem)
    reports = discover(db, settings, datetime.now(UTC), plan=RoundPlan(Trigger.SCHEDULE, due=True))
    for report in reports:
        log.info(f"{report.client}/{report.crew}: {report.summary}")
    for news in watch_discovery(db, settings, datetime.now(UTC)):
        log.warning(f"alert {news.state}: {news.alert.message}")
    with db.read() as connection:
        return reports, metadata.of_round(reports, totals(connection))
