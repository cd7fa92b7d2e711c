"""Reads two texts together: a small cross-encoder of its own, and cross-encoders that the user names.

The bundled one (``training/cross_encoder.py``) has six layers of 384 and four outputs, 8 bits a weight: 22 MB. It
descends from ms-marco-MiniLM-L-12-v2 (Apache-2.0; ``judge/ORIGIN.md``) and has the vocabulary of the bundled model.
Reading a pair tells more than comparing its words, but takes hundreds of times as long, so only pairs in doubt are
read, and of those only the ones that can still change what is hidden (``comparing``).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crew_pipeline.dedup.arithmetic import arithmetic, length_batches, prepare
from crew_pipeline.dedup.embedding import ModelNotFoundError, model_folder
from crew_pipeline.model import BUNDLED_MODEL, Precision

FILE = Path(__file__).parent / "judge" / "pair_scorer.npz"
LONGEST = 128
"""Tokens of a pair that are read; the longer text is cut first."""
OUTPUTS = 4
SWAPPED = (1, 0, 2, 3)
"""The order of the outputs once the two texts have changed places."""
SCALE = ".scale"
"""Ends the name under which the scales of a matrix in 8 bits are stored, one a row."""
_AT_ONCE = 64
_DECIMALS = 3

Floats = NDArray[np.float64]


class BundledScorer:
    """Scores pairs with the bundled cross-encoder, which is loaded on first use and kept."""

    fitted = True
    """Whether the judge of the basis ``reading`` was fitted with its scores."""

    def __init__(self, *, threads: int = 0, precision: Precision = "auto", file: Path = FILE) -> None:
        self._threads = threads
        self._arithmetic = arithmetic(precision)
        self._file = file
        self._loaded: Any = None

    @property
    def identity(self) -> str:
        """What a score follows from besides its two texts."""
        return f"bundled:{fingerprint(self._file)}:{self._arithmetic}"

    def logits(self, pairs: Sequence[tuple[str, str]]) -> Floats:
        """Log-odds that the left text covers the right, that the right covers the left, that both are two people's own
        matter, that both are nothing but courtesy or routine.

        A pair is read with the lesser text first, and padded to a length that follows from its own tokens: its scores
        depend neither on the order of its texts nor on the other pairs.

        Returns:
            float64 (n, ``OUTPUTS``), rounded to 3 decimals.
        """
        scores = np.zeros((len(pairs), OUTPUTS), np.float64)
        if not pairs:
            return scores
        import torch

        network = self._network()
        encoded = tokenizer().encode_batch([(min(pair), max(pair)) for pair in pairs])
        with torch.inference_mode():
            for length, rows in length_batches([len(one.ids) for one in encoded], LONGEST, _AT_ONCE):
                batch = [padded(encoded[row], length) for row in rows]
                ids, kinds, mask = (torch.tensor(column) for column in zip(*batch, strict=True))
                scores[rows] = network(ids, kinds, mask).numpy().astype(np.float64)
        swapped = np.array([left > right for left, right in pairs], np.bool_)
        scores[swapped] = scores[swapped][:, SWAPPED]
        return scores.round(_DECIMALS)

    def _network(self) -> Any:
        if self._loaded is None:
            prepare(self._threads)
            from crew_pipeline.dedup.cross_encoder import CrossEncoder

            self._loaded = CrossEncoder(stored_weights(self._file), in_bfloat16=self._arithmetic == "bfloat16")
        return self._loaded


def stored_weights(file: Path) -> dict[str, NDArray[np.float32]]:
    """The weights of a cross-encoder by their names in ``CrossEncoder``, read back from 8 bits."""
    with np.load(file) as stored:
        return {
            name: stored[name].astype(np.float32) * stored[name + SCALE]
            if name + SCALE in stored.files
            else stored[name].astype(np.float32)
            for name in stored.files
            if not name.endswith(SCALE)
        }


def in_8_bits(weights: dict[str, NDArray[np.float32]]) -> dict[str, NDArray[np.generic]]:
    """Weights as they are stored: matrices in 8 bits with a scale (float32) a row, the rest in float32."""
    stored: dict[str, NDArray[np.generic]] = {}
    for name, array in weights.items():
        stored[name] = array.astype(np.float32)
        if array.ndim == 2:
            scale = np.maximum(np.abs(array).max(axis=1, keepdims=True), 1e-12).astype(np.float32) / 127
            stored[name + SCALE] = scale
            stored[name] = np.rint(array / scale).astype(np.int8)
    return stored


@lru_cache(maxsize=1)
def tokenizer() -> Any:
    """The bundled model's, which cuts a pair to ``LONGEST`` tokens."""
    from tokenizers import Tokenizer

    folder = model_folder(BUNDLED_MODEL)
    assert folder is not None
    made = Tokenizer.from_file(str(folder / "tokenizer.json"))
    made.no_padding()
    made.enable_truncation(LONGEST, strategy="longest_first")
    return made


def padded(encoding: Any, length: int) -> tuple[list[int], list[int], list[int]]:
    """Ids, segments and mask of a pair, filled up to a length."""
    spare = [0] * (length - len(encoding.ids))
    return encoding.ids + spare, encoding.type_ids + spare, encoding.attention_mask + spare


@lru_cache(maxsize=2)
def fingerprint(file: Path = FILE) -> str:
    """12 hex digits over the bytes of the bundled cross-encoder."""
    import hashlib

    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()[:12]


class NamedScorer:
    """A sentence-transformers cross-encoder that the user has, by name or folder. It knows no direction."""

    fitted = False

    def __init__(self, name: str, *, threads: int = 0) -> None:
        self._name = name
        self._threads = threads
        self._loaded: Any = None

    def logits(self, pairs: Sequence[tuple[str, str]]) -> Floats:
        """Log-odds of the pairs by that model: float64 (n, 2), the mean of both ways of reading it, for either text.

        Raises:
            ModelNotFoundError: it is not on this machine or cannot be read.
        """
        if not pairs:
            return np.zeros((0, 2))
        if self._loaded is None:
            self._loaded = self._load()
        import torch

        both = [*pairs, *((right, left) for left, right in pairs)]
        scores = np.asarray(
            self._loaded.predict(both, activation_fn=torch.nn.Identity(), show_progress_bar=False), np.float64
        )
        if scores.ndim == 2:
            scores = scores[:, -1]
        mean = ((scores[: len(pairs)] + scores[len(pairs) :]) / 2).round(_DECIMALS)
        return np.column_stack([mean, mean])

    def _load(self) -> Any:
        prepare(self._threads)
        from sentence_transformers import CrossEncoder

        try:
            return CrossEncoder(self._name, device="cpu")
        except (OSError, ValueError) as error:
            raise ModelNotFoundError(
                f"The cross-encoder {self._name!r} cannot be loaded ({type(error).__name__}); set CREW_PAIR_SCORER to "
                "'bundled', 'off', a model folder, or a name that this machine can download."
            ) from error


@lru_cache(maxsize=2)
def scorer_of(name: str, *, threads: int = 0, precision: Precision = "auto") -> BundledScorer | NamedScorer | None:
    """The pair scorer that the settings name, kept for the life of the process; None for ``off``."""
    if name == "off":
        return None
    if name != BUNDLED_MODEL:
        return NamedScorer(name, threads=threads)
    return BundledScorer(threads=threads, precision=precision)
