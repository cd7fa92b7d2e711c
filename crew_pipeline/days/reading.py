"""A client's day as it is read: its document, or the conversations as they came where there is none."""

from __future__ import annotations

from typing import Any, Literal

import orjson
from sqlalchemy import Connection

from crew_pipeline.dedup import document
from crew_pipeline.model import ClientDay, DayState
from crew_pipeline.storage.days import content, documents, states

View = Literal["condensed", "full"]

_RAW = "raw"
"""Stands for the engine's fingerprint."""


def raw(connection: Connection, client_day: ClientDay, view: View = "condensed") -> bytes:
    """The conversations as they came, nothing folded: UTF-8 JSON like a document."""
    conversations = content.conversations_of(connection, client_day)
    lines = content.lines_of(connection, client_day)
    return in_view(document.build(client_day.client, conversations, lines, {}, _RAW).body, view)


def in_view(body: bytes, view: View) -> bytes:
    """A document's bytes as a view shows them."""
    return document.full_view(body) if view == "full" else body


def read_day(connection: Connection, client_day: ClientDay, fingerprint: str, view: View) -> dict[str, Any]:
    """The answer that the API gives for a day, without waiting for one that is not ready.

    Args:
        fingerprint: of the engine in force.
    """
    stored = documents.current(connection, client_day, fingerprint)
    status = states.status_of(connection, client_day)
    if stored is not None and stored.body is not None:
        body = in_view(stored.body, view)
    else:
        body = raw(connection, client_day, view)
    ready = stored is not None or status is None
    return {
        "success": True,
        "data": orjson.loads(body),
        "metadata": {
            "processing_status": DayState.COMPLETED if ready or status is None else status.state,
            "cache_hit": stored is not None,
            "semantic_enabled": True,
            "stale": stored is not None and stored.stale,
            "version": stored.version if stored else None,
            "processed_at": document.stamp(stored.processed_at) if stored else None,
        },
    }
