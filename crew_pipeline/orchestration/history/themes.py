"""Themes: an asset that follows the vectors of the days."""

import time
from typing import Any, NamedTuple

from dagster import (
    AssetDep,
    AssetExecutionContext,
    AssetKey,
    AssetsDefinition,
    MetadataValue,
    ResourceParam,
    ScheduleDefinition,
    asset,
)

from crew_pipeline.days.pace import Pace
from crew_pipeline.dedup.config import EngineConfig
from crew_pipeline.history.themes import reading
from crew_pipeline.history.themes import update as themes_update
from crew_pipeline.history.themes.update import Updated
from crew_pipeline.orchestration import tags
from crew_pipeline.orchestration.failures import TRANSIENT_RETRIES, permanent_errors_end_at_once
from crew_pipeline.orchestration.history import by_client, following
from crew_pipeline.orchestration.history.assets import POOL, text_embeddings
from crew_pipeline.orchestration.pacing import pace_of
from crew_pipeline.orchestration.resources import DatabaseResource
from crew_pipeline.settings import Settings
from crew_pipeline.storage.conversations import clients
from crew_pipeline.storage.database import Database

ASSET = "themes"
_MOST_SHOWN = 20
_LARGEST = 5


def build_themes(settings: Settings) -> AssetsDefinition:
    """The asset, without partitions: themes are of all days together."""

    @asset(
        name=ASSET,
        group_name="history",
        kinds={"numpy", "postgres"},
        pool=POOL,
        retry_policy=TRANSIENT_RETRIES,
        deps=[AssetDep(AssetKey(text_embeddings.__name__))],
        tags={"clean-up-crew/room": "history"},
        owners=list(settings.asset_owners),
    )
    def themes(
        context: AssetExecutionContext,
        database: DatabaseResource,
        engine_config: ResourceParam[EngineConfig],
        config: by_client.Extent,
    ) -> None:
        """What the days of each client are about, under ids that last."""
        pace = pace_of(context.run.tags)
        with permanent_errors_end_at_once(context.run.run_id), pace.kept():
            started = time.monotonic()
            updating = _Updating(database.db, settings, engine_config, pace, config.anew)
            done, failed = by_client.each(by_client.names(database.db), updating.update)
            context.add_asset_metadata(_metadata(database.db, done, time.monotonic() - started))
            by_client.tell(context, failed, "themes are")

    return themes


class _Updating(NamedTuple):
    db: Database
    settings: Settings
    config: EngineConfig
    pace: Pace
    anew: bool

    def update(self, client: str) -> Updated | None:
        with self.db.read() as connection:
            zone = clients.timezone_of(connection, client) or self.settings.timezone
        own = self.db.as_client(client)
        return themes_update.update(own, client, self.config, zone, anew=self.anew, rest=self.pace.rest)


def _metadata(db: Database, done: dict[str, Updated], seconds: float) -> dict[str, Any]:
    """Sizes, the largest themes, and how much has another theme than before a fit."""
    segments, moved = (sum(getattr(one, name) for one in done.values()) for name in ("segments", "moved"))
    head = ["| client | segments | themes | largest (conversations) |", "| --- | ---: | ---: | --- |"]
    rows = []
    for client, one in list(done.items())[:_MOST_SHOWN]:
        with db.as_client(client).read() as connection:
            largest = reading.overview(connection, client)["themes"][:_LARGEST]
        # By ids: names are words of conversations, which nobody could erase from Dagster's tables.
        told = ", ".join(f"{theme['id']} ({theme['conversations']:,})" for theme in largest)
        rows.append(f"| {client} | {one.segments:,} | {one.themes:,} | {told} |")
    return {
        "clients": len(done),
        "days": sum(one.days for one in done.values()),
        "fitted": sum(one.fitted for one in done.values()),
        "segments": segments,
        "topics": sum(one.topics for one in done.values()),
        "themes": sum(one.themes for one in done.values()),
        "moved": moved,
        "drift": round(moved / max(1, segments), 4),
        "seconds": round(seconds, 3),
        "by_client": MetadataValue.md("\n".join([*head, *rows])),
    }


def themes_job() -> Any:
    """The asset alone."""
    does = "What the days are about, brought up to date; with anew: true fitted from nothing."
    return following.build_job(tags.THEMES_JOB, [ASSET], does)


def build_themes_schedule(settings: Settings) -> ScheduleDefinition:
    """Takes new days into the themes."""

    def behind(db: Database) -> list[str]:
        return [client for client in by_client.names(db) if themes_update.is_behind(db.as_client(client), client)]

    said = ("Takes new days into the themes.", "every day is in the themes")
    return following.build_schedule(
        settings, tags.THEMES_JOB, by_client.CRON, lambda db: by_client.wanted(behind(db)), said
    )
