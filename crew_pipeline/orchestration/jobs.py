"""The day job: a day from conversations to document."""

from typing import Any

from dagster import AssetSelection, define_asset_job, in_process_executor

from crew_pipeline.orchestration.days.assets import GROUP

DAY_JOB = "materialize_days"


def day_job() -> Any:
    """All four assets of one or more days, in one process: the model is loaded once."""
    return define_asset_job(
        DAY_JOB,
        selection=AssetSelection.groups(GROUP),
        executor_def=in_process_executor,
        description="A day from its conversations to the document that is served.",
    )
