"""Fits the pair scorer's adapter to labelled pairs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crew_pipeline.dedup.embedding import SentenceTransformerEncoder
from crew_pipeline.dedup.pair_scorer import ADAPTED, LONGEST, read
from crew_pipeline.model import BUNDLED_MODEL

RANK = 16
EPOCHS = 5
BATCH = 32
RATE = 1e-3
SMOOTHING = 0.03
SEED = 20250115


@dataclass(frozen=True)
class Sample:
    """A labelled pair of cores; ``weight`` is its weight in the loss."""

    left: str
    right: str
    duplicate: bool
    weight: float


def fit(samples: Sequence[Sample], *, epochs: int = EPOCHS, log: bool = True) -> dict[str, NDArray[np.float32]]:
    """Train an adapter: the arrays of ``pair_scorer.npz``, float32. The same samples give the same arrays."""
    import torch

    torch.manual_seed(SEED)
    torch.use_deterministic_algorithms(True)
    generator = np.random.default_rng(SEED)
    sentence_model = SentenceTransformerEncoder(BUNDLED_MODEL).load()
    tokenizer, bert = sentence_model.tokenizer, sentence_model[0].auto_model
    bert.requires_grad_(False)
    added = {f"{n}.{name}": _adapt(layer, name) for n, layer in enumerate(bert.encoder.layer) for name in ADAPTED}
    width = bert.config.hidden_size
    segment = torch.zeros(width, requires_grad=True)
    head = torch.nn.Linear(width, 1)
    parts = [
        {"params": [tensor for pair in added.values() for tensor in pair], "lr": RATE},
        {"params": [segment, *head.parameters()], "lr": RATE},
    ]
    optimizer = torch.optim.AdamW(parts, weight_decay=0.01)
    steps = epochs * -(-len(samples) // BATCH)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1, (step + 1) / 50) * max(0.0, 1 - step / steps)
    )
    tokens = [tokenizer(one.left, one.right, truncation=True, max_length=LONGEST) for one in samples]
    flipped = [tokenizer(one.right, one.left, truncation=True, max_length=LONGEST) for one in samples]
    bert.train()
    started = time.monotonic()
    for epoch in range(epochs):
        total = 0.0
        for rows in _epoch_batches([len(one["input_ids"]) for one in tokens], generator):
            chosen = [(tokens if generator.random() < 0.5 else flipped)[row] for row in rows]
            features = tokenizer.pad({name: [one[name] for one in chosen] for name in chosen[0]}, return_tensors="pt")
            logits = head(read(bert.embeddings, bert.encoder, segment, features))[:, 0]
            truth = torch.tensor([float(samples[row].duplicate) for row in rows]) * (1 - 2 * SMOOTHING) + SMOOTHING
            weight = torch.tensor([samples[row].weight for row in rows], dtype=torch.float32)
            losses = torch.nn.functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
            loss = (losses * weight).mean()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_([tensor for part in parts for tensor in part["params"]], 1.0)
            optimizer.step()
            schedule.step()
            total += loss.item() * len(rows)
        if log:
            print(
                f"pair scorer, epoch {epoch + 1} of {epochs}: loss {total / len(samples):.4f}, "
                f"{time.monotonic() - started:.0f} s",
                flush=True,
            )
    out = {
        "segment": segment.detach().numpy(),
        "head": head.weight.detach().numpy()[0],
        "bias": head.bias.detach().numpy(),
    }
    for name, (down, up) in added.items():
        out[f"{name}.down"], out[f"{name}.up"] = down.detach().numpy(), up.detach().numpy()
    return out


def _adapt(layer: Any, name: str) -> tuple[Any, Any]:
    """Give a linear module a low-rank addition; the two new matrices."""
    import torch

    linear = layer.get_submodule(name)
    down = torch.nn.Parameter(torch.randn(RANK, linear.in_features) / linear.in_features**0.5)
    up = torch.nn.Parameter(torch.zeros(linear.out_features, RANK))
    plain = linear.forward

    def forward(inputs: Any) -> Any:
        return plain(inputs) + (inputs @ down.T) @ up.T

    linear.forward = forward
    return down, up


def _epoch_batches(lengths: Sequence[int], generator: np.random.Generator) -> list[list[int]]:
    """Batches of texts of about one length, in random order."""
    jittered = np.array(lengths) * generator.uniform(0.85, 1.15, len(lengths))
    order = np.argsort(jittered, kind="stable")
    batches = [order[start : start + BATCH].tolist() for start in range(0, len(order), BATCH)]
    generator.shuffle(batches)
    return batches
