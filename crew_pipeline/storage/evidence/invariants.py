"""The design's invariants, held against the tables; each function names what breaks one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from sqlalchemy import Connection, text

from crew_pipeline.dedup.document import DocumentError, verify
from crew_pipeline.model import ClientDay, DayState
from crew_pipeline.storage.days import content, states

_MOST = 100


class InvariantError(RuntimeError):
    """A result breaks an invariant of the design; it must not be stored or served."""


def hold_clusters(connection: Connection, client_day: ClientDay) -> None:
    """Hold the clusters of a client's day, as they are in this transaction, against the invariants.

    Raises:
        InvariantError: naming the first cluster or line that breaks one.
    """
    broken = unexplained_clusters(connection, [client_day]) + strayed_lines(connection, [client_day])
    if broken:
        raise InvariantError(broken[0])


def unexplained_clusters(connection: Connection, client_days: Sequence[ClientDay]) -> list[str]:
    """Clusters with a member without evidence, without exactly one canonical line, or of another size than they say."""
    rows = connection.execute(
        text("""
            SELECT cluster.client, cluster.day, cluster.id
            FROM semantic_clusters AS cluster
            LEFT JOIN line_cluster_mapping AS line
                ON line.client = cluster.client AND line.day = cluster.day AND line.cluster_id = cluster.id
            WHERE (cluster.client, cluster.day) IN
                (SELECT * FROM unnest(CAST(:clients AS text[]), CAST(:days AS date[])))
            GROUP BY cluster.client, cluster.day, cluster.id
            HAVING count(line.position) <> cluster.size OR cluster.size < 2
                OR count(*) FILTER (WHERE line.is_canonical AND line.conversation_id = cluster.conversation_id
                                          AND line.position = cluster.position) <> 1
                OR count(*) FILTER (WHERE line.is_canonical) <> 1
                OR bool_or(line.similarity NOT BETWEEN -1 AND 1 OR line.probability NOT BETWEEN 0 AND 1
                           OR line.reason = '')
            LIMIT :most
        """),
        {**_keys(client_days), "most": _MOST},
    )
    return [f"cluster {row.id} of {row.client}, {row.day} is not fully explained" for row in rows]


def strayed_lines(connection: Connection, client_days: Sequence[ClientDay]) -> list[str]:
    """Clustered lines that belong to another client than their cluster."""
    rows = connection.execute(
        text("""
            SELECT line.client, line.day, line.conversation_id, line.position
            FROM line_cluster_mapping AS line
            LEFT JOIN data_items AS item ON item.id = line.conversation_id
            WHERE (line.client, line.day) IN (SELECT * FROM unnest(CAST(:clients AS text[]), CAST(:days AS date[])))
              AND item.client IS DISTINCT FROM line.client
            LIMIT :most
        """),
        {**_keys(client_days), "most": _MOST},
    )
    return [f"line {row.conversation_id}-{row.position} strayed to {row.client}, {row.day}" for row in rows]


def _keys(client_days: Sequence[ClientDay]) -> dict[str, list[Any]]:
    return {
        "clients": [client_day.client for client_day in client_days],
        "days": [client_day.day for client_day in client_days],
    }


def left_unmade(connection: Connection, made: Sequence[ClientDay], token: str) -> list[str]:
    """Clients' days that ``token`` had claimed and gave back or paused, so that they are not ready."""
    rows = connection.execute(
        text("""
            SELECT client, day, outcome FROM day_claims
            WHERE token = :token AND outcome IN ('released', 'paused')
              AND (client, day) IN (SELECT * FROM unnest(CAST(:clients AS text[]), CAST(:days AS date[])))
            ORDER BY client, day LIMIT :most
        """),
        {**_keys(made), "token": token, "most": _MOST},
    )
    return [f"{row.client}, {row.day}: {row.outcome}, not ready" for row in rows]


def broken_documents(connection: Connection, made: Sequence[ClientDay], token: str) -> list[str]:
    """Documents written under ``token`` that do not hold every line of their day exactly once, as it was said.

    A day that changed since is left out: its document is out of date and will be made again.
    """
    rows = connection.execute(
        text(
            "SELECT client, day, body FROM day_documents WHERE is_current AND token = :token AND engine <> '' "
            "AND (client, day) IN (SELECT * FROM unnest(CAST(:clients AS text[]), CAST(:days AS date[]))) "
            "ORDER BY client, day"
        ),
        {**_keys(made), "token": token},
    ).all()
    broken = []
    for row in rows:
        client_day = ClientDay(row.client, row.day)
        status = states.status_of(connection, client_day)
        if status is None or status.state != DayState.COMPLETED:
            continue
        try:
            verify(content.lines_of(connection, client_day), orjson.loads(row.body))
        except DocumentError as error:
            broken.append(f"{row.client}, {row.day}: {error}")
    return broken


def failed_client_days(connection: Connection, made: Sequence[ClientDay], token: str) -> list[str]:
    """Clients whose day failed under ``token``."""
    rows = connection.execute(
        text(
            "SELECT client, day, payload ->> 'error' AS error FROM day_events "
            "WHERE token = :token AND type = 'processing_failed' "
            "AND (client, day) IN (SELECT * FROM unnest(CAST(:clients AS text[]), CAST(:days AS date[]))) "
            "ORDER BY seq LIMIT :most"
        ),
        {**_keys(made), "token": token, "most": _MOST},
    )
    return [f"{row.client}, {row.day}: {row.error}" for row in rows]
