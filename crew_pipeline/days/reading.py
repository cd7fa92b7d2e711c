"""A day for the command line: the same answer as the API's, without waiting."""

from __future__ import annotations

from datetime import date
from typing import Any

import orjson

from crew_pipeline.dedup import document
from crew_pipeline.dedup.config import fingerprint_of
from crew_pipeline.model import ClientDay
from crew_pipeline.serving.service import RAW_ENGINE
from crew_pipeline.settings import Settings
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.days import documents
from crew_pipeline.storage.days import states as days


def read_day(db: Database, settings: Settings, day: date, client: str, *, full: bool) -> dict[str, Any]:
    """The document of a client's day, or its raw conversations where there is none yet."""
    client_day = ClientDay(client, day)
    with db.read() as connection:
        stored = documents.current(connection, client_day, fingerprint_of(settings))
        state = days.status_of(connection, client_day)
        if stored is not None and stored.body is not None:
            body = stored.body
        else:
            body = document.build(
                client,
                days.conversations_of(connection, client_day),
                days.lines_of(connection, client_day),
                {},
                RAW_ENGINE,
            ).body
    processed = stored is not None or state is None
    return {
        "success": True,
        "data": orjson.loads(document.full_view(body) if full else body),
        "metadata": {
            "processing_status": "completed" if processed or state is None else state.status,
            "cache_hit": stored is not None,
            "semantic_enabled": True,
            "stale": stored is not None and stored.stale,
            "version": stored.version if stored else None,
            "processed_at": document.stamp(stored.processed_at) if stored else None,
        },
    }
