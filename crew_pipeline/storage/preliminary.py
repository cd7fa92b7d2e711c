"""The preliminary result of a day that is being made: shown while its claim lasts, gone when the document is there."""

from __future__ import annotations

from sqlalchemy import Connection, text

from crew_pipeline.storage import claims
from crew_pipeline.storage.claims import Unit
from crew_pipeline.storage.events import emit


def store(connection: Connection, unit: Unit, token: str, body: bytes) -> bool:
    """Keep the preliminary result of a claim and tell readers; whether the claim still holds.

    Args:
        body: UTF-8 JSON, the array of conversations.
    """
    if unit not in claims.held(connection, token, [unit.day], lock=True):
        return False
    connection.execute(
        text("""
            INSERT INTO preliminary_documents (client, day, token, body) VALUES (:client, :day, :token, :body)
            ON CONFLICT (client, day) DO UPDATE SET token = excluded.token, body = excluded.body, created_at = now()
        """),
        {"client": unit.client, "day": unit.day, "token": token, "body": body},
    )
    told = {
        "progress": 0.0,
        "stage": "comparing",
        "message": "a first look by words is there",
        "estimated_remaining_s": None,
        "preliminary": True,
    }
    emit(connection, unit.client, unit.day, "processing_progress", told, token)
    return True


def current(connection: Connection, unit: Unit) -> bytes | None:
    """The preliminary result of the claim that is at work on a client's day, once there is one."""
    found: bytes | None = connection.scalar(
        text("""
            SELECT body FROM preliminary_documents JOIN day_claims USING (client, day, token)
            WHERE client = :client AND day = :day AND ended_at IS NULL AND expires_at >= now()
        """),
        {"client": unit.client, "day": unit.day},
    )
    return found


def drop(connection: Connection, unit: Unit) -> None:
    """Forget the preliminary result: the document is there."""
    connection.execute(
        text("DELETE FROM preliminary_documents WHERE client = :client AND day = :day"),
        {"client": unit.client, "day": unit.day},
    )
