"""Whether one text may be hidden under another: a fitted judge decides by their words, a pair scorer where in doubt.

The question has a direction: a text may hide under another that says everything it says, asks, wants or gives; the
other may say more (docs/judgement.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from crew_pipeline.dedup import lexicon
from crew_pipeline.dedup.features import PAIR, Rows, Texts, compare
from crew_pipeline.dedup.neighbours import Near
from crew_pipeline.dedup.pair_model import DECIMALS, PairModel
from crew_pipeline.dedup.pair_scorer import SWAPPED

KEPT = 0.05
"""Lowest probability at which a pair is kept: below it no operating point folds."""

EXACT = "same words"
TO_OTHERS = "the same words, said to somebody else"
"""Of lines that differ in whom they address."""


class Obstacle(IntEnum):
    """What forbids a fold whatever the judge says."""

    NONE = 0
    VALUES_DIFFER = 1
    OPPOSITES = 2
    ONE_DENIES = 3
    QUESTION_AND_STATEMENT = 4
    CODE = 5
    """One is code, where a single sign says something else, or a list's entry, where a single word does."""


_SAME_CONTENT = 0.85

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


class PairScorer(Protocol):
    """Reads pairs of texts together."""

    fitted: bool
    """Whether the judge of the basis ``reading`` was fitted with its scores."""

    def logits(self, pairs: Sequence[tuple[str, str]]) -> Floats:
        """Log-odds, float64 (n, k): that the left text covers the right, that the right covers the left, and more."""


@dataclass(frozen=True)
class Pairs:
    """Judged pairs of texts, in ascending order of (left, right).

    Attributes:
        left, right: int64 (n,), indices of texts, left < right.
        similarity: float64 (n,), cosine similarity of their static vectors, 4 decimals.
        left_under, right_under: float64 (n,), the probability that the left text may be hidden under the right one, and
            the right under the left.
        reason: what speaks for the pair, in words.
    """

    left: Ints
    right: Ints
    similarity: Floats
    left_under: Floats
    right_under: Floats
    reason: list[str]

    def __len__(self) -> int:
        return len(self.left)


def no_pairs() -> Pairs:
    """An empty list of pairs."""
    ints, floats = np.empty(0, np.int64), np.empty(0, np.float64)
    return Pairs(ints, ints, floats, floats, floats, [])


@dataclass(frozen=True)
class Judged:
    """Pairs of texts as far as they have been judged, in the order of ``near``.

    Attributes:
        rows: their features.
        left_under, right_under: float64 (n,), see ``Pairs``; 0 where an obstacle forbids a fold.
    """

    near: Near
    rows: Rows
    left_under: Floats
    right_under: Floats

    def __len__(self) -> int:
        return len(self.near.left)

    def at(self, rows: Ints) -> Judged:
        """Those of some of the pairs."""
        return Judged(self.near.at(rows), self.rows.at(rows), self.left_under[rows], self.right_under[rows])

    @property
    def surer(self) -> Floats:
        """The probability of the likelier direction: float64 (n,)."""
        return np.maximum(self.left_under, self.right_under)


_AT_ONCE = 16_384
"""Pairs whose features are in memory together: some hundred numbers a pair, more for long texts."""


def likely_by_words(texts: Texts, near: Near, model: PairModel, least: float) -> Judged:
    """Judge pairs by their words alone, and keep those that are at least so likely to fold: a few of a hundred.

    Args:
        near: pairs of indices into ``texts``.
    """
    kept_ones = []
    for start in range(0, max(1, len(near)), _AT_ONCE):
        judged = by_words(texts, near.at(np.arange(start, min(start + _AT_ONCE, len(near)))), model)
        kept_ones.append(judged.at(np.flatnonzero(judged.surer >= least)))
    return _joined(kept_ones)


def _joined(parts: Sequence[Judged]) -> Judged:
    if len(parts) == 1:
        return parts[0]
    near = Near(*(np.concatenate([getattr(part.near, name) for part in parts]) for name in _OF_NEAR))
    rows = Rows(*(np.concatenate([getattr(part.rows, name) for part in parts]) for name in _OF_ROWS))
    return Judged(near, rows, *(np.concatenate([getattr(part, name) for part in parts]) for name in _OF_BOTH))


_OF_NEAR, _OF_ROWS, _OF_BOTH = (
    ("left", "right", "similarity"),
    ("pair", "left", "right"),
    ("left_under", "right_under"),
)


def by_words(texts: Texts, near: Near, model: PairModel) -> Judged:
    """Judge pairs by their words alone.

    The judgement of a pair depends on its two texts alone, not on the other pairs.

    Args:
        near: pairs of indices into ``texts``.
    """
    rows = compare(texts, near.left, near.right)
    judge = model.judges["words"]
    free = obstacles(rows) == Obstacle.NONE
    left_under, right_under = (
        np.where(free, judge.probability(features), 0.0) for features in (rows.left_hidden, rows.right_hidden)
    )
    return Judged(near, rows, left_under, right_under)


def by_reading(judged: Judged, chosen: Ints, logits: Floats, model: PairModel, *, fitted: bool) -> Judged:
    """The pairs with some of them judged by what a pair scorer says of them as well.

    Args:
        chosen: int64 (n,), which pairs were read.
        logits: float64 (n, k), see ``PairScorer.logits``.
        fitted: whether the judge of the basis ``reading`` was fitted with such scores; else their log-odds and those
            of the judge by words count alike.
    """
    rows = judged.rows.at(chosen)
    left_under, right_under = judged.left_under.copy(), judged.right_under.copy()
    free = obstacles(rows) == Obstacle.NONE
    # The scores say which text covers which; a judge is asked whether the visible one does.
    for under, features, said in (
        (left_under, rows.left_hidden, logits[:, SWAPPED[: logits.shape[1]]]),
        (right_under, rows.right_hidden, logits),
    ):
        read = (
            model.judges["reading"].probability(np.column_stack([features, said]))
            if fitted
            else _halfway(under[chosen], said[:, 0])
        )
        under[chosen] = np.where(free, read, 0.0)
    return replace(judged, left_under=left_under, right_under=right_under)


def _halfway(probability: Floats, logits: Floats) -> Floats:
    """The mean of the log-odds of the judge and of a pair scorer it was not fitted with, as a probability."""
    bounded = probability.clip(1e-4, 1 - 1e-4)
    return np.asarray(1 / (1 + np.exp(-(np.log(bounded / (1 - bounded)) + logits) / 2))).round(DECIMALS)


def kept(texts: Texts, judged: Judged) -> Pairs:
    """The pairs that some operating point may fold by, with their reasons."""
    rows = np.flatnonzero(judged.surer >= KEPT)
    rows = rows[np.lexsort((judged.near.right[rows], judged.near.left[rows]))]
    left, right = judged.near.left[rows], judged.near.right[rows]
    why = [reason(texts, a, b, judged.rows, row) for row, a, b in zip(rows.tolist(), left, right, strict=True)]
    return Pairs(left, right, judged.near.similarity[rows], judged.left_under[rows], judged.right_under[rows], why)


def obstacles(rows: Rows) -> NDArray[np.int8]:
    """What forbids a fold whatever the judge says: int8 (n,), of ``Obstacle``.

    Each obstacle is rare among pairs of which one covers the other (see ``docs/judgement.md``), and to fold in spite of
    it would hide something that a visitor must see.
    """
    obstacle = np.zeros(len(rows), np.int8)
    obstacle[(rows.column("asks_one") > 0) & (rows.column("marks_one") > 0)] = Obstacle.QUESTION_AND_STATEMENT
    obstacle[(rows.column("denies_one") > 0) & (rows.column("coverage_least") >= _SAME_CONTENT)] = Obstacle.ONE_DENIES
    obstacle[(rows.column("opposites") > 0) & (rows.column("denies_one") == 0)] = Obstacle.OPPOSITES
    obstacle[rows.column("values_differ") > 0] = Obstacle.VALUES_DIFFER
    entry = (rows.column("marked") > 0) & (rows.column("same_content") == 0)
    obstacle[(rows.column("code") > 0) | entry] = Obstacle.CODE
    return obstacle


def reason(texts: Texts, left: int, right: int, rows: Rows, row: int) -> str:
    """What speaks for the pair of one row, and the words in which it differs: a sentence for people."""
    value = dict(zip(PAIR, rows.pair[row].tolist(), strict=True))
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
