"""The queue, read off the conversations' states: what needs work, in which order, and what waits to be tried again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Literal, NamedTuple

from sqlalchemy import Connection, text

from crew_pipeline.model import ClientDay

Which = Literal["every", "waiting", "urgent"]


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
# document was made by another engine, or when it was made before a conversation left the day (engine ''). Days under
# a live claim are left out, unless it is a background claim and a visitor waits.
#
# Days that only a new engine puts out of date come last (priority 0), newest first: the document is served meanwhile.
# Among urgent days, those without a document to show come first, then those that have not been tried lately, then those
# of clients that had fewer days made of late: who asks for many days does not keep others waiting for all of them.
_WORK = """
WITH unfinished AS (
    SELECT client, days_date AS day FROM data_items
    WHERE semantic_status <> 'completed'
      AND (semantic_status <> 'failed' OR :with_failed OR retry_at <= now())
      AND (NOT :urgent OR semantic_status IN ('queued', 'processing')
           OR (semantic_status = 'failed' AND retry_at <= now()))
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
            AND claim_lives(claim.expires_at, claim.ttl_s) AND NOT claim.token = ANY(CAST(:claimed_as AS text[]))
            AND NOT (:urgent AND claim.background AND claim.wanted_at IS NOT NULL)
      )
), counted AS (
    SELECT wanted.client, wanted.day,
           max(item.processing_priority) FILTER (WHERE item.semantic_status <> 'completed') AS unfinished_priority,
           max(item.processing_priority) AS priority, count(item.id) AS conversations,
           coalesce(sum(item.line_count), 0) AS lines
    FROM wanted LEFT JOIN data_items AS item ON item.client = wanted.client AND item.days_date = wanted.day
    GROUP BY wanted.client, wanted.day
), busy AS (
    SELECT client, count(*) AS runs FROM day_claims
    WHERE :urgent AND NOT background AND claimed_at > now() - interval '10 minutes' GROUP BY client
), ranked AS (
    SELECT counted.client, counted.day, conversations, lines, document.version IS NOT NULL AS served,
           coalesce(unfinished_priority, CASE WHEN document.engine = '' THEN priority END,
                    CASE WHEN document.version IS NULL OR :force THEN 1 ELSE 0 END) AS priority
    FROM counted LEFT JOIN day_documents AS document
        ON document.client = counted.client AND document.day = counted.day AND document.is_current
)
SELECT ranked.client, day, priority, conversations, lines FROM ranked LEFT JOIN busy ON busy.client = ranked.client
ORDER BY :urgent AND served,
         CASE WHEN :urgent THEN (
             SELECT count(*) FROM day_claims AS tried
             WHERE tried.client = ranked.client AND tried.day = ranked.day
               AND outcome IN ('retried', 'overtaken', 'paused') AND ended_at > now() - interval '1 hour') END,
         coalesce(runs, 0),
         priority DESC,
         CASE WHEN priority = 0 THEN date '1970-01-01' - day ELSE day - date '1970-01-01' END,
         ranked.client
LIMIT :most
"""


def work(
    connection: Connection,
    fingerprint: str,
    *,
    days: Sequence[date] | None = None,
    client: str | None = None,
    which: Which = "every",
    force: bool = False,
    claimed_as: Sequence[str] = (),
    most: int | None = None,
) -> list[Work]:
    """Clients' days that need work and that nobody works at, most urgent first, then oldest.

    Args:
        fingerprint: of the engine in force; documents of another are out of date.
        days: only these; with ``force`` every client's day among them, ready or not.
        which: ``every`` day that needs work; those ``waiting``, without days that have failed and whose pause is not
            over; ``urgent`` ones, which were asked for, whose run died, or whose pause after a failure is over.
        claimed_as: tokens whose claims are the caller's own.
    """
    rows = connection.execute(
        text(_WORK),
        {
            "engine": fingerprint,
            "days": None if days is None else list(days),
            "client": client,
            "urgent": which == "urgent",
            "force": force,
            "with_failed": which != "waiting",
            "claimed_as": list(claimed_as),
            "most": most,
        },
    )
    return [Work(*row) for row in rows]


def refresh_priorities(connection: Connection, now: datetime, zone: str) -> int:
    """Lower the priority of what has aged since it arrived; returns how many rows changed.

    Args:
        zone: in which days begin for clients without a time zone of their own.
    """
    return connection.execute(
        text(
            "WITH dated AS (SELECT item.id, processing_priority AS before, priority_of_day(days_date, "
            "(CAST(:now AS timestamptz) AT TIME ZONE coalesce(timezone, :zone))::date) AS priority "
            "FROM data_items AS item LEFT JOIN clients ON clients.client = item.client "
            "WHERE semantic_status IN ('pending', 'queued', 'failed')), "
            "aged AS (SELECT data_items.id, priority FROM data_items JOIN dated ON dated.id = data_items.id "
            "WHERE before <> priority ORDER BY data_items.id FOR UPDATE OF data_items) "
            "UPDATE data_items SET processing_priority = priority FROM aged WHERE data_items.id = aged.id"
        ),
        {"now": now, "zone": zone},
    ).rowcount


class Change(NamedTuple):
    """A client's day with conversations that arrived or grew, and when the last of them did.

    Where one has failed and its pause is over, the moment is the end of that pause.

    Attributes:
        usual_rest_s: nine of ten rests between two lines in the crews' conversations of the two weeks before are no
            longer (s); None where too few are known.
        last_said: the last line of each of these conversations, where they are few.
    """

    work: Work
    updated_at: datetime
    usual_rest_s: float | None = None
    last_said: Sequence[str] = ()


_CONVERSATIONS_KNOWN = 20
_FEWEST_RESTS = 20
_MOST_LAST_LINES = 50
"""Conversations of a day that wait and whose last lines are looked at; of more, some go on anyway."""


def changes_of_discovery(connection: Connection, since: date, most: int = 500) -> list[Change]:
    """Days with conversations that wait and that nobody works at: from ``since`` on, and older ones of history tables.

    At most ``most``, newest days first.
    """
    rows = connection.execute(
        text("""
            WITH waiting AS (
            SELECT item.client, days_date AS day, max(processing_priority) AS priority, count(*) AS conversations,
                   sum(line_count) AS lines,
                   max(CASE WHEN semantic_status = 'failed' THEN retry_at ELSE updated_at END) AS updated_at,
                   array_agg(DISTINCT crew_id) AS crew_ids,
                   CASE WHEN days_date >= :since AND count(*) <= :few THEN array_agg(item.id) END AS ids
            FROM data_items AS item JOIN crews ON crews.id = crew_id
            WHERE (semantic_status = 'pending' OR (semantic_status = 'failed' AND retry_at <= now()))
              AND (days_date >= :since OR history_table IS NOT NULL) AND NOT EXISTS (
                SELECT 1 FROM day_claims AS claim WHERE claim.client = item.client AND claim.day = item.days_date
                AND claim.ended_at IS NULL AND claim_lives(claim.expires_at, claim.ttl_s))
            GROUP BY item.client, days_date ORDER BY days_date DESC, item.client LIMIT :most
            ), rests AS (
                SELECT crew_id, percentile_cont(0.9) WITHIN GROUP (ORDER BY rest_s) AS usual_s
                FROM (
                    SELECT crew_id, extract(epoch FROM spoken_at - lag(spoken_at) OVER (
                        PARTITION BY conversation_id ORDER BY position)) AS rest_s
                    FROM (SELECT DISTINCT unnest(crew_ids) AS crew_id FROM waiting WHERE day >= :since) AS crew
                    CROSS JOIN LATERAL (
                        SELECT id FROM data_items WHERE data_items.crew_id = crew.crew_id AND NOT times_inferred
                          AND days_date >= CAST(:since AS date) - 14 AND line_count BETWEEN 3 AND 500
                        ORDER BY days_date DESC, started_at DESC LIMIT :conversations
                    ) AS recent JOIN lines ON conversation_id = recent.id
                ) AS gaps WHERE rest_s >= 0 GROUP BY crew_id HAVING count(*) >= :fewest
            )
            SELECT client, day, priority, conversations, lines, updated_at, ARRAY(
                SELECT right(last.text, 400) FROM unnest(ids) AS waits (id) CROSS JOIN LATERAL (
                    SELECT text FROM lines WHERE conversation_id = waits.id ORDER BY position DESC LIMIT 1
                ) AS last) AS last_said, (
                SELECT CASE WHEN count(*) = cardinality(crew_ids) THEN max(usual_s)::float8 END
                FROM rests WHERE crew_id = ANY(crew_ids)) AS usual_s
            FROM waiting ORDER BY day DESC, client
        """),
        {
            "since": since,
            "most": most,
            "conversations": _CONVERSATIONS_KNOWN,
            "fewest": _FEWEST_RESTS,
            "few": _MOST_LAST_LINES,
        },
    )
    return [Change(Work(*row[:5]), row.updated_at, row.usual_s, tuple(row.last_said)) for row in rows]


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
    run_id: str | None


def failed(connection: Connection, client: str | None = None) -> list[FailedDay]:
    """Days whose last try failed, newest first."""
    rows = connection.execute(
        text("""
            SELECT client, days_date AS day, count(*), sum(line_count), max(semantic_error), max(retry_at), (
                SELECT token FROM day_claims AS tried
                WHERE tried.client = data_items.client AND tried.day = days_date ORDER BY claimed_at DESC LIMIT 1)
            FROM data_items WHERE semantic_status = 'failed' AND (CAST(:client AS text) IS NULL OR client = :client)
            GROUP BY client, days_date ORDER BY days_date DESC, client
        """),
        {"client": client},
    )
    return [FailedDay(*row) for row in rows]


def is_asked_for(connection: Connection, client_day: ClientDay) -> bool:
    """Whether a visitor has asked for a day that nobody had begun."""
    return bool(
        connection.scalar(
            text(
                "SELECT EXISTS (SELECT 1 FROM data_items WHERE client = :client AND days_date = :day "
                "AND semantic_status = 'queued')"
            ),
            {"client": client_day.client, "day": client_day.day},
        )
    )


def others_wait(connection: Connection, client_day: ClientDay) -> bool:
    """Whether visitors wait for other days that nobody has begun."""
    return bool(
        connection.scalar(
            text(
                "SELECT EXISTS (SELECT 1 FROM data_items WHERE semantic_status = 'queued' "
                "AND (client, days_date) <> (:client, CAST(:day AS date)))"
            ),
            {"client": client_day.client, "day": client_day.day},
        )
    )


def forgive(connection: Connection, client_day: ClientDay) -> None:
    """Mark a failed day's rows as changed, so that earlier failures do not count."""
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
