"""How well the engine's judgement agrees with people's, on labelled pairs of lines."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crew_pipeline.dedup import judging, neighbours, text
from crew_pipeline.dedup.config import EngineConfig
from crew_pipeline.dedup.embedding import Encoder
from crew_pipeline.dedup.features import Texts
from crew_pipeline.dedup.judging import PairScorer
from crew_pipeline.dedup.pair_model import pair_model
from crew_pipeline.dedup.speech import SHORT, Utterance, speaker_names, without_addressees
from crew_pipeline.dedup.static import vocabulary

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
_HEAD = re.compile(r"@?(?P<name>[^\W\d_][^\s:,;/.]{1,30})[:,]\s")
_BINS = (0.0, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95)


@dataclass(frozen=True)
class LabelledPair:
    """Two lines of one day and a reader's verdict.

    Attributes:
        left, right: the texts, addressees included; ``left_speaker`` and ``right_speaker`` say them.
        weight: how many such pairs it stands for.
        day: pairs of one day share their speakers, by whose names addressees are recognised.
    """

    left: str
    right: str
    duplicate: bool
    weight: float = 1.0
    left_speaker: str = ""
    right_speaker: str = ""
    day: str = ""


@dataclass(frozen=True)
class Quality:
    """Weighted precision, recall and F1, each 0 to 1."""

    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class Bin:
    """Pairs whose probability lies in one range: what was said on average, and how many were duplicates indeed."""

    pairs: int
    said: float
    were: float


@dataclass(frozen=True)
class Evaluation:
    """The engine's quality beside that of bare cosine similarity at the threshold that suits the same pairs best.

    Attributes:
        engine: of the judgement of pairs at the operating point.
        folded: of what a day would hide: short lines stay visible under other speakers'.
        reliability: how far the probabilities can be taken at their word.
    """

    pairs: int
    threshold: float
    engine: Quality
    folded: Quality
    cosine: Quality
    cosine_threshold: float
    reliability: tuple[Bin, ...]


@dataclass(frozen=True)
class Judged:
    """What the engine thinks of labelled pairs, in their order.

    Attributes:
        probability: float64 (n,), 0 where a pair is no candidate or something forbids a fold.
        similarity: float64 (n,), cosine similarity of the texts without addressees.
        foldable: bool (n,), whether a day may hide one of the two lines under the other.
    """

    probability: Floats
    similarity: Floats
    foldable: Flags


def quality(predicted: Flags, actual: Flags, weight: Floats) -> Quality:
    """Weighted precision, recall and F1 of ``predicted`` against ``actual``; 0 where undefined."""
    hits = float(weight[predicted & actual].sum())
    found, wanted = float(weight[predicted].sum()), float(weight[actual].sum())
    precision = hits / found if found else 0.0
    recall = hits / wanted if wanted else 0.0
    f1 = 2 * precision * recall / (precision + recall) if hits else 0.0
    return Quality(round(precision, 4), round(recall, 4), round(f1, 4))


def judge(pairs: Sequence[LabelledPair], encoder: Encoder, config: EngineConfig, scorer: PairScorer | None) -> Judged:
    """Judge labelled pairs exactly as a day's pairs are judged."""
    sides = _cores(pairs)
    texts = sorted({core for side in sides for core in side})
    index = {core: row for row, core in enumerate(texts)}
    left, right = (np.array([index[core] for core in side], np.int64) for side in sides)
    similarity = neighbours.cosine(encoder.encode(texts), left, right)
    taken = Texts([Utterance.of(core) for core in texts])
    near = neighbours.Near(left, right, similarity, whole=True)
    found = judging.verdicts(taken, near, pair_model(), scorer)
    one_speaker = _flags([text.normalise(pair.left_speaker) == text.normalise(pair.right_speaker) for pair in pairs])
    probability = np.where(one_speaker, found.same, found.other)
    counts = np.array([text.count_words(core) for core in texts], np.int64)
    comparable = (counts >= config.min_words) & (counts <= config.max_words)
    candidate = (similarity >= judging.FLOOR) & comparable[left] & comparable[right]
    probability = np.where(candidate, probability, 0.0)
    probability[(left == right) & (counts[left] >= config.min_words)] = 1.0
    short = _flags([one.content_words < SHORT for one in taken.utterances])
    return Judged(probability, similarity, one_speaker | ~(short[left] & short[right]))


def evaluate(
    pairs: Sequence[LabelledPair], encoder: Encoder, config: EngineConfig, scorer: PairScorer | None
) -> Evaluation:
    """Hold the engine's judgement at its operating point against people's."""
    judged = judge(pairs, encoder, config, scorer)
    actual = _flags([pair.duplicate for pair in pairs])
    weight = np.array([pair.weight for pair in pairs], np.float64)
    threshold = pair_model().threshold(config.folding, "meaning" if scorer is None else "reading")
    accepted = judged.probability >= threshold
    cosine, cosine_threshold = best_threshold(judged.similarity, actual, weight)
    return Evaluation(
        len(pairs),
        threshold,
        quality(accepted, actual, weight),
        quality(accepted & judged.foldable, actual, weight),
        cosine,
        cosine_threshold,
        _reliability(judged.probability, actual, weight),
    )


def best_threshold(similarity: Floats, actual: Flags, weight: Floats) -> tuple[Quality, float]:
    """The quality of ``similarity`` at the threshold that suits these pairs best."""
    thresholds = np.round(np.arange(0.5, 1.0, 0.01), 2)
    measured = [(quality(similarity >= threshold, actual, weight), float(threshold)) for threshold in thresholds]
    return max(measured, key=lambda one: (one[0].f1, one[1]))


def _cores(pairs: Sequence[LabelledPair]) -> tuple[list[str], list[str]]:
    speakers: dict[str, set[str]] = defaultdict(set)
    for pair in pairs:
        speakers[pair.day].update((pair.left_speaker, pair.right_speaker))
    addressed = frozenset(_addressed([text.normalise(one) for pair in pairs for one in (pair.left, pair.right)]))
    names = {day: speaker_names(found) | addressed for day, found in speakers.items()}
    return (
        [without_addressees(text.normalise(pair.left), names[pair.day]) for pair in pairs],
        [without_addressees(text.normalise(pair.right), names[pair.day]) for pair in pairs],
    )


def _addressed(texts: Sequence[str]) -> set[str]:
    """Names that pairs do not give: a file of pairs holds few of its days' speakers, but whom they address.

    Whatever stands before a colon or comma at the head of a line and is no word of the bundled model's vocabulary.
    """
    heads = {found["name"] for one in texts if (found := _HEAD.match(one))}
    pieces = vocabulary().encode_batch(sorted(heads), add_special_tokens=False)
    return {head for head, encoded in zip(sorted(heads), pieces, strict=True) if len(encoded.ids) > 1}


def _reliability(probability: Floats, actual: Flags, weight: Floats) -> tuple[Bin, ...]:
    found = []
    for low, high in zip(_BINS, (*_BINS[1:], 1.01), strict=True):
        members = (probability >= low) & (probability < high) & (weight > 0)
        if members.any():
            said, were = (float(np.average(of[members], weights=weight[members])) for of in (probability, actual))
            found.append(Bin(int(members.sum()), round(said, 4), round(were, 4)))
    return tuple(found)


def _flags(values: Sequence[bool]) -> Flags:
    return np.array(values, np.bool_)
