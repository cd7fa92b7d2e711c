"""Which pairs the pair scorer reads: only those whose answer can still change what is hidden under what.

Of a text, the likeliest text to hide it under is read first. Once it surely may be hidden, it is compared no further;
a text that is sure under nothing after ``MOST_READ`` pairs is left to stand. So the number of pairs that are read grows
with the texts of a day, never with their square: at most ``MOST_READ + HUBS`` a text.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crew_pipeline.dedup import judging
from crew_pipeline.dedup.features import Texts
from crew_pipeline.dedup.judging import Judged, PairScorer
from crew_pipeline.dedup.pair_model import PairModel

MOST_READ = 2
"""Pairs that are read to find a text that another may be hidden under."""
HUBS = 2
"""Rounds in which what is hidden under a hidden text is read with the text above."""
_HIGHEST = 8
"""Steps that are climbed to the text at the top; three texts may each cover the next in a circle."""

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]


def read(texts: Texts, judged: Judged, model: PairModel, scorer: PairScorer) -> tuple[Judged, int]:
    """Pairs judged by their words, with those that matter read; what is in doubt and was not read folds nothing.

    Returns:
        The pairs, and how many of them were read.
    """
    reading = _Reading(texts, judged, model, scorer)
    for _ in range(MOST_READ):
        reading.read(reading.likeliest())
    for _ in range(HUBS):
        reading.read(reading.with_hubs())
    return reading.result()


class _Reading:
    def __init__(self, texts: Texts, judged: Judged, model: PairModel, scorer: PairScorer) -> None:
        self._texts = texts
        self._judged = judged
        self._model = model
        self._scorer = scorer
        self._sure = model.threshold("balanced", "reading")
        near = judged.near
        # Either direction of each pair: the text that would be hidden, the one that would stay, and the pair's number.
        self._hidden = np.concatenate([near.left, near.right])
        self._visible = np.concatenate([near.right, near.left])
        self._pair = np.tile(np.arange(len(judged)), 2)
        self._first = np.concatenate([judged.left_under, judged.right_under])
        self._was_read = np.zeros(len(judged), np.bool_)
        self._rank = _ranks(texts)

    def likeliest(self) -> Ints:
        """For each text that is not surely hidden yet, the pair by which it most likely is."""
        above = self._above()
        open_ = (above[self._hidden] < 0) & self._in_doubt()
        rows = np.flatnonzero(open_)
        order = rows[np.lexsort((self._rank[self._visible[rows]], -self._first[rows], self._hidden[rows]))]
        first = np.ones(len(order), np.bool_)
        first[1:] = self._hidden[order[1:]] != self._hidden[order[:-1]]
        return np.unique(self._pair[order[first]])

    def with_hubs(self) -> Ints:
        """For each text that is hidden under a hidden one, the pair with the text above that, as far as in doubt."""
        above = self._above()
        hub = above.copy()
        for _ in range(_HIGHEST):
            further = np.where(hub >= 0, above[hub], -1)
            climbs = further >= 0
            if not climbs.any():
                break
            hub[climbs] = further[climbs]
        wanted = self._in_doubt() & (hub[self._hidden] == self._visible) & (above[self._hidden] != self._visible)
        return np.unique(self._pair[wanted])

    def read(self, pairs: Ints) -> None:
        """Read pairs and judge them again."""
        if not len(pairs):
            return
        near, utterances = self._judged.near, self._texts.utterances
        sides = zip(near.left[pairs].tolist(), near.right[pairs].tolist(), strict=True)
        logits = self._scorer.logits([(utterances[left].core, utterances[right].core) for left, right in sides])
        self._judged = judging.by_reading(self._judged, pairs, logits, self._model, fitted=self._scorer.fitted)
        self._was_read[pairs] = True

    def result(self) -> tuple[Judged, int]:
        """The pairs as they stand: what was not read tells nothing."""
        judged, read = self._judged, self._was_read
        settled = Judged(
            judged.near, judged.rows, np.where(read, judged.left_under, 0.0), np.where(read, judged.right_under, 0.0)
        )
        return settled, int(read.sum())

    def _in_doubt(self) -> Flags:
        return (self._first >= self._model.doubt) & ~self._was_read[self._pair]

    def _above(self) -> Ints:
        """For each text the surest text that it surely may be hidden under, -1 for none.

        Of two texts that may each be hidden under the other, the clearer one stays.
        """
        now = np.concatenate([self._judged.left_under, self._judged.right_under])
        back = np.concatenate([self._judged.right_under, self._judged.left_under])
        clearer = self._rank[self._visible] < self._rank[self._hidden]
        sure = self._was_read[self._pair] & (now >= self._sure) & ((back < self._sure) | clearer)
        above = np.full(len(self._texts.utterances), -1, np.int64)
        rows = np.flatnonzero(sure)
        order = rows[np.lexsort((-self._rank[self._visible[rows]], now[rows]))]
        above[self._hidden[order]] = self._visible[order]
        return above


def _ranks(texts: Texts) -> Ints:
    """A total order among texts: first what says most in the fewest fillers."""
    keys = [(-one.content_words, one.disfluencies, number) for number, one in enumerate(texts.utterances)]
    ranks = np.zeros(len(keys), np.int64)
    ranks[[number for *_, number in sorted(keys)]] = np.arange(len(keys))
    return ranks
