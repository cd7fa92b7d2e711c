"""The names by which Dagster and the rest of the system know each other's things: jobs, assets, and the tags of runs.

Imports no Dagster, so that whoever asks a deployment for a run may use it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from crew_pipeline.days.pace import Allowance
from crew_pipeline.days.planning import DayBatch
from crew_pipeline.model import Trigger
from crew_pipeline.settings import Settings

DAY_JOB = "materialize_days"
DISCOVERY_JOB = "discover_conversations"
EMBEDDING_JOB = "embed_texts"
SEARCH_JOB = "index_search"
THEMES_JOB = "follow_themes"
SUMMARIES_JOB = "summarise_days"
HEALTH_JOB = "take_health_sample"
HOUSEKEEPING_JOB = "keep_house"

HISTORY_TABLES = "history_tables"
SOURCE_TABLES, EXPORTS, SERVED_DAYS = "source_tables", "export_files", "served_days"
"""What others make, see ``lineage``."""
DAY_STEP = "make_days"
"""The step of a run that makes the assets of its days."""


class Asset(StrEnum):
    """The assets of a day, in the order in which they are made."""

    CONVERSATIONS = "discovered_conversations"
    EMBEDDINGS = "line_embeddings"
    CLUSTERS = "semantic_clusters"
    DOCUMENT = "day_document"


TRIGGER = "crew/trigger"
"""Who asked for the run, see ``model.Trigger``."""
CLIENT = "crew/client"
"""Whose days it takes, or ``EVERY_CLIENT``."""
CLAIM = "crew/claim"
"""A claim that was made for the run before it started."""
TURN = "crew/turn_s"
"""How long the run may read pairs before it lets others go first (s)."""
LANE = "crew/lane"
"""Background runs of one lane are executed one at a time (``dagster.yaml``)."""
CORES = "crew/cores"
"""How many cores a background run may keep busy."""
FIRST_DAY_OF = ("dagster/partition", "dagster/asset_partition_range_start")
"""Tags that name the day of a run, or the first of its days."""

PRIORITY = "dagster/priority"
CODE_VERSION = "dagster/code_version"
"""Of a materialization: the engine that made it, so that Dagster tells which partitions another one has made."""
DATA_VERSION, INPUT_VERSION = "dagster/data_version", "dagster/input_data_version"
INPUT_POINTER, NO_POINTER = "dagster/input_event_pointer", "NULL"
OWN_VERSION = "dagster/data_version_is_user_provided"
OUTSIDE_VERSION = "INITIAL"
"""The version of what has no days: that a table has new rows says nothing of an older day, whose own version tells."""
RUN_RETRIES = "dagster/max_retries"
MAX_RUNTIME = "dagster/max_runtime"
CELERY_QUEUE = "dagster-celery/queue"
"""The queue that the Celery run launcher puts the run into; other launchers ignore it."""

URGENT = "urgent"


EVENT_BATCH_VARIABLE = "DAGSTER_EVENT_BATCH_SIZE"
EVENT_BATCH = "64"
"""Dagster stores the events of a materialization over many days together instead of one by one."""


EVERY_CLIENT = "all"
"""What stands in ``CLIENT`` for a run that takes every client's days."""
BACKFILL_ID = "dagster/backfill"


def missing_tags(present: Mapping[str, str], client: str, allowed: Allowance) -> dict[str, str]:
    """The tags that a run lacks because it was asked for elsewhere, in the Dagster UI or by a backfill.

    Args:
        client: whose days it takes; empty for all.
        allowed: what a background run may use now; such runs keep to it as well.
    """
    missing = {} if CLIENT in present else {CLIENT: client or EVERY_CLIENT}
    if TRIGGER not in present:
        asked = Trigger.BACKFILL if BACKFILL_ID in present else Trigger.UI
        missing |= {TRIGGER: asked.value, CORES: f"{allowed.cores:.2f}"}
    return missing


def partition_tags(batch: DayBatch) -> dict[str, str]:
    """The tags by which Dagster knows the days of a run."""
    if batch.first == batch.last:
        return {"dagster/partition": batch.first.isoformat()}
    return {
        "dagster/asset_partition_range_start": batch.first.isoformat(),
        "dagster/asset_partition_range_end": batch.last.isoformat(),
    }


def on_demand_tags(settings: Settings, client: str) -> dict[str, str]:
    """The tags of a run that a visitor waits for."""
    return {TRIGGER: Trigger.ON_DEMAND.value, CLIENT: client, TURN: f"{settings.on_demand_limit_s:g}"}


def lane_tags(allowed: Allowance, number: int) -> dict[str, str]:
    """The tags of the background run with this number; Dagster executes the runs of one lane one at a time."""
    return {
        LANE: f"background-{number % allowed.slots}",
        CORES: f"{allowed.cores:.2f}",
        CLIENT: EVERY_CLIENT,
    }


def recent_lane_tags(allowed: Allowance, _number: int) -> dict[str, str]:
    """The tags of a background run over days that somebody will look at next: it waits for no sweep.

    While it works, the background takes at most one lane more than its share.
    """
    return {**lane_tags(allowed, 0), LANE: "recent"}


def day_config(*, client: str = "", force: bool = False, retry_failed: bool = True) -> dict[str, Any]:
    """The configuration of a run of the day job, see ``days.assets.Scope``."""
    scope = {"client": client, "force": force, "retry_failed": retry_failed}
    return {"ops": {DAY_STEP: {"config": scope}}}


def with_console(config: dict[str, Any], level: str) -> dict[str, Any]:
    """``config`` with the least level that a run prints."""
    return {**config, "loggers": {"console": {"config": {"log_level": level}}}}
