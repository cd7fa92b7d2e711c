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

from crew_pipeline.dedup import frames, judging, neighbours
from crew_pipeline.dedup.comparing import Comparison
from crew_pipeline.dedup.config import EngineConfig
from crew_pipeline.dedup.embedding import SentenceTransformerEncoder
from crew_pipeline.dedup.features import Texts
from crew_pipeline.dedup.folding import fold_lines
from crew_pipeline.dedup.neighbours import Near
from crew_pipeline.dedup.pair_model import pair_model
from crew_pipeline.dedup.pair_scorer import scorer_of
from crew_pipeline.dedup.speech import Utterance
from crew_pipeline.dedup.text import text_hash
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
    """What the engine's judge says of each pair, as the comparison of a day that has only these two texts."""
    encoder = SentenceTransformerEncoder()
    texts = sorted({side.core for pair in pairs for side in (pair.left, pair.right)}, key=text_hash)
    index = {text: row for row, text in enumerate(texts)}
    sides = np.array([sorted((index[pair.left.core], index[pair.right.core])) for pair in pairs])
    left, right = sides[:, 0], sides[:, 1]
    similarity = neighbours.cosine(encoder.encode(texts), left, right)
    near = Near(left, right, similarity, whole=True)
    scorer = scorer_of(config.pair_scorer, encoder)
    judged = judging.verdicts(Texts([Utterance.of(text) for text in texts]), near, pair_model(), scorer)
    one, other = np.array([0]), np.array([1])
    return [
        Comparison(
            [text_hash(texts[left[row]]), text_hash(texts[right[row]])],
            judging.Pairs(
                one,
                other,
                similarity[[row]],
                judged.other[[row]],
                judged.same[[row]],
                judged.settled[[row]],
                [""],
            ),
            1,
            whole=True,
            basis="reading" if scorer else "meaning",
        )
        if similarity[row] >= judging.FLOOR
        else Comparison([], judging.no_pairs(), 0, whole=True, basis="reading" if scorer else "meaning")
        for row in range(len(pairs))
    ]


def outcome(pair: CoveragePair, comparison: Comparison, config: EngineConfig) -> Outcome:
    """Fold a day of the two lines."""
    rows = [
        ("c", side.conversation, number, side.speaker, START + timedelta(minutes=number), side.core)
        for number, side in enumerate((pair.left, pair.right))
    ]
    members = fold_lines("c", "2025-01-15", frames.columns(rows, frames.LINES), comparison, config).rows
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
