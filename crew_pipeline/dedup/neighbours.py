"""Which texts lie near each other: FAISS finds each one's nearest among the texts of its voice.

Static vectors and character vectors are rounded to whole numbers, so that every product and sum is exact in float32:
what FAISS finds is the same on any processor, in any batch and with any number of threads.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crew_pipeline.dedup.embedding import Vectors

SIMILARITY_DECIMALS = 4
NEAREST = 10
"""Neighbours of a text that are looked at, by each of the two kinds of vector."""
FLOORS = (0.4, 0.45)
"""Lowest similarity by static and by character vectors of which one must be reached."""
SCALE = 2048
"""What unit vectors are multiplied with before they are rounded: products of two stay under 2^24."""
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
        similarity: float64 (n,), cosine similarity by the first kind of vector, rounded to ``SIMILARITY_DECIMALS``.
    """

    left: Ints
    right: Ints
    similarity: Floats

    def __len__(self) -> int:
        return len(self.left)

    def at(self, rows: Ints) -> Near:
        """Those of some of the pairs."""
        return Near(self.left[rows], self.right[rows], self.similarity[rows])


def nearest_pairs(kinds: Sequence[Vectors], groups: Iterable[Sequence[int]], nearest: int = NEAREST) -> Near:
    """The pairs of each row with its nearest rows of a group that it belongs to.

    Args:
        kinds: vectors of the same rows, float32 (n, dimension), unit length: static vectors and character vectors.
        groups: rows that may be paired with each other, ascending.
        nearest: how many neighbours of a row are looked at by each kind; of small groups all pairs are.
    """
    count = len(kinds[0])
    whole = _in_whole_numbers(kinds)
    keys = [
        key
        for group in groups
        if len(group) > 1
        for key in _keys(whole, np.array(group, np.int64), nearest, max(count, 1))
    ]
    pairs = np.unique(np.concatenate(keys)) if keys else np.zeros(0, np.int64)
    left, right = pairs // max(count, 1), pairs % max(count, 1)
    found, near = _scored(whole, left, right)
    return Near(left[near], right[near], found.similarity[near])


def given_pairs(kinds: Sequence[Vectors], left: Ints, right: Ints) -> tuple[Near, NDArray[np.bool_]]:
    """Pairs that are given, and which of them reach a floor; ``kinds`` as for ``nearest_pairs``."""
    return _scored(_in_whole_numbers(kinds), left, right)


def _in_whole_numbers(kinds: Sequence[Vectors]) -> list[Vectors]:
    return [np.rint(vectors * SCALE).astype(np.float32) for vectors in kinds]


def _scored(whole: Sequence[Vectors], left: Ints, right: Ints) -> tuple[Near, NDArray[np.bool_]]:
    similarities = [cosine(vectors, left, right) for vectors in whole]
    near = np.any([similarity >= floor for similarity, floor in zip(similarities, FLOORS, strict=True)], axis=0)
    return Near(left, right, similarities[0]), near


def _keys(kinds: Sequence[Vectors], group: Ints, nearest: int, count: int) -> list[Ints]:
    """The pairs of a group as numbers, left * count + right."""
    if len(group) <= 2 * nearest + 1:
        left, right = np.triu_indices(len(group), 1)
        return [group[left] * count + group[right]]
    return [_found(np.ascontiguousarray(vectors[group]), group, nearest, count) for vectors in kinds]


def _found(vectors: Vectors, group: Ints, nearest: int, count: int) -> Ints:
    import faiss

    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    _, found = index.search(vectors, nearest + 1)
    one = np.repeat(group, found.shape[1])
    other = group[found.reshape(-1)]
    apart = one != other
    return np.unique(np.minimum(one, other)[apart] * count + np.maximum(one, other)[apart])


def cosine(vectors: Vectors, left: Ints, right: Ints) -> Floats:
    """Similarity of the row pairs (left[i], right[i]): float64, ``SIMILARITY_DECIMALS`` decimals; 0 for empty rows."""
    length = np.sqrt((vectors.astype(np.float64) ** 2).sum(axis=1))
    unit = np.where(length == 0, 1.0, length)
    similarity = np.empty(len(left), np.float64)
    for start in range(0, len(left), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        a, b = left[part], right[part]
        product = (vectors[a].astype(np.float64) * vectors[b].astype(np.float64)).sum(axis=1)
        similarity[part] = product / (unit[a] * unit[b])
    return np.clip(similarity, -1.0, 1.0).round(SIMILARITY_DECIMALS)
