"""Star clusters: a measured link for every member, the same result for any order of the pairs."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from crew_pipeline.dedup.clustering import Stars, stars


@st.composite
def graphs(draw: st.DrawFn) -> tuple[int, list[tuple[int, int]], list[int], list[int]]:
    count = draw(st.integers(1, 12))
    every = [(one, other) for one in range(count) for other in range(one + 1, count)]
    pairs = draw(st.lists(st.sampled_from(every), unique=True)) if every else []
    weight = draw(st.lists(st.integers(1, 5), min_size=count, max_size=count))
    rank = draw(st.permutations(range(count)))
    return count, pairs, weight, list(rank)


def run(count: int, pairs: list[tuple[int, int]], weight: list[int], rank: list[int]) -> Stars:
    left = np.array([one for one, _ in pairs], np.int64)
    right = np.array([other for _, other in pairs], np.int64)
    return stars(count, left, right, np.array(weight), np.array(rank))


@given(graphs())
def test_every_member_is_tied_to_its_centre_by_a_pair_of_its_own(graph: tuple) -> None:
    count, pairs, weight, rank = graph
    result = run(count, pairs, weight, rank)
    for text in range(count):
        centre = int(result.centre[text])
        assert int(result.centre[centre]) == centre
        if centre == text:
            assert result.link[text] == -1
        else:
            assert set(pairs[int(result.link[text])]) == {text, centre}


@given(graphs(), st.randoms(use_true_random=False))
def test_the_order_of_the_pairs_does_not_matter(graph: tuple, random: object) -> None:
    count, pairs, weight, rank = graph
    shuffled = [pair if number % 2 else pair[::-1] for number, pair in enumerate(pairs)]
    random.shuffle(shuffled)
    assert np.array_equal(run(count, pairs, weight, rank).centre, run(count, shuffled, weight, rank).centre)


@given(graphs())
def test_neighbours_are_never_both_left_as_centres(graph: tuple) -> None:
    count, pairs, weight, rank = graph
    centre = run(count, pairs, weight, rank).centre
    assert all(centre[one] != one or centre[other] != other for one, other in pairs)


def test_a_chain_is_not_drawn_into_one_cluster() -> None:
    result = run(5, [(0, 1), (1, 2), (2, 3), (3, 4)], [1, 1, 1, 1, 1], [0, 1, 2, 3, 4])
    assert result.centre.tolist() == [1, 1, 1, 3, 3]


def test_the_text_that_stands_for_most_lines_is_the_centre() -> None:
    result = run(3, [(0, 1), (1, 2)], [1, 1, 9], [0, 1, 2])
    assert result.centre.tolist() == [1, 1, 1]
    result = run(2, [(0, 1)], [1, 1], [1, 0])
    assert result.centre.tolist() == [1, 1]
