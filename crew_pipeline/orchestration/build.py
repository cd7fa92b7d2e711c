"""The definitions, built from settings: Dagster, the worker, the command line and the tests all build the same ones."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from dagster import BetaWarning, Definitions, PreviewWarning, in_process_executor, with_source_code_references

from crew_pipeline.orchestration.days.arrivals import build_arrivals
from crew_pipeline.orchestration.days.assets import build_assets, day_job
from crew_pipeline.orchestration.days.endings import build_endings, build_lost_runs
from crew_pipeline.orchestration.days.sweep import build_sweep
from crew_pipeline.orchestration.discovery.assets import build_history_tables, discovery_job
from crew_pipeline.orchestration.discovery.schedule import build_discovery_schedule
from crew_pipeline.orchestration.history.assets import build_history, history_jobs
from crew_pipeline.orchestration.history.schedule import build_embedding_schedule, build_summaries_schedule
from crew_pipeline.orchestration.history.search import build_search_index, build_search_schedule, search_job
from crew_pipeline.orchestration.history.themes import build_themes, build_themes_schedule, themes_job
from crew_pipeline.orchestration.lineage import outside
from crew_pipeline.orchestration.partitions import day_partitions
from crew_pipeline.orchestration.resources import build_day_making, build_resources
from crew_pipeline.orchestration.upkeep.assets import build_upkeep, upkeep_jobs
from crew_pipeline.orchestration.upkeep.freshness import build_freshness
from crew_pipeline.orchestration.upkeep.schedules import build_upkeep_schedules
from crew_pipeline.settings import Settings


def build_defs(settings: Settings, resource_overrides: Mapping[str, Any] | None = None) -> Definitions:
    """Everything that Dagster knows of this system.

    Args:
        resource_overrides: resources by their keys, in the place of those that the settings ask for.
    """
    resources = {**build_resources(settings), **(resource_overrides or {})}
    making = build_day_making(settings, resources)
    partitions = day_partitions(settings)
    with warnings.catch_warnings():
        # Backfill policies and partitioned checks are used knowingly; the tests hold what we need of them.
        warnings.simplefilter("ignore", BetaWarning)
        warnings.simplefilter("ignore", PreviewWarning)
        return Definitions(
            assets=with_source_code_references(
                [
                    build_history_tables(settings),
                    build_assets(settings, partitions),
                    *build_history(settings, partitions),
                    build_search_index(settings),
                    build_themes(settings),
                    *build_upkeep(settings),
                    *outside(),
                ]
            ),
            asset_checks=[build_freshness(settings)],
            jobs=[day_job(), discovery_job(), *history_jobs(), search_job(), themes_job(), *upkeep_jobs()],
            schedules=[
                build_sweep(settings),
                build_discovery_schedule(settings),
                build_embedding_schedule(settings),
                build_summaries_schedule(settings),
                build_search_schedule(settings),
                build_themes_schedule(settings),
                *build_upkeep_schedules(settings),
            ],
            sensors=[build_arrivals(settings), *build_endings(settings), build_lost_runs(settings)],
            resources={**resources, "making": making},
            # Also for runs from the UI and of backfills: a process for each step would load the model for each.
            executor=in_process_executor,
        )
