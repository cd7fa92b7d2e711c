"""Each row finds its nearest within its groups, by either kind of vector, and the number of pairs is bounded."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from crew_pipeline.dedup import neighbours
from crew_pipeline.dedup.neighbours import FLOORS, SCALE, cosine, nearest_pairs


def unit_rows(seed: int, count: int, dimension: int = 16) -> np.ndarray:
    if not count:
        return np.empty((0, dimension), np.float32)
    rows = np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)
    rows[: count // 2] = rows[0] + 0.3 * rows[: count // 2]
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def kinds(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    return unit_rows(seed, count), unit_rows(seed + 1, count)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 60))
def test_of_a_small_group_every_pair_that_reaches_a_floor_is_found(seed: int, count: int) -> None:
    static, letters = (np.rint(vectors * SCALE) for vectors in kinds(seed, count))
    found = nearest_pairs(kinds(seed, count), [range(count)], nearest=30)
    left, right = np.triu_indices(count, 1)
    near = (cosine(static, left, right) >= FLOORS[0]) | (cosine(letters, left, right) >= FLOORS[1])
    assert np.array_equal(found.left, left[near])
    assert np.array_equal(found.right, right[near])
    assert np.array_equal(found.similarity, cosine(static, left, right)[near])


def test_rows_of_different_groups_are_not_paired() -> None:
    found = nearest_pairs(kinds(1, 40), [range(20), range(20, 40), [3, 30]])
    across = (found.left < 20) & (found.right >= 20)
    assert set(zip(found.left[across].tolist(), found.right[across].tolist(), strict=True)) <= {(3, 30)}


def test_thousands_of_near_copies_give_each_its_nearest_and_no_more() -> None:
    generator = np.random.default_rng(0)
    vectors = np.ones((3_000, 16), np.float32) + 0.01 * generator.normal(size=(3_000, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = nearest_pairs((vectors, vectors), [range(3_000)])
    assert 3_000 <= len(found.left) <= 3_000 * 2 * (neighbours.NEAREST + 1)


def test_each_row_of_a_large_group_finds_its_nearest() -> None:
    vectors = unit_rows(1, 200)
    found = nearest_pairs((vectors, vectors), [range(200)], nearest=3)
    assert np.all(found.left < found.right)
    similar = vectors @ vectors.T
    np.fill_diagonal(similar, -1)
    pairs = set(zip(found.left.tolist(), found.right.tolist(), strict=True))
    for row in range(200):
        other = int(similar[row].argmax())
        assert similar[row, other] < FLOORS[1] or (min(row, other), max(row, other)) in pairs


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000), st.randoms(use_true_random=False))
def test_the_pairs_do_not_depend_on_the_order_of_groups(seed: int, order: object) -> None:
    groups = [list(range(50)), list(range(30, 80)), [1, 70]]
    shuffled = groups[::-1]
    first, second = (nearest_pairs(kinds(seed, 80), some) for some in (groups, shuffled))
    assert np.array_equal(first.left, second.left)
    assert np.array_equal(first.right, second.right)
