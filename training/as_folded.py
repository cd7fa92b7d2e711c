"""The shipped engine against the coverage pairs, as a day would fold them.

    python -m training.as_folded

Each pair that two readings agree on is a day of two lines, folded by the engine with all its rules. A fold is right
where the visible line covers the hidden one and they are not two people's own matter. What could be hidden rightly and
is not is missed. Weighted: each pair counts as many candidates of its kind of talk as it stands for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from crew_pipeline.dedup import frames
from crew_pipeline.dedup.comparing import Comparison, compare_lines
from crew_pipeline.dedup.config import EngineConfig
from crew_pipeline.dedup.cores import cores, distinct_texts
from crew_pipeline.dedup.folding import fold_lines
from crew_pipeline.dedup.frames import Columns
from crew_pipeline.dedup.judging import PairScorer
from crew_pipeline.dedup.pair_scorer import scorer_of
from crew_pipeline.dedup.text import text_hash
from crew_pipeline.dedup.text_vectors import text_vectors
from crew_pipeline.model import OperatingPoint
from training import coverage
from training.coverage import CoveragePair

START = datetime(2025, 1, 15, 9, tzinfo=UTC)


@dataclass(frozen=True)
class Outcome:
    """What became of a pair.

    Attributes:
        hidden: whether one line was hidden under the other.
        right: whether that was right.
        possible: whether hiding one of them would be.
        formula: whether readers call it courtesy or routine.
    """

    pair: CoveragePair
    hidden: bool
    right: bool
    possible: bool
    formula: bool


def main() -> None:
    """Print precision and recall of each kind of talk at each operating point."""
    pairs = [pair for pair in coverage.load() if pair.agreed and pair.left.core != pair.right.core]
    config = EngineConfig()
    comparisons = compared(pairs, config)
    for point in get_args(OperatingPoint):
        outcomes = [outcome(*both, config.at(point)) for both in zip(pairs, comparisons, strict=True)]
        print(f"\n{point}: precision, recall, folds (formulas among the right ones)")
        for kind in dict.fromkeys(pair.kind for pair in pairs):
            note = " (never fitted to)" if kind == coverage.UNLICENSED else ""
            print(f"  {kind:14} {measured([one for one in outcomes if one.pair.kind == kind])}{note}")
        print(f"  {'all':14} {measured(outcomes)}", flush=True)


def compared(pairs: Sequence[CoveragePair], config: EngineConfig) -> list[Comparison]:
    """What the engine says of each pair, as the comparison of a day that has only these two lines."""
    days = [day_of(pair) for pair in pairs]
    texts = {key: core for day in days for key, core in distinct_texts(day, config).items()}
    vectors = dict(zip(texts, text_vectors(list(texts.values())), strict=True))
    said = [(one, other) for one, other in map(cores, days) if {text_hash(one), text_hash(other)} <= texts.keys()]
    read = Read(scorer_of(config.pair_scorer), said)
    return [compare_lines(day, vectors, config, read) for day in days]


class Read:
    """A pair scorer that has read all pairs at once, which is faster than one by one."""

    fitted = True

    def __init__(self, scorer: PairScorer | None, pairs: Sequence[tuple[str, str]]) -> None:
        if scorer is None:
            raise ValueError("there is no pair scorer to read with")
        both = sorted({one for pair in pairs for one in (pair, pair[::-1])})
        self._known = dict(zip(both, scorer.logits(both), strict=True))

    def logits(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float64]:
        """See ``PairScorer``."""
        return np.stack([self._known[pair] for pair in pairs])


def day_of(pair: CoveragePair) -> Columns:
    """A day of the two lines: columns ``frames.LINES``."""
    rows = [
        ("c", side.conversation, number, side.speaker, START + timedelta(minutes=number), side.core)
        for number, side in enumerate((pair.left, pair.right))
    ]
    return frames.columns(rows, frames.LINES)


def outcome(pair: CoveragePair, comparison: Comparison, config: EngineConfig) -> Outcome:
    """Fold a day of the two lines."""
    members = fold_lines("c", "2025-01-15", day_of(pair), comparison, config).rows
    hidden = [row[3] for row in members if not row[4]]
    may_hide = {1: pair.left_covers == 1, 0: pair.right_covers == 1}
    theirs = bool(pair.own)
    return Outcome(
        pair,
        bool(hidden),
        any(may_hide[number] for number in hidden) and not theirs,
        any(may_hide.values()) and not theirs,
        bool(pair.formula),
    )


def measured(outcomes: Sequence[Outcome]) -> str:
    """Weighted precision and recall."""
    weight = np.array([one.pair.weight for one in outcomes])
    hidden, right, possible = (
        np.array([getattr(one, name) for one in outcomes], np.bool_) for name in ("hidden", "right", "possible")
    )
    precision = weight[right].sum() / max(weight[hidden].sum(), 1e-12)
    recall = weight[right].sum() / max(weight[possible].sum(), 1e-12)
    formulas = sum(one.right and one.formula for one in outcomes)
    return f"P {precision:.2f}  R {recall:.2f}  {hidden.sum():5,} ({formulas})"


if __name__ == "__main__":
    main()
