"""The preliminary result of a day that is being made: shown while its claim lasts, gone when the document is there."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, text

from crew_pipeline.model import ClientDay


class FirstLook(NamedTuple):
    """A preliminary result: UTF-8 JSON, and what tells it from every other of its day; no bytes where its reader has
    them."""

    version: str
    body: bytes | None


def put(connection: Connection, client_day: ClientDay, token: str, body: bytes) -> None:
    """Put the preliminary result of a claim in the place of the one that is there.

    Args:
        body: UTF-8 JSON, the array of conversations.
    """
    connection.execute(
        text("""
            INSERT INTO preliminary_documents (client, day, token, body) VALUES (:client, :day, :token, :body)
            ON CONFLICT (client, day) DO UPDATE SET token = excluded.token, body = excluded.body, created_at = now()
        """),
        {"client": client_day.client, "day": client_day.day, "token": token, "body": body},
    )


def shown(connection: Connection, client_day: ClientDay, token: str) -> bool:
    """Whether a claim has shown a preliminary result."""
    return bool(
        connection.scalar(
            text("SELECT EXISTS (SELECT 1 FROM preliminary_documents WHERE client = :client AND day = :day "
                 "AND token = :token)"),
            {"client": client_day.client, "day": client_day.day, "token": token},
        )
    )  # fmt: skip


def current(connection: Connection, client_day: ClientDay, known: str = "") -> FirstLook | None:
    """The preliminary result of a client's day, while somebody is at work on it or will go on soon.

    Args:
        known: a version whose bytes the caller has.
    """
    row = connection.execute(
        text("""
            SELECT version, CASE WHEN version <> :known THEN body END AS body
            FROM preliminary_documents AS shown JOIN day_claims USING (client, day, token),
                 LATERAL (SELECT token || ' ' || extract(epoch FROM shown.created_at) AS version) AS named
            WHERE client = :client AND day = :day
              AND (ended_at IS NULL AND claim_lives(expires_at, ttl_s) OR outcome IN ('paused', 'retried', 'overtaken'))
        """),
        {"client": client_day.client, "day": client_day.day, "known": known},
    ).one_or_none()
    return FirstLook(*row) if row else None


def drop(connection: Connection, client_day: ClientDay) -> None:
    """Forget the preliminary result: the document is there."""
    connection.execute(
        text("DELETE FROM preliminary_documents WHERE client = :client AND day = :day"),
        {"client": client_day.client, "day": client_day.day},
    )
