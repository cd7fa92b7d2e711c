"""Days: what state a day is in, and the lines of a client's day."""

from __future__ import annotations

from datetime import date, datetime
from typing import NamedTuple

from sqlalchemy import Connection, text

from crew_pipeline.model import ClientDay, Conversation, Line


class DayStatus(NamedTuple):
    """A client's day as its rows say."""

    status: str
    conversations: int
    lines: int
    processed_at: datetime | None
    error: str | None


# A day is as far as the least finished of its conversations.
_DAY_STATUS = """CASE WHEN bool_or(semantic_status = 'processing') THEN 'processing'
     WHEN bool_or(semantic_status = 'queued') THEN 'queued'
     WHEN bool_or(semantic_status = 'pending') THEN 'pending'
     WHEN bool_or(semantic_status = 'failed') THEN 'failed'
     ELSE 'completed' END"""


def status_of(connection: Connection, client_day: ClientDay) -> DayStatus | None:
    """The state of a client's day, following from its conversations; None for a day without any."""
    row = connection.execute(
        text(f"""
            SELECT count(*) AS conversations, coalesce(sum(line_count), 0) AS lines, max(semantic_processed_at) AS at,
                   max(semantic_error) AS error,
                   {_DAY_STATUS} AS status
            FROM data_items WHERE client = :client AND days_date = :day
        """),
        {"client": client_day.client, "day": client_day.day},
    ).one()
    return DayStatus(row.status, row.conversations, row.lines, row.at, row.error) if row.conversations else None


def client_days_on(connection: Connection, day: date) -> list[ClientDay]:
    """The clients that have conversations on a day."""
    rows = connection.execute(
        text("SELECT DISTINCT client FROM data_items WHERE days_date = :day ORDER BY client"), {"day": day}
    )
    return [ClientDay(row.client, day) for row in rows]


def conversations_of(connection: Connection, client_day: ClientDay) -> list[Conversation]:
    """The conversations of a client's day."""
    rows = connection.execute(
        text(
            "SELECT item.id, session_id, code, title, started_at, ended_at, times_inferred FROM data_items AS item "
            "JOIN crews ON crews.id = crew_id WHERE item.client = :client AND days_date = :day "
            "ORDER BY started_at, item.id"
        ),
        {"client": client_day.client, "day": client_day.day},
    )
    return [Conversation(*row) for row in rows]


class Discovered(NamedTuple):
    """A line together with its conversation, as one statement sees them."""

    conversation_id: str
    position: int
    speaker: str
    spoken_at: datetime
    text: str
    session_id: str
    crew: str
    title: str | None
    started_at: datetime
    ended_at: datetime
    times_inferred: bool
    content_hash: bytes


def discovered_of(connection: Connection, client_day: ClientDay) -> list[Discovered]:
    """The lines of a client's day with their conversations, read by one statement, so that all fit together."""
    rows = connection.execute(
        text(
            "SELECT conversation_id, position, speaker, spoken_at, text, session_id, code, title, started_at, "
            "ended_at, times_inferred, content_hash FROM lines JOIN data_items AS item ON item.id = conversation_id "
            "JOIN crews ON crews.id = crew_id "
            "WHERE item.client = :client AND days_date = :day ORDER BY conversation_id, position"
        ),
        {"client": client_day.client, "day": client_day.day},
    )
    return [Discovered(*row) for row in rows]


def lines_of(connection: Connection, client_day: ClientDay) -> list[Line]:
    """The lines of a client's day, conversation by conversation in the order of their source."""
    rows = connection.execute(
        text(
            "SELECT conversation_id, position, speaker, spoken_at, text FROM lines "
            "JOIN data_items AS item ON item.id = conversation_id "
            "WHERE client = :client AND days_date = :day ORDER BY conversation_id, position"
        ),
        {"client": client_day.client, "day": client_day.day},
    )
    return [Line(*row) for row in rows]


def latest_day(connection: Connection, client: str | None = None) -> date | None:
    """The newest day that holds a conversation."""
    found: date | None = connection.scalar(
        text("SELECT max(days_date) FROM data_items WHERE CAST(:client AS text) IS NULL OR client = :client"),
        {"client": client},
    )
    return found


def days_between(connection: Connection, first: date, last: date, client: str | None = None) -> list[date]:
    """The days from ``first`` to ``last``, both included, that hold conversations or once did."""
    rows = connection.execute(
        text(
            "SELECT days_date AS day FROM data_items WHERE days_date BETWEEN :first AND :last "
            "AND (CAST(:client AS text) IS NULL OR client = :client) "
            "UNION SELECT day FROM day_documents WHERE is_current AND day BETWEEN :first AND :last "
            "AND (CAST(:client AS text) IS NULL OR client = :client) ORDER BY day"
        ),
        {"first": first, "last": last, "client": client},
    )
    return [row.day for row in rows]


class Summary(NamedTuple):
    """A client's day in one line."""

    client: str
    day: date
    status: str
    conversations: int
    lines: int
    hidden: int | None
    error: str | None


def summaries(
    connection: Connection, first: date, last: date, client: str | None = None, most: int | None = None
) -> list[Summary]:
    """The days from ``first`` to ``last``, both included, newest first; ``hidden`` is None without a document."""
    rows = connection.execute(
        text(f"""
            SELECT item.client, item.days_date AS day,
                   {_DAY_STATUS} AS status,
                   count(*) AS conversations, sum(item.line_count) AS lines, max(document.hidden_count) AS hidden,
                   max(semantic_error) AS error
            FROM data_items AS item
            LEFT JOIN day_documents AS document
                ON document.client = item.client AND document.day = item.days_date AND document.is_current
            WHERE item.days_date BETWEEN :first AND :last AND (CAST(:client AS text) IS NULL OR item.client = :client)
            GROUP BY item.client, item.days_date ORDER BY day DESC, item.client LIMIT :most
        """),
        {"first": first, "last": last, "client": client, "most": most},
    )
    return [Summary(*row) for row in rows]


def counts_by_status(connection: Connection) -> dict[str, tuple[int, int]]:
    """Clients' days and conversations in each status; a day counts under the least finished of its conversations."""
    rows = connection.execute(
        text(f"""
            SELECT status, count(*) AS days, sum(conversations) AS conversations FROM (
                SELECT client, days_date, count(*) AS conversations,
                       {_DAY_STATUS} AS status
                FROM data_items GROUP BY client, days_date
            ) AS day GROUP BY status
        """)
    )
    return {row.status: (row.days, int(row.conversations)) for row in rows}
