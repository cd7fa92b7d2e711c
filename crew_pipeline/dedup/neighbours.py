"""Which texts lie near each other: FAISS finds them, one fixed computation scores them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crew_pipeline.dedup.embedding import Vectors

SIMILARITY_DECIMALS = 4
_SLACK = 1e-3
MOST_NEIGHBOURS = 256
_ROWS_AT_ONCE = 1024


def near_pairs(vectors: Vectors, floor: float) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """All pairs of rows whose cosine similarity is at least ``floor``.

    FAISS's own scores differ in the last bits with batch size and thread count, so they only select (with a little
    slack); the similarity that counts is recomputed in double precision, row by row, and rounded.

    Args:
        vectors: float32 of shape (n, dimension), unit rows.
        floor: lowest similarity kept, after rounding.

    Returns:
        ``left``, ``right`` (int64, left < right, in ascending order) and ``similarity`` (float64, rounded to
        ``SIMILARITY_DECIMALS``).
    """
    count, dimension = vectors.shape
    if count < 2:
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float64)
    import faiss

    index = faiss.IndexFlatIP(dimension)
    index.add(vectors)
    lefts, rights = [], []
    for start in range(0, count, _ROWS_AT_ONCE):
        limits, scores, found = index.range_search(vectors[start : start + _ROWS_AT_ONCE], floor - _SLACK)
        sizes = limits[1:].astype(np.int64) - limits[:-1].astype(np.int64)
        left = np.repeat(np.arange(start, start + len(sizes), dtype=np.int64), sizes)
        once = found > left
        left, right = _nearest(left[once], found[once], scores[once])
        lefts.append(left)
        rights.append(right)
    left, right = np.concatenate(lefts), np.concatenate(rights)
    order = np.lexsort((right, left))
    left, right = left[order], right[order]
    similarity = cosine(vectors, left, right)
    kept = similarity >= floor
    return left[kept], right[kept], similarity[kept]


def _nearest(
    left: NDArray[np.int64], right: NDArray[np.int64], scores: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """At most ``MOST_NEIGHBOURS`` pairs per left row, the most similar ones.

    Ten thousand log lines that differ in a counter are fifty million near pairs; without a bound one such day would
    take all memory.
    """
    order = np.lexsort((right, -np.round(scores, SIMILARITY_DECIMALS), left))
    left, right = left[order].astype(np.int64), right[order].astype(np.int64)
    first = np.searchsorted(left, left, side="left")
    kept = np.arange(len(left)) - first < MOST_NEIGHBOURS
    return left[kept], right[kept]


def cosine(vectors: Vectors, left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.float64]:
    """Similarity of the row pairs (left[i], right[i]): float64, rounded to ``SIMILARITY_DECIMALS``."""
    similarity = np.empty(len(left), np.float64)
    for start in range(0, len(left), 65_536):
        part = slice(start, start + 65_536)
        product = vectors[left[part]].astype(np.float64) * vectors[right[part]].astype(np.float64)
        similarity[part] = product.sum(axis=1)
    return np.clip(similarity, -1.0, 1.0).round(SIMILARITY_DECIMALS)
