"""One partition per calendar day, today included."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from dagster import DailyPartitionsDefinition

from crew_pipeline.settings import Settings


def day_partitions(settings: Settings) -> DailyPartitionsDefinition:
    """Days from the first one configured to today, in the configured time zone."""
    return DailyPartitionsDefinition(
        start_date=settings.first_day.isoformat(), timezone=settings.timezone, end_offset=1
    )


def days_of(partition_keys: Sequence[str]) -> list[date]:
    """Partition keys as dates."""
    return [date.fromisoformat(key) for key in partition_keys]
