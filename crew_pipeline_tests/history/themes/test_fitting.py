"""Vectors on a grid, and what is fitted to them, are the same on every processor and in every portion."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from crew_pipeline.history.themes import grid
from crew_pipeline.history.themes.clustering import k_means
from crew_pipeline.history.themes.fitting import NONE, fit, no_topics
from crew_pipeline.history.themes.grid import nearest, on_grid, similarities, sums
from crew_pipeline.history.themes.identity import matched
from crew_pipeline.history.themes.naming import Counted, names, terms_of


def some(count: int, seed: int = 0, dimension: int = 384) -> grid.Grid:
    return on_grid(np.random.default_rng(seed).normal(size=(count, dimension)))


@given(st.integers(1, 60), st.integers(1, 9), st.integers(0, 99))
def test_products_are_whole_numbers_in_whatever_order_they_are_added(count: int, centres: int, seed: int) -> None:
    vectors, others = some(count, seed), some(centres, seed + 1)
    exact = vectors.astype(np.int64) @ others.astype(np.int64).T
    found = similarities(vectors, others) * np.float32(grid.NORM**2)
    assert np.array_equal(found.astype(np.int64), exact)
    shuffled = np.random.default_rng(seed).permutation(vectors.shape[1])
    again = similarities(vectors[:, shuffled], others[:, shuffled])
    assert np.array_equal(again, similarities(vectors, others))


def test_portions_make_no_difference(monkeypatch: object) -> None:
    vectors, centres = some(500), some(7, 1)
    whole = nearest(vectors, centres)
    weights, of = np.arange(500, dtype=np.int64), whole[0]
    total = sums(vectors, weights, of, 7)
    grid._ROWS_AT_ONCE, before = 13, grid._ROWS_AT_ONCE
    try:
        assert all(np.array_equal(one, other) for one, other in zip(nearest(vectors, centres), whole, strict=True))
        assert np.array_equal(sums(vectors, weights, of, 7), total)
    finally:
        grid._ROWS_AT_ONCE = before


def test_a_vector_of_zeros_stays_one() -> None:
    assert not on_grid(np.zeros((1, 384))).any()
    assert abs(np.linalg.norm(some(1).astype(float)) - grid.NORM) < 10


def test_centres_go_where_the_vectors_are() -> None:
    vectors, start = some(300, 3), some(2, 4)
    found = k_means(vectors, np.ones(300, np.int64), start, 6)
    assert len(found) <= 6
    assert not np.array_equal(found[:2], start)
    assert np.array_equal(found, k_means(vectors, np.ones(300, np.int64), start, 6))


def test_equal_vectors_are_one_topic() -> None:
    vectors = np.repeat(some(1), 50, axis=0)
    assert len(k_means(vectors, np.ones(50, np.int64), vectors[:0], 8)) == 1


def test_what_a_person_has_put_somewhere_stays_there() -> None:
    vectors, weights = some(300, 5), np.ones(300, np.int64)
    first = fit(vectors, weights, np.full(300, NONE), no_topics(384), 1, anew=True)
    pinned = first.topics._replace(pinned=np.arange(len(first.topics.ids)) < 2, themes=first.topics.themes * 0 + 999)
    for anew in (True, False):
        again = fit(vectors, weights, first.of, pinned, 10_000, anew=anew)
        held = np.isin(first.of, pinned.ids[:2])
        assert held.any()
        assert np.array_equal(again.of[held], first.of[held])
        assert again.topics.themes[:2].tolist() == [999, 999]
        assert np.array_equal(again.topics.centres[:2], first.topics.centres[:2])
        assert np.array_equal(again.near[held], first.near[held])


def test_ids_go_to_those_that_share_most() -> None:
    before = np.array([1, 1, 1, 2, 2, 3, -1])
    now = np.array([0, 0, 1, 1, 1, 2, 3])
    assert matched(before, now, np.ones(7, np.int64)) == {0: 1, 1: 2, 2: 3}
    assert matched(np.full(7, -1), now, np.ones(7, np.int64)) == {}


def test_names_are_words_that_tell_and_phrases_in_their_place() -> None:
    counted = {1: Counted(), 2: Counted()}
    for _ in range(5):
        counted[2].add(terms_of("the meeting"))
        counted[1].add(terms_of("the kick off meeting with a remote control"))
        counted[2].add(terms_of("the meeting on the battery of a solar cell"))
    found = names(counted)
    assert "remote control" in found[1]
    assert "solar cell" in found[2]
    assert all("the" not in name.split() for name in found[1] + found[2])
