"""What one sentence is to another of the same matter, by the judge that folds days, also across days."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import numpy as np

from crew_pipeline.dedup.features import Rows, Texts
from crew_pipeline.dedup.judging import Obstacle, by_words, obstacles
from crew_pipeline.dedup.neighbours import Near
from crew_pipeline.dedup.pair_model import pair_model
from crew_pipeline.dedup.speech import Utterance
from crew_pipeline.dedup.text import normalise
from crew_pipeline.model import OperatingPoint

_SAME_MATTER = 0.4
"""Share of what two sentences say that both say, from which on a difference is a change."""
_ANOTHER_WORD = 0.25


class Relation(StrEnum):
    """What a later sentence does with an earlier one."""

    AGAIN = "again"
    """One says all that the other says."""
    CHANGED = "changed"
    """The same with another value or another thing."""
    CONTRADICTED = "contradicted"
    """The same denied, or its opposite."""
    OTHER = "other"


def relations(
    texts: Sequence[str], pairs: Sequence[tuple[int, int]], point: OperatingPoint = "balanced"
) -> list[Relation]:
    """What the texts of each pair are to each other.

    Args:
        pairs: rows of ``texts``.
        point: how sure the judge must be that one says what the other says.
    """
    if not pairs:
        return []
    model = pair_model()
    analysed = Texts([Utterance.of(normalise(text)) for text in texts])
    left, right = (np.array(side, np.int64) for side in zip(*pairs, strict=True))
    judged = by_words(analysed, Near(left, right, np.zeros(len(left))), model)
    same = judged.surer >= model.threshold(point, "words")
    alike = np.array([analysed.utterances[a].core == analysed.utterances[b].core for a, b in pairs], np.bool_)
    found = _differences(judged.rows)
    return [Relation.AGAIN if again else found[row] for row, again in enumerate((same | alike).tolist())]


def _differences(rows: Rows) -> list[Relation]:
    obstacle = obstacles(rows)
    shared = rows.column("overlap") >= _SAME_MATTER
    denied = np.isin(obstacle, (Obstacle.ONE_DENIES, Obstacle.OPPOSITES)) & shared
    another = (obstacle == Obstacle.VALUES_DIFFER) | (rows.column("swapped") >= _ANOTHER_WORD)
    return [
        Relation.CONTRADICTED if no else Relation.CHANGED if yes else Relation.OTHER
        for no, yes in zip(denied.tolist(), (another & shared).tolist(), strict=True)
    ]
