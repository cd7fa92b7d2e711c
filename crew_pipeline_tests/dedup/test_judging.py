"""A pair is judged by what it says; contradictions are never accepted, and the reason is told."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crew_pipeline.dedup import judging, neighbours, text_vectors
from crew_pipeline.dedup.features import PAIR, Texts, compare
from crew_pipeline.dedup.neighbours import Near
from crew_pipeline.dedup.pair_model import pair_model
from crew_pipeline.dedup.speech import Utterance
from crew_pipeline.dedup.text import normalise
from crew_pipeline.model import OperatingPoint


def judged(left: str, right: str, *, read: bool = True) -> judging.Judged:
    """A pair by its words, or read by a scorer that takes everything for the same."""
    texts = Texts([Utterance.of(normalise(left)), Utterance.of(normalise(right))])
    near = Near(np.array([0]), np.array([1]), np.array([0.9]))
    by_words = judging.by_words(texts, near, pair_model())
    if not read:
        return by_words
    agreeing = np.array([[8.0, 8.0, 0.0, 0.0]])
    return judging.by_reading(by_words, np.array([0]), agreeing, pair_model(), fitted=True)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("install version 10.04 now", "install version 10.10 now"),
        ("two customers cannot log in", "four customers cannot log in"),
        ("open /etc/fstab as root", "open /etc/hosts as root"),
        ("the release is blocked", "the release is not blocked"),
        ("please enable notifications", "please disable notifications"),
        ("the export is what blocks it", "is the export what blocks it?"),
        ("latency went from 300 to 900 ms", "latency went from 900 to 300 ms"),
        ("the proxy is on 8080 and the api on 3000", "the proxy is on 3000 and the api on 8080"),
        ("what is your least favorite part of it", "what is your favorite part of it"),
    ],
)
def test_contradictions_are_never_accepted(left: str, right: str) -> None:
    for one, other in ((left, right), (right, left)):
        assert judged(one, other).surer[0] == 0


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("we meet at 9 in room 12", "in room 12 we meet at 9"),
        ("you need at least 5 people for it", "for it you need at least 5 people"),
        ("it rose from 300 to 900 ms", "from 300 to 900 ms it rose"),
        ("on 3 march 2024 the rent is due", "the rent is due on 3 march 2024"),
        ("thank you, no", "no, thank you"),
    ],
)
def test_a_part_that_only_moves_to_the_other_end_is_not_forbidden(left: str, right: str) -> None:
    texts = Texts([Utterance.of(left), Utterance.of(right)])
    assert judging.obstacles(compare(texts, np.array([0]), np.array([1]))).tolist() == [judging.Obstacle.NONE]


def test_what_adds_something_is_not_hidden_under_what_lacks_it() -> None:
    pair = judged("how can i remove the old archive", "how can i detect and remove the old archive", read=False)
    assert pair.left_under[0] > pair.right_under[0]


def test_the_judgement_turns_with_the_pair() -> None:
    one, other = "the invoice export times out again", "the export of invoices is timing out again and again today"
    there, back = judged(one, other, read=False), judged(other, one, read=False)
    assert there.left_under[0] == pytest.approx(back.right_under[0], abs=2e-3)
    assert there.right_under[0] == pytest.approx(back.left_under[0], abs=2e-3)


def test_the_same_in_other_words_is_surer_than_another_matter() -> None:
    same = judged("the invoice export times out again", "the export of invoices is timing out again", read=False)
    other = judged("the invoice export times out again", "the coffee machine is out of beans again", read=False)
    assert same.surer[0] > other.surer[0]


WORDS = [
    *("the", "a", "printer", "export", "10.04", "not", "um", "yes"),
    *("invoices", "fail", "works", "/etc/fstab", "?", "you", "i"),
]
texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=9).map(" ".join)


@settings(max_examples=80, deadline=None)
@given(texts, texts)
def test_the_features_of_a_pair_turn_with_it(one: str, other: str) -> None:
    taken = Texts([Utterance.of(one), Utterance.of(other)])
    rows = compare(taken, np.array([0, 1]), np.array([1, 0]))
    assert np.allclose(rows.pair[0], rows.pair[1], atol=2e-4), dict(zip(PAIR, rows.pair[0] - rows.pair[1], strict=True))
    assert np.allclose(rows.left[0], rows.right[1], atol=2e-4)
    assert np.allclose(rows.right[0], rows.left[1], atol=2e-4)


@settings(max_examples=40, deadline=None)
@given(texts, texts, st.lists(texts, max_size=5))
def test_the_features_of_a_pair_do_not_depend_on_the_company(one: str, other: str, others: list[str]) -> None:
    alone = Texts([Utterance.of(one), Utterance.of(other)])
    company = Texts([Utterance.of(text) for text in (*others, one, other)])
    place = len(others)
    rows = compare(alone, np.array([0]), np.array([1]))
    among = compare(company, np.array([place]), np.array([place + 1]))
    assert np.array_equal(rows.left_hidden, among.left_hidden)


def test_the_reason_names_the_words_in_which_a_pair_differs() -> None:
    taken = Texts(
        [Utterance.of("can anyone help me with the printer"), Utterance.of("can anyone help me with the scanner")]
    )
    reason = judging.reason(taken, 0, 1, compare(taken, np.array([0]), np.array([1])), 0)
    assert "printer / scanner" in reason
    assert "both ask" in reason


def test_stricter_points_ask_for_more() -> None:
    for basis in ("words", "reading"):
        least = [pair_model().threshold(point, basis) for point in get_args(OperatingPoint)]
        assert least == sorted(least, reverse=True)


CORES = sorted(
    f"{opening}{subject} {act}"
    for opening in ("", "so ", "please ", "well ")
    for subject in ("the printer on the second floor", "our invoice export", "the old mail server", "a lamp")
    for act in ("does not work again", "was repaired", "needs two parts")
)


def test_pairs_that_are_judged_a_few_at_a_time_are_judged_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = Texts([Utterance.of(core) for core in CORES])
    near = neighbours.nearest_pairs(text_vectors.halves(text_vectors.of_texts(texts)), [range(len(CORES))])
    model = pair_model()
    whole = judging.by_words(texts, near, model)
    likely = np.flatnonzero(whole.surer >= model.doubt)
    assert 0 < len(likely) < len(near)
    for at_once in (1, 7, 10_000):
        monkeypatch.setattr(judging, "_AT_ONCE", at_once)
        found = judging.likely_by_words(texts, near, model, model.doubt)
        assert np.array_equal(found.near.left, near.left[likely])
        assert np.array_equal(found.near.right, near.right[likely])
        assert np.array_equal(found.left_under, whole.left_under[likely])
        assert np.array_equal(found.right_under, whole.right_under[likely])
        assert np.array_equal(found.rows.pair, whole.rows.pair[likely])
    nothing = judging.likely_by_words(texts, near.at(np.zeros(0, np.int64)), model, 0.5)
    assert len(nothing) == 0
