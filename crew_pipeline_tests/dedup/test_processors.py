"""Whatever kernels a processor has: the same bits in any company, and in 32 bits the same folds."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from crew_pipeline.dedup import arithmetic, embedding, frames
from crew_pipeline.dedup.config import EngineConfig
from crew_pipeline.dedup.cores import distinct_texts
from crew_pipeline.dedup.embedding import SentenceTransformerEncoder, vectors_id
from crew_pipeline.dedup.folding import cluster_lines
from crew_pipeline.dedup.pair_scorer import BundledScorer
from crew_pipeline.dedup.text_vectors import text_vectors
from crew_pipeline.model import Precision

SUBJECTS = ("the invoice export", "the printer on the second floor")
SAYINGS = (
    "{} times out again",
    "um, {} times out again",
    "{} does not work since this morning",
    "since this morning {} does not work",
    "can somebody please have a look at {}",
    "please can somebody have a look at {}",
    "i think we should leave {} as it is for now",
    "请问 {} 怎么了",
)
TEXTS = [saying.format(subject) for subject in SUBJECTS for saying in SAYINGS]
LONG = [" and then ".join((*TEXTS[n:], *TEXTS[:n])[:parts]) for parts in (2, 5, 12) for n in range(2)]
"""Texts of lengths at which a product is split otherwise than for short ones."""
PAIRS = list(itertools.pairwise(TEXTS))
OTHER_KERNELS = [("AVX512_CORE", "avx512", "AVX512,STRICT"), ("AVX2", "avx2", "AVX2,STRICT")]


def bits_keep(precision: Precision) -> bool:
    """Whether vectors and verdicts are the same alone and in company."""
    encoder = SentenceTransformerEncoder(precision=precision)
    texts, pairs = [*TEXTS, *LONG], [*PAIRS, *itertools.pairwise(LONG)]
    vectors = np.stack([encoder.encode([text])[0] for text in texts])
    scorer = BundledScorer(precision=precision)
    logits = np.concatenate([scorer.logits([pair]) for pair in pairs])
    return np.array_equal(encoder.encode(texts), vectors) and np.array_equal(scorer.logits(pairs), logits)


def folded() -> list[list[Any]]:
    """The clusters of a small day in 32 bits: what folds where and why, then the two figures of each."""
    start = datetime(2025, 1, 15, 9, tzinfo=UTC)
    rows = [("c", "s", n, "voice", start + timedelta(minutes=n), text) for n, text in enumerate(TEXTS)]
    lines, config = frames.frame(rows, frames.LINES), EngineConfig(folding="loose")
    texts = distinct_texts(lines, config)
    vectors = dict(zip(texts, text_vectors(list(texts.values())), strict=True))
    members = cluster_lines("c", "2025-01-15", lines, vectors, config, BundledScorer(precision="float32")).members
    return [
        [[row.cluster_id, row.position, row.is_canonical, row.reason], [row.similarity, row.probability]]
        for row in frames.rows(members)
    ]


def main() -> None:
    """What another process with other kernels tells."""
    print(json.dumps([bits_keep("float32"), bits_keep("bfloat16"), folded()]))  # noqa: T201


@pytest.fixture(scope="module")
def folded_here() -> list[list[Any]]:
    return folded()


def test_bits_keep_with_the_kernels_of_this_processor() -> None:
    assert bits_keep("float32")
    assert bits_keep("bfloat16")


@pytest.mark.parametrize(("best", "vectorised", "strict"), OTHER_KERNELS)
def test_the_kernels_of_other_processors_keep_bits_and_fold_the_same(
    best: str, vectorised: str, strict: str, folded_here: list[list[Any]]
) -> None:
    if vectorised == "avx512" and "avx512f" not in arithmetic._processor():
        pytest.skip("this processor does not have these instructions; to ask for them ends the process")
    chosen = {"ONEDNN_MAX_CPU_ISA": best, "ATEN_CPU_CAPABILITY": vectorised, "MKL_CBWR": strict}
    done = subprocess.run(
        [sys.executable, "-m", __name__], env={**os.environ, **chosen}, capture_output=True, text=True, check=True
    )
    *bits, folded_there = json.loads(done.stdout.splitlines()[-1])
    assert bits == [True, True]
    assert [fold for fold, _ in folded_there] == [fold for fold, _ in folded_here]
    # Rounded to four decimals: one that lies between two of them may fall to either side.
    assert np.allclose([figures for _, figures in folded_there], [figures for _, figures in folded_here], atol=0.002)
    assert len(folded_here) > 5


def test_kernels_that_multiply_in_tiles_are_left_aside() -> None:
    SentenceTransformerEncoder().load()
    assert "AMX" not in os.environ["ONEDNN_MAX_CPU_ISA"]


def test_the_id_of_vectors_tells_the_arithmetic(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (arithmetic, embedding):
        monkeypatch.setattr(module, "multiplies_bfloat16", lambda: True)
    assert vectors_id("bundled", "auto").endswith("+bfloat16")
    for module in (arithmetic, embedding):
        monkeypatch.setattr(module, "multiplies_bfloat16", lambda: False)
    assert "+" not in vectors_id("bundled", "auto")
    assert vectors_id("bundled", "bfloat16").endswith("+bfloat16-emulated")


if __name__ == "__main__":
    main()
