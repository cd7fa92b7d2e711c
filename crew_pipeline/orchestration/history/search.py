"""The indexes of search: an asset that follows the documents, so that they are there before somebody searches."""

import time
from pathlib import Path
from typing import Any

from dagster import (
    AssetDep,
    AssetExecutionContext,
    AssetKey,
    AssetsDefinition,
    MetadataValue,
    ScheduleDefinition,
    asset,
)

from crew_pipeline.days.pace import Pace
from crew_pipeline.history.search.index import SEARCH_FOLDER, ClientIndex, Updated, drop_others, others
from crew_pipeline.orchestration import tags
from crew_pipeline.orchestration.failures import TRANSIENT_RETRIES, permanent_errors_end_at_once
from crew_pipeline.orchestration.history import by_client, following
from crew_pipeline.orchestration.history.assets import POOL, text_embeddings
from crew_pipeline.orchestration.pacing import pace_of
from crew_pipeline.orchestration.resources import DatabaseResource
from crew_pipeline.settings import Settings
from crew_pipeline.storage.database import Database

ASSET = "search_index"
_MOST_SHOWN = 20


def index_of(settings: Settings, client: str) -> ClientIndex:
    """A client's index in the data directory."""
    return ClientIndex(Path(settings.home_path) / SEARCH_FOLDER, client, settings.max_words)


def build_search_index(settings: Settings) -> AssetsDefinition:
    """The asset, without partitions: an index is of all days together."""

    @asset(
        name=ASSET,
        group_name="history",
        kinds={"tantivy", "faiss"},
        pool=POOL,
        retry_policy=TRANSIENT_RETRIES,
        deps=[AssetDep(AssetKey(tags.Asset.DOCUMENT.value)), AssetDep(AssetKey(text_embeddings.__name__))],
        tags={"clean-up-crew/room": "history"},
        owners=list(settings.asset_owners),
    )
    def search_index(context: AssetExecutionContext, database: DatabaseResource, config: by_client.Extent) -> None:
        """What search looks into: words and meanings of all days, client by client, in the data directory."""
        pace = pace_of(context.run.tags)
        with permanent_errors_end_at_once(context.run.run_id), pace.kept():
            started = time.monotonic()
            done, failed = _bring_up_to_date(database.db, settings, pace, anew=config.anew)
            context.add_asset_metadata(_metadata(done, time.monotonic() - started))
            by_client.tell(context, failed, "indexes are")

    return search_index


def _bring_up_to_date(
    db: Database, settings: Settings, pace: Pace, *, anew: bool
) -> tuple[dict[str, Updated], dict[str, Exception]]:
    clients = by_client.names(db)
    drop_others(Path(settings.home_path) / SEARCH_FOLDER, clients)

    def update(client: str) -> Updated | None:
        index = index_of(settings, client)
        return index.update(db.as_client(client), anew=anew, rest=lambda _left: pace.rest())

    return by_client.each(clients, update)


def _metadata(done: dict[str, Updated], seconds: float) -> dict[str, Any]:
    total = [sum(column) for column in zip(*done.values(), strict=True)] or [0] * len(Updated._fields)
    figures = Updated(*total)
    rows = [
        f"| {client} | {one.days:,} | {one.documents:,} | {one.texts:,} | {one.bytes / 2**20:,.1f} |"
        for client, one in list(done.items())[:_MOST_SHOWN]
    ]
    head = ["| client | days | texts by day | texts with a meaning | MiB |", "| --- | ---: | ---: | ---: | ---: |"]
    return {
        **figures._asdict(),
        "clients": len(done),
        "bytes_per_text": round(figures.bytes / max(1, figures.documents), 1),
        "seconds": round(seconds, 3),
        "by_client": MetadataValue.md("\n".join([*head, *rows])),
    }


def search_job() -> Any:
    """The asset alone."""
    does = "What search looks into, brought up to date; with anew: true made from nothing."
    return following.build_job(tags.SEARCH_JOB, [ASSET], does)


def build_search_schedule(settings: Settings) -> ScheduleDefinition:
    """Takes what has changed into the indexes."""

    def behind(db: Database) -> list[str]:
        clients = by_client.names(db)
        found = [client for client in clients if index_of(settings, client).is_behind(db.as_client(client))]
        return found + [folder.name for folder in others(Path(settings.home_path) / SEARCH_FOLDER, clients)]

    said = ("Takes what has changed into the indexes of search.", "everything is in the indexes")
    return following.build_schedule(
        settings, tags.SEARCH_JOB, by_client.CRON, lambda db: by_client.wanted(behind(db)), said
    )
