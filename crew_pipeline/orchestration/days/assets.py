"""The day's assets, from conversations to the document that is served.

Each says what it makes of a day; the making itself is ``days.run``, called client by client in ``day_work``. What one
returns is what the next one receives; ``tables`` keeps it meanwhile.
"""

from collections.abc import Sequence
from typing import Any

from dagster import (
    AssetDep,
    AssetExecutionContext,
    AssetKey,
    AssetsDefinition,
    AssetSelection,
    BackfillPolicy,
    Config,
    PartitionsDefinition,
    asset,
    define_asset_job,
    in_process_executor,
)

from crew_pipeline.days.planning import MAX_DAYS_PER_RUN
from crew_pipeline.orchestration.days.day_work import DayWork
from crew_pipeline.orchestration.days.frames import DayFrames
from crew_pipeline.orchestration.failures import TRANSIENT_RETRIES
from crew_pipeline.orchestration.resources import DayMaking
from crew_pipeline.orchestration.tags import DAY_JOB, HISTORY_TABLES

GROUP = "clean_up_crew"
POOL = "crew_days"


class Scope(Config):
    """Which conversations of the day a run takes; written by ``tags.day_config``.

    Attributes:
        client: only this client's; empty for all.
        force: process days that are ready as well.
        retry_failed: whether days whose last attempt failed are taken again.
    """

    client: str = ""
    force: bool = False
    retry_failed: bool = True


def discovered_conversations(context: AssetExecutionContext, config: Scope, making: DayMaking) -> DayFrames:
    """The lines of the day's clients that need work, whose days are claimed for this run."""
    work = DayWork(context, making)
    return work.frames(
        lambda day: work.claim(day, client=config.client, force=config.force, with_failed=config.retry_failed)
    )


def line_embeddings(
    context: AssetExecutionContext, making: DayMaking, discovered_conversations: DayFrames
) -> DayFrames:
    """Vectors of the day's distinct texts, by their words and letters."""
    work = DayWork(context, making)
    return work.frames(lambda day: work.embed(day, discovered_conversations))


def semantic_clusters(
    context: AssetExecutionContext, making: DayMaking, discovered_conversations: DayFrames, line_embeddings: DayFrames
) -> DayFrames:
    """Lines of the day that say the same, with the evidence for each."""
    work = DayWork(context, making)
    return work.frames(lambda day: work.cluster(day, discovered_conversations, line_embeddings))


def day_document(
    context: AssetExecutionContext, making: DayMaking, discovered_conversations: DayFrames, semantic_clusters: DayFrames
) -> DayFrames:
    """The deduplicated day: the bytes that the API serves."""
    work = DayWork(context, making)
    return work.frames(lambda day: work.write(day, discovered_conversations, semantic_clusters))


def build_assets(partitions: PartitionsDefinition[str]) -> list[AssetsDefinition]:
    """The four assets of a day, over ``partitions``."""
    common: dict[str, Any] = {
        "partitions_def": partitions,
        "backfill_policy": BackfillPolicy.multi_run(max_partitions_per_run=MAX_DAYS_PER_RUN),
        "retry_policy": TRANSIENT_RETRIES,
        "group_name": GROUP,
        "pool": POOL,
    }
    sources: Sequence[AssetDep] = [AssetDep(AssetKey(HISTORY_TABLES))]
    made: list[AssetsDefinition] = [
        asset(discovered_conversations, kinds={"postgres"}, io_manager_key="lines_table", deps=sources, **common),
        asset(line_embeddings, kinds={"numpy"}, io_manager_key="text_vectors", **common),
        asset(semantic_clusters, kinds={"faiss", "torch"}, io_manager_key="clusters_table", **common),
        asset(day_document, kinds={"postgres"}, io_manager_key="documents_table", **common),
    ]
    return made


def day_job() -> Any:
    """All four assets of one or more days, in one process: the model is loaded once."""
    return define_asset_job(
        DAY_JOB,
        selection=AssetSelection.groups(GROUP),
        executor_def=in_process_executor,
        description="A day from its conversations to the document that is served.",
    )
