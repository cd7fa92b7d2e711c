"""Progress events: rows with a sequence number; the notification on top only wakes followers."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, text

from crew_pipeline.model import ClientDay
from crew_pipeline.storage import webhooks

EVENT_CHANNEL = "crew_events"
REQUEST_CHANNEL = "crew_requests"


class AllDays(NamedTuple):
    """All days of a client."""

    client: str
    day: None = None


Followed = ClientDay | AllDays
"""Whose events somebody follows."""


class EventType(StrEnum):
    """What may happen to a client's day."""

    STARTED = "processing_started"
    PROGRESS = "processing_progress"
    COMPLETED = "processing_completed"
    FAILED = "processing_failed"


_TOLD_OUTSIDE: dict[EventType, webhooks.Kind] = {EventType.COMPLETED: "day.ready", EventType.FAILED: "day.failed"}


class Event(NamedTuple):
    """One thing that happened to a client's day; ``seq`` counts the client's events."""

    seq: int
    day: date
    type: str
    payload: dict[str, Any]
    created_at: datetime


_EMIT = """
INSERT INTO day_events (client, day, token, type, payload)
VALUES (:client, CAST(:day AS date), :token, :kind, CAST(:payload AS jsonb))
RETURNING pg_notify(:channel, :message)
"""


def emit(
    connection: Connection, client_day: ClientDay, kind: EventType, payload: dict[str, Any], token: str | None
) -> None:
    """Record an event in the caller's transaction, wake followers on its commit, and have webhooks told where it is a
    final one.

    It gets its number when the transaction commits (migration 0021), so that a client's events become visible in the
    order of their numbers and nobody waits for a slow transaction. So that no two deadlock, a transaction with events
    of several clients takes them in the order of their names.
    """
    connection.execute(
        text(_EMIT),
        {
            "client": client_day.client,
            "day": client_day.day,
            "token": token,
            "kind": kind,
            "payload": orjson.dumps(payload).decode(),
            "channel": EVENT_CHANNEL,
            "message": _message(client_day),
        },
    )
    if kind in _TOLD_OUTSIDE:
        webhooks.tell(connection, client_day.client, _TOLD_OUTSIDE[kind], {"day": client_day.day, **payload})


def notify(connection: Connection, channel: str, client_day: ClientDay) -> None:
    """Wake whoever listens on ``channel`` when the caller's transaction commits."""
    connection.execute(
        text("SELECT pg_notify(:channel, :message)"), {"channel": channel, "message": _message(client_day)}
    )


def _message(client_day: ClientDay) -> str:
    message = orjson.dumps([client_day.client, client_day.day.isoformat()]).decode()
    # Postgres refuses 8,000 bytes and more; an empty message wakes everybody.
    return message if len(message.encode()) < 7_900 else ""


_AFTER = """
SELECT seq, day, type, payload, created_at FROM day_events
WHERE client = :client AND {days} AND seq > :after ORDER BY seq LIMIT :limit
"""
_LATEST = """
SELECT seq, day, type, payload, created_at FROM day_events
WHERE client = :client AND {days} AND seq IS NOT NULL ORDER BY seq DESC LIMIT :limit
"""


def events_after(connection: Connection, whose: Followed, after: int, limit: int = 1000) -> list[Event]:
    """The events of a client's day, or of all its days, with a sequence number above ``after``, in order."""
    return _events(connection, _AFTER, whose, after=after, limit=limit)


def latest_events(connection: Connection, whose: Followed, most: int) -> list[Event]:
    """The newest events of a client's day, or of all its days, ``most`` at the most, in order."""
    return _events(connection, _LATEST, whose, limit=most)[::-1]


def last_number(connection: Connection, client: str) -> int:
    """The number of a client's newest event; 0 where nothing has happened."""
    number: int | None = connection.scalar(
        text("SELECT max(seq) FROM day_events WHERE client = :client"), {"client": client}
    )
    return number or 0


def _events(connection: Connection, statement: str, whose: Followed, **values: int) -> list[Event]:
    days = "true" if whose.day is None else "day = :day"
    rows = connection.execute(text(statement.format(days=days)), {**whose._asdict(), **values})
    return [Event(*row) for row in rows]


def latest_progress(connection: Connection, client_day: ClientDay, token: str | None = None) -> dict[str, Any]:
    """The payload of the last progress event of a client's day, of ``token`` where one is given; empty where there is
    none."""
    payload: dict[str, Any] | None = connection.scalar(
        text(
            "SELECT payload FROM day_events WHERE client = :client AND day = :day AND type = 'processing_progress' "
            "AND (CAST(:token AS text) IS NULL OR token = :token) ORDER BY id DESC LIMIT 1"
        ),
        {"client": client_day.client, "day": client_day.day, "token": token},
    )
    return payload or {}


def last_error(connection: Connection, client_day: ClientDay) -> str | None:
    """What was told of the last failure of a client's day; None where there was none."""
    error: str | None = connection.scalar(
        text(
            "SELECT payload->>'error' FROM day_events WHERE client = :client AND day = :day "
            "AND type = 'processing_failed' ORDER BY id DESC LIMIT 1"
        ),
        {"client": client_day.client, "day": client_day.day},
    )
    return error
