"""Vectors of texts by their words and letters alone: in milliseconds, without a network.

One half is the static vector of the words (``features.Texts.topics``), the other counts runs of three letters. Texts
that cover one another are near by one or the other; which of those that are near do is judged pair by pair.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from crew_pipeline.dedup import static
from crew_pipeline.dedup.features import Texts
from crew_pipeline.dedup.speech import Utterance

Vectors = NDArray[np.float32]

DIMENSION = 2 * static.DIMENSION


def text_vectors(cores: Sequence[str]) -> Vectors:
    """Vectors of texts: float32 (n, ``DIMENSION``), two halves of unit length; each depends on its own text alone."""
    return of_texts(Texts([Utterance.of(core) for core in cores]))


def of_texts(texts: Texts) -> Vectors:
    """The same of texts that are analysed already."""
    return np.hstack([texts.topics, texts.letters])


def halves(vectors: Vectors) -> tuple[Vectors, Vectors]:
    """The two kinds of vector apart, each float32 (n, ``DIMENSION`` / 2)."""
    return vectors[:, : static.DIMENSION], vectors[:, static.DIMENSION :]


class TextEncoder:
    """Makes text vectors; the same bits for a text in any company."""

    @property
    def model_id(self) -> str:
        """What the vectors follow from besides the texts."""
        return vectors_id()

    def encode(self, texts: Sequence[str]) -> Vectors:
        """See ``text_vectors``."""
        return text_vectors(texts)


@lru_cache(maxsize=1)
def vectors_id() -> str:
    """Name and fingerprint of the table of word vectors: equal ids give equal vectors."""
    return f"words@{hashlib.sha256(static.TABLE.read_bytes()).hexdigest()[:12]}"
