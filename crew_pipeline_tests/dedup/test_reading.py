"""Only pairs whose answer can change what is hidden are read, and never more than a few for each text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from crew_pipeline.dedup import judging, neighbours, reading, text_vectors
from crew_pipeline.dedup.features import Texts
from crew_pipeline.dedup.pair_model import pair_model
from crew_pipeline.dedup.speech import Utterance


class Counting:
    """A pair scorer that says the same of every pair, and counts."""

    fitted = True

    def __init__(self, says: float) -> None:
        self.says = says
        self.read: list[tuple[str, str]] = []

    def logits(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        self.read.extend(pairs)
        return np.tile([self.says, self.says, 0.0, 0.0], (len(pairs), 1))


OPENINGS = ["", "so ", "well ", "um ", "ok ", "please ", "right ", "yeah "]
SUBJECTS = ["the printer on the second floor", "our invoice export", "the old mail server", "the coffee machine"]
LIKE = sorted(f"{opening}{subject} does not work again" for opening in OPENINGS for subject in SUBJECTS)


def judged(cores: Sequence[str]) -> tuple[Texts, judging.Judged]:
    texts = Texts([Utterance.of(core) for core in cores])
    near = neighbours.nearest_pairs(text_vectors.halves(text_vectors.of_texts(texts)), [range(len(cores))])
    return texts, judging.by_words(texts, near, pair_model())


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from(LIKE), min_size=2, max_size=24, unique=True), st.sampled_from([-8.0, 0.5, 8.0]))
def test_no_pair_is_read_twice_and_few_for_each_text(cores: list[str], says: float) -> None:
    texts, by_words = judged(sorted(cores))
    scorer = Counting(says)
    settled, read = reading.read(texts, by_words, pair_model(), scorer)
    assert len(scorer.read) == len({frozenset(pair) for pair in scorer.read}) == read
    assert read <= (reading.MOST_READ + reading.HUBS) * len(cores)
    assert np.count_nonzero(settled.surer) <= read


def test_what_is_surely_hidden_is_compared_no_further() -> None:
    texts, by_words = judged(LIKE)
    sure, unsure = Counting(8.0), Counting(-8.0)
    reading.read(texts, by_words, pair_model(), sure)
    reading.read(texts, by_words, pair_model(), unsure)
    in_doubt = int((by_words.surer >= pair_model().doubt).sum())
    assert 0 < len(sure.read) < in_doubt
    assert len(sure.read) < 3 * len(LIKE)


def test_what_was_not_read_folds_nothing() -> None:
    texts, by_words = judged(LIKE[:6])
    settled, _ = reading.read(texts, by_words, pair_model(), Counting(-8.0))
    assert settled.surer.max() < pair_model().threshold("loose")
