"""The jobs: a day from conversations to document, and one round of discovery."""

from datetime import UTC, datetime
from typing import Any

from dagster import (
    AssetSelection,
    Failure,
    OpExecutionContext,
    define_asset_job,
    in_process_executor,
    job,
    op,
)

from crew_pipeline.discovery.discover import discover
from crew_pipeline.orchestration.assets import GROUP
from crew_pipeline.orchestration.failures import TRANSIENT_RETRIES
from crew_pipeline.orchestration.resources import Database
from crew_pipeline.settings import process_settings

DAY_JOB = "materialize_days"
DISCOVERY_JOB = "discover_conversations"


def day_job() -> Any:
    """All four assets of one or more days, in one process: the model is loaded once."""
    return define_asset_job(
        DAY_JOB,
        selection=AssetSelection.groups(GROUP),
        executor_def=in_process_executor,
        description="A day from its conversations to the document that is served.",
    )


@op(retry_policy=TRANSIENT_RETRIES)
def read_history_tables(context: OpExecutionContext, database: Database) -> None:
    """Read the history tables of all crews; those that fail are named after the others have been read."""
    reports = discover(database.engine, process_settings(), datetime.now(UTC))
    for report in reports:
        done = report.ingested
        context.log.info(
            f"{report.client}/{report.crew}: {done.conversations_new} new, {done.conversations_changed} changed, "
            f"{done.conversations_unchanged} skipped, {report.rejected} errors"
        )
    context.add_output_metadata(
        {
            "crews": len(reports),
            "conversations_new": sum(report.ingested.conversations_new for report in reports),
            "conversations_changed": sum(report.ingested.conversations_changed for report in reports),
            "lines_rejected": sum(report.rejected for report in reports),
        }
    )
    failed = [report.error for report in reports if report.error]
    if failed:
        raise Failure(description="; ".join(failed), allow_retries=False)


@job(name=DISCOVERY_JOB, executor_def=in_process_executor, description="New conversations from the history tables.")
def discovery_job() -> None:
    """One round over all active crews."""
    read_history_tables()
