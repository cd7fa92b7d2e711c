"""A text has one vector, whatever it is embedded together with."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from crew_pipeline.dedup.arithmetic import CAPACITIES, multiplies_bfloat16
from crew_pipeline.dedup.embedding import (
    ModelNotFoundError,
    SentenceTransformerEncoder,
    model_id,
)

TEXTS = [
    "the release is blocked",
    "ok then",
    "请问怎么导出一年的发票?",
    "a much longer line that goes on and on about the invoice export and why it timed out again last night",
    "👍",
    *(f"line number {number} of many that differ in length {'very ' * (number % 7)}much" for number in range(40)),
]


@pytest.fixture(scope="module")
def encoder() -> SentenceTransformerEncoder:
    return SentenceTransformerEncoder()


def test_vectors_are_the_same_bits_in_any_batch_order_and_thread_count(encoder: SentenceTransformerEncoder) -> None:
    import torch

    whole = encoder.encode(TEXTS)
    backwards = encoder.encode(TEXTS[::-1])[::-1]
    alone = np.stack([encoder.encode([text])[0] for text in TEXTS])
    small = SentenceTransformerEncoder(batch=3)
    small._loaded = encoder.load()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        in_threes = small.encode(TEXTS)
    finally:
        torch.set_num_threads(threads)
    for other in (backwards, alone, in_threes):
        assert np.array_equal(whole, other)


def test_vectors_agree_with_plain_encode(encoder: SentenceTransformerEncoder) -> None:
    exact = SentenceTransformerEncoder(precision="float32")
    plain = exact.load().encode(TEXTS, normalize_embeddings=True, show_progress_bar=False)
    assert np.abs(exact.encode(TEXTS) - plain).max() < 1e-5


def test_sixteen_bits_hardly_move_a_similarity() -> None:
    fast, exact = (SentenceTransformerEncoder(precision=one).encode(TEXTS) for one in ("bfloat16", "float32"))
    moved = np.abs(fast @ fast.T - exact @ exact.T)
    assert moved.mean() < 0.001
    assert moved.max() < 0.005


def test_vectors_of_another_arithmetic_are_not_taken_from_the_cache() -> None:
    fast, exact = (SentenceTransformerEncoder(precision=one).model_id for one in ("bfloat16", "float32"))
    assert fast != exact


def test_vectors_are_unit_rows_and_no_text_gives_none(encoder: SentenceTransformerEncoder) -> None:
    vectors = encoder.encode(TEXTS)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert encoder.encode([]).shape == (0, vectors.shape[1])


def test_every_finished_batch_is_reported(encoder: SentenceTransformerEncoder) -> None:
    done: list[int] = []
    encoder.encode(TEXTS, on_batch=done.append)
    assert sum(done) == len(TEXTS)


def test_the_bundled_model_is_known_by_its_weights() -> None:
    assert model_id("bundled").startswith("all-MiniLM-L6-v2@")
    assert model_id("bundled") == model_id("bundled")


def test_a_folder_that_is_not_there_is_refused_in_a_sentence(tmp_path: object) -> None:
    with pytest.raises(ModelNotFoundError, match="is not a folder"):
        model_id(f"{tmp_path}/nothing")
    with pytest.raises(ModelNotFoundError, match="CREW_MODEL"):
        SentenceTransformerEncoder(f"{tmp_path}").load()


_MANY_SHAPES = """
import psutil
from crew_pipeline.dedup.embedding import SentenceTransformerEncoder
encoder = SentenceTransformerEncoder()
encoder.encode(["paper " * 40] * 32)
before = psutil.Process().memory_info().rss
for size in range(1, 33):
    for words in (3, 6, 10, 14, 20, 28):
        encoder.encode(["paper " * words] * size)
print((psutil.Process().memory_info().rss - before) / 2**20)
"""


@pytest.mark.slow
@pytest.mark.skipif(not multiplies_bfloat16(), reason="only 16-bit arithmetic prepares something for each shape")
def test_a_process_does_not_keep_something_of_every_shape_it_ever_computed() -> None:
    def grown_mb(**kept: str) -> float:
        environment = {name: value for name, value in os.environ.items() if name not in CAPACITIES} | kept
        command = [sys.executable, "-c", _MANY_SHAPES]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return float(done.stdout)

    assert grown_mb() < 0.5 * grown_mb(**dict.fromkeys(CAPACITIES, "1024"))
