"""What decides how lines fold, and the fingerprint by which documents of another engine are known."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Protocol

from crew_pipeline.dedup.embedding import model_id

ALGORITHM = 1
"""Raised whenever the same lines would fold differently; part of the fingerprint of every document."""


class EngineOptions(Protocol):
    """Settings that hold the engine's options."""

    @property
    def model(self) -> str:
        """The embedding model."""

    @property
    def similarity_threshold(self) -> float:
        """See ``EngineConfig``."""

    @property
    def min_words(self) -> int:
        """See ``EngineConfig``."""

    @property
    def max_words(self) -> int:
        """See ``EngineConfig``."""

    @property
    def min_cluster_size(self) -> int:
        """See ``EngineConfig``."""


@dataclass(frozen=True)
class EngineConfig:
    """What decides how lines fold (the specification's defaults).

    Attributes:
        similarity_threshold: lowest cosine similarity at which a line may be folded.
        min_words: shorter lines stay visible.
        max_words: longer lines are folded only where they repeat exactly.
        min_cluster_size: smallest cluster, in lines.
    """

    similarity_threshold: float = 0.85
    min_words: int = 3
    max_words: int = 100
    min_cluster_size: int = 2

    @classmethod
    def of(cls, options: EngineOptions) -> EngineConfig:
        """The configuration that the settings ask for."""
        return cls(options.similarity_threshold, options.min_words, options.max_words, options.min_cluster_size)

    def fingerprint(self, model: str) -> str:
        """16 hex digits over algorithm, options and model id: equal fingerprints fold equal lines equally."""
        content = json.dumps({"algorithm": ALGORITHM, "model": model, **asdict(self)}, sort_keys=True)
        return hashlib.blake2b(content.encode(), digest_size=8).hexdigest()


def fingerprint_of(options: EngineOptions) -> str:
    """The fingerprint of the engine that the settings ask for; the model is not loaded."""
    return EngineConfig.of(options).fingerprint(model_id(options.model))
