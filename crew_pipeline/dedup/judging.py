"""Whether two similar texts say the same: similarity proposes, what differs in substance decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crew_pipeline.dedup import text as words_of

EXACT = "same words"


@dataclass(frozen=True)
class Judgement:
    """What was decided about the candidate pairs, in their order.

    Attributes:
        accepted: bool (n,), whether the right text may be folded under the left one.
        score: float64 (n,), 0 to 1, how sure the engine is; 0 where something of substance differs.
        obstacle: int8 (n,), an index into ``OBSTACLES``; 0 is none.
    """

    accepted: NDArray[np.bool_]
    score: NDArray[np.float64]
    obstacle: NDArray[np.int8]


OBSTACLES = ("", "differs in a number, version, path or name", "one denies what the other says", "opposites", "asks")


@dataclass(frozen=True)
class Traits:
    """What is compared besides similarity, one entry per text.

    Attributes:
        values: int64, equal codes mean equal sets of numbers, versions, paths and names of code.
        negated: bool, whether the text holds an odd number of negations.
        question: bool, whether the text asks.
        first, second: uint64 bit sets, which opposites the text holds on either side.
    """

    values: NDArray[np.int64]
    negated: NDArray[np.bool_]
    question: NDArray[np.bool_]
    first: NDArray[np.uint64]
    second: NDArray[np.uint64]

    @classmethod
    def of(cls, texts: Sequence[str]) -> Traits:
        """Traits of normalised texts."""
        codes: dict[frozenset[str], int] = {}
        split = [words_of.words(text) for text in texts]
        opposites = [words_of.opposites(one) for one in split]
        return cls(
            values=np.array([codes.setdefault(words_of.values(text), len(codes)) for text in texts], np.int64),
            negated=np.array([words_of.negations(one) % 2 == 1 for one in split], np.bool_),
            question=np.array([words_of.is_question(text) for text in texts], np.bool_),
            first=np.array([one[0] for one in opposites], np.uint64),
            second=np.array([one[1] for one in opposites], np.uint64),
        )


def judge(
    traits: Traits,
    left: NDArray[np.int64],
    right: NDArray[np.int64],
    similarity: NDArray[np.float64],
    threshold: float,
) -> Judgement:
    """Judge candidate pairs: accepted where ``similarity >= threshold`` and nothing of substance differs.

    Args:
        traits: of the texts that ``left`` and ``right`` (int64, shape (n,)) point into.
        similarity: float64 (n,), cosine similarity of each pair.
        threshold: lowest similarity accepted.
    """
    obstacle = np.zeros(len(left), np.int8)
    obstacle[traits.question[left] != traits.question[right]] = 4
    first_left, first_right = traits.first[left], traits.first[right]
    second_left, second_right = traits.second[left], traits.second[right]
    crossed = (first_left & ~second_left & second_right & ~first_right) | (
        second_left & ~first_left & first_right & ~second_right
    )
    obstacle[crossed != 0] = 3
    obstacle[traits.negated[left] != traits.negated[right]] = 2
    obstacle[traits.values[left] != traits.values[right]] = 1
    clear = obstacle == 0
    return Judgement(
        accepted=clear & (similarity >= threshold), score=np.where(clear, similarity, 0.0), obstacle=obstacle
    )


def reason_for(similarity: float) -> str:
    """Why a line that is worded differently was folded, in words for a reader."""
    return f"says the same in other words (similarity {similarity:.2f}); no number, negation or question differs"
