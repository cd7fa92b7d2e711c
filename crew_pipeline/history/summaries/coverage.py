"""Choosing sentences that together say what all of them say, and none of it twice.

Greedy maximisation of a facility-location function (Lin & Bilmes, "A Class of Submodular Functions for Document
Summarization", 2011), in whole numbers: the same choice on every processor.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crew_pipeline.history.themes.grid import NORM, Grid

Ints = NDArray[np.int64]

MOST_WEIGHED = 1_200
"""Sentences that are held against each other; of more the weightiest."""
REPEATS_AT = int(0.8 * NORM**2)
"""How alike a sentence is to one that is chosen (a cosine of 0.8) from which on it says what that has said."""
_LOST = 4
"""Power of two by which products are made smaller, so that sums of them stay in 64 bits."""


def alike(vectors: Grid) -> Ints:
    """How alike sentences are: int64 (n, n), 0 to about ``NORM**2``; what points another way is not alike."""
    exact = vectors.astype(np.float32)
    found: Ints = np.maximum(exact @ exact.T, 0).astype(np.int64)
    return found


def covered(likeness: Ints, weights: Ints) -> Ints:
    """How much of all that was said each sentence stands for: int64 (n,)."""
    found: Ints = (likeness * weights[:, np.newaxis]).sum(axis=0) // NORM**2
    return found


def choose(likeness: Ints, weights: Ints, quality: Ints, most: int) -> list[int]:
    """The sentences to be shown, best first.

    Args:
        likeness: see ``alike``.
        weights: how much each says: int64 (n,).
        quality: how well each reads by itself, in percent; 0 is never chosen: int64 (n,).
        most: as many at most; fewer where the rest adds nothing.
    """
    chosen: list[int] = []
    best = np.zeros(len(weights), np.int64)
    free = quality > 0
    while len(chosen) < most and free.any():
        gains = (np.maximum(likeness - best[:, np.newaxis], 0) >> _LOST) * weights[:, np.newaxis]
        worth = np.where(free, gains.sum(axis=0) * quality, 0)
        winner = int(worth.argmax())
        if worth[winner] == 0:
            break
        chosen.append(winner)
        best = np.maximum(best, likeness[:, winner])
        free &= likeness[winner] < REPEATS_AT
        free[winner] = False
    return chosen


def weightiest(weights: Ints, most: int = MOST_WEIGHED) -> Ints:
    """The rows to be held against each other, ascending; of equal weights the first: int64 (k,)."""
    order = np.argsort(-weights, kind="stable")[:most]
    return np.sort(order)
