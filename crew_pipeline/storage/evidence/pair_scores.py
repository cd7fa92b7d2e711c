"""The scores of pairs of texts: one per pair and pair scorer, kept for ever."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, text

TextPair = tuple[bytes, bytes]
"""Hashes of two texts, the lesser first."""


def fetch(connection: Connection, scorer: str, pairs: Sequence[TextPair]) -> dict[TextPair, float]:
    """The logits of those of ``pairs`` that were scored."""
    rows = connection.execute(
        text("""
            SELECT left_hash, right_hash, logit
            FROM unnest(CAST(:lefts AS bytea[]), CAST(:rights AS bytea[])) AS asked (left_hash, right_hash)
            JOIN pair_readings USING (left_hash, right_hash) WHERE reader = :reader
        """),
        {"reader": scorer, "lefts": [left for left, _ in pairs], "rights": [right for _, right in pairs]},
    )
    return {(row.left_hash, row.right_hash): row.logit for row in rows}


def store(connection: Connection, scorer: str, logits: Mapping[TextPair, float]) -> None:
    """Add scores; one that is there already stays as it is."""
    connection.execute(
        text("""
            INSERT INTO pair_readings (reader, left_hash, right_hash, logit)
            SELECT :reader, left_hash, right_hash, logit
            FROM unnest(CAST(:lefts AS bytea[]), CAST(:rights AS bytea[]), CAST(:logits AS double precision[]))
                AS said (left_hash, right_hash, logit)
            ORDER BY left_hash, right_hash ON CONFLICT DO NOTHING
        """),
        {
            "reader": scorer,
            "lefts": [left for left, _ in logits],
            "rights": [right for _, right in logits],
            "logits": list(logits.values()),
        },
    )
