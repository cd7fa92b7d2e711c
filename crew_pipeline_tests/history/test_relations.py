"""Sentences of one matter: said again, changed, contradicted, or none of it."""

from __future__ import annotations

import pytest

from crew_pipeline.history.relations import Relation, relations


@pytest.mark.parametrize(
    ("before", "after", "relation"),
    [
        ("we go for rubber buttons", "We go for rubber buttons!", Relation.AGAIN),
        ("we go for rubber buttons", "so we go for plastic buttons", Relation.CHANGED),
        ("the price is 25 euros", "the price will be 30 euros", Relation.CHANGED),
        ("we will use a lcd screen", "we will not use a lcd screen", Relation.CONTRADICTED),
        ("I'll send the minutes", "we need the budget", Relation.OTHER),
        ("", "we need the budget", Relation.OTHER),
    ],
)
def test_what_a_later_sentence_does_with_an_earlier_one(before: str, after: str, relation: Relation) -> None:
    assert relations([before, after], [(0, 1)]) == [relation]


def test_a_judgement_does_not_depend_on_the_other_pairs() -> None:
    texts = ["the price is 25 euros", "the price will be 30 euros", "we need the budget", "the price is 25 euros"]
    pairs = [(0, 1), (0, 2), (0, 3), (1, 2)]
    assert relations(texts, pairs) == [relations(texts, [pair])[0] for pair in pairs]
    assert relations(texts, []) == []
