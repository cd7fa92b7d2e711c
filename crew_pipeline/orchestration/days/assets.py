"""The day's assets, from conversations to the document that is served.

One step makes all four of them, day by day and client by client (``day_work``), so that a run over many days has ready
what it has come to, however it ends. What it made of each day, and how the checks went, is told with that day.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from dagster import (
    AssetCheckEvaluation,
    AssetExecutionContext,
    AssetKey,
    AssetMaterialization,
    AssetsDefinition,
    AssetSelection,
    AssetSpec,
    BackfillPolicy,
    Config,
    Output,
    PartitionsDefinition,
    define_asset_job,
    in_process_executor,
    multi_asset,
)

from crew_pipeline.days.pace import allowance
from crew_pipeline.dedup.config import fingerprint_of
from crew_pipeline.orchestration.days import checks
from crew_pipeline.orchestration.days.day_work import DayMade, DayWork
from crew_pipeline.orchestration.days.metadata import table_of
from crew_pipeline.orchestration.failures import TRANSIENT_RETRIES, permanent_errors_end_at_once
from crew_pipeline.orchestration.resources import DayMaking
from crew_pipeline.orchestration.tags import (
    CODE_VERSION,
    DATA_VERSION,
    DAY_JOB,
    DAY_STEP,
    EXPORTS,
    HISTORY_TABLES,
    INPUT_POINTER,
    INPUT_VERSION,
    NO_POINTER,
    OUTSIDE_VERSION,
    OWN_VERSION,
    Asset,
)
from crew_pipeline.settings import Settings
from crew_pipeline.storage.migrations import schema

GROUP = "clean_up_crew"

Told = AssetMaterialization | AssetCheckEvaluation | Output[None]


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

    def as_wanted(self) -> dict[str, Any]:
        """The same as ``DayWork`` takes it."""
        return {"client": self.client, "force": self.force, "with_failed": self.retry_failed}


_KEPT_IN: dict[Asset, type[schema.Base]] = {
    Asset.CONVERSATIONS: schema.LineRow,
    Asset.EMBEDDINGS: schema.LineEmbedding,
    Asset.CLUSTERS: schema.LineClusterMapping,
    Asset.DOCUMENT: schema.DayDocument,
}
"""The table whose rows an asset is, or is computed into."""

_MADE_FROM: dict[Asset, tuple[list[str], set[str], str]] = {
    Asset.CONVERSATIONS: (
        [HISTORY_TABLES, EXPORTS],
        {"postgres"},
        "The lines of the day's clients that need work, whose days are claimed for the run.",
    ),
    Asset.EMBEDDINGS: (
        [Asset.CONVERSATIONS.value],
        {"numpy"},
        "Vectors of the day's distinct texts, by their words and letters.",
    ),
    Asset.CLUSTERS: (
        [Asset.CONVERSATIONS.value, Asset.EMBEDDINGS.value],
        {"faiss", "torch"},
        "Lines of the day that say the same, with the evidence for each.",
    ),
    Asset.DOCUMENT: (
        [Asset.CONVERSATIONS.value, Asset.CLUSTERS.value],
        {"postgres"},
        "The deduplicated day: the bytes that the API serves.",
    ),
}
"""What each asset is made from, with what, and what it is."""


def _materialized(made: DayMade, engine: str) -> Iterator[AssetMaterialization]:
    """What was made of a day, asset by asset."""
    for asset, figures in made.figures.items():
        yield AssetMaterialization(
            AssetKey(asset.value),
            partition=made.day.isoformat(),
            metadata=figures,
            tags={CODE_VERSION: engine, **_data_versions(asset, made.versions)},
        )


def _data_versions(asset: Asset, versions: Mapping[Asset, str]) -> dict[str, str]:
    """The tags by which Dagster tells whether what an asset was made from has changed since."""
    depends_on, _, _ = _MADE_FROM[asset]
    known = {made.value: version for made, version in versions.items()}
    of_inputs = {f"{INPUT_VERSION}/{name}": known.get(name, OUTSIDE_VERSION) for name in depends_on}
    pointers = {f"{INPUT_POINTER}/{name}": NO_POINTER for name in depends_on}
    return {DATA_VERSION: versions[asset], OWN_VERSION: "true", **of_inputs, **pointers}


def build_assets(settings: Settings, partitions: PartitionsDefinition[str]) -> AssetsDefinition:
    """The four assets of a day, over ``partitions``, with their checks."""

    version = fingerprint_of(settings)

    @multi_asset(
        name=DAY_STEP,
        # Skippable: what is made of a day is told when it is made, not at the end of the run.
        specs=[
            AssetSpec(
                asset.value,
                deps=deps,
                kinds=kinds,
                group_name=GROUP,
                description=what,
                code_version=version,
                tags={"clean-up-crew/room": "days"},
                owners=list(settings.asset_owners),
                metadata=table_of(_KEPT_IN[asset]),
                skippable=True,
            )
            for asset, (deps, kinds, what) in _MADE_FROM.items()
        ],
        check_specs=checks.specs(partitions),
        partitions_def=partitions,
        backfill_policy=BackfillPolicy.multi_run(max_partitions_per_run=settings.backfill_days),
        retry_policy=TRANSIENT_RETRIES,
        can_subset=True,
    )
    def make_days(context: AssetExecutionContext, config: Scope, making: DayMaking) -> Iterator[Told]:
        """Days from their conversations to their documents, one after the other, the most urgent first."""
        selected = context.selected_asset_check_keys
        allowed = allowance(settings, datetime.now(UTC))
        with permanent_errors_end_at_once(context.run.run_id):
            for made in DayWork(context, making, **config.as_wanted(), allowed=allowed).days():
                yield from _materialized(made, version)
                yield from checks.evaluations(context.instance, making.tools.db, selected, made, context.run.run_id)
        yield from checks.outputs(selected)

    return make_days


def day_job() -> Any:
    """All four assets of one or more days, in one process: the model is loaded once."""
    return define_asset_job(
        DAY_JOB,
        selection=AssetSelection.groups(GROUP),
        executor_def=in_process_executor,
        description="A day from its conversations to the document that is served.",
    )
