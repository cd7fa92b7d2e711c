"""Reads two texts together: the bundled model turned into a cross-encoder by a small adapter.

The adapter (``training/pair_scorer.py``) holds low-rank additions to the model's weight matrices (LoRA; Hu et al.,
2021), a segment vector and a scoring head: under 2 MB instead of the model's 90. Reading a pair is more exact than
comparing two vectors, but a hundred times slower than looking at words, so only pairs in doubt are read.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crew_pipeline.dedup.embedding import (
    ModelNotFoundError,
    SentenceTransformerEncoder,
    length_batches,
    multiply_in_bfloat16,
)
from crew_pipeline.model import BUNDLED_MODEL

ADAPTER = Path(__file__).parent / "judge" / "pair_scorer.npz"
LONGEST = 128
"""Tokens of a pair that are read; the longer text is cut first."""
ADAPTED = (
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    "attention.output.dense",
    "intermediate.dense",
    "output.dense",
)
"""Matrices of a layer to which the adapter adds."""

_AT_ONCE = 64


class BundledScorer:
    """Scores pairs of texts; the model it stands on is loaded on first use and kept."""

    fitted = True
    """Whether the judge of the basis ``reading`` was fitted with its scores."""

    def __init__(self, base: SentenceTransformerEncoder) -> None:
        self._base = base
        self._loaded: tuple[Any, Any, Any, NDArray[np.float32], float] | None = None

    def _load(self) -> tuple[Any, Any, Any, NDArray[np.float32], float]:
        if self._loaded is None:
            import torch

            sentence_model = self._base.load()
            bert = sentence_model[0].auto_model
            with np.load(ADAPTER) as stored:
                adapter = {name: stored[name].astype(np.float32) for name in stored.files}
            # The word embeddings, half of the model, stay shared with the encoder.
            encoder = copy.deepcopy(bert.encoder)
            with torch.no_grad():
                for number, layer in enumerate(encoder.layer):
                    for name in ADAPTED:
                        key = f"{number}.{name}"
                        addition = torch.from_numpy(adapter[f"{key}.up"] @ adapter[f"{key}.down"])
                        layer.get_submodule(name).weight += addition
            if self._base.in_bfloat16:
                for layer in encoder.layer:
                    for name in ADAPTED:
                        multiply_in_bfloat16(layer.get_submodule(name))
            segment = torch.from_numpy(adapter["segment"])
            self._loaded = (bert.embeddings, encoder, segment, adapter["head"], float(adapter["bias"][0]))
        return self._loaded

    @property
    def identity(self) -> str:
        """What a score follows from besides its two texts."""
        return f"bundled:{adapter_fingerprint()}:{self._base.model_id}"

    def logits(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float64]:
        """Log-odds that the texts of each pair say the same: float64 (n,), rounded to 3 decimals, symmetric.

        Every pair is read in both directions, and padded to a length that follows from its own tokens, so its score
        does not depend on the other pairs.
        """
        if not pairs:
            return np.zeros(0)
        import torch

        embeddings, encoder, segment, head, bias = self._load()
        tokenizer = self._base.load().tokenizer
        first = [left for left, right in pairs] + [right for left, right in pairs]
        second = [right for left, right in pairs] + [left for left, right in pairs]
        encoded = tokenizer(first, second, truncation=True, max_length=LONGEST)
        scores = np.zeros(len(first), np.float64)
        with torch.inference_mode():
            for length, rows in length_batches([len(ids) for ids in encoded["input_ids"]], LONGEST, _AT_ONCE):
                features = tokenizer.pad(
                    {
                        name: [encoded[name][row] for row in rows]
                        for name in ("input_ids", "token_type_ids", "attention_mask")
                    },
                    padding="max_length",
                    max_length=length,
                    return_tensors="pt",
                )
                pooled = read(embeddings, encoder, segment, features).numpy().astype(np.float64)
                scores[rows] = pooled @ head.astype(np.float64) + bias
        return np.asarray((scores[: len(pairs)] + scores[len(pairs) :]) / 2).round(3)


def read(embeddings: Any, encoder: Any, segment: Any, features: Any) -> Any:
    """Mean of the last layer's token vectors: torch float32 (batch, width)."""
    import torch

    ids, kinds, mask = features["input_ids"], features["token_type_ids"], features["attention_mask"]
    hidden = embeddings(input_ids=ids, token_type_ids=torch.zeros_like(kinds)) + kinds[..., None] * segment
    open_to = (1.0 - mask[:, None, None, :].to(hidden.dtype)) * torch.finfo(hidden.dtype).min
    for layer in encoder.layer:
        hidden = layer(hidden, open_to)
        hidden = hidden[0] if isinstance(hidden, tuple) else hidden
    weights = mask[..., None].to(hidden.dtype)
    return (hidden * weights).sum(dim=1) / weights.sum(dim=1)


@lru_cache(maxsize=1)
def adapter_fingerprint() -> str:
    """12 hex digits over the adapter's bytes."""
    import hashlib

    return hashlib.sha256(ADAPTER.read_bytes()).hexdigest()[:12]


class NamedScorer:
    """A sentence-transformers cross-encoder that the user has, by name or folder."""

    fitted = False

    def __init__(self, name: str) -> None:
        self._name = name
        self._loaded: Any = None

    def logits(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float64]:
        """Log-odds of the pairs by that model: float64 (n,), the mean of both directions, rounded to 3 decimals.

        Raises:
            ModelNotFoundError: it is not on this machine or cannot be read.
        """
        if not pairs:
            return np.zeros(0)
        if self._loaded is None:
            self._loaded = self._load()
        import torch

        both = [*pairs, *((right, left) for left, right in pairs)]
        scores = np.asarray(
            self._loaded.predict(both, activation_fn=torch.nn.Identity(), show_progress_bar=False), np.float64
        )
        if scores.ndim == 2:
            scores = scores[:, -1]
        return np.asarray((scores[: len(pairs)] + scores[len(pairs) :]) / 2).round(3)

    def _load(self) -> Any:
        from sentence_transformers import CrossEncoder

        try:
            return CrossEncoder(self._name, device="cpu")
        except (OSError, ValueError) as error:
            raise ModelNotFoundError(
                f"The cross-encoder {self._name!r} cannot be loaded ({type(error).__name__}); set CREW_PAIR_SCORER to "
                "'bundled', 'off', a model folder, or a name that this machine can download."
            ) from error


@lru_cache(maxsize=2)
def scorer_of(name: str, encoder: SentenceTransformerEncoder) -> BundledScorer | NamedScorer | None:
    """The pair scorer that the settings name, kept for the life of the process; None for ``off``.

    The bundled pair scorer stands on the bundled model; where ``encoder`` is that model, the two share it.
    """
    if name == "off":
        return None
    if name != BUNDLED_MODEL:
        return NamedScorer(name)
    return BundledScorer(encoder if encoder.is_bundled else SentenceTransformerEncoder(BUNDLED_MODEL))
