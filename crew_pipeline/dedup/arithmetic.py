"""How torch multiplies: the same bits whatever shares the batch, on whatever processor, in 32 bits or in 16.

What is computed of a text in one forward pass differs in its last bits with the shape of the batch. Every text is
therefore padded to a length that follows from the text alone (``padded_length``): rows of one length then come out
the same to the bit in batches of 1, 4, 16, 64 and 128 and with 1 or 2 threads (held by a test, with the kernels of
several processors).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from crew_pipeline.model import Precision

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


def prepare(threads: int) -> None:
    """Set what torch's libraries read when the process first multiplies anything, and the number of threads.

    Args:
        threads: 0 for as many as the machine has processors.
    """
    os.environ.setdefault("ONEDNN_MAX_CPU_ISA", _BEST_KERNELS)
    for capacity in CAPACITIES:
        os.environ.setdefault(capacity, _KEPT_SHAPES)
    for has, kernels in _STRICT_KERNELS:
        if has in _processor():
            os.environ.setdefault("MKL_CBWR", kernels)  # the first holds
    import torch

    torch.set_num_threads(threads or os.cpu_count() or 1)


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
