"""How the rounds of discovery went: a record of each, sums, and how long a crew that failed is left alone."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB

FIRST_BACKOFF_S = 30
LONGEST_BACKOFF_S = 3_600


class Round(NamedTuple):
    """One round of discovery over one crew.

    ``sessions_failed`` are those with a row that was refused; ``left_out`` is what is no talk, by kind.
    """

    trigger: str
    started_at: datetime
    seconds: float
    rows_read: int = 0
    sessions_scanned: int = 0
    sessions_created: int = 0
    sessions_changed: int = 0
    sessions_skipped: int = 0
    sessions_failed: int = 0
    rows_refused: int = 0
    finished: bool = True
    error: str | None = None
    left_out: Mapping[str, int] = MappingProxyType({})


def record_round(connection: Connection, crew_id: int, table: str, done: Round) -> None:
    """Note how a round ended; after a failure the crew is left alone for twice as long as after the one before."""
    values = {**done._asdict(), "left_out": dict(done.left_out)}
    connection.execute(
        text("""
            INSERT INTO crew_discovery_rounds
                (crew_id, trigger, started_at, seconds, rows_read, sessions_scanned, sessions_created,
                 sessions_changed, sessions_skipped, sessions_failed, rows_refused, finished, error, left_out)
            VALUES (:crew_id, :trigger, :started_at, :seconds, :rows_read, :sessions_scanned, :sessions_created,
                    :sessions_changed, :sessions_skipped, :sessions_failed, :rows_refused, :finished, :error, :left_out)
        """).bindparams(bindparam("left_out", type_=JSONB())),
        {"crew_id": crew_id, **values},
    )
    connection.execute(
        text("""
            INSERT INTO crew_discovery_state AS state
                (crew_id, histories_table_name, last_round_at, last_discovered_at, last_session_count,
                 consecutive_failures, last_error, next_attempt_at, total_rounds, total_failures, total_seconds,
                 total_scanned, total_created, total_changed, total_skipped, total_refused, left_out)
            VALUES (:crew_id, :table, now(), CASE WHEN :failed THEN NULL ELSE now() END, :sessions_scanned,
                    CASE WHEN :failed THEN 1 ELSE 0 END, :error,
                    CASE WHEN :failed THEN now() + make_interval(secs => :backoff) END,
                    1, CASE WHEN :failed THEN 1 ELSE 0 END, :seconds, :sessions_scanned, :sessions_created,
                    :sessions_changed, :sessions_skipped, :rows_refused, :left_out)
            ON CONFLICT (crew_id) DO UPDATE SET
                histories_table_name = excluded.histories_table_name,
                last_round_at = now(),
                last_discovered_at = coalesce(excluded.last_discovered_at, state.last_discovered_at),
                last_session_count =
                    CASE WHEN :failed THEN state.last_session_count ELSE excluded.last_session_count END,
                consecutive_failures = CASE WHEN :failed THEN state.consecutive_failures + 1 ELSE 0 END,
                last_error = excluded.last_error,
                next_attempt_at = CASE WHEN :failed THEN now() + make_interval(
                    secs => least(:longest, :backoff * power(2, least(state.consecutive_failures, 20)))) END,
                total_rounds = state.total_rounds + 1,
                total_failures = state.total_failures + excluded.total_failures,
                total_seconds = state.total_seconds + excluded.total_seconds,
                total_scanned = state.total_scanned + excluded.total_scanned,
                total_created = state.total_created + excluded.total_created,
                total_changed = state.total_changed + excluded.total_changed,
                total_skipped = state.total_skipped + excluded.total_skipped,
                total_refused = state.total_refused + excluded.total_refused,
                left_out = (
                    SELECT coalesce(jsonb_object_agg(key, counted), '{}') FROM (
                        SELECT key, sum(value::bigint) AS counted FROM (
                            SELECT * FROM jsonb_each_text(state.left_out)
                            UNION ALL SELECT * FROM jsonb_each_text(excluded.left_out)
                        ) AS parts GROUP BY key
                    ) AS summed
                ),
                updated_at = now()
        """).bindparams(bindparam("left_out", type_=JSONB())),
        {
            "crew_id": crew_id,
            "table": table,
            **values,
            "failed": done.error is not None,
            "backoff": FIRST_BACKOFF_S,
            "longest": LONGEST_BACKOFF_S,
        },
    )


def note_look(connection: Connection, crew_id: int) -> None:
    """Note that a crew has been looked at and had nothing new."""
    connection.execute(
        text(
            "UPDATE crew_discovery_state SET last_round_at = now(), last_discovered_at = now(), "
            "consecutive_failures = 0, last_error = NULL, next_attempt_at = NULL WHERE crew_id = :id"
        ),
        {"id": crew_id},
    )


class Health(NamedTuple):
    """How discovery of one crew stands.

    Sums are over the last day; ``last_seconds`` and ``last_finished`` are of the newest round, ``last_scanned`` and
    ``last_failed`` of the newest that read anything.
    """

    client: str
    crew: str
    last_round_at: datetime | None
    last_discovered_at: datetime | None
    consecutive_failures: int
    last_error: str | None
    next_attempt_at: datetime | None
    rounds: int
    sessions_scanned: int
    sessions_created: int
    sessions_changed: int
    sessions_skipped: int
    sessions_failed: int
    rows_refused: int
    last_seconds: float | None
    last_scanned: int | None
    last_failed: int | None
    last_finished: bool | None

    @property
    def error_rate(self) -> float:
        """Share of the sessions of the last day that had a row which was refused."""
        return self.sessions_failed / self.sessions_scanned if self.sessions_scanned else 0.0


_HEALTH = """
SELECT client, code AS crew, last_round_at, last_discovered_at, coalesce(consecutive_failures, 0), last_error,
       next_attempt_at, day.*, last.seconds, told.sessions_scanned, told.sessions_failed, last.finished
FROM crews JOIN clients USING (client)
LEFT JOIN crew_discovery_state AS state ON state.crew_id = crews.id
CROSS JOIN LATERAL (
    SELECT count(*) AS rounds, coalesce(sum(sessions_scanned), 0) AS scanned,
           coalesce(sum(sessions_created), 0) AS created, coalesce(sum(sessions_changed), 0) AS changed,
           coalesce(sum(sessions_skipped), 0) AS skipped, coalesce(sum(sessions_failed), 0) AS failed,
           coalesce(sum(rows_refused), 0) AS refused
    FROM crew_discovery_rounds WHERE crew_id = crews.id AND started_at > now() - interval '1 day'
) AS day
LEFT JOIN LATERAL (
    SELECT seconds, finished FROM crew_discovery_rounds WHERE crew_id = crews.id ORDER BY id DESC LIMIT 1
) AS last ON true
LEFT JOIN LATERAL (
    SELECT sessions_scanned, sessions_failed FROM crew_discovery_rounds
    WHERE crew_id = crews.id AND sessions_scanned > 0 ORDER BY id DESC LIMIT 1
) AS told ON true
WHERE crews.active AND clients.active AND history_table IS NOT NULL
ORDER BY client, code
"""


class Totals(NamedTuple):
    """What discovery of one crew has done since it was set up."""

    client: str
    crew: str
    consecutive_failures: int
    last_round_at: datetime | None
    rounds: int
    failures: int
    seconds: float
    scanned: int
    created: int
    changed: int
    skipped: int
    refused: int


def totals(connection: Connection) -> list[Totals]:
    """Sums for every crew that has been read, by client and crew."""
    rows = connection.execute(
        text(
            "SELECT client, code, consecutive_failures, last_round_at, total_rounds, total_failures, total_seconds, "
            "total_scanned, total_created, total_changed, total_skipped, total_refused "
            "FROM crew_discovery_state JOIN crews ON id = crew_id ORDER BY client, code"
        )
    )
    return [Totals(*row) for row in rows]


def health(connection: Connection) -> list[Health]:
    """How discovery stands for every crew that is read, by client and crew."""
    return [Health(*row) for row in connection.execute(text(_HEALTH))]


def left_out_by_crew(connection: Connection) -> dict[tuple[str, str], dict[str, int]]:
    """What rounds and imports have passed over because it is no talk, by kind, by client and crew.

    An export that was imported again counts as it was the last time.
    """
    rows = connection.execute(
        text("""
            SELECT client, code, key AS kind, sum(value::bigint)::bigint AS counted
            FROM (
                SELECT crew_id, left_out FROM crew_discovery_state
                UNION ALL (
                    SELECT DISTINCT ON (crew_id, file) crew_id, left_out FROM imports
                    WHERE undone_at IS NULL ORDER BY crew_id, file, id DESC
                )
            ) AS told
            JOIN crews ON id = crew_id CROSS JOIN LATERAL jsonb_each_text(left_out)
            GROUP BY client, code, key ORDER BY client, code, key
        """)
    )
    kinds: dict[tuple[str, str], dict[str, int]] = {}
    for row in rows:
        kinds.setdefault((row.client, row.code), {})[row.kind] = row.counted
    return kinds


def conversations_by_crew(connection: Connection) -> dict[tuple[str, str], int]:
    """How many conversations each crew has, by client and crew; reads an index from end to end."""
    rows = connection.execute(
        text(
            "SELECT client, code, conversations FROM crews JOIN "
            "(SELECT crew_id, count(*) AS conversations FROM data_items GROUP BY crew_id) AS counted ON crew_id = id"
        )
    )
    return {(row.client, row.code): row.conversations for row in rows}
