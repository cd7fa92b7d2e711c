"""How far discovery has read each crew's history table, what it has read, and how its rounds went."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, text

from crew_pipeline.storage.crews import HistorySource

FIRST_BACKOFF_S = 30
LONGEST_BACKOFF_S = 3_600
_ROUNDS_KEPT = timedelta(days=30)
_REFUSED_KEPT = 1_000


# The transaction need not wait for the disk: a server that dies loses rows and watermark together, to be read again.
_LOCK = """
SELECT set_config('synchronous_commit', 'off', true), watermark,
       crews.active AND clients.active AND history_table IS NOT NULL AS is_read,
       crews.id AS crew_id, client, code, source_env, history_table, columns
FROM crew_discovery_state AS state JOIN crews ON crews.id = crew_id JOIN clients USING (client)
WHERE crew_id = :id FOR UPDATE OF state
"""


def lock_watermark(connection: Connection, crew_id: int) -> tuple[dict[str, Any] | None, HistorySource | None]:
    """The crew's watermark, None at first, and what it is read from as it is set up now, None where it is not read.

    The watermark is locked until the transaction ends, so that only one reads on from it.
    """
    row = connection.execute(text(_LOCK), {"id": crew_id}).one_or_none()
    if row is None:
        connection.execute(
            text("INSERT INTO crew_discovery_state (crew_id) VALUES (:id) ON CONFLICT (crew_id) DO NOTHING"),
            {"id": crew_id},
        )
        row = connection.execute(text(_LOCK), {"id": crew_id}).one()
    _, watermark, is_read, *source = row
    return watermark, HistorySource(*source) if is_read else None


def save_watermark(connection: Connection, crew_id: int, watermark: Mapping[str, Any]) -> None:
    """Keep the watermark, in the transaction of what was read up to it."""
    connection.execute(
        text(
            "UPDATE crew_discovery_state SET watermark = CAST(:watermark AS jsonb), updated_at = now() "
            "WHERE crew_id = :id"
        ),
        {"id": crew_id, "watermark": orjson.dumps(watermark).decode()},
    )


class Block(NamedTuple):
    """Rows of a stretch of a history table: how many, and the sum of their keys."""

    rows: int
    keys_sum: int


def count_rows(connection: Connection, crew_id: int, blocks: Mapping[int, Block]) -> None:
    """Add rows that were read to their blocks."""
    _write_blocks(connection, crew_id, blocks, add=True)


def set_blocks(connection: Connection, crew_id: int, blocks: Mapping[int, Block]) -> None:
    """Put in place of what was known of these blocks what they hold now."""
    _write_blocks(connection, crew_id, blocks, add=False)


def _write_blocks(connection: Connection, crew_id: int, blocks: Mapping[int, Block], *, add: bool) -> None:
    if not blocks:
        return
    connection.execute(
        text("""
            INSERT INTO crew_discovery_blocks AS known (crew_id, block, rows, keys_sum)
            SELECT :id, * FROM unnest(CAST(:blocks AS bigint[]), CAST(:rows AS bigint[]), CAST(:sums AS numeric[]))
            ON CONFLICT (crew_id, block) DO UPDATE SET
                rows = CASE WHEN :add THEN known.rows ELSE 0 END + excluded.rows,
                keys_sum = CASE WHEN :add THEN known.keys_sum ELSE 0 END + excluded.keys_sum
        """),
        {
            "id": crew_id,
            "add": add,
            "blocks": list(blocks),
            "rows": [one.rows for one in blocks.values()],
            "sums": [Decimal(one.keys_sum) for one in blocks.values()],
        },
    )


def blocks_between(connection: Connection, crew_id: int, first: int, below: int) -> dict[int, Block]:
    """What is known of the blocks from ``first`` on, below ``below``, ascending; those without rows are left out."""
    rows = connection.execute(
        text(
            "SELECT block, rows, keys_sum FROM crew_discovery_blocks "
            "WHERE crew_id = :id AND block >= :first AND block < :below AND rows > 0 ORDER BY block"
        ),
        {"id": crew_id, "first": first, "below": below},
    )
    return {row.block: Block(row.rows, int(row.keys_sum)) for row in rows}


def next_blocks(connection: Connection, crew_id: int, first: int, below: int, most: int) -> list[tuple[int, int]]:
    """At most ``most`` blocks from ``first`` on, below ``below``, that hold rows, with how many."""
    rows = connection.execute(
        text(
            "SELECT block, rows FROM crew_discovery_blocks "
            "WHERE crew_id = :id AND block >= :first AND block < :below AND rows > 0 ORDER BY block LIMIT :most"
        ),
        {"id": crew_id, "first": first, "below": below, "most": most},
    )
    return [(row.block, row.rows) for row in rows]


def forget_blocks(connection: Connection, crew_id: int, first: int | None) -> None:
    """Forget what was known from block ``first`` on; of all blocks for None."""
    connection.execute(
        text(
            "DELETE FROM crew_discovery_blocks "
            "WHERE crew_id = :id AND (CAST(:first AS bigint) IS NULL OR block >= :first)"
        ),
        {"id": crew_id, "first": first},
    )


def refuse_rows(connection: Connection, crew_id: int, refused: Sequence[tuple[int, str]]) -> None:
    """Keep which rows could not be taken in, and why; the newest 1,000 of a crew."""
    if not refused:
        return
    connection.execute(
        text("""
            INSERT INTO refused_rows (crew_id, row, reason)
            SELECT :id, * FROM unnest(CAST(:rows AS text[]), CAST(:reasons AS text[]))
            ON CONFLICT (crew_id, row) DO UPDATE SET reason = excluded.reason
        """),
        {
            "id": crew_id,
            "rows": [str(row) for row, _ in dict(refused).items()],
            "reasons": list(dict(refused).values()),
        },
    )
    connection.execute(
        text("""
            DELETE FROM refused_rows WHERE crew_id = :id AND row IN (
                SELECT row FROM refused_rows WHERE crew_id = :id ORDER BY refused_at DESC, row OFFSET :most)
        """),
        {"id": crew_id, "most": _REFUSED_KEPT},
    )


def refused_of(connection: Connection, crew_id: int, most: int) -> list[tuple[str, str]]:
    """Rows that were refused and why, newest first."""
    rows = connection.execute(
        text("SELECT row, reason FROM refused_rows WHERE crew_id = :id ORDER BY refused_at DESC, row LIMIT :most"),
        {"id": crew_id, "most": most},
    )
    return [(row.row, row.reason) for row in rows]


class StoredLine(NamedTuple):
    """A line of a crew as the store has it."""

    session_id: str
    position: int
    speaker: str
    spoken_at: datetime
    text: str


def lines_at(connection: Connection, crew_id: int, places: Iterable[tuple[str, int, int]]) -> list[StoredLine]:
    """The lines at these places: session, first position, and the one behind the last."""
    listed = sorted(places)
    if not listed:
        return []
    rows = connection.execute(
        text("""
            SELECT item.session_id, position, speaker, spoken_at, text
            FROM unnest(CAST(:sessions AS text[]), CAST(:firsts AS bigint[]), CAST(:belows AS bigint[]))
                AS place (session_id, first, below)
            JOIN data_items AS item ON item.crew_id = :crew_id AND item.session_id = place.session_id
            JOIN lines ON conversation_id = item.id AND position >= place.first AND position < place.below
        """),
        {
            "crew_id": crew_id,
            "sessions": [session for session, _, _ in listed],
            "firsts": [first for _, first, _ in listed],
            "belows": [below for _, _, below in listed],
        },
    )
    return [StoredLine(*row) for row in rows]


def lines_of_sessions(connection: Connection, crew_id: int, sessions: Sequence[str]) -> list[StoredLine]:
    """All lines of these sessions."""
    rows = connection.execute(
        text(
            "SELECT session_id, position, speaker, spoken_at, text FROM data_items JOIN lines ON conversation_id = id "
            "WHERE crew_id = :crew_id AND session_id = ANY(:sessions)"
        ),
        {"crew_id": crew_id, "sessions": list(sessions)},
    )
    return [StoredLine(*row) for row in rows]


class Extent(NamedTuple):
    """A session and the position of its first line."""

    session_id: str
    first: int


def sessions_beginning(
    connection: Connection, crew_id: int, first: int, below: int, most: int | None = None
) -> list[Extent]:
    """Sessions of a history table whose first position lies from ``first`` on, below ``below``, in order.

    Those that are known to be deleted are left out.
    """
    rows = connection.execute(
        text("""
            SELECT session_id, first_position FROM data_items
            WHERE crew_id = :crew_id AND first_position >= :first AND first_position < :below
              AND source_deleted_at IS NULL AND from_history
            ORDER BY first_position, session_id LIMIT :most
        """),
        {"crew_id": crew_id, "first": first, "below": below, "most": most},
    )
    return [Extent(*row) for row in rows]


def mark_deleted(connection: Connection, crew_id: int, session_id: str) -> None:
    """Note that the source has lost a session; the conversation stays as it is."""
    connection.execute(
        text("UPDATE data_items SET source_deleted_at = now() WHERE crew_id = :id AND session_id = :session"),
        {"id": crew_id, "session": session_id},
    )


def unmark_deleted(connection: Connection, crew_id: int, sessions: Sequence[str]) -> None:
    """Note that the source has these sessions, whatever was thought of them."""
    connection.execute(
        text(
            "UPDATE data_items SET source_deleted_at = NULL "
            "WHERE crew_id = :id AND session_id = ANY(:sessions) AND source_deleted_at IS NOT NULL"
        ),
        {"id": crew_id, "sessions": list(sessions)},
    )


def begin_at(connection: Connection, crew_id: int, session_id: str, position: int) -> None:
    """Note where a session begins in its source now; its lines from before that stay."""
    connection.execute(
        text(
            "UPDATE data_items SET first_position = :position WHERE crew_id = :id AND session_id = :session "
            "AND EXISTS (SELECT 1 FROM lines WHERE conversation_id = data_items.id AND lines.position = :position)"
        ),
        {"id": crew_id, "session": session_id, "position": position},
    )


def drop_blocks(connection: Connection, crew_id: int, blocks: Sequence[int]) -> None:
    """Forget what was known of these blocks."""
    connection.execute(
        text("DELETE FROM crew_discovery_blocks WHERE crew_id = :id AND block = ANY(CAST(:blocks AS bigint[]))"),
        {"id": crew_id, "blocks": list(blocks)},
    )


class Round(NamedTuple):
    """One round of discovery over one crew. ``sessions_failed`` are those with a row that was refused."""

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


def record_round(connection: Connection, crew_id: int, table: str, done: Round) -> None:
    """Note how a round ended; after a failure the crew is left alone for twice as long as after the one before."""
    connection.execute(
        text("""
            INSERT INTO crew_discovery_rounds
                (crew_id, trigger, started_at, seconds, rows_read, sessions_scanned, sessions_created,
                 sessions_changed, sessions_skipped, sessions_failed, rows_refused, finished, error)
            VALUES (:crew_id, :trigger, :started_at, :seconds, :rows_read, :sessions_scanned, :sessions_created,
                    :sessions_changed, :sessions_skipped, :sessions_failed, :rows_refused, :finished, :error)
        """),
        {"crew_id": crew_id, **done._asdict()},
    )
    connection.execute(
        text("""
            INSERT INTO crew_discovery_state AS state
                (crew_id, histories_table_name, last_round_at, last_discovered_at, last_session_count,
                 consecutive_failures, last_error, next_attempt_at, total_rounds, total_failures, total_seconds,
                 total_scanned, total_created, total_changed, total_skipped, total_refused)
            VALUES (:crew_id, :table, now(), CASE WHEN :failed THEN NULL ELSE now() END, :sessions_scanned,
                    CASE WHEN :failed THEN 1 ELSE 0 END, :error,
                    CASE WHEN :failed THEN now() + make_interval(secs => :backoff) END,
                    1, CASE WHEN :failed THEN 1 ELSE 0 END, :seconds, :sessions_scanned, :sessions_created,
                    :sessions_changed, :sessions_skipped, :rows_refused)
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
                updated_at = now()
        """),
        {
            "crew_id": crew_id,
            "table": table,
            **done._asdict(),
            "failed": done.error is not None,
            "backoff": FIRST_BACKOFF_S,
            "longest": LONGEST_BACKOFF_S,
        },
    )
    connection.execute(
        text("DELETE FROM crew_discovery_rounds WHERE crew_id = :crew_id AND started_at < :before"),
        {"crew_id": crew_id, "before": done.started_at - _ROUNDS_KEPT},
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


def conversations_by_crew(connection: Connection) -> dict[tuple[str, str], int]:
    """How many conversations each crew has, by client and crew; reads an index from end to end."""
    rows = connection.execute(
        text(
            "SELECT client, code, conversations FROM crews JOIN "
            "(SELECT crew_id, count(*) AS conversations FROM data_items GROUP BY crew_id) AS counted ON crew_id = id"
        )
    )
    return {(row.client, row.code): row.conversations for row in rows}
