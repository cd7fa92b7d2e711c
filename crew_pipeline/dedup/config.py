"""What decides how lines fold, and the fingerprints that tell the results of one engine from another's."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from crew_pipeline.dedup import pair_scorer, text_vectors
from crew_pipeline.dedup.pair_model import pair_model
from crew_pipeline.model import BUNDLED_MODEL, EngineOptions, OperatingPoint

ALGORITHM = 6
"""Raised whenever the same lines would be judged differently; part of the fingerprint of every document."""
DOCUMENT = 1
"""Raised whenever the same folds would make another document."""


@dataclass(frozen=True)
class EngineConfig(EngineOptions):
    """The engine's options, and the fingerprints that follow from them."""

    @classmethod
    def of(cls, settings: Any) -> EngineConfig:
        """The configuration that the settings ask for: they have a value for each option."""
        return cls(**{option.name: getattr(settings, option.name) for option in fields(cls)})

    def at(self, folding: OperatingPoint | None) -> EngineConfig:
        """The same at another operating point; None changes nothing."""
        return self if folding is None else replace(self, folding=folding)

    @property
    def judgement(self) -> str:
        """16 hex digits over what the judgement of a pair rests on: equal ones judge equal texts equally."""
        return _digest(
            algorithm=ALGORITHM,
            vectors=text_vectors.vectors_id(),
            judge=pair_model().fingerprint,
            reader=pair_scorer.fingerprint() if self.pair_scorer == BUNDLED_MODEL else self.pair_scorer,
            min_words=self.min_words,
            max_words=self.max_words,
            languages=sorted(self.languages),
        )

    @property
    def fingerprint(self) -> str:
        """16 hex digits over everything but the operating point, then a colon and the operating point itself, because
        each client may set another."""
        options = asdict(self)
        del options["folding"]
        return f"{_digest(judgement=self.judgement, document=DOCUMENT, **options)}:{self.folding}"


def _digest(**content: object) -> str:
    return hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=8).hexdigest()


def fingerprint_of(settings: Any) -> str:
    """The fingerprint of the engine that the settings ask for."""
    return EngineConfig.of(settings).fingerprint
