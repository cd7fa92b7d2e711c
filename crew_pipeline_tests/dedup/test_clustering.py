"""Star clusters: a link of its own for every member, the same result for any order, and people's word above all."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from crew_pipeline.dedup.clustering import Links, stars

Graph = tuple[int, dict[tuple[int, int], float], list[int], list[int]]


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    count = draw(st.integers(1, 12))
    every = [(one, other) for one in range(count) for other in range(count) if one != other]
    pairs = draw(st.lists(st.sampled_from(every), unique=True)) if every else []
    links = {pair: draw(st.sampled_from([0.6, 0.8, 1.0])) for pair in pairs}
    weight = draw(st.lists(st.integers(1, 5), min_size=count, max_size=count))
    return count, links, weight, list(draw(st.permutations(range(count))))


def links_of(
    count: int,
    pairs: dict[tuple[int, int], float],
    apart: frozenset[frozenset[int]] = frozenset(),
    groups: tuple[tuple[int, ...], ...] = (),
) -> Links:
    """``(centre, member)`` pairs."""
    under: list[dict[int, float]] = [{} for _ in range(count)]
    for (centre, member), sureness in pairs.items():
        under[centre][member] = sureness
    return Links(under, apart, groups)


def both_ways(*pairs: tuple[int, int]) -> dict[tuple[int, int], float]:
    return {pair: 0.9 for one, other in pairs for pair in ((one, other), (other, one))}


@given(graphs())
def test_every_member_may_be_hidden_under_its_canonical_text(graph: Graph) -> None:
    count, pairs, weight, rank = graph
    canonical = stars(links_of(count, pairs), weight, rank)
    for text, centre in enumerate(canonical):
        assert canonical[centre] == centre
        assert text == centre or (centre, text) in pairs


@given(graphs(), st.randoms(use_true_random=False))
def test_the_order_of_the_links_does_not_matter(graph: Graph, random: object) -> None:
    count, pairs, weight, rank = graph
    items = list(pairs.items())
    random.shuffle(items)
    assert stars(links_of(count, dict(items)), weight, rank) == stars(links_of(count, pairs), weight, rank)


@given(graphs(), st.data())
def test_texts_that_must_be_apart_never_share_a_cluster(graph: Graph, data: st.DataObject) -> None:
    count, pairs, weight, rank = graph
    chosen = data.draw(st.lists(st.sampled_from(sorted(pairs)), max_size=4)) if pairs else []
    canonical = stars(links_of(count, pairs, frozenset(frozenset(pair) for pair in chosen)), weight, rank)
    for one, other in chosen:
        assert canonical[one] != canonical[other]


def test_members_that_contradict_each_other_are_not_hidden_under_one_text() -> None:
    links = links_of(3, {(0, 1): 0.9, (0, 2): 0.8})
    canonical = stars(links, [5, 1, 1], [0, 1, 2], lambda one, other: {one, other} == {1, 2})
    assert canonical == [0, 0, 2]


def test_what_people_put_together_comes_along_whole_or_not_at_all() -> None:
    whole = both_ways((0, 1), (0, 2), (1, 2))
    assert stars(links_of(3, whole, groups=((1, 2),)), [5, 1, 1], [0, 1, 2]) == [0, 0, 0]
    half = {(0, 1): 0.9, **both_ways((1, 2))}
    assert stars(links_of(3, half, groups=((1, 2),)), [5, 1, 1], [0, 1, 2]) == [0, 1, 1]


def test_a_chain_is_not_drawn_into_one_cluster() -> None:
    links = links_of(5, both_ways((0, 1), (1, 2), (2, 3), (3, 4)))
    assert stars(links, [1, 1, 1, 1, 1], [0, 1, 2, 3, 4]) == [1, 1, 1, 3, 3]


def test_the_text_that_stands_for_most_lines_is_the_centre() -> None:
    assert stars(links_of(3, both_ways((0, 1), (1, 2))), [1, 1, 9], [0, 1, 2]) == [1, 1, 1]


def test_the_better_text_is_canonical_where_all_others_may_be_hidden_under_it() -> None:
    assert stars(links_of(2, both_ways((0, 1))), [9, 1], [1, 0]) == [1, 1]
    assert stars(links_of(2, {(0, 1): 0.9}), [9, 1], [1, 0]) == [0, 0]
