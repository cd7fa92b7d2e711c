"""The scores of pairs of a client's texts: one row per pair and pair scorer, kept for ever.

Nothing is shared between clients: how long a day takes would tell one what another has said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, text

TextPair = tuple[bytes, bytes]
"""Hashes of two texts, the lesser first."""
Scores = tuple[float, float, float, float]
"""Log-odds that the left text covers the right, the right the left, that they are two people's own, or a formula."""


def fetch(connection: Connection, client: str, scorer: str, pairs: Sequence[TextPair]) -> dict[TextPair, Scores]:
    """The scores of those of ``pairs`` that were read."""
    rows = connection.execute(
        text("""
            SELECT left_hash, right_hash, left_covers, right_covers, own, formula
            FROM unnest(CAST(:lefts AS bytea[]), CAST(:rights AS bytea[])) AS asked (left_hash, right_hash)
            JOIN pair_readings USING (left_hash, right_hash) WHERE client = :client AND reader = :reader
        """),
        {
            "client": client,
            "reader": scorer,
            "lefts": [left for left, _ in pairs],
            "rights": [right for _, right in pairs],
        },
    )
    return {(row.left_hash, row.right_hash): (row.left_covers, row.right_covers, row.own, row.formula) for row in rows}


def store(connection: Connection, client: str, scorer: str, scores: Mapping[TextPair, Scores]) -> None:
    """Add scores; one that is there already stays as it is."""
    left_covers, right_covers, own, formula = zip(*scores.values(), strict=True) if scores else ((), (), (), ())
    connection.execute(
        text("""
            INSERT INTO pair_readings (client, reader, left_hash, right_hash, left_covers, right_covers, own, formula)
            SELECT :client, :reader, said.* FROM unnest(
                CAST(:lefts AS bytea[]), CAST(:rights AS bytea[]), CAST(:left_covers AS double precision[]),
                CAST(:right_covers AS double precision[]), CAST(:own AS double precision[]),
                CAST(:formula AS double precision[])
            ) AS said (left_hash, right_hash, left_covers, right_covers, own, formula)
            ORDER BY left_hash, right_hash ON CONFLICT DO NOTHING
        """),
        {
            "client": client,
            "reader": scorer,
            "lefts": [left for left, _ in scores],
            "rights": [right for _, right in scores],
            "left_covers": list(left_covers),
            "right_covers": list(right_covers),
            "own": list(own),
            "formula": list(formula),
        },
    )
