"""Compare the texts of a day: vectors in, judged pairs out.

The pairs are worth keeping: folding the lines by them (``folding``) takes milliseconds and can be done again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from crew_pipeline.dedup import judging, neighbours, reading, text_vectors
from crew_pipeline.dedup.config import EngineConfig
from crew_pipeline.dedup.cores import cores, distinct_texts
from crew_pipeline.dedup.features import Texts
from crew_pipeline.dedup.frames import Columns
from crew_pipeline.dedup.judging import Judged, Pairs, PairScorer
from crew_pipeline.dedup.languages import is_judged
from crew_pipeline.dedup.neighbours import Near
from crew_pipeline.dedup.pair_model import Basis, pair_model
from crew_pipeline.dedup.speech import Utterance
from crew_pipeline.dedup.text_vectors import Vectors
from crew_pipeline.dedup.voices import voices


class MissingVectorsError(ValueError):
    """Texts that are to be compared have not been embedded."""


@dataclass(frozen=True)
class Comparison:
    """What is known of the pairs of texts of a client's day.

    Attributes:
        texts: hashes of the texts that were compared, ascending.
        pairs: the judged pairs, as indices into ``texts``.
        candidates: how many pairs were judged by their words.
        read: how many of them were read.
        basis: what the judgement rests on.
    """

    texts: Sequence[bytes]
    pairs: Pairs
    candidates: int
    read: int
    basis: Basis


def exact_repeats() -> Comparison:
    """A comparison without pairs: with it ``fold_lines`` folds only what repeats word for word."""
    return Comparison([], judging.no_pairs(), 0, 0, basis="words")


def compare_lines(
    lines: Columns, vectors: Mapping[bytes, Vectors], config: EngineConfig, scorer: PairScorer | None = None
) -> Comparison:
    """Compare the texts of a client's day with everything there is.

    Args:
        lines: columns ``frames.LINES``, all of one client.
        vectors: ``text_vectors`` of at least the texts that ``distinct_texts`` names, by text hash.
        scorer: reads pairs in doubt; None leaves them to their words.

    Raises:
        MissingVectorsError: texts that are compared have no vector.
    """
    texts = distinct_texts(lines, config)
    missing = sum(key not in vectors for key in texts)
    if missing:
        raise MissingVectorsError(f"{missing} of {len(texts)} texts have no vector; make line_embeddings first")
    matrix = np.stack([vectors[key] for key in texts]) if texts else np.empty((0, text_vectors.DIMENSION), np.float32)
    bench = _Bench.of(lines, texts, config.languages)
    near = bench.nearest(matrix)
    # What is in no doubt is not read, and what was not read folds nothing.
    judged = bench.by_words(near, judging.KEPT if scorer is None else pair_model().doubt)
    if scorer is None:
        return bench.comparison(judged, len(near), 0, "words")
    judged, read = reading.read(bench.texts, judged, pair_model(), scorer)
    return bench.comparison(judged, len(near), read, "reading")


@dataclass(frozen=True)
class _Bench:
    """The texts of a day, analysed.

    Attributes:
        keys: their hashes, ascending.
        groups: the texts of each voice that says more than one: only those can be hidden under one another.
        languages: those in which texts are judged.
    """

    keys: list[bytes]
    texts: Texts
    groups: list[list[int]]
    languages: Collection[str]

    @classmethod
    def of(cls, lines: Columns, texts: Mapping[bytes, str], languages: Collection[str]) -> _Bench:
        number = {core: row for row, core in enumerate(texts.values())}
        said_by: dict[str, set[int]] = {}
        for core, voice in zip(cores(lines), voices(lines), strict=True):
            if core in number:
                said_by.setdefault(voice, set()).add(number[core])
        groups = [sorted(said) for _, said in sorted(said_by.items()) if len(said) > 1]
        return cls(list(texts), Texts([Utterance.of(core) for core in texts.values()]), groups, languages)

    def nearest(self, matrix: Vectors) -> Near:
        """What lies near each other."""
        return neighbours.nearest_pairs(text_vectors.halves(matrix), self.groups)

    def by_words(self, near: Near, least: float) -> Judged:
        """Judge pairs by their words; those that are less likely to fold are left out."""
        return self._in_languages(judging.likely_by_words(self.texts, near, pair_model(), least))

    def _in_languages(self, judged: Judged) -> Judged:
        """The pairs with nothing to be said for those of which a text is in a language that is not judged."""
        barred = np.zeros(len(judged), np.bool_)
        for pair in np.flatnonzero(judged.surer >= judging.KEPT).tolist():
            sides = (self.texts.utterances[int(side[pair])].core for side in (judged.near.left, judged.near.right))
            barred[pair] = not all(is_judged(core, self.languages) for core in sides)
        left_under, right_under = (np.where(barred, 0.0, under) for under in (judged.left_under, judged.right_under))
        return replace(judged, left_under=left_under, right_under=right_under)

    def comparison(self, judged: Judged, candidates: int, read: int, basis: Basis) -> Comparison:
        return Comparison(self.keys, judging.kept(self.texts, judged), candidates, read, basis)
