"""Pairs are read the same in any company and direction; a pair scorer that is not there is named."""

from __future__ import annotations

import numpy as np
import pytest

from crew_pipeline.dedup.embedding import ModelNotFoundError, SentenceTransformerEncoder
from crew_pipeline.dedup.pair_scorer import BundledScorer, NamedScorer, scorer_of

PAIRS = [
    ("the invoice export times out again", "once more the export of invoices runs into a timeout"),
    ("can anyone help me with the printer", "please can somebody help with my printer"),
    ("the meeting is on monday", "the meeting was moved to the big room because of the noise outside"),
    ("ok", "请问怎么导出一年的发票"),
    ("", "nothing on the one side"),
    ("word " * 300, "a very long line on the other side"),
]


@pytest.fixture(scope="module")
def scorer() -> BundledScorer:
    return BundledScorer(SentenceTransformerEncoder())


def test_a_pair_is_read_the_same_alone_and_in_company(scorer: BundledScorer) -> None:
    together = scorer.logits(PAIRS)
    alone = np.concatenate([scorer.logits([pair]) for pair in PAIRS])
    assert np.array_equal(together, alone)


def test_the_order_of_the_two_texts_does_not_matter(scorer: BundledScorer) -> None:
    assert np.array_equal(scorer.logits(PAIRS), scorer.logits([(other, one) for one, other in PAIRS]))


def test_the_same_in_other_words_reads_surer_than_another_matter(scorer: BundledScorer) -> None:
    same, _, other, *_ = scorer.logits(PAIRS)
    assert same > other


def test_the_encoder_that_it_shares_a_model_with_is_left_as_it_was() -> None:
    encoder = SentenceTransformerEncoder()
    before = encoder.encode(["the meeting is on monday"])
    BundledScorer(encoder).logits(PAIRS[:1])
    assert np.array_equal(encoder.encode(["the meeting is on monday"]), before)


def test_sixteen_bits_hardly_move_a_verdict() -> None:
    fast, exact = (
        BundledScorer(SentenceTransformerEncoder(precision=one)).logits(PAIRS) for one in ("bfloat16", "float32")
    )
    assert np.abs(fast - exact).max() < 0.2


def test_scorers_are_chosen_by_name() -> None:
    encoder = SentenceTransformerEncoder()
    assert scorer_of("off", encoder) is None
    assert isinstance(scorer_of("bundled", encoder), BundledScorer)
    assert isinstance(scorer_of("./no-such-folder", encoder), NamedScorer)


def test_a_cross_encoder_that_is_not_there_is_named_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelNotFoundError, match=r"no-such-folder.*CREW_PAIR_SCORER"):
        NamedScorer("./no-such-folder").logits([("one", "other")])
