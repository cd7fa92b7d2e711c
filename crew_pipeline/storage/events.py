"""Progress events: rows with a sequence number; the notification on top only wakes readers."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, text

EVENT_CHANNEL = "crew_events"
REQUEST_CHANNEL = "crew_requests"


class Event(NamedTuple):
    """One thing that happened to a client's day."""

    seq: int
    type: str
    payload: dict[str, Any]
    created_at: datetime


def emit(connection: Connection, client: str, day: date, kind: str, payload: dict[str, Any], token: str | None) -> int:
    """Record an event in the caller's transaction and wake readers when it commits; returns its sequence number."""
    seq = connection.scalar(
        text(
            "INSERT INTO day_events (client, day, token, type, payload) "
            "VALUES (:client, :day, :token, :kind, CAST(:payload AS jsonb)) RETURNING seq"
        ),
        {"client": client, "day": day, "token": token, "kind": kind, "payload": orjson.dumps(payload).decode()},
    )
    notify(connection, EVENT_CHANNEL, client, day)
    return int(seq)


def notify(connection: Connection, channel: str, client: str, day: date) -> None:
    """Wake whoever listens on ``channel`` when the caller's transaction commits."""
    message = orjson.dumps([client, day.isoformat()]).decode()
    connection.execute(
        text("SELECT pg_notify(:channel, :message)"),
        # Postgres refuses 8,000 bytes and more; an empty message wakes everybody.
        {"channel": channel, "message": message if len(message.encode()) < 7_900 else ""},
    )


def events_after(connection: Connection, client: str, day: date, after: int, limit: int = 1000) -> list[Event]:
    """The events of a client's day with a sequence number above ``after``, in order."""
    rows = connection.execute(
        text(
            "SELECT seq, type, payload, created_at FROM day_events "
            "WHERE client = :client AND day = :day AND seq > :after ORDER BY seq LIMIT :limit"
        ),
        {"client": client, "day": day, "after": after, "limit": limit},
    )
    return [Event(*row) for row in rows]


def latest_progress(connection: Connection, client: str, day: date) -> dict[str, Any]:
    """The payload of the last progress event of a client's day; empty where there is none."""
    found: dict[str, Any] | None = connection.scalar(
        text(
            "SELECT payload FROM day_events WHERE client = :client AND day = :day AND type = 'processing_progress' "
            "ORDER BY seq DESC LIMIT 1"
        ),
        {"client": client, "day": day},
    )
    return found or {}
