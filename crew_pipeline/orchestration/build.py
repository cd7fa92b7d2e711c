"""The definitions, built from settings: Dagster, the worker, the command line and the tests all build the same ones."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from dagster import BetaWarning, Definitions, PreviewWarning, in_process_executor

from crew_pipeline.orchestration.days.arrivals import build_sensors
from crew_pipeline.orchestration.days.assets import build_assets
from crew_pipeline.orchestration.days.checks import build_checks
from crew_pipeline.orchestration.days.sweep import build_schedules
from crew_pipeline.orchestration.days.tables import TableIOManager
from crew_pipeline.orchestration.discovery.assets import build_history_tables, discovery_job
from crew_pipeline.orchestration.jobs import day_job
from crew_pipeline.orchestration.partitions import day_partitions
from crew_pipeline.orchestration.resources import build_resources
from crew_pipeline.orchestration.upkeep.assets import build_operation, build_operation_schedules, operation_jobs
from crew_pipeline.settings import Settings


def build_defs(settings: Settings, resource_overrides: Mapping[str, Any] | None = None) -> Definitions:
    """Everything that Dagster knows of this system."""
    resources = {**build_resources(settings), **(resource_overrides or {})}
    resources["tables"] = TableIOManager(
        database=resources["database"],
        embedding_model=resources["embedding_model"],
        engine_config=resources["engine_config"],
    )
    partitions = day_partitions(settings)
    with warnings.catch_warnings():
        # Backfill policies and partitioned checks are used knowingly; the tests hold what we need of them.
        warnings.simplefilter("ignore", BetaWarning)
        warnings.simplefilter("ignore", PreviewWarning)
        return Definitions(
            assets=[build_history_tables(), *build_assets(partitions), *build_operation(settings)],
            asset_checks=build_checks(partitions),
            jobs=[day_job(), discovery_job(), *operation_jobs()],
            schedules=[*build_schedules(settings), *build_operation_schedules(settings)],
            sensors=build_sensors(settings),
            resources=resources,
            # Also for runs from the UI and of backfills: a process for each step would load the model for each.
            executor=in_process_executor,
        )
