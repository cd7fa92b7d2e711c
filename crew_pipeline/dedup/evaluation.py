"""How well the engine's judgement agrees with people's, on labelled pairs of lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crew_pipeline.dedup import judging, neighbours, text
from crew_pipeline.dedup.config import EngineConfig
from crew_pipeline.dedup.embedding import Encoder


@dataclass(frozen=True)
class LabelledPair:
    """Two lines of one day and a reader's verdict; ``weight`` is how many such pairs it stands for."""

    left: str
    right: str
    duplicate: bool
    weight: float = 1.0


@dataclass(frozen=True)
class Quality:
    """Weighted precision, recall and F1, each 0 to 1."""

    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class Evaluation:
    """The engine's quality beside that of bare cosine similarity at the threshold that suits the same pairs best."""

    pairs: int
    engine: Quality
    cosine: Quality
    cosine_threshold: float


def quality(predicted: NDArray[np.bool_], actual: NDArray[np.bool_], weight: NDArray[np.float64]) -> Quality:
    """Weighted precision, recall and F1 of ``predicted`` against ``actual``; 0 where undefined."""
    hits = float(weight[predicted & actual].sum())
    found, wanted = float(weight[predicted].sum()), float(weight[actual].sum())
    precision = hits / found if found else 0.0
    recall = hits / wanted if wanted else 0.0
    f1 = 2 * precision * recall / (precision + recall) if hits else 0.0
    return Quality(round(precision, 4), round(recall, 4), round(f1, 4))


def evaluate(pairs: Sequence[LabelledPair], encoder: Encoder, config: EngineConfig) -> Evaluation:
    """Judge labelled pairs exactly as a day's pairs are judged."""
    texts = sorted({text.normalise(one) for pair in pairs for one in (pair.left, pair.right)})
    index = {one: row for row, one in enumerate(texts)}
    left = np.array([index[text.normalise(pair.left)] for pair in pairs], np.int64)
    right = np.array([index[text.normalise(pair.right)] for pair in pairs], np.int64)
    actual = np.array([pair.duplicate for pair in pairs], np.bool_)
    weight = np.array([pair.weight for pair in pairs], np.float64)
    counts = np.array([text.count_words(one) for one in texts], np.int64)
    similarity = neighbours.cosine(encoder.encode(texts), left, right)
    judged = judging.judge(judging.Traits.of(texts), left, right, similarity, config.similarity_threshold)
    comparable = (counts >= config.min_words) & (counts <= config.max_words)
    folded = judged.accepted & comparable[left] & comparable[right]
    folded |= (left == right) & (counts[left] >= config.min_words)
    cosine, threshold = _best_cosine(similarity, actual, weight)
    return Evaluation(len(pairs), quality(folded, actual, weight), cosine, threshold)


def _best_cosine(
    similarity: NDArray[np.float64], actual: NDArray[np.bool_], weight: NDArray[np.float64]
) -> tuple[Quality, float]:
    thresholds = np.round(np.arange(0.5, 1.0, 0.01), 2)
    measured = [(quality(similarity >= threshold, actual, weight), float(threshold)) for threshold in thresholds]
    return max(measured, key=lambda one: (one[0].f1, one[1]))
