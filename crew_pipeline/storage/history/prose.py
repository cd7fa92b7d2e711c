"""What was told in prose: kept so that it is told once, and counted so that a day's budget holds."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Connection, text

from crew_pipeline.storage.history import themes


def told(connection: Connection, client: str, key: str) -> dict[str, Any] | None:
    """What is kept under a key."""
    found: dict[str, Any] | None = connection.scalar(
        text("SELECT sentences FROM told_prose WHERE client = :client AND key = :key"), {"client": client, "key": key}
    )
    return found


def keep(
    connection: Connection, client: str, key: str, content: dict[str, Any], tokens: int, forgotten_at: datetime | None
) -> None:
    """Keep what was told, and what it took. Where something of the client was erased meanwhile, only what it took:
    nobody can tell whether that was in it.

    Args:
        forgotten_at: when something was last erased before it was asked for.
    """
    # Who forgets holds the same lock.
    themes.lock(connection, client)
    if forgetting(connection, client) != forgotten_at:
        content = {}
    connection.execute(
        text(
            "INSERT INTO told_prose (client, key, sentences, tokens) "
            "VALUES (:client, :key, CAST(:content AS jsonb), :tokens) ON CONFLICT (client, key) DO UPDATE SET "
            "sentences = excluded.sentences, tokens = told_prose.tokens + excluded.tokens, told_at = now()"
        ),
        {"client": client, "key": key, "content": orjson.dumps(content).decode(), "tokens": tokens},
    )


def forgetting(connection: Connection, client: str) -> datetime | None:
    """When something of a client was last erased on request."""
    found: datetime | None = connection.scalar(
        text("SELECT forgotten_at FROM clients WHERE client = :client"), {"client": client}
    )
    return found


def spent(connection: Connection) -> int:
    """Tokens that all clients together have taken within a day."""
    return int(
        connection.execute(
            text("SELECT coalesce(sum(tokens), 0) FROM told_prose WHERE told_at > now() - interval '1 day'")
        ).scalar_one()
    )
