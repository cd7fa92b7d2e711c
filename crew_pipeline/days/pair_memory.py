"""A pair scorer that remembers: pairs that it has scored once are looked up, on whatever day they come again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from crew_pipeline.dedup.pair_scorer import BundledScorer, NamedScorer
from crew_pipeline.dedup.text import text_hash
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.evidence import pair_scores


class RememberingScorer:
    """Scores only pairs that are new: a score follows from the two texts alone, so old ones still hold."""

    fitted = True

    def __init__(self, scorer: BundledScorer, db: Database) -> None:
        self._scorer = scorer
        self._db = db

    def logits(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float64]:
        """Log-odds that the texts of each pair say the same: float64 (n,), see ``BundledScorer.logits``."""
        keys = [_key(pair) for pair in pairs]
        with self._db.read() as connection:
            known = pair_scores.fetch(connection, self._scorer.identity, sorted(set(keys)))
        unread = {key: pair for key, pair in zip(keys, pairs, strict=True) if key not in known}
        said = self._scorer.logits(list(unread.values())).tolist()
        fresh = dict(zip(unread, said, strict=True))
        if fresh:
            with self._db.write() as connection:
                pair_scores.store(connection, self._scorer.identity, fresh)
        known |= fresh
        return np.array([known[key] for key in keys], np.float64)


def remembering(scorer: BundledScorer | NamedScorer | None, db: Database) -> RememberingScorer | NamedScorer | None:
    """The bundled pair scorer with its memory. A named one may be another tomorrow, so it is always asked."""
    return RememberingScorer(scorer, db) if isinstance(scorer, BundledScorer) else scorer


def _key(pair: tuple[str, str]) -> pair_scores.TextPair:
    left, right = text_hash(pair[0]), text_hash(pair[1])
    return (left, right) if left <= right else (right, left)
