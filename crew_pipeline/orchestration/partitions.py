"""One partition per calendar day: from where data begin to today.

What Dagster shows is fixed when it loads the code. ``crew up`` and ``crew env`` look into the store first, and hand on
what they find by ``CREW_FIRST_PARTITION`` and ``CREW_DAYS_AHEAD``; runs of our own processes take any day.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from dagster import DailyPartitionsDefinition
from sqlalchemy import Connection

from crew_pipeline.settings import Settings, variable_of
from crew_pipeline.storage.conversations import clients
from crew_pipeline.storage.days import states


class Span(NamedTuple):
    """Which days are partitions.

    Attributes:
        first: the first of them.
        ahead: how many after today.
    """

    first: date
    ahead: int

    @classmethod
    def of(cls, settings: Settings) -> Span:
        """As the settings have it."""
        return cls(max(settings.first_day, settings.first_partition or settings.first_day), settings.days_ahead)

    def holds(self, day: date, settings: Settings, now: datetime) -> bool:
        """Whether a day is a partition now."""
        return self.first <= day <= now.astimezone(settings.zone).date() + timedelta(days=self.ahead)


def day_partitions(settings: Settings) -> DailyPartitionsDefinition:
    """The partitions that the settings ask for, in the configured time zone."""
    span = Span.of(settings)
    return DailyPartitionsDefinition(
        start_date=span.first.isoformat(), timezone=settings.timezone, end_offset=1 + span.ahead
    )


def any_day(settings: Settings) -> Settings:
    """Settings for runs that nobody picks from a list of partitions: every day that may hold lines is one."""
    return settings.model_copy(update={"first_partition": None, "days_ahead": 1})


def span_of_data(connection: Connection, settings: Settings, now: datetime) -> Span:
    """From the beginning of the year in which data begin; to tomorrow where it is that already for some client."""
    today = now.astimezone(settings.zone).date()
    begins = states.first_day(connection) or today
    theirs = [now.astimezone(ZoneInfo(zone)) for zone in clients.timezones(connection)]
    ahead = any(there.utcoffset() > now.astimezone(settings.zone).utcoffset() for there in theirs)  # type: ignore[operator]
    return Span(max(settings.first_day, date(min(begins, today).year, 1, 1)), int(ahead))


def variables(connection: Connection, settings: Settings, now: datetime) -> dict[str, str]:
    """The environment by which Dagster shows every day that there is, and what was set beyond that."""
    found = span_of_data(connection, settings, now)
    first = min(found.first, settings.first_partition or found.first)
    return {
        variable_of("first_partition"): first.isoformat(),
        variable_of("days_ahead"): str(max(found.ahead, settings.days_ahead)),
    }


def days_of(partition_keys: Sequence[str]) -> list[date]:
    """Partition keys as dates."""
    return [date.fromisoformat(key) for key in partition_keys]
