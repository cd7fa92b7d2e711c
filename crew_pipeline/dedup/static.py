"""Words as vectors without a forward pass: a table distilled from the bundled model (``training/distil.py``).

A hundred times faster than the model, and the way in which single words of two lines are compared.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from crew_pipeline.dedup import lexicon
from crew_pipeline.dedup.embedding import model_folder
from crew_pipeline.model import BUNDLED_MODEL

if TYPE_CHECKING:
    from tokenizers import Tokenizer

DIMENSION = 256
TABLE = Path(__file__).parent / "judge" / "words.npz"
_FIRST_WORD = 1995
_LAST_RANK = 28_500
_FUNCTION_WORD_SHARE = 0.3

Floats = NDArray[np.float32]


@lru_cache(maxsize=1)
def vocabulary() -> Tokenizer:
    """The bundled model's word pieces."""
    from tokenizers import Tokenizer

    folder = model_folder(BUNDLED_MODEL)
    assert folder is not None
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


@lru_cache(maxsize=1)
def _table() -> tuple[NDArray[np.int8], Floats]:
    with np.load(TABLE) as stored:
        vectors: NDArray[np.int8] = stored["vectors"]
        scale: Floats = stored["scale"]
        return vectors, scale


@lru_cache(maxsize=1)
def _common() -> Floats:
    """The direction that texts share whatever they say: the mean of the pieces, the frequent ones weighted most (their
    frequency taken from their rank, by Zipf's law). After Arora, Liang & Ma (2017)."""
    table, scale = _table()
    rank = np.arange(1, len(table) - _FIRST_WORD + 1, dtype=np.float64)
    vectors = table[_FIRST_WORD:].astype(np.float64) * scale[_FIRST_WORD:, None]
    mean = (vectors / rank[:, None]).sum(axis=0)
    return np.asarray(mean / np.linalg.norm(mean), np.float32)


def without_common(vectors: Floats) -> Floats:
    """Unit vectors of texts without the direction that all texts share: float32, shape kept, unit length."""
    rest = vectors - np.outer(vectors @ _common(), _common())
    length = np.linalg.norm(rest, axis=1, keepdims=True)
    return (rest / np.where(length == 0, 1, length)).astype(np.float32)


def word_vectors(words: Sequence[str]) -> tuple[Floats, Floats]:
    """Vectors and weights of words.

    Returns:
        ``vectors``: float32 (n, ``DIMENSION``), unit length, the mean of the vectors of the word's pieces.
        ``weights``: float32 (n,), 0 to 1: how much the word tells. Rare words tell most: the weight grows with the rank
        of the word in the model's vocabulary, which is in order of frequency; words that are put together from pieces
        count as rare, function words little, fillers nothing.
    """
    if not words:
        return np.zeros((0, DIMENSION), np.float32), np.zeros(0, np.float32)
    table, scale = _table()
    pieces = [encoding.ids for encoding in vocabulary().encode_batch(list(words), add_special_tokens=False)]
    sizes = np.array([max(1, len(ids)) for ids in pieces])
    flat = np.array([piece for ids in pieces for piece in (ids or [0])])
    rows = table[flat].astype(np.float32) * scale[flat, None]
    vectors = np.add.reduceat(rows, np.concatenate([[0], np.cumsum(sizes)[:-1]]), axis=0)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    weights = np.array([_weight(word, ids) for word, ids in zip(words, pieces, strict=True)], np.float32)
    return (vectors / np.where(length == 0, 1, length)).astype(np.float32), weights


def _weight(word: str, pieces: Sequence[int]) -> float:
    if word in lexicon.FILLERS:
        return 0.0
    rank = max(0, pieces[0] - _FIRST_WORD) if len(pieces) == 1 else _LAST_RANK
    weight = min(1.0, (math.log1p(rank) / math.log1p(_LAST_RANK)) ** 2)
    return weight * (_FUNCTION_WORD_SHARE if word in lexicon.FUNCTION_WORDS else 1.0)
