"""How far discovery has read each crew's history table, and what it has read of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, text

from crew_pipeline.storage.sources.crews import HistorySource

_REFUSED_KEPT = 1_000


# The transaction need not wait for the disk: a server that dies loses rows and watermark together, to be read again.
_LOCK = """
SELECT set_config('synchronous_commit', 'off', true), watermark,
       crews.active AND clients.active AND history_table IS NOT NULL AS is_read,
       crews.id AS crew_id, client, code, source_env, history_table, columns,
       clients.timezone
FROM crew_discovery_state AS state JOIN crews ON crews.id = crew_id JOIN clients USING (client)
WHERE crew_id = :id FOR UPDATE OF state
"""


def lock_watermark(connection: Connection, crew_id: int) -> tuple[dict[str, Any] | None, HistorySource | None]:
    """The crew's watermark (None at first), and its source as it is set up now (None where it is not read).

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
    """Replace what was known of these blocks by what they hold now."""
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
            "rows": [block.rows for block in blocks.values()],
            "sums": [Decimal(block.keys_sum) for block in blocks.values()],
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
    """Forget what was known from block ``first`` on (None: of all blocks)."""
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


def lines_at(connection: Connection, crew_id: int, places: Iterable[tuple[str, int]], width: int) -> list[StoredLine]:
    """The lines of stretches of positions.

    Args:
        places: session and first position, a multiple of ``width``.
        width: how many positions each of the stretches has.
    """
    listed = sorted(places)
    if not listed:
        return []
    # A session that goes on for years has thousands of parts: only those are opened that reach so far.
    rows = connection.execute(
        text("""
            WITH place AS (
                SELECT * FROM unnest(CAST(:sessions AS text[]), CAST(:firsts AS bigint[])) AS place (session_id, first)
            ), span AS (
                SELECT session_id, min(first) AS first, max(first) + :width AS below FROM place GROUP BY session_id
            ), ours AS MATERIALIZED (
                SELECT item.session_id, position, speaker, spoken_at, text
                FROM span JOIN data_items AS item ON item.crew_id = :crew_id AND item.session_id = span.session_id
                    AND item.last_position >= span.first
                JOIN lines ON conversation_id = item.id AND position >= span.first AND position < span.below
            )
            SELECT ours.* FROM ours JOIN place
                ON place.session_id = ours.session_id AND place.first / :width = ours.position / :width
        """),
        {
            "crew_id": crew_id,
            "sessions": [session for session, _ in listed],
            "firsts": [first for _, first in listed],
            "width": width,
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
    """Sessions of a history table whose first part begins at a position from ``first`` on, below ``below``, in order.

    Those that are known to be deleted are left out.
    """
    rows = connection.execute(
        text("""
            SELECT session_id, first_position FROM data_items AS item
            WHERE crew_id = :crew_id AND first_position >= :first AND first_position < :below
              AND source_deleted_at IS NULL AND from_history AND NOT EXISTS (
                SELECT 1 FROM data_items AS part WHERE part.crew_id = item.crew_id
                  AND part.session_id = item.session_id AND part.days_date < item.days_date)
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
    """Note that the source has these sessions after all."""
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
            "UPDATE data_items SET first_position = :position WHERE id = ("
            "SELECT id FROM data_items WHERE crew_id = :id AND session_id = :session ORDER BY days_date LIMIT 1) "
            "AND EXISTS (SELECT 1 FROM data_items AS part JOIN lines ON conversation_id = part.id "
            "WHERE part.crew_id = :id AND part.session_id = :session AND lines.position = :position)"
        ),
        {"id": crew_id, "session": session_id, "position": position},
    )


def drop_blocks(connection: Connection, crew_id: int, blocks: Sequence[int]) -> None:
    """Forget what was known of these blocks."""
    connection.execute(
        text("DELETE FROM crew_discovery_blocks WHERE crew_id = :id AND block = ANY(CAST(:blocks AS bigint[]))"),
        {"id": crew_id, "blocks": list(blocks)},
    )
