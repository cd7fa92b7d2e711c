"""Distils the bundled model into a table of static word-piece vectors: ``crew_pipeline/dedup/judge/words.npz``.

    python -m training.distil

Every piece of the model's vocabulary goes through the model on its own; the vectors are reduced to 256 principal
components and stored as 8-bit integers with a scale a row. This is the recipe of model2vec (Tulkens & van Dongen,
2024); that library is not used, because its ``distill`` extra holds transformers below the version that this project
runs on.
Takes about a minute on two cores. The same machine writes the same bytes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from crew_pipeline.dedup.embedding import SentenceTransformerEncoder
from crew_pipeline.dedup.static import DIMENSION, TABLE, vocabulary
from crew_pipeline.model import BUNDLED_MODEL
from training.archive import write_npz

_AT_ONCE = 512


def piece_vectors(model: Any, count: int) -> NDArray[np.float64]:
    """What the model makes of each piece alone: float64, shape (count, width of the model)."""
    import torch

    tokenizer = model.tokenizer
    out = []
    with torch.inference_mode():
        for start in range(0, count, _AT_ONCE):
            ids = range(start, min(start + _AT_ONCE, count))
            rows = [[tokenizer.cls_token_id, piece, tokenizer.sep_token_id] for piece in ids]
            features = {
                "input_ids": torch.tensor(rows),
                "attention_mask": torch.ones(len(rows), 3, dtype=torch.long),
            }
            out.append(model.forward(features)["sentence_embedding"].numpy().astype(np.float64))
    return np.concatenate(out)


def principal_components(vectors: NDArray[np.float64], dimension: int) -> NDArray[np.float64]:
    """``vectors`` centred and turned to their ``dimension`` axes of largest variance, each axis with a fixed sign."""
    centred = vectors - vectors.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    axes = axes[:, ::-1][:, :dimension]
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(dimension)])
    return np.asarray(centred @ axes, np.float64)


def main() -> None:
    """Write the table."""
    pieces = vocabulary()
    vectors = principal_components(
        piece_vectors(SentenceTransformerEncoder(BUNDLED_MODEL).load(), pieces.get_vocab_size()), DIMENSION
    )
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    scale = np.abs(vectors).max(axis=1) / 127
    write_npz(TABLE, vectors=np.round(vectors / scale[:, None]).astype(np.int8), scale=scale.astype(np.float32))
    print(f"{TABLE.name}: {vectors.shape[0]:,} pieces of {DIMENSION} dimensions, {TABLE.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
