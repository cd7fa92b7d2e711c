"""What decides how lines fold, and the fingerprints by which results of another engine are known."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from typing import Literal, Protocol

from crew_pipeline.dedup.embedding import BUNDLED_MODEL, Precision, model_id
from crew_pipeline.dedup.pair_model import pair_model
from crew_pipeline.dedup.pair_scorer import adapter_fingerprint
from crew_pipeline.model import OperatingPoint

ALGORITHM = 2
"""Raised whenever the same lines would fold differently; part of the fingerprint of every document."""


class EngineOptions(Protocol):
    """Settings that hold the engine's options; see ``EngineConfig``."""

    @property
    def model(self) -> str:
        """The embedding model."""

    @property
    def precision(self) -> Precision:
        """The arithmetic of the model."""

    @property
    def folding(self) -> OperatingPoint:
        """The operating point."""

    @property
    def pair_scorer(self) -> str:
        """What scores pairs in doubt."""

    @property
    def short_repeats(self) -> Literal["own", "any"]:
        """Under whose lines short ones fold."""

    @property
    def min_words(self) -> int:
        """Fewest words of a line that folds."""

    @property
    def max_words(self) -> int:
        """Most words of a line that is compared by meaning."""

    @property
    def min_cluster_size(self) -> int:
        """Fewest lines of a cluster."""


@dataclass(frozen=True)
class EngineConfig:
    """What decides how lines fold (the specification's defaults).

    Attributes:
        folding: the operating point: how sure the judge must be that two lines say the same.
        pair_scorer: what scores pairs in doubt: ``bundled``, ``off``, or the name of a cross-encoder.
        short_repeats: whether a line of fewer than three content words folds only under a line of its own speaker
            (``own``) or, where it repeats exactly, under anybody's (``any``).
        min_words: shorter lines stay visible.
        max_words: longer lines are folded only where they repeat exactly.
        min_cluster_size: smallest cluster, in lines.
        precision: the arithmetic that was asked for; what ``auto`` comes to may differ from machine to machine.
    """

    folding: OperatingPoint = "balanced"
    pair_scorer: str = BUNDLED_MODEL
    short_repeats: Literal["own", "any"] = "own"
    min_words: int = 3
    max_words: int = 100
    min_cluster_size: int = 2
    precision: Precision = "auto"

    @classmethod
    def of(cls, options: EngineOptions) -> EngineConfig:
        """The configuration that the settings ask for."""
        return cls(
            options.folding,
            options.pair_scorer,
            options.short_repeats,
            options.min_words,
            options.max_words,
            options.min_cluster_size,
            options.precision,
        )

    def at(self, folding: OperatingPoint | None) -> EngineConfig:
        """The same at another operating point; None changes nothing."""
        return self if folding is None else replace(self, folding=folding)

    def judgement(self, model: str) -> str:
        """16 hex digits over what the judgement of a pair rests on: equal ones judge equal texts equally."""
        return _digest(
            algorithm=ALGORITHM,
            model=model,
            judge=pair_model().fingerprint,
            adapter=adapter_fingerprint() if self.pair_scorer == BUNDLED_MODEL else "",
            reader=self.pair_scorer,
            min_words=self.min_words,
            max_words=self.max_words,
        )

    def fingerprint(self, model: str) -> str:
        """16 hex digits over everything but the operating point, a colon, and the operating point, which each client
        may set otherwise."""
        options = asdict(self)
        del options["folding"]
        # Under its first name: another would put every document out of date.
        options["reader"] = options.pop("pair_scorer")
        return f"{_digest(judgement=self.judgement(model), **options)}:{self.folding}"


def _digest(**content: object) -> str:
    return hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=8).hexdigest()


def fingerprint_of(options: EngineOptions) -> str:
    """The fingerprint of the engine that the settings ask for; the model is not loaded."""
    return EngineConfig.of(options).fingerprint(model_id(options.model))
