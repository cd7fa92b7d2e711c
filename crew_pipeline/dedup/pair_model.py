"""The fitted judgement of a pair: features in, a calibrated probability that one text may hide under the other out.

The file ``judge/pairs.json`` is written by ``training/fit.py`` and never changed at serving time. It holds a judge for
each basis (what is known of a pair). A judge is the mean log-odds of a logistic model, which is steady where there was
little to learn from, and of boosted trees, which know that features mean different things together.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import orjson
from numpy.typing import NDArray

from crew_pipeline.dedup import features
from crew_pipeline.model import OperatingPoint

FILE = Path(__file__).parent / "judge" / "pairs.json"
DECIMALS = 4

Basis = Literal["words", "reading"]
"""What is known of a pair: its words alone; what the pair scorer says of it as well."""

Floats = NDArray[np.float64]

READINGS = ("visible_covers", "hidden_covers", "own", "formula")
"""What the pair scorer says of a pair, as log-odds: each text covers the other, both are two people's own matter, both
are nothing but courtesy or routine."""

COLUMNS: dict[str, tuple[str, ...]] = {
    "words": features.WORDS,
    "reading": (*features.WORDS, *READINGS),
}


@dataclass(frozen=True)
class Judge:
    """The judge of one basis.

    Attributes:
        mean, scale, weights: float64 (k,), the logistic model over standardised features; ``bias`` its intercept.
        feature, threshold, child, value: the trees as arrays of one row a tree and one column a node (int64, float64,
            int64 (trees, nodes, 2), float64); a leaf's children are itself. ``start`` is added to their sum.
        slope, offset: turn mean log-odds into calibrated log-odds.
    """

    mean: Floats
    scale: Floats
    weights: Floats
    bias: float
    feature: NDArray[np.int64]
    threshold: Floats
    child: NDArray[np.int64]
    value: Floats
    start: float
    depth: int
    slope: float
    offset: float

    @classmethod
    def read(cls, stored: dict[str, Any]) -> Judge:
        """From the JSON of the file."""
        made: dict[str, Any] = {
            **{name: np.array(stored[name], np.float64) for name in ("mean", "scale", "weights", "threshold", "value")},
            **{name: np.array(stored[name], np.int64) for name in ("feature", "child")},
            **{name: stored[name] for name in ("bias", "start", "depth", "slope", "offset")},
        }
        return cls(**made)

    def log_odds(self, rows: Floats) -> Floats:
        """Calibrated log-odds of pairs with features ``rows``, float64 (n, k): float64 (n,)."""
        linear = ((rows - self.mean) / self.scale * self.weights).sum(axis=1) + self.bias
        return np.asarray(self.slope * (linear + self._trees(rows)) / 2 + self.offset, np.float64)

    def probability(self, rows: Floats) -> Floats:
        """Probability that the hidden text is covered by the visible one: float64 (n,), rounded to ``DECIMALS``."""
        return (1 / (1 + np.exp(-self.log_odds(rows)))).round(DECIMALS)

    def _trees(self, rows: Floats) -> Floats:
        total = np.full(len(rows), self.start)
        everyone = np.arange(len(rows))
        for feature, threshold, child, value in zip(self.feature, self.threshold, self.child, self.value, strict=True):
            node = np.zeros(len(rows), np.int64)
            for _ in range(self.depth):
                beyond = rows[everyone, feature[node]] > threshold[node]
                node = child[node, beyond.astype(np.int64)]
            total += value[node]
        return total


@dataclass(frozen=True)
class PairModel:
    """All bases and operating points of one file."""

    stored: dict[str, Any]
    fingerprint: str

    @cached_property
    def judges(self) -> dict[str, Judge]:
        """The judge of each basis."""
        return {basis: Judge.read(self.stored["stages"][basis]) for basis in COLUMNS}

    def threshold(self, point: OperatingPoint, basis: Basis = "reading") -> float:
        """Lowest probability at which a pair folds on a basis."""
        return float(self.stored["stages"][basis]["points"][point])

    @property
    def doubt(self) -> float:
        """The probability by words alone from which on a pair is worth reading."""
        return float(self.stored["doubt"])


@lru_cache(maxsize=1)
def pair_model() -> PairModel:
    """The model that is shipped."""
    content = FILE.read_bytes()
    return PairModel(orjson.loads(content), hashlib.sha256(content).hexdigest()[:12])
