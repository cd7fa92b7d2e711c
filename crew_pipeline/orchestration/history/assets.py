"""The vectors of what the days show: an asset beside the graph of a day, which no reader waits for."""

import time
from datetime import date
from typing import Any

from dagster import (
    AssetDep,
    AssetExecutionContext,
    AssetKey,
    AssetsDefinition,
    AssetSelection,
    BackfillPolicy,
    PartitionsDefinition,
    ResourceParam,
    asset,
    define_asset_job,
    in_process_executor,
)

from crew_pipeline.days.pace import Pace
from crew_pipeline.days.planning import MAX_DAYS_PER_RUN
from crew_pipeline.dedup.config import EngineConfig
from crew_pipeline.dedup.embedding import SentenceTransformerEncoder
from crew_pipeline.history.embedding import embed_day
from crew_pipeline.orchestration import tags
from crew_pipeline.orchestration.failures import TRANSIENT_RETRIES, permanent_errors_end_at_once
from crew_pipeline.orchestration.pacing import pace_of
from crew_pipeline.orchestration.partitions import days_of
from crew_pipeline.orchestration.resources import DatabaseResource
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.days import states

POOL = "crew_history"


def text_embeddings(
    context: AssetExecutionContext,
    database: DatabaseResource,
    embedding_model: ResourceParam[SentenceTransformerEncoder],
    engine_config: ResourceParam[EngineConfig],
) -> None:
    """The embedding model's vectors of what the day's documents show."""
    pace = pace_of(context.run.tags)
    with permanent_errors_end_at_once(context.run.run_id), pace.kept():
        for day in days_of(context.partition_keys):
            figures = _embed(database.db, day, embedding_model, engine_config, pace)
            context.add_asset_metadata(figures, partition_key=day.isoformat())


def _embed(
    db: Database, day: date, model: SentenceTransformerEncoder, config: EngineConfig, pace: Pace
) -> dict[str, Any]:
    """Embed a day of every client; returns the figures that an operator reads."""
    started = time.monotonic()
    with db.read() as connection:
        client_days = states.client_days_on(connection, day)
    tried = [
        embed_day(db.as_client(client_day.client), client_day, model, config, pace.rest) for client_day in client_days
    ]
    done = [embedded for embedded in tried if embedded]
    return {
        "clients": len(done),
        "distinct_texts": sum(embedded.texts for embedded in done),
        "new_texts": sum(embedded.new for embedded in done),
        "model": model.model_id,
        "seconds": round(time.monotonic() - started, 3),
    }


def build_history(partitions: PartitionsDefinition[str]) -> list[AssetsDefinition]:
    """The asset, over ``partitions``."""
    return [
        asset(
            text_embeddings,
            partitions_def=partitions,
            backfill_policy=BackfillPolicy.multi_run(max_partitions_per_run=MAX_DAYS_PER_RUN),
            retry_policy=TRANSIENT_RETRIES,
            group_name="history",
            kinds={"torch", "postgres"},
            pool=POOL,
            deps=[AssetDep(AssetKey(tags.Asset.DOCUMENT.value))],
        )
    ]


def history_job() -> Any:
    """The asset of one or more days, in one process: the model is loaded once."""
    return define_asset_job(
        tags.EMBEDDING_JOB,
        selection=AssetSelection.assets(text_embeddings.__name__),
        executor_def=in_process_executor,
        description="Vectors of what the days show, for what looks at all days together.",
    )
