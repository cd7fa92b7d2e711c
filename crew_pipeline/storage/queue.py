"""The queue: what needs work, asking for a day, taking one, and what waits to be tried again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import NamedTuple

from sqlalchemy import Connection, text

from crew_pipeline.storage import claims
from crew_pipeline.storage.claims import Unit
from crew_pipeline.storage.events import REQUEST_CHANNEL, notify


class Work(NamedTuple):
    """A client's day that is not ready."""

    client: str
    day: date
    priority: int
    conversations: int
    lines: int

    @property
    def unit(self) -> Unit:
        """Whose day it is."""
        return Unit(self.client, self.day)


# A day needs work when one of its conversations is not completed, when its document was made by another engine, or when
# it was made before a conversation left the day (engine ''). Rows of a live claim are being worked at.
_WORK = """
WITH unfinished AS (
    SELECT client, days_date AS day FROM data_items
    WHERE semantic_status <> 'completed'
      AND (semantic_status <> 'failed' OR :with_failed)
      AND (NOT :urgent OR semantic_status IN ('queued', 'processing'))
    UNION
    SELECT client, day FROM day_documents
    WHERE is_current AND ((:with_failed AND NOT :urgent) OR NOT EXISTS (
              SELECT 1 FROM data_items AS item
              WHERE item.client = day_documents.client AND item.days_date = day AND semantic_status = 'failed'))
      AND (engine = '' OR engine <> engine_for_client(client, :engine) AND NOT :urgent)
    UNION
    SELECT client, days_date FROM data_items WHERE :force AND days_date = ANY(:days)
), wanted AS (
    SELECT client, day FROM unfinished
    WHERE (CAST(:client AS text) IS NULL OR client = :client)
      AND (CAST(:days AS date[]) IS NULL OR day = ANY(:days))
      AND NOT EXISTS (
          SELECT 1 FROM day_claims AS claim
          WHERE claim.client = unfinished.client AND claim.day = unfinished.day AND claim.ended_at IS NULL
            AND claim.expires_at >= now() AND claim.token <> :token
      )
)
SELECT wanted.client, wanted.day,
       coalesce(max(item.processing_priority) FILTER (WHERE item.semantic_status <> 'completed'), 1) AS priority,
       count(item.id) AS conversations, coalesce(sum(item.line_count), 0) AS lines
FROM wanted LEFT JOIN data_items AS item ON item.client = wanted.client AND item.days_date = wanted.day
GROUP BY wanted.client, wanted.day
ORDER BY priority DESC, wanted.day, wanted.client
LIMIT :most
"""


def work(
    connection: Connection,
    engine: str,
    *,
    days: Sequence[date] | None = None,
    client: str | None = None,
    urgent: bool = False,
    force: bool = False,
    with_failed: bool = True,
    token: str = "",
    most: int | None = None,
) -> list[Work]:
    """Clients' days that need work and that nobody works at, most urgent first, then oldest.

    Args:
        engine: fingerprint of the engine in force; documents of another are out of date.
        days: only these; with ``force`` every client's day among them, ready or not.
        urgent: only days that were asked for, and those whose run died.
        with_failed: whether days whose last attempt failed are taken again.
        token: claims of this token do not count as somebody else's.
    """
    rows = connection.execute(
        text(_WORK),
        {
            "engine": engine,
            "days": None if days is None else list(days),
            "client": client,
            "urgent": urgent,
            "force": force,
            "with_failed": with_failed,
            "token": token,
            "most": most,
        },
    )
    return [Work(*row) for row in rows]


def request(connection: Connection, unit: Unit, *, force: bool = False, outdated: bool = False) -> bool:
    """Ask for a client's day now: its rows go ahead of the queue and a worker is woken.

    A day that failed is only asked for again with ``force``, so that readers do not keep it failing.

    Args:
        force: process it even if it is ready or failed.
        outdated: its document is missing or out of date, so completed rows are taken as well.

    Returns:
        Whether this call changed anything. Asking again while it is queued or processed does not.
    """
    statuses = ["pending", *(["failed"] if force else []), *(["completed"] if force or outdated else [])]
    if not _worked_at(connection, unit):
        statuses.append("processing")
    changed = claims.set_status(connection, unit, "queued", of=statuses)
    if changed or outdated:
        notify(connection, REQUEST_CHANNEL, unit.client, unit.day)
    return changed > 0


def _worked_at(connection: Connection, unit: Unit) -> bool:
    return bool(
        connection.scalar(
            text(
                "SELECT EXISTS (SELECT 1 FROM day_claims WHERE client = :client AND day = :day "
                "AND ended_at IS NULL AND expires_at >= now())"
            ),
            {"client": unit.client, "day": unit.day},
        )
    )


def begin(connection: Connection, unit: Unit) -> None:
    """Mark the rows that a run reads from now on; those that change after this are ``pending`` and stay so."""
    claims.set_status(connection, unit, "processing")


def refresh_priorities(connection: Connection, today: date) -> int:
    """Lower the priority of what has aged since it arrived; returns how many rows changed."""
    return connection.execute(
        text(
            "UPDATE data_items SET processing_priority = priority_of_day(days_date, :today) "
            "WHERE semantic_status IN ('pending', 'queued', 'failed') "
            "AND processing_priority <> priority_of_day(days_date, :today)"
        ),
        {"today": today},
    ).rowcount


class Change(NamedTuple):
    """A client's day with conversations that arrived or grew, and when the last of them did."""

    work: Work
    updated_at: datetime


def changes_of_discovery(connection: Connection, since: date, most: int = 500) -> list[Change]:
    """Days with pending conversations that nobody works at: from ``since`` on, and older ones of history tables.

    At most ``most``, newest days first.
    """
    rows = connection.execute(
        text("""
            SELECT item.client, days_date AS day, max(processing_priority) AS priority, count(*) AS conversations,
                   sum(line_count) AS lines, max(updated_at) AS updated_at
            FROM data_items AS item JOIN crews ON crews.id = crew_id
            WHERE semantic_status = 'pending' AND (days_date >= :since OR history_table IS NOT NULL) AND NOT EXISTS (
                SELECT 1 FROM day_claims AS claim WHERE claim.client = item.client AND claim.day = item.days_date
                AND claim.ended_at IS NULL AND claim.expires_at >= now())
            GROUP BY item.client, days_date ORDER BY days_date DESC, item.client LIMIT :most
        """),
        {"since": since, "most": most},
    )
    return [Change(Work(*row[:5]), row.updated_at) for row in rows]
