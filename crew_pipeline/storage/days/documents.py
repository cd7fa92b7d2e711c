"""Day documents: the finished bytes, versioned by content and engine."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, text

from crew_pipeline.dedup.document import Document
from crew_pipeline.model import ClientDay
from crew_pipeline.storage.days import claims, preliminary
from crew_pipeline.storage.days.events import emit


class StoredDocument(NamedTuple):
    """The document in force.

    Attributes:
        body: the bytes to send, or None where the reader named this version as known.
        outdated: whether another engine made it, or a conversation has left the day since.
        unfinished: whether a conversation of the day is not completed.
    """

    version: str
    processed_at: datetime
    outdated: bool
    unfinished: bool
    body: bytes | None

    @property
    def stale(self) -> bool:
        """Whether the day has to be processed again."""
        return self.outdated or self.unfinished


class OvertakenError(RuntimeError):
    """The claim that a result was computed under is gone; the result must not be written."""


# One round trip decides a hit: version, staleness, and the bytes unless the reader has them.
READ_CURRENT = """
SELECT version, processed_at,
       engine <> engine_for_client(%(client)s, %(engine)s) AS outdated,
       EXISTS (
           SELECT 1 FROM data_items
           WHERE client = %(client)s AND days_date = %(day)s AND semantic_status <> 'completed'
       ) AS unfinished,
       CASE WHEN version = %(known)s THEN NULL ELSE body END AS body
FROM day_documents WHERE client = %(client)s AND day = %(day)s AND is_current
"""


def publish(connection: Connection, client_day: ClientDay, document: Document, engine: str, token: str) -> datetime:
    """Make ``document`` the one in force, complete the rows that were read, tell listeners, and close the claim.

    All in the caller's transaction, fenced by the claim.

    Returns:
        When it was published.

    Raises:
        OvertakenError: ``token`` no longer holds the day; nothing is written.
    """
    if client_day not in claims.held(connection, token, [client_day.day], lock=True):
        raise OvertakenError(f"{client_day}: overtaken by another run; its result stands")
    key = {"client": client_day.client, "day": client_day.day}
    claims.set_status(connection, client_day, "completed", of=("processing",))
    # The update above waited for imports that touched these rows, so what is counted now is what was read, or the
    # document is out of date already.
    present = connection.execute(
        text(
            "SELECT count(*) AS conversations, coalesce(sum(line_count), 0) AS lines FROM data_items "
            "WHERE client = :client AND days_date = :day"
        ),
        key,
    ).one()
    whole = (present.conversations, present.lines) == (document.conversation_count, document.line_count)
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
                                       hidden_count, token)
            VALUES (:client, :day, :version, true, :engine, :body, :conversations, :lines, :hidden, :token)
            ON CONFLICT (client, day, version) DO UPDATE
                SET is_current = true, engine = excluded.engine, processed_at = now(), token = excluded.token
            RETURNING processed_at
        """),
        {
            **key,
            "version": document.version,
            "engine": engine if whole else "",
            "body": document.body,
            "conversations": document.conversation_count,
            "lines": document.line_count,
            "hidden": document.hidden_count,
            "token": token,
        },
    )
    preliminary.drop(connection, client_day)
    emit(
        connection,
        client_day.client,
        client_day.day,
        "processing_completed",
        {"version": document.version, "conversations": document.conversation_count},
        token,
    )
    claims.finish(connection, client_day, token, "completed")
    assert published is not None
    return published


def exists(connection: Connection, client_day: ClientDay) -> bool:
    """Whether there is a document to serve, up to date or not."""
    return bool(
        connection.scalar(
            text("SELECT EXISTS (SELECT 1 FROM day_documents WHERE client = :client AND day = :day AND is_current)"),
            {"client": client_day.client, "day": client_day.day},
        )
    )


def outdate(connection: Connection, client_day: ClientDay) -> None:
    """Have the document in force made again, though its lines and its engine are the same."""
    connection.execute(
        text("UPDATE day_documents SET engine = '' WHERE client = :client AND day = :day AND is_current"),
        {"client": client_day.client, "day": client_day.day},
    )


def current(connection: Connection, client_day: ClientDay, engine: str) -> StoredDocument | None:
    """The document in force of a client's day."""
    row = connection.exec_driver_sql(
        READ_CURRENT, {"client": client_day.client, "day": client_day.day, "engine": engine, "known": ""}
    ).one_or_none()
    return None if row is None else StoredDocument(*row)
