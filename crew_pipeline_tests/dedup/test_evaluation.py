"""Labelled pairs are judged as a day's pairs are, and weighed."""

from __future__ import annotations

import numpy as np
import pytest

from crew_pipeline.dedup.config import EngineConfig
from crew_pipeline.dedup.embedding import SentenceTransformerEncoder
from crew_pipeline.dedup.evaluation import LabelledPair, Quality, evaluate, quality


def test_weights_count_and_not_the_sample() -> None:
    predicted, actual = np.array([True, True, False, False]), np.array([True, False, True, False])
    assert quality(predicted, actual, np.array([3.0, 1.0, 1.0, 5.0])) == Quality(0.75, 0.75, 0.75)


def test_nothing_predicted_is_no_quality_rather_than_an_error() -> None:
    assert quality(np.array([False]), np.array([True]), np.array([1.0])) == Quality(0, 0, 0)


def test_the_engine_and_the_best_cosine_are_both_measured() -> None:
    pairs = [
        LabelledPair("The release is blocked by the export.", "the release is blocked by the export", True, 2.0),
        LabelledPair("Install version 10.04 of it now", "Install version 10.10 of it now", False),
        LabelledPair("Where is the coffee machine?", "The invoice export times out again", False),
    ]
    result = evaluate(pairs, SentenceTransformerEncoder(), EngineConfig(), None)
    assert result.pairs == 3
    assert result.engine == Quality(1, 1, 1)
    assert result.cosine.recall == pytest.approx(1)
    assert 0.5 <= result.cosine_threshold < 1


def test_what_stands_in_messages_is_judged_as_it_folds_there() -> None:
    row = "    total = round(sum(prices) * 1.19, 2)\n    return total"
    pairs = [
        LabelledPair(row, row, True, is_passage=True, left_speaker="Ann", right_speaker="Bo"),
        LabelledPair(row, row.replace("1.19", "1.07"), False, is_passage=True),
        LabelledPair("    return total", "    return total", False, is_passage=True),
    ]
    result = evaluate(pairs, SentenceTransformerEncoder(), EngineConfig(), None)
    assert result.engine == Quality(1, 1, 1)
