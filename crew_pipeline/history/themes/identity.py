"""Which of the themes found now is which of those known before: ids last, whatever is fitted anew."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_LEAST_SHARED = 0.25
"""Of what one of the two holds; below, it is something else."""


def matched(before: NDArray[np.int64], now: NDArray[np.int64], weights: NDArray[np.int64]) -> dict[int, int]:
    """For groups that are found now, which known before they go on: those that share most, one to one (Hungarian).

    Args:
        before, now: the group of each segment then and now, -1 for none: int64 (n,).
        weights: int64 (n,).

    Returns:
        Groups of ``now`` with their group of ``before``; new ones are left out.
    """
    from scipy.optimize import linear_sum_assignment

    both = (before >= 0) & (now >= 0)
    old, left = np.unique(before[both], return_inverse=True)
    new, right = np.unique(now[both], return_inverse=True)
    shared = np.zeros((len(old), len(new)), np.int64)
    np.add.at(shared, (left, right), weights[both])
    held, holds = shared.sum(axis=1), shared.sum(axis=0)
    rows, columns = linear_sum_assignment(shared, maximize=True)
    return {
        int(new[column]): int(old[row])
        for row, column in zip(rows, columns, strict=True)
        if shared[row, column] and shared[row, column] >= _LEAST_SHARED * min(held[row], holds[column])
    }
