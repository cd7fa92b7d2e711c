"""Which sentences are decisions and tasks: a fitted linear model in whole numbers.

``points.json`` is written by ``training/points.py`` and never changed at serving time. All weights are thousandths of
log-odds, vectors are on the grid, so a score is a sum of whole numbers: the same on every processor.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from crew_pipeline.history.summaries.cues import cues
from crew_pipeline.history.summaries.sentences import Sentence
from crew_pipeline.history.themes.grid import Grid

FILE = Path(__file__).parent / "points.json"
SCALE = 1_000
_DECIMALS = 3
_RANKS = 4
SHORTEST = 4
"""Words of a sentence that is classified."""


class Found(NamedTuple):
    """What a sentence is, and how certainly."""

    kind: str
    certainty: float


@dataclass(frozen=True)
class KindModel:
    """The model of one kind.

    Attributes:
        terms: weights of cues.
        vector: int64 (dimension,), weights of a vector on the grid, divided by ``shift`` bits of a power of two.
        threshold: lowest score of one that is shown.
        slope, offset: turn a score into calibrated log-odds.
    """

    bias: int
    terms: dict[str, int]
    vector: NDArray[np.int64]
    shift: int
    threshold: int
    slope: float
    offset: float

    @classmethod
    def read(cls, stored: dict[str, Any]) -> KindModel:
        """From the JSON of the file."""
        return cls(**stored | {"vector": np.array(stored["vector"], np.int64)})

    def score(self, seen: Sequence[str], vector: Grid) -> int:
        """Thousandths of log-odds."""
        of_vector = int((self.vector * vector).sum()) >> self.shift
        return self.bias + of_vector + sum(self.terms.get(cue, 0) for cue in seen)

    def certainty(self, score: int) -> float:
        """The probability that a score means, as measured."""
        return round(1 / (1 + math.exp(-(self.slope * score / SCALE + self.offset))), _DECIMALS)


@dataclass(frozen=True)
class Classifier:
    """The models of all kinds, the first of which that fits is a sentence's kind."""

    kinds: dict[str, KindModel]
    fingerprint: str

    def classify(self, sentences: Sequence[Sentence], vectors: Grid) -> list[Found | None]:
        """What each sentence of a conversation is; None where it is nothing of it.

        Args:
            vectors: int8 (n, dimension), zeros where none is known.
        """
        ranks = ranks_of(sentences)
        return [
            self._classify([*cues(sentences, place), ranks[sentence.speaker]], vectors[place])
            if sentence.words >= SHORTEST
            else None
            for place, sentence in enumerate(sentences)
        ]

    def _classify(self, seen: Sequence[str], vector: Grid) -> Found | None:
        for kind, model in self.kinds.items():
            score = model.score(seen, vector)
            if score >= model.threshold:
                return Found(kind, model.certainty(score))
        return None


def ranks_of(sentences: Sequence[Sentence]) -> dict[str, str]:
    """Of each speaker, as a cue, how many say more in the conversation: who leads it decides more."""
    said = Counter(sentence.speaker for sentence in sentences)
    ranked = sorted(said, key=lambda speaker: (-said[speaker], speaker))
    return {speaker: f"speaker {min(rank, _RANKS - 1)}" for rank, speaker in enumerate(ranked)}


@lru_cache(maxsize=1)
def classifier() -> Classifier:
    """The model that is shipped."""
    content = FILE.read_bytes()
    stored = orjson.loads(content)
    kinds = {kind: KindModel.read(model) for kind, model in stored["kinds"].items()}
    return Classifier(kinds, hashlib.sha256(content).hexdigest()[:12])
