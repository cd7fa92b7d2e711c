"""Which request asked for a client's day, so that what is done for it is told in the same trace.

Rows are written only where OpenTelemetry is on, and go when the day is taken.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, text

from crew_pipeline.model import ClientDay


class Asking(NamedTuple):
    """The request that asked first since the day was last taken.

    Attributes:
        traceparent: of its span.
        asked_at: when it asked, with a time zone.
    """

    traceparent: str
    asked_at: datetime


def note(connection: Connection, client_day: ClientDay, traceparent: str) -> None:
    """Note who asks for a client's day, unless somebody has already."""
    connection.execute(
        text("INSERT INTO day_askings (client, day, traceparent) VALUES (:client, :day, :traceparent) "
             "ON CONFLICT (client, day) DO NOTHING"),
        {"client": client_day.client, "day": client_day.day, "traceparent": traceparent},
    )  # fmt: skip


def take(connection: Connection, client_day: ClientDay) -> Asking | None:
    """Who has asked for a client's day; the next time, nobody has."""
    row = connection.execute(
        text("DELETE FROM day_askings WHERE client = :client AND day = :day RETURNING traceparent, asked_at"),
        {"client": client_day.client, "day": client_day.day},
    ).one_or_none()
    return None if row is None else Asking(row.traceparent, row.asked_at)
