"""Near pairs are all found, scored in one fixed way, and bounded."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from crew_pipeline.dedup.neighbours import MOST_NEIGHBOURS, cosine, near_pairs


def unit_rows(seed: int, count: int, dimension: int = 16) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)
    rows[: count // 2] = rows[0] + 0.3 * rows[: count // 2]
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 60), st.sampled_from([0.3, 0.55, 0.85]))
def test_the_pairs_are_those_of_a_full_comparison(seed: int, count: int, floor: float) -> None:
    vectors = unit_rows(seed, count) if count else np.empty((0, 16), np.float32)
    left, right, similarity = near_pairs(vectors, floor)
    every_left, every_right = np.triu_indices(count, 1)
    every = cosine(vectors, every_left, every_right)
    near = every >= floor
    assert np.array_equal(left, every_left[near])
    assert np.array_equal(right, every_right[near])
    assert np.array_equal(similarity, every[near])


def test_ten_thousand_near_copies_do_not_explode() -> None:
    generator = np.random.default_rng(0)
    vectors = np.ones((3_000, 16), np.float32) + 0.01 * generator.normal(size=(3_000, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    left, _, _ = near_pairs(vectors, 0.85)
    assert len(left) <= 3_000 * MOST_NEIGHBOURS
    assert np.bincount(left).max() <= MOST_NEIGHBOURS
