"""Clusters of a client's day, with the evidence for every member."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, text

from crew_pipeline.model import ClientDay, Fold, Folds

_CLUSTERS_OF_MEMBERS = """
INSERT INTO semantic_clusters (client, day, id, conversation_id, position, size, confidence)
SELECT :client, :day, cluster_id,
       max(conversation_id) FILTER (WHERE is_canonical), max(position) FILTER (WHERE is_canonical), count(*),
       round(avg(probability) FILTER (WHERE NOT is_canonical)::numeric, 4)
FROM staged_members GROUP BY cluster_id
"""

_MAPPING = """
INSERT INTO line_cluster_mapping
    (client, day, conversation_id, position, cluster_id, is_canonical, similarity, probability, reason)
SELECT :client, :day, conversation_id, position, cluster_id, is_canonical, similarity, probability, reason
FROM staged_members ORDER BY conversation_id, position
"""


def replace(connection: Connection, client_day: ClientDay, members: Iterable[Sequence[Any]]) -> None:
    """Put the clusters of a client's day in the place of those that are there, by COPY.

    Args:
        members: rows of ``dedup.frames.MEMBERS`` of this client's day.
    """
    key = {"client": client_day.client, "day": client_day.day}
    connection.execute(text("DELETE FROM semantic_clusters WHERE client = :client AND day = :day"), key)
    rows = [tuple(member[1:]) for member in members]
    if not rows:
        return
    connection.execute(
        text("""
            CREATE TEMP TABLE IF NOT EXISTS staged_members (
                cluster_id text, conversation_id text, position bigint, is_canonical boolean, similarity float8,
                probability float8, reason text
            ) ON COMMIT DELETE ROWS
        """)
    )
    connection.execute(text("DELETE FROM staged_members"))
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor, cursor.copy("COPY staged_members FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)
    connection.execute(text(_CLUSTERS_OF_MEMBERS), key)
    connection.execute(text(_MAPPING), key)


def folds_of(connection: Connection, client_day: ClientDay) -> Folds:
    """The place of each clustered line of a client's day, by conversation and position."""
    rows = connection.execute(
        text(
            "SELECT conversation_id, position, cluster_id, is_canonical, similarity, probability, reason "
            "FROM line_cluster_mapping WHERE client = :client AND day = :day"
        ),
        {"client": client_day.client, "day": client_day.day},
    )
    return {(row.conversation_id, row.position): Fold(*row[2:]) for row in rows}
