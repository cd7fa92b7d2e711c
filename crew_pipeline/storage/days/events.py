"""Progress events: rows with a sequence number; the notification on top only wakes followers."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, text

from crew_pipeline.model import ClientDay

EVENT_CHANNEL = "crew_events"
REQUEST_CHANNEL = "crew_requests"


class EventType(StrEnum):
    """What may happen to a client's day."""

    STARTED = "processing_started"
    PROGRESS = "processing_progress"
    COMPLETED = "processing_completed"
    FAILED = "processing_failed"


class Event(NamedTuple):
    """One thing that happened to a client's day."""

    seq: int
    type: str
    payload: dict[str, Any]
    created_at: datetime


# One transaction at a time per client's day: numbers are given out before their rows can be seen, and a follower that
# has seen a later number never looks for an earlier one. The row is made from the lock, so the lock comes first.
_EMIT = """
WITH turn AS MATERIALIZED (SELECT pg_advisory_xact_lock(hashtextextended(:lock, 0)))
INSERT INTO day_events (client, day, token, type, payload)
SELECT :client, CAST(:day AS date), :token, :kind, CAST(:payload AS jsonb) FROM turn
RETURNING seq, pg_notify(:channel, :message)
"""


def emit(
    connection: Connection, client_day: ClientDay, kind: EventType, payload: dict[str, Any], token: str | None
) -> int:
    """Record an event in the caller's transaction and wake followers on its commit; returns its sequence number.

    Events of a client's day become visible in the order of their numbers: whoever else records one for that day waits
    until the caller's transaction ends. So that no two deadlock, a transaction with events of several days takes the
    days in the order of ``claims.held``, and locks a day's rows before it records the event, not after.
    """
    row = connection.execute(
        text(_EMIT),
        {
            "lock": f"events\x1f{client_day.client}\x1f{client_day.day}",
            "client": client_day.client,
            "day": client_day.day,
            "token": token,
            "kind": kind,
            "payload": orjson.dumps(payload).decode(),
            "channel": EVENT_CHANNEL,
            "message": _message(client_day),
        },
    ).one()
    return int(row.seq)


def notify(connection: Connection, channel: str, client_day: ClientDay) -> None:
    """Wake whoever listens on ``channel`` when the caller's transaction commits."""
    connection.execute(
        text("SELECT pg_notify(:channel, :message)"), {"channel": channel, "message": _message(client_day)}
    )


def _message(client_day: ClientDay) -> str:
    message = orjson.dumps([client_day.client, client_day.day.isoformat()]).decode()
    # Postgres refuses 8,000 bytes and more; an empty message wakes everybody.
    return message if len(message.encode()) < 7_900 else ""


def events_after(connection: Connection, client_day: ClientDay, after: int, limit: int = 1000) -> list[Event]:
    """The events of a client's day with a sequence number above ``after``, in order."""
    rows = connection.execute(
        text(
            "SELECT seq, type, payload, created_at FROM day_events "
            "WHERE client = :client AND day = :day AND seq > :after ORDER BY seq LIMIT :limit"
        ),
        {"client": client_day.client, "day": client_day.day, "after": after, "limit": limit},
    )
    return [Event(*row) for row in rows]


def latest_events(connection: Connection, client_day: ClientDay, most: int) -> list[Event]:
    """The newest events of a client's day, ``most`` at the most, in order."""
    rows = connection.execute(
        text(
            "SELECT seq, type, payload, created_at FROM day_events "
            "WHERE client = :client AND day = :day ORDER BY seq DESC LIMIT :most"
        ),
        {"client": client_day.client, "day": client_day.day, "most": most},
    )
    return [Event(*row) for row in rows][::-1]


def latest_progress(connection: Connection, client_day: ClientDay, token: str | None = None) -> dict[str, Any]:
    """The payload of the last progress event of a client's day, of ``token`` where one is given; empty where there is
    none."""
    payload: dict[str, Any] | None = connection.scalar(
        text(
            "SELECT payload FROM day_events WHERE client = :client AND day = :day AND type = 'processing_progress' "
            "AND (CAST(:token AS text) IS NULL OR token = :token) ORDER BY seq DESC LIMIT 1"
        ),
        {"client": client_day.client, "day": client_day.day, "token": token},
    )
    return payload or {}


def last_error(connection: Connection, client_day: ClientDay) -> str | None:
    """What was told of the last failure of a client's day; None where there was none."""
    error: str | None = connection.scalar(
        text(
            "SELECT payload->>'error' FROM day_events WHERE client = :client AND day = :day "
            "AND type = 'processing_failed' ORDER BY seq DESC LIMIT 1"
        ),
        {"client": client_day.client, "day": client_day.day},
    )
    return error
