"""How well the engine's judgement agrees with people's, on labelled pairs of lines."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crew_pipeline.dedup import judging, neighbours, text, text_vectors
from crew_pipeline.dedup.config import EngineConfig
from crew_pipeline.dedup.embedding import Encoder
from crew_pipeline.dedup.features import Texts
from crew_pipeline.dedup.judging import PairScorer
from crew_pipeline.dedup.languages import is_judged
from crew_pipeline.dedup.pair_model import pair_model
from crew_pipeline.dedup.repeats import is_repeat
from crew_pipeline.dedup.speech import SHORT, Utterance, speaker_names, without_addressees
from crew_pipeline.dedup.static import vocabulary

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
_HEAD = re.compile(r"@?(?P<name>[^\W\d_][^\s:,;/.]{1,30})[:,]\s")
_BINS = (0.0, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95)


@dataclass(frozen=True)
class LabelledPair:
    """Two lines of one day and a visitor's verdict.

    Attributes:
        left, right: the texts, addressees included; ``left_speaker`` and ``right_speaker`` say them.
        weight: how many such pairs it stands for.
        day: pairs of one day share their speakers, by whose names addressees are recognised.
        is_passage: they are not lines but what stands in longer ones, which is folded word for word or not at all.
    """

    left: str
    right: str
    duplicate: bool
    weight: float = 1.0
    left_speaker: str = ""
    right_speaker: str = ""
    day: str = ""
    is_passage: bool = False


@dataclass(frozen=True)
class Quality:
    """Weighted precision, recall and F1, each 0 to 1."""

    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class Bin:
    """Pairs of one range of probability: their mean probability (``said``), and the share of duplicates (``were``)."""

    pairs: int
    said: float
    were: float


@dataclass(frozen=True)
class Evaluation:
    """The engine's quality beside that of bare cosine similarity at the threshold that suits the same pairs best.

    Attributes:
        engine: quality of what a day of the two lines would hide at the operating point: of two people's lines only
            what repeats word for word.
        judged: quality of the judgement of the two texts, whoever says them.
        reliability: how far pairs are duplicates as often as their probability says.
    """

    pairs: int
    threshold: float
    engine: Quality
    judged: Quality
    cosine: Quality
    cosine_threshold: float
    reliability: tuple[Bin, ...]


@dataclass(frozen=True)
class Judged:
    """The engine's judgement of labelled pairs, in their order.

    Attributes:
        probability: float64 (n,), that one of the two may be hidden under the other, whoever says them; 0 where a pair
            is no candidate or something forbids a fold, 1 for the same words.
        similarity: float64 (n,), cosine similarity of the texts without addressees by the embedding model.
        foldable: bool (n,), whether a day may hide one of the two lines under the other.
    """

    probability: Floats
    similarity: Floats
    foldable: Flags


def quality(predicted: Flags, actual: Flags, weight: Floats) -> Quality:
    """Weighted precision, recall and F1 of ``predicted`` against ``actual``; 0 where undefined."""
    hits = float(weight[predicted & actual].sum())
    total_predicted, total_actual = float(weight[predicted].sum()), float(weight[actual].sum())
    precision = hits / total_predicted if total_predicted else 0.0
    recall = hits / total_actual if total_actual else 0.0
    f1 = 2 * precision * recall / (precision + recall) if hits else 0.0
    return Quality(round(precision, 4), round(recall, 4), round(f1, 4))


def judge(pairs: Sequence[LabelledPair], encoder: Encoder, config: EngineConfig, scorer: PairScorer | None) -> Judged:
    """Judge labelled pairs exactly as a day's pairs are judged.

    Args:
        encoder: the embedding model, whose cosine similarity is what the judgement is compared with.
    """
    sides = _cores(pairs)
    cores = sorted({core for side in sides for core in side})
    index = {core: row for row, core in enumerate(cores)}
    left, right = (np.array([index[core] for core in side], np.int64) for side in sides)
    texts = Texts([Utterance.of(core) for core in cores])
    probability, values_kept = _probabilities(texts, left, right, scorer)
    counts = np.array([text.count_words(core) for core in cores], np.int64)
    spoken = _flags([is_judged(core, config.languages) for core in cores])
    comparable = spoken & (counts >= config.min_words) & (counts <= config.max_words)
    probability = np.where(comparable[left] & comparable[right], probability, 0.0)
    probability[(left == right) & (counts[left] >= config.min_words)] = 1.0
    one_voice = _flags([text.normalise(pair.left_speaker) == text.normalise(pair.right_speaker) for pair in pairs])
    short = _flags([utterance.content_words < SHORT for utterance in texts.utterances])
    foldable = (one_voice & values_kept) | ((left == right) & ~short[left])
    for number, pair in enumerate(pairs):
        if pair.is_passage:
            probability[number], foldable[number] = float(is_repeat(pair.left, pair.right)), True
    return Judged(probability, neighbours.cosine(encoder.encode(cores), left, right), foldable)


def _probabilities(
    texts: Texts, left: NDArray[np.int64], right: NDArray[np.int64], scorer: PairScorer | None
) -> tuple[Floats, Flags]:
    """The probability of the likelier direction, and whether in that direction no value is lost."""
    near, is_near = neighbours.given_pairs(text_vectors.halves(text_vectors.of_texts(texts)), left, right)
    judged = judging.by_words(texts, near, pair_model())
    if scorer is not None:
        doubtful = np.flatnonzero(is_near & (judged.surer >= pair_model().doubt))
        said = scorer.logits(
            [(texts.utterances[left[row]].core, texts.utterances[right[row]].core) for row in doubtful.tolist()]
        )
        read = judging.by_reading(judged, doubtful, said, pair_model(), fitted=scorer.fitted)
        chosen = np.zeros(len(judged), np.bool_)
        chosen[doubtful] = True
        is_near &= chosen
        judged = read
    values = texts.traits.values
    directions = zip(left.tolist(), right.tolist(), (judged.left_under >= judged.right_under).tolist(), strict=True)
    kept = _flags([values[a] <= values[b] if a_hidden else values[b] <= values[a] for a, b, a_hidden in directions])
    return np.where(is_near, judged.surer, 0.0), kept


def evaluate(
    pairs: Sequence[LabelledPair], encoder: Encoder, config: EngineConfig, scorer: PairScorer | None
) -> Evaluation:
    """Compare the engine's judgement at its operating point with people's."""
    judged = judge(pairs, encoder, config, scorer)
    actual = _flags([pair.duplicate for pair in pairs])
    weight = np.array([pair.weight for pair in pairs], np.float64)
    threshold = pair_model().threshold(config.folding, "words" if scorer is None else "reading")
    accepted = judged.probability >= threshold
    cosine, cosine_threshold = best_threshold(judged.similarity, actual, weight)
    return Evaluation(
        len(pairs),
        threshold,
        quality(accepted & judged.foldable, actual, weight),
        quality(accepted, actual, weight),
        cosine,
        cosine_threshold,
        _reliability(judged.probability, actual, weight),
    )


def best_threshold(similarity: Floats, actual: Flags, weight: Floats) -> tuple[Quality, float]:
    """The quality of ``similarity`` at the threshold that suits these pairs best."""
    thresholds = np.round(np.arange(0.5, 1.0, 0.01), 2)
    measured = [(quality(similarity >= threshold, actual, weight), float(threshold)) for threshold in thresholds]
    return max(measured, key=lambda measure: (measure[0].f1, measure[1]))


def _cores(pairs: Sequence[LabelledPair]) -> tuple[list[str], list[str]]:
    speakers: dict[str, set[str]] = defaultdict(set)
    for pair in pairs:
        speakers[pair.day].update((pair.left_speaker, pair.right_speaker))
    addressed = frozenset(_addressed([text.normalise(line) for pair in pairs for line in (pair.left, pair.right)]))
    names = {day: speaker_names(of_day) | addressed for day, of_day in speakers.items()}
    return (
        [without_addressees(text.normalise(pair.left), names[pair.day]) for pair in pairs],
        [without_addressees(text.normalise(pair.right), names[pair.day]) for pair in pairs],
    )


def _addressed(texts: Sequence[str]) -> set[str]:
    """Names of people whom the texts address: a file of pairs names only few of its days' speakers.

    A name is whatever precedes a colon or comma at the head of a line and is no word of the bundled model's vocabulary.
    """
    heads = {head["name"] for line in texts if (head := _HEAD.match(line))}
    pieces = vocabulary().encode_batch(sorted(heads), add_special_tokens=False)
    return {head for head, encoded in zip(sorted(heads), pieces, strict=True) if len(encoded.ids) > 1}


def _reliability(probability: Floats, actual: Flags, weight: Floats) -> tuple[Bin, ...]:
    bins = []
    for low, high in zip(_BINS, (*_BINS[1:], 1.01), strict=True):
        members = (probability >= low) & (probability < high) & (weight > 0)
        if members.any():
            said, were = (
                float(np.average(values[members], weights=weight[members])) for values in (probability, actual)
            )
            bins.append(Bin(int(members.sum()), round(said, 4), round(were, 4)))
    return tuple(bins)


def _flags(values: Sequence[bool]) -> Flags:
    return np.array(values, np.bool_)
