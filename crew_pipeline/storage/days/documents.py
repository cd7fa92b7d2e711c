"""Day documents: the finished bytes, versioned by content and engine."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, text

from crew_pipeline.dedup.document import Document
from crew_pipeline.model import ClientDay
from crew_pipeline.storage.database import Database


class StoredDocument(NamedTuple):
    """The document in force.

    Attributes:
        outdated: whether another engine made it, or a conversation has left the day since.
        unfinished: whether a conversation of the day is not completed.
        character_count, hidden_character_count: of all texts, and of hidden lines and what repeats in visible ones
            (code points); None for a document of a version that did not count them.
        processing_ms: how long its day was in work.
        timezone: of the client's days, where it has one of its own.
        body: the bytes to send, or None where the visitor named this version as known.
    """

    version: str
    processed_at: datetime
    outdated: bool
    unfinished: bool
    character_count: int | None
    hidden_character_count: int | None
    processing_ms: float
    timezone: str | None
    body: bytes | None

    @property
    def stale(self) -> bool:
        """Whether the day has to be processed again."""
        return self.outdated or self.unfinished


# One round trip decides a hit: version, staleness, and the bytes unless the visitor has them.
_CURRENT = """
SELECT version, processed_at,
       engine <> engine_for_client(%(client)s, %(engine)s) AS outdated,
       EXISTS (
           SELECT 1 FROM data_items
           WHERE client = %(client)s AND days_date = %(day)s AND semantic_status <> 'completed'
       ) AS unfinished,
       character_count, hidden_character_count, processing_ms,
       (SELECT timezone FROM clients WHERE clients.client = day_documents.client) AS timezone,
       CASE WHEN version = %(known)s THEN NULL ELSE body END AS body
FROM day_documents WHERE client = %(client)s AND day = %(day)s AND is_current
"""


def put(connection: Connection, client_day: ClientDay, document: Document, fingerprint: str, token: str) -> datetime:
    """Put ``document`` in force in place of the old one; returns when.

    Args:
        fingerprint: of the engine that made it; empty where the document no longer matches the day.
        token: of the claim that it was made under.
    """
    key = {"client": client_day.client, "day": client_day.day}
    connection.execute(
        text(
            "UPDATE day_documents SET is_current = false "
            "WHERE client = :client AND day = :day AND is_current AND version <> :version"
        ),
        {**key, "version": document.version},
    )
    published: datetime | None = connection.scalar(
        text("""
            INSERT INTO day_documents (client, day, version, is_current, engine, body, conversation_count, line_count,
                                       hidden_count, character_count, hidden_character_count, standing, token,
                                       processing_ms)
            VALUES (:client, :day, :version, true, :engine, :body, :conversations, :lines, :hidden, :characters,
                    :hidden_characters, CAST(:standing AS jsonb), :token, coalesce((
                SELECT round(1000 * extract(epoch FROM now() - claimed_at)) FROM day_claims
                WHERE client = :client AND day = :day AND token = :token), 0))
            ON CONFLICT (client, day, version) DO UPDATE
                SET is_current = true, engine = excluded.engine, processed_at = now(), token = excluded.token,
                    standing = excluded.standing, processing_ms = excluded.processing_ms
            RETURNING processed_at
        """),
        {
            **key,
            "version": document.version,
            "engine": fingerprint,
            "body": document.body,
            "conversations": document.conversation_count,
            "lines": document.line_count,
            "hidden": document.hidden_count,
            "characters": document.character_count,
            "hidden_characters": document.hidden_character_count,
            "standing": orjson.dumps(document.standing).decode(),
            "token": token,
        },
    )
    assert published is not None
    return published


def standing_until(connection: Connection, client_day: ClientDay) -> list[tuple[date, list[dict[str, Any]]]]:
    """The standing texts of a client's days that have any, up to one, in order of time."""
    rows = connection.execute(
        text(
            "SELECT day, standing FROM day_documents WHERE client = :client AND day <= :day AND is_current "
            "AND standing <> CAST('[]' AS jsonb) ORDER BY day"
        ),
        {"client": client_day.client, "day": client_day.day},
    )
    return [(row.day, row.standing) for row in rows]


class Totals(NamedTuple):
    """What the documents in force hold together; characters (code points) of those that count them."""

    days: int
    lines: int
    hidden_lines: int
    characters: int
    hidden_characters: int


def totals(connection: Connection, client: str | None = None) -> Totals:
    """The sums over a client's documents in force; over everybody's without one."""
    row = connection.execute(
        text(
            "SELECT count(*), coalesce(sum(line_count), 0)::bigint, coalesce(sum(hidden_count), 0)::bigint, "
            "coalesce(sum(character_count), 0)::bigint, coalesce(sum(hidden_character_count), 0)::bigint "
            "FROM day_documents WHERE is_current AND (CAST(:client AS text) IS NULL OR client = :client)"
        ),
        {"client": client},
    ).one()
    return Totals(*row)


class Version(NamedTuple):
    """A result of a day: the one in force, or one that it took the place of.

    Attributes:
        processing_ms: how long the day was in work.
        token: of the claim that it was made under: the Dagster run, where a run made it.
    """

    version: str
    processed_at: datetime
    is_current: bool
    conversations: int
    lines: int
    hidden: int
    processing_ms: float
    token: str


def versions(connection: Connection, client_day: ClientDay) -> list[Version]:
    """The results of a client's day that are kept, the latest first."""
    rows = connection.execute(
        text(
            "SELECT version, processed_at, is_current, conversation_count, line_count, hidden_count, processing_ms, "
            "token FROM day_documents WHERE client = :client AND day = :day ORDER BY processed_at DESC, version"
        ),
        {"client": client_day.client, "day": client_day.day},
    )
    return [Version(*row) for row in rows]


def body_of(connection: Connection, client_day: ClientDay, version: str) -> bytes | None:
    """The bytes of one result; None where it is not kept."""
    body: bytes | None = connection.scalar(
        text("SELECT body FROM day_documents WHERE client = :client AND day = :day AND version = :version"),
        {"client": client_day.client, "day": client_day.day, "version": version},
    )
    return body


def exists(connection: Connection, client_day: ClientDay) -> bool:
    """Whether there is a document to serve, up to date or not."""
    return bool(
        connection.scalar(
            text("SELECT EXISTS (SELECT 1 FROM day_documents WHERE client = :client AND day = :day AND is_current)"),
            {"client": client_day.client, "day": client_day.day},
        )
    )


def is_ready(connection: Connection, client_day: ClientDay, fingerprint: str) -> bool:
    """Whether there is a document that needs not be made again."""
    # The bytes of the inner query are not read: nothing of them is asked for.
    found = f"SELECT NOT outdated AND NOT unfinished FROM ({_CURRENT}) AS stored"  # noqa: S608 - two constants
    return bool(connection.exec_driver_sql(found, _values(client_day, fingerprint, "")).scalar())


def outdate(connection: Connection, client_day: ClientDay) -> None:
    """Have the document in force made again, though its lines and its engine are the same."""
    connection.execute(
        text("UPDATE day_documents SET engine = '' WHERE client = :client AND day = :day AND is_current"),
        {"client": client_day.client, "day": client_day.day},
    )


def retire(connection: Connection, client_day: ClientDay) -> None:
    """Have no document in force: the day holds nothing any more."""
    connection.execute(
        text("UPDATE day_documents SET is_current = false WHERE client = :client AND day = :day AND is_current"),
        {"client": client_day.client, "day": client_day.day},
    )


def current(connection: Connection, client_day: ClientDay, fingerprint: str) -> StoredDocument | None:
    """The document in force of a client's day."""
    row = connection.exec_driver_sql(_CURRENT, _values(client_day, fingerprint, "")).one_or_none()
    return None if row is None else StoredDocument(*row)


async def current_in_loop(db: Database, client_day: ClientDay, fingerprint: str, known: str) -> StoredDocument | None:
    """``current`` for an event loop; without the bytes of version ``known``, which the caller has.

    Raises:
        PoolTimeout, psycopg.OperationalError: as of ``Database.row``.
    """
    row = await db.row(_CURRENT, _values(client_day, fingerprint, known))
    return None if row is None else StoredDocument(*row)


def _values(client_day: ClientDay, fingerprint: str, known: str) -> dict[str, object]:
    return {"client": client_day.client, "day": client_day.day, "engine": fingerprint, "known": known}
