"""Which texts lie near each other: FAISS finds them, one fixed computation scores them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crew_pipeline.dedup.embedding import Vectors

SIMILARITY_DECIMALS = 4
MOST_PAIRS = 200_000
FLOORS_ABOVE = (0.7, 0.85, 0.95)
"""Floors that are tried where a day has more than ``MOST_PAIRS`` pairs above the usual one."""
MOST_NEIGHBOURS = 64
"""Pairs of a text that are kept where even the highest floor leaves too many."""
_SLACK = 1e-3
_ASKED_AT_ONCE = 1024
ROWS_AT_ONCE = 4096
"""Rows of vectors that are multiplied at a time: few enough for the processor's cache and for memory that is used again
instead of being asked of the system each time (3.5 times as fast as 65,536)."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Near:
    """Pairs of rows, in ascending order.

    Attributes:
        left, right: int64 (n,), left < right.
        similarity: float64 (n,), cosine similarity rounded to ``SIMILARITY_DECIMALS``.
        whole: whether they are all pairs above the floor that was asked for.
    """

    left: Ints
    right: Ints
    similarity: Floats
    whole: bool


def near_pairs(vectors: Vectors, floor: float, fresh: NDArray[np.bool_] | None = None, known: int = 0) -> Near:
    """The pairs of rows whose cosine similarity is at least ``floor``.

    FAISS's own scores differ in the last bits with batch size and thread count, so they only select (with a little
    slack); the similarity that counts is recomputed in double precision, row by row, and rounded.

    A day of ten thousand log lines that differ in a counter has fifty million near pairs. Where there are more than
    ``MOST_PAIRS``, the floor is raised for the whole day, step by step; at last only each row's nearest are taken.

    Args:
        vectors: float32 (n, dimension), unit rows.
        floor: lowest similarity kept, after rounding.
        fresh: bool (n,); where given, only pairs with at least one such row are looked for, and ``known`` is how many
            pairs above the floor the other rows have among themselves. Where there are too many in all, nothing of the
            result counts but ``whole = False``: the caller then asks again without ``fresh``.
    """
    if len(vectors) < 2:
        return Near(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0), whole=True)
    for bound in (floor, *(higher for higher in FLOORS_ABOVE if higher > floor)):
        candidates = _search(vectors, bound, fresh)
        if candidates is not None:
            left, right, similarity = _scored(vectors, *candidates, bound)
            if known + len(left) <= MOST_PAIRS:
                return Near(left, right, similarity, whole=bound == floor)
        if fresh is not None:
            return Near(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0), whole=False)
    near = nearest_pairs(vectors, FLOORS_ABOVE[-1], MOST_NEIGHBOURS)
    return Near(near.left, near.right, near.similarity, whole=False)


def nearest_pairs(vectors: Vectors, floor: float, neighbours: int) -> Near:
    """The pairs of each row with its ``neighbours`` most similar rows, as far as they reach ``floor``."""
    import faiss

    count = len(vectors)
    if count < 2:
        return Near(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0), whole=True)
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    scores, nearest = index.search(vectors, min(neighbours + 1, count))
    left = np.repeat(np.arange(count, dtype=np.int64), nearest.shape[1])
    right = nearest.reshape(-1).astype(np.int64)
    good = (right >= 0) & (right != left) & (scores.reshape(-1) >= floor - _SLACK)
    low, high = np.minimum(left, right)[good], np.maximum(left, right)[good]
    pairs = np.unique(low * count + high)
    return Near(*_scored(vectors, pairs // count, pairs % count, floor), whole=False)


def _search(vectors: Vectors, floor: float, fresh: NDArray[np.bool_] | None) -> tuple[Ints, Ints] | None:
    """Pairs at or a little below ``floor``, or None where there are far more than ``MOST_PAIRS``."""
    import faiss

    count = len(vectors)
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    asked = np.arange(count, dtype=np.int64) if fresh is None else np.flatnonzero(fresh)
    keys: list[Ints] = []
    total = 0
    for start in range(0, len(asked), _ASKED_AT_ONCE):
        rows = asked[start : start + _ASKED_AT_ONCE]
        limits, _, hits = index.range_search(vectors[rows], floor - _SLACK)
        left = np.repeat(rows, limits[1:].astype(np.int64) - limits[:-1].astype(np.int64))
        right = hits.astype(np.int64)
        once = right > left
        if fresh is not None:
            once |= (right != left) & ~fresh[right]
        left, right = left[once], right[once]
        keys.append(np.minimum(left, right) * count + np.maximum(left, right))
        total += len(left)
        if total > 2 * MOST_PAIRS:
            return None
    pairs = np.sort(np.concatenate(keys)) if keys else np.zeros(0, np.int64)
    return pairs // count, pairs % count


def _scored(vectors: Vectors, left: Ints, right: Ints, floor: float) -> tuple[Ints, Ints, Floats]:
    similarity = cosine(vectors, left, right)
    kept = similarity >= floor
    return left[kept], right[kept], similarity[kept]


def cosine(vectors: Vectors, left: Ints, right: Ints) -> Floats:
    """Similarity of the row pairs (left[i], right[i]): float64, rounded to ``SIMILARITY_DECIMALS``."""
    similarity = np.empty(len(left), np.float64)
    for start in range(0, len(left), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        product = vectors[left[part]].astype(np.float64) * vectors[right[part]].astype(np.float64)
        similarity[part] = product.sum(axis=1)
    return np.clip(similarity, -1.0, 1.0).round(SIMILARITY_DECIMALS)
