"""A pair is judged by what it says; contradictions are never accepted, and the reason is told."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crew_pipeline.dedup import judging
from crew_pipeline.dedup.features import LEXICAL, Texts, compare
from crew_pipeline.dedup.neighbours import Near
from crew_pipeline.dedup.pair_model import pair_model
from crew_pipeline.dedup.speech import Utterance
from crew_pipeline.dedup.text import normalise
from crew_pipeline.model import OperatingPoint


class Agreeing:
    """A pair scorer that takes everything for the same."""

    fitted = True

    def logits(self, pairs: list[tuple[str, str]]) -> np.ndarray:
        return np.full(len(pairs), 8.0)


def judged(left: str, right: str, similarity: float = 0.95, *, read: bool = True) -> judging.Verdicts:
    texts = Texts([Utterance.of(normalise(left)), Utterance.of(normalise(right))])
    near = Near(np.array([0]), np.array([1]), np.array([similarity]), whole=True)
    return judging.verdicts(texts, near, pair_model(), Agreeing() if read else None)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("install version 10.04 now", "install version 10.10 now"),
        ("two customers cannot log in", "four customers cannot log in"),
        ("open /etc/fstab as root", "open /etc/hosts as root"),
        ("the release is blocked", "the release is not blocked"),
        ("please enable notifications", "please disable notifications"),
        ("the export is what blocks it", "is the export what blocks it?"),
    ],
)
def test_contradictions_are_never_accepted(left: str, right: str) -> None:
    for one, other in ((left, right), (right, left)):
        assert judged(one, other, 0.99).other[0] == 0


def test_one_speaker_may_ask_what_he_said() -> None:
    result = judged("the export is what blocks it", "is the export what blocks it?")
    assert result.other[0] == 0
    assert result.same[0] > 0


def test_the_same_in_other_words_is_surer_than_another_matter() -> None:
    same = judged("the invoice export times out again", "the export of invoices is timing out again", 0.8, read=False)
    other = judged("the invoice export times out again", "the coffee machine is out of beans again", 0.8, read=False)
    assert same.other[0] > other.other[0]


WORDS = [
    *("the", "a", "printer", "export", "10.04", "not", "um", "yes"),
    *("invoices", "fail", "works", "/etc/fstab", "?", "you", "i"),
]
texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=9).map(" ".join)


@settings(max_examples=80, deadline=None)
@given(texts, texts, st.booleans())
def test_the_features_of_a_pair_do_not_depend_on_its_order(one: str, other: str, same: bool) -> None:
    taken = Texts([Utterance.of(one), Utterance.of(other)])
    rows = compare(taken, np.array([0, 1]), np.array([1, 0]), np.array([same, same]))
    assert np.allclose(rows[0], rows[1], atol=2e-4), dict(zip(LEXICAL, rows[0] - rows[1], strict=True))


@settings(max_examples=40, deadline=None)
@given(texts, texts, st.lists(texts, max_size=5))
def test_the_features_of_a_pair_do_not_depend_on_the_company(one: str, other: str, others: list[str]) -> None:
    alone = Texts([Utterance.of(one), Utterance.of(other)])
    company = Texts([Utterance.of(text) for text in (*others, one, other)])
    place = len(others)
    same = np.array([False])
    rows = compare(alone, np.array([0]), np.array([1]), same)
    assert np.array_equal(rows, compare(company, np.array([place]), np.array([place + 1]), same))


def test_the_reason_names_the_words_in_which_a_pair_differs() -> None:
    taken = Texts(
        [Utterance.of("can anyone help me with the printer"), Utterance.of("can anyone help me with the scanner")]
    )
    row = compare(taken, np.array([0]), np.array([1]), np.array([False]))[0]
    reason = judging.reason(taken, 0, 1, row)
    assert "printer / scanner" in reason
    assert "both ask" in reason


def test_stricter_points_ask_for_more() -> None:
    for basis in ("words", "meaning", "reading"):
        least = [pair_model().threshold(point, basis) for point in get_args(OperatingPoint)]
        assert least == sorted(least, reverse=True)
