"""Moving conversations to the days that they have in another time zone."""

from __future__ import annotations

from collections import defaultdict
from datetime import date
from typing import NamedTuple

from sqlalchemy import Connection, text

from crew_pipeline.storage.conversations.ingest import CrewKey, one_at_a_time, settle
from crew_pipeline.storage.conversations.parts import Calendar

# A part of a session may also have to be parted again, where it rests and goes on.
_MISPLACED = """
FROM data_items WHERE days_date <> (started_at AT TIME ZONE :zone)::date
   OR (ended_at - started_at >= :rest AND days_date <> (ended_at AT TIME ZONE :zone)::date)
"""
_ELSEWHERE = "SELECT count(*) FROM data_items WHERE days_date <> (started_at AT TIME ZONE :zone)::date"


class Rezoned(NamedTuple):
    """What was moved: conversations that stood in another day, and the days that change, by client."""

    conversations: int
    days: dict[str, list[date]]


def in_other_days(connection: Connection, zone: str) -> int:
    """How many conversations stand in another day than they have in a time zone."""
    return int(connection.scalar(text(_ELSEWHERE), {"zone": zone}) or 0)


def rezone(connection: Connection, calendar: Calendar) -> Rezoned:
    """Move every conversation to the day that it has by a calendar; days that change wait to be made again.

    Args:
        connection: in a transaction that the caller commits.
    """
    for row in connection.execute(text("SELECT client, code, id FROM crews ORDER BY id")).all():
        one_at_a_time(connection, CrewKey(row.client, row.code, row.id))
    elsewhere = in_other_days(connection, calendar.zone)
    touched: dict[str, list[str]] = defaultdict(list)
    asked = {"zone": calendar.zone, "rest": calendar.rest}
    for row in connection.execute(text(f"SELECT client, id {_MISPLACED}"), asked):
        touched[row.client].append(row.id)
    days = {client: settle(connection, ids, client, calendar).days for client, ids in sorted(touched.items())}
    return Rezoned(elsewhere, days)
