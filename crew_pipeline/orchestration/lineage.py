"""What stands around our assets and is made by others: where conversations come from, and who reads the days.

Dagster cannot make these; they complete the way of a line in the asset graph, from its source to its readers.
"""

from __future__ import annotations

from dagster import AssetSpec

from crew_pipeline.orchestration.tags import EXPORTS, HISTORY_TABLES, SERVED_DAYS, SOURCE_TABLES, Asset

GROUP = "outside"


def outside() -> list[AssetSpec]:
    """The external assets."""

    def spec(key: str, deps: list[str], kinds: set[str], description: str) -> AssetSpec:
        return AssetSpec(key, deps=deps, kinds=kinds, group_name=GROUP, description=description)

    return [
        spec(
            SOURCE_TABLES,
            [],
            {"table"},
            f"The tables into which crews write their sessions; {HISTORY_TABLES} reads them, a webhook names one.",
        ),
        spec(EXPORTS, [], {"file"}, "Files of conversations that people import ('crew import')."),
        spec(
            SERVED_DAYS,
            [Asset.DOCUMENT.value],
            {"fastapi"},
            "What the API and the day page hand out: the bytes of the documents in force.",
        ),
    ]
