"""Topics: k-means over segments, which begins with the topics of the time before; and themes, which hold several."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crew_pipeline.history.themes.grid import Grid, nearest, on_grid, similarities, sums

SEED = 20250115
_ITERATIONS = 20
_LEARNED_FROM = 200
"""Segments for each topic that k-means looks at; more of them move no centre."""
LOOSELY, FIRMLY = (0.75, 0.0), (0.0, 2.0)
"""How much topics hold to the themes that they were of: by how much their distance counts where these were one, and how
far they are from each other at least where these were two."""


def k_means(vectors: Grid, weights: NDArray[np.int64], start: Grid, count: int) -> Grid:
    """Spherical k-means.

    Args:
        vectors: int8 (n, dimension), in an order that says nothing of their content.
        weights: how much each counts, int64 (n,).
        start: centres that it begins with.
        count: of centres; begun with further ones, far from those there are.

    Returns:
        Centres, int8 (k, dimension), each with vectors that are nearest to it; those of ``start`` first.
    """
    sample = vectors[: max(1, count) * _LEARNED_FROM]
    heavy = weights[: len(sample)]
    centres = _with_more(sample, heavy, start, count)
    assigned = np.full(len(sample), -1, np.int64)
    for _ in range(_ITERATIONS):
        now, _near = nearest(sample, centres)
        if np.array_equal(now, assigned):
            break
        assigned = now
        moved = on_grid(sums(sample, heavy, assigned, len(centres)))
        there_is_any = moved.any(axis=1, keepdims=True)
        centres = np.where(there_is_any, moved, centres)
    used: Grid = centres[np.bincount(assigned, minlength=len(centres)) > 0]
    return used


def _with_more(sample: Grid, weights: NDArray[np.int64], start: Grid, count: int) -> Grid:
    """Further centres, each a vector that is drawn the likelier the farther it is from those before (k-means++)."""
    chance = np.random.default_rng(SEED)
    chosen = [*start]
    far = np.full(len(sample), 2.0)
    if chosen:
        far = _distances(nearest(sample, start)[1])
    while len(chosen) < count and (reached := np.cumsum(far * weights))[-1] > 0:
        drawn = int(np.searchsorted(reached, chance.random() * reached[-1], side="right"))
        new = sample[min(drawn, len(sample) - 1)]
        chosen.append(new)
        far = np.minimum(far, _distances(nearest(sample, new[np.newaxis])[1]))
    return np.stack(chosen)


def _distances(near: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.maximum(0.0, 1.0 - near.astype(np.float64))


def groups_of(
    centres: Grid,
    most: int,
    before: NDArray[np.int64],
    apart: float = 0.0,
    hold: tuple[float, float] = LOOSELY,
) -> NDArray[np.int64]:
    """Topics in themes (average linkage): the number of the theme of each, int64 (k,).

    Args:
        most: themes at most.
        apart: how far (1 - cosine) themes must be from each other, on average; there may be fewer then.
        before: the theme that each was of, -1 for none.
        hold: how much these hold, ``LOOSELY`` or ``FIRMLY``.
    """
    # Here, so that the API does not load it before somebody divides a theme.
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    if len(centres) <= 1:
        return np.zeros(len(centres), np.int64)
    far = _distances(similarities(centres, centres))
    known = (before >= 0) & (before >= 0)[:, np.newaxis]
    together = before[:, np.newaxis] == before
    far = np.where(known & together, far * hold[0], far)
    far = np.where(known & ~together, np.maximum(far, hold[1]), far)
    np.fill_diagonal(far, 0.0)
    tree = linkage(squareform(far, checks=False), "average")
    far_enough = fcluster(tree, apart, "distance")
    few_enough = far_enough if far_enough.max() <= most else fcluster(tree, most, "maxclust")
    return np.asarray(few_enough, np.int64) - 1
