"""Judged pairs of a client's day: they make another operating point, a verdict and new lines cheap."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import Connection, text

from crew_pipeline.dedup.comparing import Comparison
from crew_pipeline.dedup.judging import Pairs
from crew_pipeline.model import ClientDay


def store(connection: Connection, client_day: ClientDay, judgement: str, comparison: Comparison) -> None:
    """Put a comparison in the place of the one that is there.

    To be called under the claim of the day: two writers at once would be in each other's way.
    """
    key: dict[str, Any] = {"client": client_day.client, "day": client_day.day}
    connection.execute(text("DELETE FROM day_comparisons WHERE client = :client AND day = :day"), key)
    connection.execute(
        text(
            "INSERT INTO day_comparisons (client, day, judgement, stage, texts, candidates) "
            "VALUES (:client, :day, :judgement, :stage, CAST(:texts AS bytea[]), :candidates)"
        ),
        {
            **key,
            "judgement": judgement,
            "stage": comparison.basis,
            "texts": list(comparison.texts),
            "candidates": comparison.candidates,
        },
    )
    pairs, texts = comparison.pairs, comparison.texts
    # Not by COPY, which row security forbids.
    connection.execute(
        text(
            "INSERT INTO line_pairs (client, day, left_hash, right_hash, similarity, left_under, right_under, reason) "
            "SELECT :client, :day, * FROM unnest(CAST(:left AS bytea[]), CAST(:right AS bytea[]), "
            "CAST(:similarity AS float8[]), CAST(:left_under AS float8[]), CAST(:right_under AS float8[]), "
            "CAST(:reason AS text[]))"
        ),
        {
            **key,
            "left": [texts[place] for place in pairs.left.tolist()],
            "right": [texts[place] for place in pairs.right.tolist()],
            "similarity": pairs.similarity.tolist(),
            "left_under": pairs.left_under.tolist(),
            "right_under": pairs.right_under.tolist(),
            "reason": list(pairs.reason),
        },
    )


def load(connection: Connection, client_day: ClientDay, judgement: str) -> Comparison | None:
    """The comparison of a client's day, if ``judgement`` made it."""
    key = {"client": client_day.client, "day": client_day.day, "judgement": judgement}
    head = connection.execute(
        text(
            "SELECT texts, candidates, stage FROM day_comparisons "
            "WHERE client = :client AND day = :day AND judgement = :judgement"
        ),
        key,
    ).one_or_none()
    if head is None:
        return None
    rows = connection.execute(
        text(
            "SELECT left_hash, right_hash, similarity, left_under, right_under, reason FROM line_pairs "
            "WHERE client = :client AND day = :day ORDER BY left_hash, right_hash"
        ),
        key,
    ).all()
    texts = [bytes(text_hash) for text_hash in head.texts]
    index = {text_hash: row for row, text_hash in enumerate(texts)}
    if any(row.left_hash not in index or row.right_hash not in index for row in rows):
        return None  # replaced between the two statements
    pairs = Pairs(
        np.array([index[row.left_hash] for row in rows], np.int64),
        np.array([index[row.right_hash] for row in rows], np.int64),
        np.array([row.similarity for row in rows], np.float64),
        np.array([row.left_under for row in rows], np.float64),
        np.array([row.right_under for row in rows], np.float64),
        [row.reason for row in rows],
    )
    return Comparison(texts, pairs, head.candidates, 0, head.stage)


def days_with(connection: Connection, client: str, texts: Sequence[bytes]) -> list[date]:
    """The days of a client on which all of ``texts`` were compared, newest first."""
    rows = connection.execute(
        text(
            "SELECT day FROM day_comparisons WHERE client = :client AND texts @> CAST(:texts AS bytea[]) "
            "ORDER BY day DESC"
        ),
        {"client": client, "texts": list(texts)},
    )
    return [row.day for row in rows]


class Doubtful(NamedTuple):
    """A pair that the judge is unsure of."""

    left_hash: bytes
    right_hash: bytes
    similarity: float
    probability: float
    reason: str


def least_sure(connection: Connection, client_day: ClientDay, threshold: float, most: int) -> list[Doubtful]:
    """The pairs of a client's day whose probability lies nearest to ``threshold`` and that nobody has judged."""
    rows = connection.execute(
        text("""
            SELECT left_hash, right_hash, similarity, greatest(left_under, right_under) AS probability, reason
            FROM line_pairs AS pair
            WHERE client = :client AND day = :day AND NOT EXISTS (
                SELECT 1 FROM pair_feedback AS said
                WHERE said.client = pair.client AND said.left_hash = pair.left_hash
                  AND said.right_hash = pair.right_hash AND said.undone_at IS NULL
            )
            ORDER BY abs(greatest(left_under, right_under) - :threshold), left_hash, right_hash LIMIT :most
        """),
        {"client": client_day.client, "day": client_day.day, "threshold": threshold, "most": most},
    )
    return [Doubtful(*row) for row in rows]
