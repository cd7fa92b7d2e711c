"""Whether two texts say the same: similarity proposes, a fitted judge decides, basis by basis, with reasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from crew_pipeline.dedup import lexicon, neighbours
from crew_pipeline.dedup.features import LEXICAL, Texts, compare
from crew_pipeline.dedup.neighbours import Near
from crew_pipeline.dedup.pair_model import DECIMALS, Basis, PairModel

FLOOR = 0.55
"""Lowest cosine similarity of the embedding model at which a pair is looked at."""
FIRST_FLOOR = 0.5
"""The same for the static vectors that ``first_stage`` compares."""
FIRST_NEIGHBOURS = 3
"""How many neighbours of a text ``first_stage`` looks at."""
KEPT = 0.05
"""Lowest probability at which a pair is kept: below it no operating point folds, and no pair scorer is asked."""

EXACT = "same words"


class Obstacle(IntEnum):
    """What forbids a fold whatever the judge says."""

    NONE = 0
    VALUES_DIFFER = 1
    OPPOSITES = 2
    ONE_DENIES = 3
    QUESTION_AND_STATEMENT = 4
    """Only between two speakers."""


_FOR_ALL = (Obstacle.VALUES_DIFFER, Obstacle.OPPOSITES, Obstacle.ONE_DENIES)
"""The obstacles that hold for one speaker's lines as well."""
_SAME_CONTENT = 0.85

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


class PairScorer(Protocol):
    """Reads pairs of texts together."""

    fitted: bool
    """Whether the judge of the basis ``reading`` was fitted with its scores."""

    def logits(self, pairs: Sequence[tuple[str, str]]) -> Floats:
        """Log-odds of being duplicates."""


@dataclass(frozen=True)
class Pairs:
    """Judged pairs of texts, in ascending order of (left, right).

    Attributes:
        left, right: int64 (n,), indices of texts, left < right.
        similarity: float64 (n,), cosine similarity, 4 decimals.
        probability: float64 (n,), of being a duplicate when two people say them.
        probability_same: float64 (n,), the same when one speaker says both.
        settled: bool (n,), False for pairs in doubt that were not read because no lines of the day could fold by them.
        reason: what speaks for the pair, in words.
    """

    left: Ints
    right: Ints
    similarity: Floats
    probability: Floats
    probability_same: Floats
    settled: Flags
    reason: list[str]

    def __len__(self) -> int:
        return len(self.left)

    def at(self, place: Ints) -> Pairs:
        """The same pairs where text ``i`` has become text ``place[i]``; ``place`` ascends."""
        return replace(self, left=place[self.left], right=place[self.right])

    def where(self, chosen: Flags) -> Pairs:
        """Some of the pairs."""
        return _taken(self, np.flatnonzero(chosen))


def _taken(pairs: Pairs, rows: Ints) -> Pairs:
    return Pairs(
        pairs.left[rows],
        pairs.right[rows],
        pairs.similarity[rows],
        pairs.probability[rows],
        pairs.probability_same[rows],
        pairs.settled[rows],
        [pairs.reason[row] for row in rows.tolist()],
    )


def no_pairs() -> Pairs:
    """An empty list of pairs."""
    ints, floats = np.empty(0, np.int64), np.empty(0, np.float64)
    return Pairs(ints, ints, floats, floats, floats, np.empty(0, np.bool_), [])


def joined(parts: Sequence[Pairs]) -> Pairs:
    """The pairs of several lists, in ascending order; no pair is in two lists."""
    together = Pairs(
        np.concatenate([part.left for part in parts]),
        np.concatenate([part.right for part in parts]),
        np.concatenate([part.similarity for part in parts]),
        np.concatenate([part.probability for part in parts]),
        np.concatenate([part.probability_same for part in parts]),
        np.concatenate([part.settled for part in parts]),
        [reason for part in parts for reason in part.reason],
    )
    return _taken(together, np.lexsort((together.right, together.left)))


def first_stage(texts: Texts, model: PairModel) -> Pairs:
    """Judge pairs by their words alone, without an embedding: a good folding in a fraction of the time."""
    near = neighbours.nearest_pairs(texts.topics, FIRST_FLOOR, FIRST_NEIGHBOURS)
    rows = compare(texts, near.left, near.right, np.zeros(len(near.left), np.bool_))
    other, same = _without_obstacles(rows, *_both_ways(model, "words", rows))
    return _kept(texts, near, other, same, np.ones(len(rows), np.bool_), rows)


def full_stages(
    texts: Texts, near: Near, model: PairModel, scorer: PairScorer | None, foldable: Flags | None = None
) -> Pairs:
    """Judge candidate pairs by their words, the model's similarity and, where in doubt, the pair scorer.

    The judgement of a pair depends on its two texts alone, not on the other pairs.

    Args:
        near: pairs of indices into ``texts``, with their cosine similarity by the embedding model.
        scorer: None leaves pairs in doubt to words and similarity.
        foldable: bool (n,), which pairs are worth reading; None for all.
    """
    judged = verdicts(texts, near, model, scorer, foldable)
    return _kept(texts, near, judged.other, judged.same, judged.settled, judged.rows)


@dataclass(frozen=True)
class Verdicts:
    """The judgement of pairs, in their order.

    Attributes:
        rows: float64 (n, k), their features.
        other, same: float64 (n,), the probability that they are duplicates when two people say them, and when one
            does; 0 where an obstacle forbids a fold.
        settled: bool (n,), see ``Pairs``.
    """

    rows: Floats
    other: Floats
    same: Floats
    settled: Flags


def verdicts(
    texts: Texts, near: Near, model: PairModel, scorer: PairScorer | None, foldable: Flags | None = None
) -> Verdicts:
    """Judge pairs; see ``full_stages``."""
    rows = np.column_stack([compare(texts, near.left, near.right, np.zeros(len(near.left), np.bool_)), near.similarity])
    other, same = _both_ways(model, "meaning", rows)
    settled = np.ones(len(rows), np.bool_)
    if scorer is not None:
        low, high = model.doubt
        doubt = (np.maximum(other, same) >= low) & (np.minimum(other, same) <= high)
        doubt &= ~np.isin(obstacles(rows), _FOR_ALL)
        if foldable is not None:
            settled = ~doubt | foldable
            doubt &= foldable
        doubtful = np.flatnonzero(doubt)
        pairs = [
            (texts.utterances[int(near.left[row])].core, texts.utterances[int(near.right[row])].core)
            for row in doubtful.tolist()
        ]
        logits = scorer.logits(pairs)
        if scorer.fitted:
            other[doubtful], same[doubtful] = _both_ways(model, "reading", np.column_stack([rows[doubtful], logits]))
        else:
            other[doubtful], same[doubtful] = (_halfway(probability[doubtful], logits) for probability in (other, same))
    return Verdicts(rows, *_without_obstacles(rows, other, same), settled)


def _both_ways(model: PairModel, basis: Basis, rows: Floats) -> tuple[Floats, Floats]:
    """Probabilities of the pairs when two people say them, and when one speaker says both."""
    judge = model.judges[basis]
    column = LEXICAL.index("same_speaker")
    by_one = rows.copy()
    by_one[:, column] = 1.0
    return judge.probability(rows), judge.probability(by_one)


def _halfway(probability: Floats, logits: Floats) -> Floats:
    """The mean of the log-odds of the judge and of a pair scorer it was not fitted with, as a probability."""
    bounded = probability.clip(1e-4, 1 - 1e-4)
    return np.asarray(1 / (1 + np.exp(-(np.log(bounded / (1 - bounded)) + logits) / 2))).round(DECIMALS)


def _without_obstacles(rows: Floats, other: Floats, same: Floats) -> tuple[Floats, Floats]:
    obstacle = obstacles(rows)
    return np.where(obstacle > 0, 0.0, other), np.where(np.isin(obstacle, _FOR_ALL), 0.0, same)


def _kept(texts: Texts, near: Near, other: Floats, same: Floats, settled: Flags, rows: Floats) -> Pairs:
    kept = np.flatnonzero(np.maximum(other, same) >= KEPT)
    left, right = near.left[kept], near.right[kept]
    why = [
        reason(texts, a, b, rows[row]) for row, a, b in zip(kept.tolist(), left.tolist(), right.tolist(), strict=True)
    ]
    return Pairs(left, right, near.similarity[kept], other[kept], same[kept], settled[kept], why)


def obstacles(rows: Floats) -> NDArray[np.int8]:
    """What forbids a fold whatever the judge says: int8 (n,), of ``Obstacle``.

    Each obstacle is rare among labelled duplicates (see ``docs/judgement.md``), and to fold in spite of it would hide
    something that a visitor must see.
    """

    def column(name: str) -> Floats:
        return rows[:, LEXICAL.index(name)]

    obstacle = np.zeros(len(rows), np.int8)
    obstacle[(column("asks_one") > 0) & (column("marks_one") > 0)] = Obstacle.QUESTION_AND_STATEMENT
    obstacle[(column("denies_one") > 0) & (column("coverage_least") >= _SAME_CONTENT)] = Obstacle.ONE_DENIES
    obstacle[(column("opposites") > 0) & (column("denies_one") == 0)] = Obstacle.OPPOSITES
    obstacle[column("values_differ") > 0] = Obstacle.VALUES_DIFFER
    return obstacle


def reason(texts: Texts, left: int, right: int, row: Floats) -> str:
    """What speaks for a pair, and the words in which it differs: a sentence for people."""
    value = dict(zip(LEXICAL, row.tolist(), strict=False))
    parts = [_wording(value)]
    first, second = texts.utterances[left], texts.utterances[right]
    shared = _telling(texts, set(first.content) & set(second.content))
    if value["same_content"] == 0 and shared:
        parts.append("both say " + ", ".join(shared))
    if value["seeks_both"] > 0:
        parts.append("both ask")
    gone = [
        _telling(texts, set(mine.content) - set(theirs.content)) for mine, theirs in ((first, second), (second, first))
    ]
    if any(gone):
        parts.append("differs in " + " / ".join(", ".join(words) or "–" for words in gone))
    if value["denies_one"] > 0:
        parts.append("one has a negation")
    return "; ".join(parts)


_MOST_WORDS = 3


def _wording(value: Mapping[str, float]) -> str:
    if value["same_content"] > 0:
        return "the same words but for fillers"
    likeness = max(value["characters"], value["sorted_words"])
    if likeness >= 0.85:
        return f"nearly the same words ({likeness:.0%})"
    if likeness >= 0.6:
        return f"much the same words ({likeness:.0%})"
    return "the same in other words"


def _telling(texts: Texts, words: set[str]) -> list[str]:
    """The words that tell most, fillers and function words left out."""
    chosen = [word for word in words if word not in lexicon.FUNCTION_WORDS and word not in lexicon.NEGATIONS]
    return sorted(chosen, key=lambda word: (-texts.weight_of(word), word))[:_MOST_WORDS]
