"""Moving conversations to the days that they have in another time zone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from typing import NamedTuple

from sqlalchemy import Connection, text

from crew_pipeline.settings import Settings
from crew_pipeline.storage.conversations import clients
from crew_pipeline.storage.conversations.ingest import CrewKey, one_at_a_time, settle
from crew_pipeline.storage.conversations.parts import Calendar, calendar_of

# A part of a session may also have to be parted again, where it rests and goes on.
_MISPLACED = """
FROM data_items WHERE client = :client AND (days_date <> (started_at AT TIME ZONE :zone)::date
   OR (ended_at - started_at >= :rest AND days_date <> (ended_at AT TIME ZONE :zone)::date))
"""
_ELSEWHERE = """
SELECT count(*) FROM data_items AS item LEFT JOIN clients ON clients.client = item.client
WHERE days_date <> (started_at AT TIME ZONE coalesce(timezone, :zone))::date
  AND (CAST(:client AS text) IS NULL OR item.client = :client)
"""


class Rezoned(NamedTuple):
    """What was moved: conversations that stood in another day, and the days that change, by client."""

    conversations: int
    days: dict[str, list[date]]


def in_other_days(connection: Connection, zone: str, client: str | None = None) -> int:
    """How many conversations stand in another day than they have in their client's time zone, else in ``zone``."""
    return int(connection.scalar(text(_ELSEWHERE), {"zone": zone, "client": client}) or 0)


def set_timezone(connection: Connection, settings: Settings, client: str, zone: str | None, now: datetime) -> Rezoned:
    """Give a client a time zone of its own (None: the system's), and move its conversations where that changes it.

    Args:
        connection: in a transaction that the caller commits.
    """
    if not clients.set_timezone(connection, client, zone):
        return Rezoned(0, {})
    return rezone(connection, lambda each: calendar_of(connection, settings, each, now), client)


def rezone(connection: Connection, calendar_of: Callable[[str], Calendar], client: str | None = None) -> Rezoned:
    """Move every conversation to the day that it has by its client's calendar; days that change are made again.

    Args:
        connection: in a transaction that the caller commits.
        calendar_of: gives the calendar of a client.
        client: only this client's.
    """
    crews = connection.execute(
        text("SELECT client, code, id FROM crews WHERE CAST(:client AS text) IS NULL OR client = :client ORDER BY id"),
        {"client": client},
    ).all()
    # Before the crews are held, as those do that bring conversations.
    calendars = {each: calendar_of(each) for each in sorted({row.client for row in crews})}
    for row in crews:
        one_at_a_time(connection, CrewKey(row.client, row.code, row.id))
    moved = [_rezone(connection, each, calendar) for each, calendar in calendars.items()]
    return Rezoned(
        sum(each.conversations for each in moved), {name: days for each in moved for name, days in each.days.items()}
    )


def _rezone(connection: Connection, client: str, calendar: Calendar) -> Rezoned:
    elsewhere = in_other_days(connection, calendar.zone, client)
    asked = {"client": client, "zone": calendar.zone, "rest": calendar.rest}
    touched = connection.scalars(text(f"SELECT id {_MISPLACED}"), asked).all()
    return Rezoned(elsewhere, {client: settle(connection, touched, client, calendar).days} if touched else {})
