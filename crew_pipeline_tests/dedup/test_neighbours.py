"""Near pairs are all found, scored in one fixed way, and bounded."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from crew_pipeline.dedup.neighbours import MOST_NEIGHBOURS, MOST_PAIRS, cosine, near_pairs, nearest_pairs


def unit_rows(seed: int, count: int, dimension: int = 16) -> np.ndarray:
    if not count:
        return np.empty((0, dimension), np.float32)
    rows = np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)
    rows[: count // 2] = rows[0] + 0.3 * rows[: count // 2]
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 60), st.sampled_from([0.3, 0.55, 0.85]))
def test_the_pairs_are_those_of_a_full_comparison(seed: int, count: int, floor: float) -> None:
    vectors = unit_rows(seed, count)
    found = near_pairs(vectors, floor)
    every_left, every_right = np.triu_indices(count, 1)
    every = cosine(vectors, every_left, every_right)
    near = every >= floor
    assert found.whole
    assert np.array_equal(found.left, every_left[near])
    assert np.array_equal(found.right, every_right[near])
    assert np.array_equal(found.similarity, every[near])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 60), st.data())
def test_the_pairs_of_new_rows_are_those_that_the_others_do_not_have(
    seed: int, count: int, data: st.DataObject
) -> None:
    vectors = unit_rows(seed, count)
    fresh = np.array(data.draw(st.lists(st.booleans(), min_size=count, max_size=count)))
    whole, new = near_pairs(vectors, 0.55), near_pairs(vectors, 0.55, fresh)
    touched = fresh[whole.left] | fresh[whole.right]
    assert np.array_equal(new.left, whole.left[touched])
    assert np.array_equal(new.right, whole.right[touched])
    assert np.array_equal(new.similarity, whole.similarity[touched])


def test_thousands_of_near_copies_do_not_explode() -> None:
    generator = np.random.default_rng(0)
    vectors = np.ones((3_000, 16), np.float32) + 0.01 * generator.normal(size=(3_000, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = near_pairs(vectors, 0.55)
    assert not found.whole
    assert len(found.left) <= 3_000 * MOST_NEIGHBOURS
    assert not near_pairs(vectors, 0.55, np.arange(3_000) < 200, known=MOST_PAIRS).whole


def test_each_row_finds_its_nearest() -> None:
    vectors = unit_rows(1, 40)
    found = nearest_pairs(vectors, 0.0, 3)
    assert np.all(found.left < found.right)
    similar = vectors @ vectors.T
    np.fill_diagonal(similar, -1)
    pairs = set(zip(found.left.tolist(), found.right.tolist(), strict=True))
    for row in range(40):
        other = int(similar[row].argmax())
        assert similar[row, other] < 0 or (min(row, other), max(row, other)) in pairs
