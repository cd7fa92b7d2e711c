"""The network of the pair scorer: a BERT that reads two texts together and gives a few numbers for them.

Written out here because the library that it was fitted with takes 2 s and 120 MB to import in every process that makes
days. Its results are the same to the bit (test). Importing this module imports torch.

Source: Devlin et al., 2019, as ``transformers.BertForSequenceClassification`` has it, whose names of weights these are.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

_EPSILON = 1e-12
_HEADS = 12


class CrossEncoder:
    """A cross-encoder with given weights, for inference."""

    def __init__(self, weights: Mapping[str, NDArray[np.float32]], *, in_bfloat16: bool) -> None:
        """Args:
        weights: by their names in ``transformers``.
        in_bfloat16: whether the two large multiplications of a layer are done in 16 bits.
        """
        self._weights = {name: torch.from_numpy(array) for name, array in weights.items()}
        self._layers = len({name.split(".")[3] for name in weights if name.startswith("bert.encoder.layer.")})
        self._in_bfloat16 = in_bfloat16

    def __call__(self, ids: Tensor, kinds: Tensor, mask: Tensor) -> Tensor:
        """The outputs for pairs: float32 (n, outputs).

        Args:
            ids, kinds, mask: int64 (n, tokens): the tokens, 0 and 1 for the first and second text, 0 where padded.
        """
        length = ids.shape[1]
        # None where nothing is padded: so the library does it, and another kernel would have other last bits.
        seen = None if bool(mask.all()) else mask.bool()[:, None, None, :].expand(-1, 1, length, -1)
        places = torch.arange(length)[None]
        states = self._embedded("word", ids) + self._embedded("token_type", kinds)
        states = self._normed("bert.embeddings", states + self._embedded("position", places))
        for number in range(self._layers):
            layer = f"bert.encoder.layer.{number}"
            attended = self._attended(f"{layer}.attention.self", states, seen)
            attended = self._linear(f"{layer}.attention.output.dense", attended)
            states = self._normed(f"{layer}.attention.output", attended + states)
            inner = functional.gelu(self._large(f"{layer}.intermediate.dense", states))
            states = self._normed(f"{layer}.output", self._large(f"{layer}.output.dense", inner) + states)
        return self._linear("classifier", torch.tanh(self._linear("bert.pooler.dense", states[:, 0])))

    def _embedded(self, kind: str, ids: Tensor) -> Tensor:
        return functional.embedding(ids, self._weights[f"bert.embeddings.{kind}_embeddings.weight"])

    def _attended(self, name: str, states: Tensor, seen: Tensor | None) -> Tensor:
        count, length, width = states.shape
        query, key, value = (
            self._linear(f"{name}.{part}", states).view(count, length, _HEADS, width // _HEADS).transpose(1, 2)
            for part in ("query", "key", "value")
        )
        scale = (width // _HEADS) ** -0.5
        heads = functional.scaled_dot_product_attention(query, key, value, attn_mask=seen, scale=scale)
        return heads.transpose(1, 2).contiguous().reshape(count, length, width)

    def _linear(self, name: str, states: Tensor) -> Tensor:
        return functional.linear(states, self._weights[f"{name}.weight"], self._weights[f"{name}.bias"])

    def _large(self, name: str, states: Tensor) -> Tensor:
        if not self._in_bfloat16:
            return self._linear(name, states)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return self._linear(name, states).float()

    def _normed(self, name: str, states: Tensor) -> Tensor:
        weight, bias = (self._weights[f"{name}.LayerNorm.{part}"] for part in ("weight", "bias"))
        return functional.layer_norm(states, weight.shape, weight, bias, _EPSILON)
