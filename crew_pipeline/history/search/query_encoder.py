"""The bundled embedding model for a short query, without torch: what serves must not load it.

A forward pass of BERT (Devlin et al., 2019) in NumPy over the model's own weights, read as they lie on the disk. The
vectors differ from those of ``dedup.embedding`` by rounding alone.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crew_pipeline.dedup.embedding import model_folder
from crew_pipeline.model import BUNDLED_MODEL

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Floats = NDArray[np.float32]
MOST_PIECES = 64
"""Of a query; what comes after them is not looked at by its meaning."""


class QueryEncoder:
    """Turns one text into a unit vector."""

    def __init__(self, folder: Path) -> None:
        """Args:
        folder: of a BERT model whose sentences are the mean of their pieces.

        Raises:
            ValueError: it holds another kind of model.
        """
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer

        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if config.get("model_type") != "bert" or config.get("hidden_act") != "gelu":
            raise ValueError(f"{folder.name} is no BERT model")
        self._heads: int = config["num_attention_heads"]
        self._epsilon: float = config["layer_norm_eps"]
        self._layers: int = config["num_hidden_layers"]
        self._weights: dict[str, Any] = load_file(folder / "model.safetensors")
        self._tokenizer: Tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(MOST_PIECES)

    def encode(self, text: str) -> Floats:
        """The vector of a text: float32 (dimension,), length 1."""
        ids = self._tokenizer.encode(text).ids
        weights = self._weights
        states = (
            weights["embeddings.word_embeddings.weight"][ids]
            + weights["embeddings.position_embeddings.weight"][: len(ids)]
            + weights["embeddings.token_type_embeddings.weight"][0]
        )
        states = self._normed(states, "embeddings.LayerNorm")
        for number in range(self._layers):
            states = self._layer(states, f"encoder.layer.{number}")
        vector = states.mean(axis=0)
        return np.asarray(vector / np.linalg.norm(vector), np.float32)

    def _layer(self, states: Floats, name: str) -> Floats:
        query, key, value = (self._linear(states, f"{name}.attention.self.{one}") for one in ("query", "key", "value"))
        length, width = states.shape
        size = width // self._heads

        def by_head(matrix: Floats) -> Floats:
            return matrix.reshape(length, self._heads, size).transpose(1, 0, 2)

        scores = by_head(query) @ by_head(key).transpose(0, 2, 1) / np.float32(size**0.5)
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        attended = (scores / scores.sum(axis=-1, keepdims=True)) @ by_head(value)
        joined = attended.transpose(1, 0, 2).reshape(length, width)
        states = self._normed(
            states + self._linear(joined, f"{name}.attention.output.dense"), f"{name}.attention.output.LayerNorm"
        )
        inner = _gelu(self._linear(states, f"{name}.intermediate.dense"))
        return self._normed(states + self._linear(inner, f"{name}.output.dense"), f"{name}.output.LayerNorm")

    def _linear(self, states: Floats, name: str) -> Floats:
        made: Floats = states @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"]
        return made

    def _normed(self, states: Floats, name: str) -> Floats:
        centred = states - states.mean(axis=-1, keepdims=True)
        spread = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + np.float32(self._epsilon))
        made: Floats = centred / spread * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"]
        return made


@lru_cache(maxsize=1)
def query_encoder(model: str = BUNDLED_MODEL) -> QueryEncoder | None:
    """The encoder of a model that lies in a folder, loaded once (90 MB); None where this one cannot read it."""
    folder = model_folder(model)
    try:
        return QueryEncoder(folder) if folder is not None else None
    except (ValueError, KeyError, OSError):
        return None


def _gelu(values: Floats) -> Floats:
    """x Φ(x), the error function after Abramowitz & Stegun 7.1.26 (within 1.5e-7)."""
    magnitude = np.abs(values) * np.float32(0.5**0.5)
    step = 1 / (1 + np.float32(0.3275911) * magnitude)
    polynomial = step * (
        0.254829592 + step * (-0.284496736 + step * (1.421413741 + step * (-1.453152027 + step * 1.061405429)))
    )
    erf = np.sign(values) * (1 - polynomial * np.exp(-(magnitude**2)))
    return np.asarray(values * 0.5 * (1 + erf), np.float32)
