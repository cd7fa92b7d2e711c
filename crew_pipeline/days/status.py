"""The state of a client's day as readers are told it, over HTTP and over the WebSocket."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from crew_pipeline.dedup.document import stamp
from crew_pipeline.model import ClientDay
from crew_pipeline.storage.days import events, progress
from crew_pipeline.storage.days import states as days

FINAL = frozenset({"completed", "failed", "empty"})
"""The values of ``semantic_status`` after which nothing happens until somebody asks for the day again."""


def state_of(connection: Connection, client_day: ClientDay) -> dict[str, Any]:
    """Where a client's day stands, from its conversations; ``semantic_status`` is ``empty`` for a day without any.

    Returns:
        What ``GET /api/semantic/status/{day}`` answers, ready to be encoded as JSON.
    """
    found = days.status_of(connection, client_day)
    last = events.latest_progress(connection, client_day.client, client_day.day)
    estimate = progress.estimated_seconds(connection, found.lines) if found else 0.0
    state = found.status if found else "empty"
    running = state == "processing"
    done = state in {"completed", "empty"}
    return {
        "days_date": client_day.day.isoformat(),
        "semantic_status": state,
        "processed_at": stamp(found.processed_at) if found and found.processed_at else None,
        "conversation_count": found.conversations if found else 0,
        "estimated_processing_time_s": 0.0 if done else estimate,
        "progress": 1.0 if done else last.get("progress", 0.0) if running else 0.0,
        "stage": last.get("stage") if running else None,
        "error": found.error if found else None,
    }
