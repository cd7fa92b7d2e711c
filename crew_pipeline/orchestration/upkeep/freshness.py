"""Whether the days that people look at most are ready: a check that is made with every sample of the system's health.

Dagster's own checks of freshness ask for a partition each day; a day on which nobody has said anything has none.
"""

from datetime import UTC, datetime, timedelta

from dagster import (
    AssetCheckKey,
    AssetCheckResult,
    AssetChecksDefinition,
    AssetCheckSeverity,
    AssetKey,
    AssetSelection,
    asset_check,
)

from crew_pipeline.orchestration.resources import DatabaseResource
from crew_pipeline.orchestration.tags import SERVED_DAYS
from crew_pipeline.settings import Settings
from crew_pipeline.storage.days import states

NAME = "recent_days_are_fresh"
FRESHNESS = AssetSelection.checks(AssetCheckKey(AssetKey(SERVED_DAYS), NAME))
_RECENT = timedelta(days=1)
_GRACE = timedelta(minutes=30)


def build_freshness(settings: Settings) -> AssetChecksDefinition:
    """The check: what has waited longer than a sweep takes to come by is overdue."""
    allowed = timedelta(hours=settings.sweep_interval_h) + _GRACE

    @asset_check(
        asset=SERVED_DAYS,
        name=NAME,
        description=f"Of today and yesterday, nothing has waited for more than {allowed}.",
    )
    def recent_days_are_fresh(database: DatabaseResource) -> AssetCheckResult:
        """The clients' days that are overdue, by how long."""
        since = datetime.now(UTC).astimezone(settings.zone).date() - _RECENT
        with database.db.read() as connection:
            overdue = states.overdue(connection, since, allowed)
        named = [f"{late.client}, {late.day}: for {late.waiting_s / 3600:.1f} h" for late in overdue]
        return AssetCheckResult(
            passed=not overdue,
            severity=AssetCheckSeverity.WARN,
            description="; ".join(named[:3]) or None,
            metadata={"overdue": len(overdue), "longest_s": max((late.waiting_s for late in overdue), default=0.0)},
        )

    return recent_days_are_fresh
