"""Where a client's day stands, as visitors are told it: over HTTP, over the WebSocket and on the command line."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from crew_pipeline.days import progress
from crew_pipeline.dedup.document import stamp
from crew_pipeline.model import ClientDay, DayState
from crew_pipeline.storage.days import events, states

FINAL = frozenset({DayState.COMPLETED, DayState.FAILED, DayState.EMPTY})
"""The states after which nothing happens until somebody asks for the day again."""


def state_of(connection: Connection, client_day: ClientDay) -> dict[str, Any]:
    """Where a client's day stands, from its conversations.

    Returns:
        What ``GET /api/semantic/status/{day}`` answers, ready to be encoded as JSON.
    """
    status = states.status_of(connection, client_day)
    last = events.latest_progress(connection, client_day)
    estimate = progress.estimated_seconds(connection, status.lines) if status else 0.0
    state = status.state if status else DayState.EMPTY
    running = state == DayState.PROCESSING
    paused = state == DayState.QUEUED and last.get("stage") == progress.PAUSED
    done = state in {DayState.COMPLETED, DayState.EMPTY}
    return {
        "days_date": client_day.day.isoformat(),
        "semantic_status": state,
        "processed_at": stamp(status.processed_at) if status and status.processed_at else None,
        "conversation_count": status.conversations if status else 0,
        "estimated_processing_time_s": 0.0 if done else estimate,
        "progress": 1.0 if done else last.get("progress", 0.0) if running or paused else 0.0,
        "stage": last.get("stage") if running else None,
        "error": status.error if status else None,
    }
