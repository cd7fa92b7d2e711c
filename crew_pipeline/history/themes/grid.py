"""Vectors of whole numbers, so that what is made of them is the same on every processor.

A unit vector is multiplied by ``NORM`` and rounded. Products of two such vectors, and all sums on the way, are whole
numbers below 2**24, which float32 holds exactly: they do not depend on the order in which a library adds, on threads or
on the processor. So two runs see the same nearest centre, and k-means goes the same way.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

NORM = 512
_MOST = 127
_ROWS_AT_ONCE = 8_192

Grid = NDArray[np.int8]
"""Vectors on the grid: int8 (n, dimension), each of a length of about ``NORM``."""


def on_grid(vectors: NDArray[np.floating] | NDArray[np.integer]) -> Grid:
    """Vectors as they lie on the grid, whatever their length: int8 (n, dimension); one of zeros stays as it is."""
    exact = np.asarray(vectors, dtype=np.float64)
    # Squares are summed one dimension after the other: the same on every processor.
    lengths = np.sqrt(np.add.accumulate(exact * exact, axis=1)[:, -1])
    scaled = exact * (NORM / np.where(lengths > 0, lengths, 1))[:, np.newaxis]
    return np.clip(np.rint(scaled), -_MOST, _MOST).astype(np.int8)


def mean_of(vectors: Grid) -> Grid:
    """What all vectors have in common, int8 (dimension,): the rounded mean."""
    total = vectors.astype(np.int64).sum(axis=0)
    mean: Grid = np.clip(np.rint(total / max(1, len(vectors))), -_MOST, _MOST).astype(np.int8)
    return mean


def centred(vectors: Grid, mean: Grid) -> Grid:
    """Vectors without what all have in common: a client's talk is of one kind, and themes are what differs in it."""
    return on_grid(vectors.astype(np.int64) - mean) if len(vectors) else vectors


def similarities(left: Grid, right: Grid) -> NDArray[np.float32]:
    """Cosines, nearly: float32 (left, right), exact multiples of ``NORM**-2``."""
    products = left.astype(np.float32) @ right.astype(np.float32).T
    return products * np.float32(1 / NORM**2)


def nearest(
    vectors: Grid, centres: Grid, leads: NDArray[np.float32] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """For each vector the number of its nearest centre, the first of equally near ones, and how near: (n,), (n,).

    Args:
        leads: how much nearer each centre counts than it is (cosine), multiples of ``NORM**-2``: float32 (k,).
    """
    numbers = np.empty(len(vectors), np.int64)
    near = np.empty(len(vectors), np.float32)
    for rows in slices(len(vectors)):
        found = similarities(vectors[rows], centres)
        chosen = (found if leads is None else found + leads).argmax(axis=1)
        numbers[rows] = chosen
        near[rows] = found[np.arange(len(chosen)), chosen]
    return numbers, near


def sums(vectors: Grid, weights: NDArray[np.int64], of: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """The weighted sums of the vectors of each of ``count`` groups: int64 (count, dimension).

    Args:
        of: the group of each vector.
    """
    total = np.zeros((count, vectors.shape[1]), np.int64)
    order = np.argsort(of, kind="stable")
    for rows in slices(len(vectors)):
        some = order[rows]
        groups, starts = np.unique(of[some], return_index=True)
        weighted = vectors[some].astype(np.int64) * weights[some][:, np.newaxis]
        total[groups] += np.add.reduceat(weighted, starts, axis=0)
    return total


def slices(count: int) -> Iterator[slice]:
    """Rows that are looked at together."""
    return (slice(start, start + _ROWS_AT_ONCE) for start in range(0, count, _ROWS_AT_ONCE))
