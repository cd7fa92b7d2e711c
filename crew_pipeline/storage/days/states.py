"""The states of days, which follow from those of their conversations."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Connection, text

from crew_pipeline.model import ClientDay, DayState
from crew_pipeline.storage.database import Database


class DayStatus(NamedTuple):
    """A client's day as its conversations say."""

    state: DayState
    conversations: int
    lines: int
    processed_at: datetime | None
    error: str | None


# A day is as far as the least finished of its conversations.
DAY_STATUS = """CASE WHEN bool_or(semantic_status = 'processing') THEN 'processing'
     WHEN bool_or(semantic_status = 'queued') THEN 'queued'
     WHEN bool_or(semantic_status = 'pending') THEN 'pending'
     WHEN bool_or(semantic_status = 'failed') THEN 'failed'
     ELSE 'completed' END"""
"""SQL: the state of a group of conversations."""


class Look(NamedTuple):
    """What somebody who visits a day goes by: its state, None without conversations, and the time zone of the client's
    days, where it has one of its own."""

    status: DayStatus | None
    timezone: str | None


_LOOK = f"""
SELECT {DAY_STATUS} AS status, count(*) AS conversations, coalesce(sum(line_count), 0)::bigint AS lines,
       max(semantic_processed_at) AS at, max(semantic_error) AS error,
       (SELECT timezone FROM clients WHERE client = %(client)s) AS zone
FROM data_items WHERE client = %(client)s AND days_date = %(day)s
"""


def status_of(connection: Connection, client_day: ClientDay) -> DayStatus | None:
    """The state of a client's day, following from its conversations; None for a day without any."""
    return _look(connection.exec_driver_sql(_LOOK, client_day._asdict()).one()).status


async def look_in_loop(db: Database, client_day: ClientDay) -> Look:
    """A look at a client's day, for an event loop.

    Raises:
        PoolTimeout, psycopg.OperationalError: as of ``Database.row``.
    """
    row = await db.row(_LOOK, client_day._asdict())
    assert row is not None
    return _look(row)


def _look(row: Sequence[Any]) -> Look:
    state, *others, zone = row
    status = DayStatus(DayState(state), *others)
    return Look(status if status.conversations else None, zone)


class Counts(NamedTuple):
    """How much a client's day holds."""

    conversations: int
    lines: int


def counts_of(connection: Connection, client_day: ClientDay) -> Counts:
    """How much a client's day holds now."""
    row = connection.execute(
        text(
            "SELECT count(*) AS conversations, coalesce(sum(line_count), 0) AS lines FROM data_items "
            "WHERE client = :client AND days_date = :day"
        ),
        {"client": client_day.client, "day": client_day.day},
    ).one()
    return Counts(*row)


def client_days_on(connection: Connection, day: date) -> list[ClientDay]:
    """The clients that have conversations on a day."""
    rows = connection.execute(
        text("SELECT DISTINCT client FROM data_items WHERE days_date = :day ORDER BY client"), {"day": day}
    )
    return [ClientDay(row.client, day) for row in rows]


def latest_day(connection: Connection, client: str | None = None) -> date | None:
    """The newest day that holds a conversation."""
    day: date | None = connection.scalar(
        text("SELECT max(days_date) FROM data_items WHERE CAST(:client AS text) IS NULL OR client = :client"),
        {"client": client},
    )
    return day


def first_day(connection: Connection) -> date | None:
    """The oldest day that holds a conversation, of any client."""
    day: date | None = connection.scalar(
        text(
            "SELECT min(oldest) FROM clients CROSS JOIN LATERAL ("
            "SELECT min(days_date) AS oldest FROM data_items WHERE data_items.client = clients.client) AS of_client"
        )
    )
    return day


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
    """A client's day in one line; what is hidden and the characters are None without a document that counts them."""

    client: str
    day: date
    status: DayState
    conversations: int
    lines: int
    hidden: int | None
    characters: int | None
    hidden_characters: int | None
    error: str | None


def summaries(connection: Connection, first: date, last: date, client: str | None = None) -> list[Summary]:
    """The days from ``first`` to ``last``, both included, newest first."""
    rows = connection.execute(
        text(f"""
            SELECT item.client, item.days_date AS day,
                   {DAY_STATUS} AS status,
                   count(*) AS conversations, sum(item.line_count) AS lines, max(document.hidden_count) AS hidden,
                   max(document.character_count) AS characters,
                   max(document.hidden_character_count) AS hidden_characters, max(semantic_error) AS error
            FROM data_items AS item
            LEFT JOIN day_documents AS document
                ON document.client = item.client AND document.day = item.days_date AND document.is_current
            WHERE item.days_date BETWEEN :first AND :last AND (CAST(:client AS text) IS NULL OR item.client = :client)
            GROUP BY item.client, item.days_date ORDER BY day DESC, item.client
        """),
        {"first": first, "last": last, "client": client},
    )
    return [Summary(*row) for row in rows]


def unfinished(connection: Connection, client: str, most: int) -> list[tuple[date, DayState]]:
    """A client's days that are not completed, with their states, newest first."""
    rows = connection.execute(
        text(f"""
            SELECT days_date, {DAY_STATUS} AS status FROM data_items
            WHERE client = :client AND semantic_status <> 'completed'
            GROUP BY days_date ORDER BY days_date DESC LIMIT :most
        """),
        {"client": client, "most": most},
    )
    return [(row.days_date, DayState(row.status)) for row in rows]


def counts_by_status(connection: Connection) -> dict[str, tuple[int, int]]:
    """Clients' days and conversations in each status; a day counts under the least finished of its conversations."""
    rows = connection.execute(
        text(f"""
            SELECT status, count(*) AS days, sum(conversations) AS conversations FROM (
                SELECT client, days_date, count(*) AS conversations,
                       {DAY_STATUS} AS status
                FROM data_items GROUP BY client, days_date
            ) AS day GROUP BY status
        """)
    )
    return {row.status: (row.days, int(row.conversations)) for row in rows}


def set_status(
    connection: Connection,
    client_day: ClientDay,
    state: DayState,
    *,
    of: Sequence[DayState] | None = None,
    error: str | None = None,
    retry_in_s: float | None = None,
) -> int:
    """Set the state of a client's day's conversations (only those in a state ``of``, if given); returns how many.

    Rows are locked in order of id, here and in imports, so that the two never deadlock.

    Args:
        retry_in_s: when a failed day is tried again by itself (s from now); None: not at all.
    """
    return connection.execute(
        text("""
            WITH locked AS (
                SELECT id FROM data_items WHERE client = :client AND days_date = :day
                    AND (CAST(:of AS text[]) IS NULL OR semantic_status = ANY(:of))
                ORDER BY id FOR UPDATE
            )
            UPDATE data_items SET semantic_status = :status, semantic_error = :error,
                retry_at = now() + make_interval(secs => CAST(:retry_in AS double precision)),
                semantic_processed_at = CASE WHEN :status = 'completed' THEN now() ELSE semantic_processed_at END
            FROM locked WHERE data_items.id = locked.id
                AND (CAST(:of AS text[]) IS NULL OR semantic_status = ANY(:of))
        """),
        {
            "client": client_day.client,
            "day": client_day.day,
            "of": None if of is None else list(of),
            "status": state,
            "error": error,
            "retry_in": retry_in_s,
        },
    ).rowcount


def lock_conversations(connection: Connection, client_days: Sequence[ClientDay]) -> None:
    """Lock the conversations of days by id, as imports do; of several, day by day the order would differ."""
    connection.execute(
        text("""
            SELECT id FROM data_items
            JOIN unnest(CAST(:clients AS text[]), CAST(:days AS date[])) AS held (client, day)
                ON data_items.client = held.client AND days_date = held.day
            ORDER BY id FOR UPDATE OF data_items
        """),
        {
            "clients": [client_day.client for client_day in client_days],
            "days": [client_day.day for client_day in client_days],
        },
    )


class Overdue(NamedTuple):
    """A client's day that waits, and for how long (s)."""

    client: str
    day: date
    waiting_s: float


def overdue(connection: Connection, since: date, allowed: timedelta) -> list[Overdue]:
    """Clients' days from ``since`` on that have waited longer than ``allowed``, or failed since; the longest first."""
    rows = connection.execute(
        text("""
            SELECT client, days_date AS day, extract(epoch FROM now() - min(updated_at))::float8 AS waiting_s
            FROM data_items
            WHERE days_date >= :since AND semantic_status <> 'completed' AND updated_at < now() - :allowed
            GROUP BY client, days_date ORDER BY waiting_s DESC, client, day
        """),
        {"since": since, "allowed": allowed},
    )
    return [Overdue(*row) for row in rows]
