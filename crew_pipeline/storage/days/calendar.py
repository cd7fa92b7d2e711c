"""A row a day: how much a client said, how much of it is folded, and how far the day is."""

from __future__ import annotations

from datetime import date
from typing import NamedTuple

from sqlalchemy import Connection, text

from crew_pipeline.storage.days.states import DAY_STATUS


class CalendarDay(NamedTuple):
    """A client's day.

    Attributes:
        folded: lines; 0 without a document.
        state: ``ready``, ``stale`` (a document is served while the day waits to be made again), ``waiting``,
            ``processing`` or ``failed``.
    """

    date: date
    conversations: int
    lines: int
    folded: int
    state: str


_ROWS = f"""
WITH engine AS (SELECT engine_for_client(:client, :engine) AS in_force), days AS (
    SELECT days_date AS day, count(*) AS conversations, sum(line_count)::bigint AS lines, {DAY_STATUS} AS status
    FROM data_items
    WHERE client = :client AND (CAST(:first AS date) IS NULL OR days_date >= :first)
      AND (CAST(:last AS date) IS NULL OR days_date <= :last)
    GROUP BY days_date
)
SELECT days.day, conversations, lines, coalesce(hidden_count, 0) AS folded,
       CASE WHEN status IN ('failed', 'processing') THEN status
            WHEN version IS NULL THEN 'waiting'
            WHEN status <> 'completed' OR document.engine <> in_force THEN 'stale'
            ELSE 'ready' END AS state
FROM engine CROSS JOIN days LEFT JOIN day_documents AS document
    ON document.client = :client AND document.day = days.day AND is_current
ORDER BY days.day
"""  # noqa: S608  a constant


def between(
    connection: Connection, client: str, fingerprint: str, first: date | None, last: date | None
) -> list[CalendarDay]:
    """The days that hold conversations, oldest first, in one query.

    Args:
        fingerprint: of the engine in force; documents of another are out of date.
        first, last: bounds, both included; None: none.
    """
    values = {"client": client, "engine": fingerprint, "first": first, "last": last}
    return [CalendarDay(*row) for row in connection.execute(text(_ROWS), values)]
