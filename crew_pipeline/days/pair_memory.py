"""A pair scorer that remembers: pairs of a client that it has scored once are looked up, on whatever day they come."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from crew_pipeline.dedup.pair_scorer import OUTPUTS, SWAPPED, BundledScorer, NamedScorer
from crew_pipeline.dedup.text import text_hash
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.evidence import pair_scores

AT_ONCE = 256
"""Pairs that are read before they are remembered."""


class RememberingScorer:
    """Scores only pairs that are new: a score follows from the two texts alone, so old ones still hold."""

    fitted = True

    def __init__(self, scorer: BundledScorer, db: Database, client: str, between: Callable[[int], object]) -> None:
        """Args:
        between: called between two portions with the number of pairs read so far; what it raises ends the reading,
            and what was read until then is remembered.
        """
        self._scorer = scorer
        self._db = db
        self._client = client
        self._between = between
        self._done = 0

    def logits(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float64]:
        """Log-odds float64 (n, ``OUTPUTS``), see ``BundledScorer.logits``."""
        keys = [_key(pair) for pair in pairs]
        with self._db.read() as connection:
            known = pair_scores.fetch(connection, self._client, self._scorer.identity, sorted({key for key, _ in keys}))
        unread = {
            key: pair[::-1] if swapped else pair
            for (key, swapped), pair in zip(keys, pairs, strict=True)
            if key not in known
        }
        waiting = list(unread.items())
        for start in range(0, len(waiting), AT_ONCE):
            if self._done:
                self._between(self._done)
            known |= self._read(dict(waiting[start : start + AT_ONCE]))
        found = np.array([known[key] for key, _ in keys], np.float64).reshape(len(pairs), OUTPUTS)
        swapped = np.array([swapped for _, swapped in keys], np.bool_)
        found[swapped] = found[swapped][:, SWAPPED]
        return found

    def _read(
        self, pairs: Mapping[pair_scores.TextPair, tuple[str, str]]
    ) -> dict[pair_scores.TextPair, pair_scores.Scores]:
        said = self._scorer.logits(list(pairs.values())).tolist()
        fresh: dict[pair_scores.TextPair, pair_scores.Scores] = {
            key: tuple(scores) for key, scores in zip(pairs, said, strict=True)
        }
        with self._db.write() as connection:
            pair_scores.store(connection, self._client, self._scorer.identity, fresh)
        self._done += len(fresh)
        return fresh


def remembering(
    scorer: BundledScorer | NamedScorer | None,
    db: Database,
    client: str,
    between: Callable[[int], object] = lambda _done: None,
) -> RememberingScorer | NamedScorer | None:
    """The bundled pair scorer with its memory. A named one may be another tomorrow, so it is always asked."""
    return RememberingScorer(scorer, db, client, between) if isinstance(scorer, BundledScorer) else scorer


def _key(pair: tuple[str, str]) -> tuple[pair_scores.TextPair, bool]:
    """The hashes of two texts, the lesser first, and whether that swaps them."""
    left, right = text_hash(pair[0]), text_hash(pair[1])
    return ((left, right), False) if left <= right else ((right, left), True)
