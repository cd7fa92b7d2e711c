"""What is made of each day for the history: vectors of what it shows, and what it comes to; no reader waits for it."""

from datetime import date
from typing import Any

from dagster import (
    AssetDep,
    AssetExecutionContext,
    AssetKey,
    AssetsDefinition,
    BackfillPolicy,
    PartitionsDefinition,
    ResourceParam,
    asset,
)

from crew_pipeline.days.pace import Pace
from crew_pipeline.days.planning import MAX_DAYS_PER_RUN
from crew_pipeline.dedup.config import EngineConfig
from crew_pipeline.dedup.embedding import SentenceTransformerEncoder
from crew_pipeline.history.embedding import embed_day
from crew_pipeline.history.summaries.update import Chosen, summarise
from crew_pipeline.orchestration import tags
from crew_pipeline.orchestration.failures import TRANSIENT_RETRIES, permanent_errors_end_at_once
from crew_pipeline.orchestration.history import by_day, following
from crew_pipeline.orchestration.pacing import pace_of
from crew_pipeline.orchestration.partitions import days_of
from crew_pipeline.orchestration.resources import DatabaseResource
from crew_pipeline.settings import Settings
from crew_pipeline.storage.database import Database

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
    done, seconds = by_day.each(db, day, lambda own, client_day: embed_day(own, client_day, model, config, pace.rest))
    return {
        "clients": len(done),
        "distinct_texts": sum(embedded.texts for embedded in done),
        "new_texts": sum(embedded.new for embedded in done),
        "model": model.model_id,
        "seconds": seconds,
    }


def summaries(
    context: AssetExecutionContext, database: DatabaseResource, engine_config: ResourceParam[EngineConfig]
) -> None:
    """The key points, decisions, tasks and open questions of the day's conversations."""
    pace = pace_of(context.run.tags)
    with permanent_errors_end_at_once(context.run.run_id), pace.kept():
        for day in days_of(context.partition_keys):
            figures = _summarise(database.db, day, engine_config, pace)
            context.add_asset_metadata(figures, partition_key=day.isoformat())


def _summarise(db: Database, day: date, config: EngineConfig, pace: Pace) -> dict[str, Any]:
    """Summarise a day of every client; returns the figures that an operator reads."""
    done, seconds = by_day.each(
        db, day, lambda own, client_day: summarise(own, client_day, config, anew=True, rest=pace.rest)
    )
    total = Chosen(*map(sum, zip(*done, strict=True))) if done else Chosen()
    return {
        "clients": len(done),
        "key_points": total.key,
        "decisions": total.decision,
        "tasks": total.task,
        "open_questions": total.question,
        "seconds": seconds,
    }


def build_history(settings: Settings, partitions: PartitionsDefinition[str]) -> list[AssetsDefinition]:
    """The assets, over ``partitions``."""
    of_days: dict[str, Any] = {
        "partitions_def": partitions,
        "backfill_policy": BackfillPolicy.multi_run(max_partitions_per_run=MAX_DAYS_PER_RUN),
        "retry_policy": TRANSIENT_RETRIES,
        "group_name": "history",
        "pool": POOL,
        "tags": {"clean-up-crew/room": "history"},
        "owners": list(settings.asset_owners),
    }
    return [
        asset(
            text_embeddings,
            deps=[AssetDep(AssetKey(tags.Asset.DOCUMENT.value))],
            kinds={"torch", "postgres"},
            **of_days,
        ),
        asset(summaries, deps=[AssetDep(AssetKey(text_embeddings.__name__))], kinds={"numpy", "postgres"}, **of_days),
    ]


def history_jobs() -> list[Any]:
    """Both assets of one or more days together, and summaries alone, which need no model."""
    return [
        following.build_job(
            tags.EMBEDDING_JOB,
            [text_embeddings.__name__, summaries.__name__],
            "Vectors of what the days show, and what these come to: for what looks at all days together.",
        ),
        following.build_job(
            tags.SUMMARIES_JOB,
            [summaries.__name__],
            "What the days come to: key points, decisions, tasks, open questions.",
        ),
    ]
