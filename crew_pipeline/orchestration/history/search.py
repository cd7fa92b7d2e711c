"""The indexes of search: an asset that follows the documents, so that they are there before somebody searches."""

import time
from datetime import datetime
from pathlib import Path
from typing import Any

from dagster import (
    AssetDep,
    AssetExecutionContext,
    AssetKey,
    AssetsDefinition,
    AssetSelection,
    Config,
    MetadataValue,
    RunRequest,
    RunsFilter,
    ScheduleDefinition,
    ScheduleEvaluationContext,
    SkipReason,
    asset,
    define_asset_job,
    in_process_executor,
    schedule,
)

from crew_pipeline.days.pace import Pace, allowance
from crew_pipeline.history.search.index import SEARCH_FOLDER, ClientIndex, Updated, drop_others, others
from crew_pipeline.model import Trigger
from crew_pipeline.orchestration import tags
from crew_pipeline.orchestration.failures import TRANSIENT_RETRIES, permanent_errors_end_at_once
from crew_pipeline.orchestration.history.assets import POOL, text_embeddings
from crew_pipeline.orchestration.pacing import pace_of
from crew_pipeline.orchestration.resources import DatabaseResource
from crew_pipeline.orchestration.ticks import UNFINISHED, skip_while_at_work, status_at_start
from crew_pipeline.settings import Settings
from crew_pipeline.storage.conversations import clients
from crew_pipeline.storage.database import Database

ASSET = "search_index"
CRON = "*/10 * * * *"
_MOST_SHOWN = 20


class Extent(Config):
    """How much of the indexes is made.

    Attributes:
        anew: all of it, whatever is there; else what has changed.
    """

    anew: bool = False


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
    def search_index(context: AssetExecutionContext, database: DatabaseResource, config: Extent) -> None:
        """What search looks into: words and meanings of all days, client by client, in the data directory."""
        pace = pace_of(context.run.tags)
        with permanent_errors_end_at_once(context.run.run_id), pace.kept():
            started = time.monotonic()
            done, failed = _bring_up_to_date(database.db, settings, pace, anew=config.anew)
            context.add_asset_metadata(_metadata(done, time.monotonic() - started))
            for client, error in failed.items():
                context.log.error(f"{client}: not indexed ({type(error).__name__})")
            if failed:
                raise ExceptionGroup("Some clients' indexes are not up to date", list(failed.values()))

    return search_index


def _bring_up_to_date(
    db: Database, settings: Settings, pace: Pace, *, anew: bool
) -> tuple[dict[str, Updated], dict[str, Exception]]:
    """What was done for each client, and what went wrong for which: one does not keep the others from theirs."""
    done: dict[str, Updated] = {}
    failed: dict[str, Exception] = {}
    names = _names(db)
    drop_others(Path(settings.home_path) / SEARCH_FOLDER, names)
    for client in names:
        try:
            index = index_of(settings, client)
            updated = index.update(db.as_client(client), anew=anew, rest=lambda _left: pace.rest())
        except Exception as error:
            failed[client] = error
        else:
            if updated is not None:
                done[client] = updated
    return done, failed


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


def _names(db: Database) -> list[str]:
    with db.read() as connection:
        return clients.names(connection)


def search_job() -> Any:
    """The asset alone."""
    return define_asset_job(
        tags.SEARCH_JOB,
        selection=AssetSelection.assets(ASSET),
        executor_def=in_process_executor,
        description="What search looks into, brought up to date; with anew: true made from nothing.",
    )


def index_request(behind: list[str], settings: Settings, tick: datetime) -> RunRequest | None:
    """The run that a tick asks for, where the index of any client is behind."""
    if not behind:
        return None
    return RunRequest(
        run_key=f"search:{tick.isoformat()}",
        tags={**tags.lane_tags(allowance(settings, tick), 0), tags.TRIGGER: Trigger.SCHEDULE.value},
    )


def build_search_schedule(settings: Settings) -> ScheduleDefinition:
    """The schedule; switched on from the start unless background jobs are turned off."""

    @schedule(
        name="index_search",
        job_name=tags.SEARCH_JOB,
        cron_schedule=CRON,
        execution_timezone=settings.timezone,
        default_status=status_at_start(settings),
        description="Takes what has changed into the indexes of search. Skips while an earlier run is still at work.",
    )
    def index_search(context: ScheduleEvaluationContext, database: DatabaseResource) -> RunRequest | SkipReason:
        earlier = RunsFilter(statuses=UNFINISHED, job_name=tags.SEARCH_JOB)
        if skip := skip_while_at_work(context.instance, "run", earlier):
            return skip
        db = database.db
        names = _names(db)
        behind = [client for client in names if index_of(settings, client).is_behind(db.as_client(client))]
        behind += [folder.name for folder in others(Path(settings.home_path) / SEARCH_FOLDER, names)]
        request = index_request(behind, settings, context.scheduled_execution_time)
        return request or SkipReason("everything is in the indexes")

    return index_search
