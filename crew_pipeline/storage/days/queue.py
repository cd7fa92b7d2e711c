"""The queue: what needs work, asking for a day, taking one, and what waits to be tried again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import NamedTuple

from sqlalchemy import Connection, text

from crew_pipeline.model import ClientDay
from crew_pipeline.storage.days import claims, progress
from crew_pipeline.storage.days.events import REQUEST_CHANNEL, emit, notify


class Work(NamedTuple):
    """A client's day that is not ready."""

    client: str
    day: date
    priority: int
    conversations: int
    lines: int

    @property
    def client_day(self) -> ClientDay:
        """Whose day it is."""
        return ClientDay(self.client, self.day)


# A day needs work when one of its conversations is not completed (failed ones once their pause is over), when its
# document was made by another engine, or when it was made before a conversation left the day (engine ''). Rows of a
# live claim are being worked at, unless a reader waits and the claim is one of the background.
#
# What only another engine makes out of date comes last (priority 0), newest first: its document is served meanwhile.
# Among urgent days those come first that have no document to show, then those that have not been tried lately.
_WORK = """
WITH unfinished AS (
    SELECT client, days_date AS day FROM data_items
    WHERE semantic_status <> 'completed'
      AND (semantic_status <> 'failed' OR :with_failed OR retry_at <= now())
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
            AND claim_lives(claim.expires_at, claim.ttl_s) AND claim.token NOT IN (:token, :after)
            AND NOT (:urgent AND claim.background AND claim.wanted_at IS NOT NULL)
      )
), counted AS (
    SELECT wanted.client, wanted.day,
           max(item.processing_priority) FILTER (WHERE item.semantic_status <> 'completed') AS unfinished_priority,
           max(item.processing_priority) AS priority, count(item.id) AS conversations,
           coalesce(sum(item.line_count), 0) AS lines
    FROM wanted LEFT JOIN data_items AS item ON item.client = wanted.client AND item.days_date = wanted.day
    GROUP BY wanted.client, wanted.day
), ranked AS (
    SELECT counted.client, counted.day, conversations, lines, document.version IS NOT NULL AS served,
           coalesce(unfinished_priority, CASE WHEN document.engine = '' THEN priority END,
                    CASE WHEN document.version IS NULL OR :force THEN 1 ELSE 0 END) AS priority
    FROM counted LEFT JOIN day_documents AS document
        ON document.client = counted.client AND document.day = counted.day AND document.is_current
)
SELECT client, day, priority, conversations, lines FROM ranked
ORDER BY :urgent AND served,
         CASE WHEN :urgent THEN (
             SELECT count(*) FROM day_claims AS tried
             WHERE tried.client = ranked.client AND tried.day = ranked.day
               AND outcome IN ('retried', 'overtaken', 'paused') AND ended_at > now() - interval '1 hour') END,
         priority DESC,
         CASE WHEN priority = 0 THEN date '1970-01-01' - day ELSE day - date '1970-01-01' END,
         client
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
    after: str | None = None,
    most: int | None = None,
) -> list[Work]:
    """Clients' days that need work and that nobody works at, most urgent first, then oldest.

    Args:
        engine: fingerprint of the engine in force; documents of another are out of date.
        days: only these; with ``force`` every client's day among them, ready or not.
        urgent: only days that were asked for, and those whose run died.
        with_failed: whether days whose last attempt failed are taken before their pause is over.
        token: claims of this token do not count as somebody else's.
        after: nor do those of this one, which were made for ``token`` before it started, see ``take``.
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
            "after": after or token,
            "most": most,
        },
    )
    return [Work(*row) for row in rows]


def request(
    connection: Connection, client_day: ClientDay, *, force: bool = False, outdated: bool = False, waiting: bool = True
) -> bool:
    """Ask for a client's day now: its rows go ahead of the queue and a worker is woken.

    A day that failed is only asked for again with ``force``, so that readers do not keep it failing.

    Args:
        force: process it even if it is ready or failed.
        outdated: its document is missing or out of date, so completed rows are taken as well.
        waiting: the reader has nothing to read yet, so a background run that works at the day gives it up.

    Returns:
        Whether this call changed anything. Asking again while it is queued or processed does not.
    """
    wanted = waiting and claims.want(connection, client_day)
    if force:
        _forgive(connection, client_day)
    statuses = ["pending", *(["failed"] if force else []), *(["completed"] if force or outdated else [])]
    if not _worked_at(connection, client_day):
        statuses.append("processing")
    changed = claims.set_status(connection, client_day, "queued", of=statuses)
    if changed or wanted or outdated:
        notify(connection, REQUEST_CHANNEL, client_day.client, client_day.day)
    return changed > 0 or wanted


def _forgive(connection: Connection, client_day: ClientDay) -> None:
    """Let a failed day begin anew: failures before its rows changed count no more."""
    connection.execute(
        text("""
            WITH locked AS (
                SELECT id FROM data_items WHERE client = :client AND days_date = :day AND semantic_status = 'failed'
                ORDER BY id FOR UPDATE
            )
            UPDATE data_items SET updated_at = now() FROM locked WHERE data_items.id = locked.id
        """),
        {"client": client_day.client, "day": client_day.day},
    )


def _worked_at(connection: Connection, client_day: ClientDay) -> bool:
    return bool(
        connection.scalar(
            text(
                "SELECT EXISTS (SELECT 1 FROM day_claims WHERE client = :client AND day = :day "
                "AND ended_at IS NULL AND claim_lives(expires_at, ttl_s))"
            ),
            {"client": client_day.client, "day": client_day.day},
        )
    )


def take(
    connection: Connection,
    client_day: ClientDay,
    token: str,
    ttl_s: int,
    lines: int = 0,
    *,
    background: bool = False,
    after: str | None = None,
) -> bool:
    """Claim a client's day, mark the rows that are read from here on, and tell readers; all in one transaction.

    A day that ``token`` has taken before is only prolonged: rows that changed since then are not what it reads.

    Args:
        background: see ``claims.acquire``.
        after: a claim made for this one before it started, which it goes on with.

    Returns:
        Whether ``token`` holds the day.
    """
    if after is not None and claims.hand_over(connection, client_day, after, token, ttl_s):
        claim: str | None = "new"
    else:
        claim = claims.acquire(connection, client_day, token, ttl_s, lines, background=background)
    if claim == "new":
        if background and _asked_for(connection, client_day):
            claims.want(connection, client_day)
            notify(connection, REQUEST_CHANNEL, client_day.client, client_day.day)
        begin(connection, client_day)
        estimate_s = progress.estimated_seconds(connection, lines)
        emit(
            connection, client_day.client, client_day.day, "processing_started", {"estimated_time_s": estimate_s}, token
        )
        progress.tell(connection, client_day, token, "discovering", 0.0, f"reading {lines:,} lines", estimate_s)
    return claim is not None


def _asked_for(connection: Connection, client_day: ClientDay) -> bool:
    """Whether a reader has asked for a day that nobody had begun."""
    return bool(
        connection.scalar(
            text(
                "SELECT EXISTS (SELECT 1 FROM data_items WHERE client = :client AND days_date = :day "
                "AND semantic_status = 'queued')"
            ),
            {"client": client_day.client, "day": client_day.day},
        )
    )


def begin(connection: Connection, client_day: ClientDay) -> None:
    """Mark the rows that a run reads from now on; those that change after this are ``pending`` and stay so."""
    claims.set_status(connection, client_day, "processing")


def refresh_priorities(connection: Connection, today: date) -> int:
    """Lower the priority of what has aged since it arrived; returns how many rows changed."""
    return connection.execute(
        text(
            "WITH aged AS (SELECT id FROM data_items WHERE semantic_status IN ('pending', 'queued', 'failed') "
            "AND processing_priority <> priority_of_day(days_date, :today) ORDER BY id FOR UPDATE) "
            "UPDATE data_items SET processing_priority = priority_of_day(days_date, :today) "
            "FROM aged WHERE data_items.id = aged.id"
        ),
        {"today": today},
    ).rowcount


class Change(NamedTuple):
    """A client's day with conversations that arrived or grew, and when the last of them did.

    Where one has failed and its pause is over, the moment is the end of that pause.
    """

    work: Work
    updated_at: datetime


def changes_of_discovery(connection: Connection, since: date, most: int = 500) -> list[Change]:
    """Days with conversations that wait and that nobody works at: from ``since`` on, and older ones of history tables.

    At most ``most``, newest days first.
    """
    rows = connection.execute(
        text("""
            SELECT item.client, days_date AS day, max(processing_priority) AS priority, count(*) AS conversations,
                   sum(line_count) AS lines,
                   max(CASE WHEN semantic_status = 'failed' THEN retry_at ELSE updated_at END) AS updated_at
            FROM data_items AS item JOIN crews ON crews.id = crew_id
            WHERE (semantic_status = 'pending' OR (semantic_status = 'failed' AND retry_at <= now()))
              AND (days_date >= :since OR history_table IS NOT NULL) AND NOT EXISTS (
                SELECT 1 FROM day_claims AS claim WHERE claim.client = item.client AND claim.day = item.days_date
                AND claim.ended_at IS NULL AND claim_lives(claim.expires_at, claim.ttl_s))
            GROUP BY item.client, days_date ORDER BY days_date DESC, item.client LIMIT :most
        """),
        {"since": since, "most": most},
    )
    return [Change(Work(*row[:5]), row.updated_at) for row in rows]


class FailedDay(NamedTuple):
    """A client's day whose last try failed.

    Attributes:
        retry_at: when it is tried again by itself; None where it was set aside.
    """

    client: str
    day: date
    conversations: int
    lines: int
    error: str | None
    retry_at: datetime | None


def failed(connection: Connection, client: str | None = None) -> list[FailedDay]:
    """Days whose last try failed, newest first."""
    rows = connection.execute(
        text("""
            SELECT client, days_date AS day, count(*), sum(line_count), max(semantic_error), max(retry_at)
            FROM data_items WHERE semantic_status = 'failed' AND (CAST(:client AS text) IS NULL OR client = :client)
            GROUP BY client, days_date ORDER BY days_date DESC, client
        """),
        {"client": client},
    )
    return [FailedDay(*row) for row in rows]


def release(connection: Connection, client_day: ClientDay) -> bool:
    """Let a day whose last try failed wait in the background like one that is new; whether it had failed."""
    # It counts as changed: the sensor asks but once for what is the same.
    _forgive(connection, client_day)
    return claims.set_status(connection, client_day, "pending", of=["failed"]) > 0
