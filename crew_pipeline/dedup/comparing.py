"""Compare the texts of a day: vectors in, judged pairs out.

The pairs are worth keeping: folding the lines by them (``folding``) takes milliseconds and can be done again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from crew_pipeline.dedup import judging, neighbours
from crew_pipeline.dedup.config import EngineConfig
from crew_pipeline.dedup.cores import cores, distinct_texts
from crew_pipeline.dedup.embedding import Vectors
from crew_pipeline.dedup.features import Texts
from crew_pipeline.dedup.frames import Columns
from crew_pipeline.dedup.judging import Pairs, PairScorer
from crew_pipeline.dedup.pair_model import Basis, pair_model
from crew_pipeline.dedup.speech import Utterance
from crew_pipeline.dedup.voices import voices


class MissingVectorsError(ValueError):
    """Texts that are to be compared have not been embedded."""


@dataclass(frozen=True)
class Comparison:
    """What is known of the pairs of texts of a client's day.

    Attributes:
        texts: hashes of the texts that were compared, ascending.
        pairs: the judged pairs, as indices into ``texts``.
        candidates: how many pairs lay above the similarity floor.
        whole: whether every pair above the usual floor was judged; only then can texts be added later.
        basis: what the judgement rests on.
    """

    texts: Sequence[bytes]
    pairs: Pairs
    candidates: int
    whole: bool
    basis: Basis


def exact_repeats() -> Comparison:
    """A comparison without pairs: with it ``fold_lines`` folds only what repeats word for word."""
    return Comparison([], judging.no_pairs(), 0, whole=False, basis="words")


def first_comparison(lines: Columns, config: EngineConfig) -> Comparison:
    """Compare the texts of a client's day by their words alone: no embedding is needed."""
    texts = distinct_texts(lines, config)
    pairs = judging.first_stage(_texts_of(texts.values()), pair_model())
    return Comparison(list(texts), pairs, len(pairs), whole=False, basis="words")


def compare_lines(
    lines: Columns,
    vectors: Mapping[bytes, NDArray[np.float32]],
    config: EngineConfig,
    scorer: PairScorer | None = None,
    known: Comparison | None = None,
) -> Comparison:
    """Compare the texts of a client's day with everything there is.

    Args:
        lines: columns ``frames.LINES``, all of one client.
        vectors: unit vectors of at least the texts that ``distinct_texts`` names, by text hash.
        scorer: scores pairs in doubt; None leaves them to words and similarity.
        known: an earlier comparison of this day by the same engine. Only texts that are new to it are compared, with
            each other and with the rest; the result is the same as without it, and ``known`` itself if nothing is new.

    Raises:
        MissingVectorsError: texts that are compared have no vector.
    """
    texts = distinct_texts(lines, config)
    missing = sum(key not in vectors for key in texts)
    if missing:
        raise MissingVectorsError(f"{missing} of {len(texts)} texts have no vector; make line_embeddings first")
    matrix: Vectors = np.stack([vectors[key] for key in texts]) if texts else np.empty((0, 1), np.float32)
    bench = _Bench.of(lines, texts, matrix, scorer)
    return (known and bench.added_to(known)) or bench.compare()


@dataclass(frozen=True)
class _Bench:
    """The texts of a day and what is needed to compare them.

    Attributes:
        keys, texts: hashes of the texts, ascending, and their cores.
        voices: who says each text.
    """

    keys: list[bytes]
    texts: list[str]
    vectors: Vectors
    voices: list[set[str]]
    scorer: PairScorer | None

    @classmethod
    def of(cls, lines: Columns, texts: Mapping[bytes, str], vectors: Vectors, scorer: PairScorer | None) -> _Bench:
        said_by: dict[str, set[str]] = {core: set() for core in texts.values()}
        for core, voice in zip(cores(lines), voices(lines), strict=True):
            if core in said_by:
                said_by[core].add(voice)
        return cls(list(texts), list(texts.values()), vectors, list(said_by.values()), scorer)

    def compare(self) -> Comparison:
        """Compare all texts."""
        near = neighbours.near_pairs(self.vectors, judging.FLOOR)
        return self._comparison(self._judged(near), len(near.left), whole=near.whole)

    def added_to(self, known: Comparison) -> Comparison | None:
        """The comparison that adds what is new to what is known, or None where all texts have to be compared."""
        index = {key: row for row, key in enumerate(self.keys)}
        if not known.whole or any(key not in index for key in known.texts):
            return None  # where a text is gone, the number of candidates is no longer known
        fresh = np.ones(len(self.keys), np.bool_)
        place = np.array([index[key] for key in known.texts], np.int64)
        fresh[place] = False
        near = neighbours.near_pairs(self.vectors, judging.FLOOR, fresh, known.candidates)
        if not near.whole:
            return None
        old = known.pairs.at(place)
        # Once another voice says a text as well, a pair that was not worth reading may be.
        again = ~old.settled & self._foldable(old.left, old.right)
        if not fresh.any() and not again.any():
            return known
        doubtful = neighbours.Near(old.left[again], old.right[again], old.similarity[again], whole=True)
        pairs = judging.joined([old.where(~again), self._judged(doubtful), self._judged(near)])
        return self._comparison(pairs, known.candidates + len(near.left), whole=True)

    def _comparison(self, pairs: Pairs, candidates: int, *, whole: bool) -> Comparison:
        return Comparison(self.keys, pairs, candidates, whole, "meaning" if self.scorer is None else "reading")

    def _foldable(self, left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which pairs lines could fold by: those of texts that have a voice in common."""
        pairs = zip(left.tolist(), right.tolist(), strict=True)
        return np.array([not self.voices[a].isdisjoint(self.voices[b]) for a, b in pairs], np.bool_)

    def _judged(self, near: neighbours.Near) -> Pairs:
        """Judge pairs; only the texts of these pairs are analysed."""
        used = np.unique(np.concatenate([near.left, near.right]))
        within = replace(near, left=np.searchsorted(used, near.left), right=np.searchsorted(used, near.right))
        texts = _texts_of(self.texts[row] for row in used.tolist())
        foldable = self._foldable(near.left, near.right)
        return judging.full_stages(texts, within, pair_model(), self.scorer, foldable).at(used)


def _texts_of(texts: Iterable[str]) -> Texts:
    return Texts([Utterance.of(core) for core in texts])
