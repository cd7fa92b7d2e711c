"""Fine-tunes a cross-encoder on the coverage pairs: does A cover B, B cover A, is it each one's own, is it a formula?

    python -m training.cross_encoder [--leave KIND,KIND] [--work .training]
    python -m training.cross_encoder --ship

It starts from what ``training.six_layers`` has left in ``WORK``. What is left out is scored when it is done, as talk
that the model has never seen: ``WORK/without-NAMES.npz`` holds the numbers of the pairs (in the order of
``coverage.load()``) and their logits, float32 (n, 4). ``--ship`` leaves nothing out but the kind without a licence, and
writes ``crew_pipeline/dedup/judge/pair_scorer.npz``. The state is kept after every ``KEPT_EVERY`` batches; started
again, it goes on from there. The same machine writes the same bytes with the same number of threads.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crew_pipeline.dedup import pair_scorer
from training import base_model, coverage, made_pairs
from training.archive import write_npz
from training.coverage import CoveragePair

OUTPUTS = ("left_covers", "right_covers", "own", "formula")
EPOCHS, BATCH, RATE, SEED = 2, 32, 3e-5, 20250115
MADE = 5_000
"""Pairs made from unlabelled lines, and their weight beside labelled ones."""
MADE_COUNT_FOR = 0.6
SMOOTHING = 0.02
LESSER = 0.3
"""What the last two outputs count for in the loss."""
KEPT_EVERY = 50

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Sample:
    """Two texts and what is known of them, in the order of ``OUTPUTS``; -1 where it is not known."""

    left: str
    right: str
    known: tuple[float, float, float, float]
    weight: float


def main() -> None:
    """Train, and score what was left out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--leave", default="", help="kinds of talk to leave out, beside the one without a licence")
    parser.add_argument("--ship", action="store_true")
    parser.add_argument("--work", type=Path, default=Path(".training"))
    chosen = parser.parse_args()
    left_out = {kind for kind in chosen.leave.split(",") if kind}
    name = "all" if chosen.ship else "without-" + "-".join(sorted(left_out | {coverage.UNLICENSED}))
    pairs = coverage.load()
    trained = train(started(chosen.work / "six-layers.pt"), samples(pairs, left_out), chosen.work / f"{name}.pt")
    if chosen.ship:
        weights = {weight: tensor.numpy() for weight, tensor in trained.state_dict().items()}
        write_npz(pair_scorer.FILE, **pair_scorer.in_8_bits(weights))
    unseen = [n for n, pair in enumerate(pairs) if pair.kind in left_out | {coverage.UNLICENSED}]
    logits = scores(trained, [(pairs[n].left.core, pairs[n].right.core) for n in unseen])
    write_npz(chosen.work / f"{name}.npz", numbers=np.array(unseen, np.int64), logits=logits)


def started(base: Path) -> Any:
    """The six layers with new outputs."""
    import torch

    weights = torch.load(base)["network"]
    network = architecture(len({name.split(".")[3] for name in weights if ".layer." in name}))
    single = weights.pop("classifier.weight")
    del weights["classifier.bias"]
    network.load_state_dict(weights, strict=False)
    with torch.no_grad():
        network.classifier.weight.copy_(0.3 * single.repeat(pair_scorer.OUTPUTS, 1))
        network.classifier.bias.zero_()
    return network


def architecture(layers: int) -> Any:
    """The cross-encoder without its weights, as it is fitted: a ``BertForSequenceClassification``."""
    from transformers import BertConfig, BertForSequenceClassification

    shape: dict[str, Any] = {
        "vocab_size": base_model.VOCABULARY,
        "hidden_size": base_model.WIDTH,
        "num_hidden_layers": layers,
        "num_attention_heads": base_model.HEADS,
        "intermediate_size": base_model.INNER,
        "max_position_embeddings": base_model.LONGEST,
        "num_labels": pair_scorer.OUTPUTS,
    }
    return BertForSequenceClassification(BertConfig(**shape))


def samples(pairs: Sequence[CoveragePair], left_out: Collection[str]) -> list[Sample]:
    """What is learned from: the labelled pairs of the other kinds of talk, and pairs made from their corpora."""
    without = {*left_out, coverage.UNLICENSED}
    labelled = [_sample(pair) for pair in pairs if pair.kind not in without]
    chance = Random(SEED)
    made = made_pairs.Maker(made_pairs.lines_of(without, chance), chance).pairs(MADE)
    return labelled + [
        Sample(pair.left, pair.right, (_known(pair.left_covers), _known(pair.right_covers), -1, -1), MADE_COUNT_FOR)
        for pair in made
    ]


def _sample(pair: CoveragePair) -> Sample:
    known = (pair.left_covers, pair.right_covers, _known(pair.own), _known(pair.formula))
    return Sample(pair.left.core, pair.right.core, known, 1.0)


def _known(share: float | None) -> float:
    return -1.0 if share is None else float(share)


def encoded(pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Pairs as a network takes them, padded to the longest."""
    import torch

    read = [pair_scorer.tokenizer().encode(*pair) for pair in pairs]
    length = max(len(one.ids) for one in read)
    columns = zip(*(pair_scorer.padded(one, length) for one in read), strict=True)
    names = ("input_ids", "token_type_ids", "attention_mask")
    return {name: torch.tensor(column) for name, column in zip(names, columns, strict=True)}


def train(network: Any, learned: Sequence[Sample], state: Path) -> Any:
    """The network, fine-tuned on ``learned``; its state is kept in ``state`` on the way, and taken from there."""
    import torch

    torch.manual_seed(SEED)
    steps = _steps(learned)
    optimizer = torch.optim.AdamW(_parameters(network), lr=RATE)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / (0.06 * len(steps))) * max(0.0, 1 - step / len(steps))
    )
    first = 0
    if state.exists():
        kept = torch.load(state)
        first = kept["step"]
        network.load_state_dict(kept["network"])
        optimizer.load_state_dict(kept["optimizer"])
        schedule.load_state_dict(kept["schedule"])
        torch.set_rng_state(kept["random"])
    state.parent.mkdir(parents=True, exist_ok=True)
    network.train()
    started = time.monotonic()
    for step in range(first, len(steps)):
        rows, swapped = steps[step]
        loss = _loss(network, [learned[row] for row in rows], swapped=swapped)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if (step + 1) % KEPT_EVERY == 0 or step + 1 == len(steps):
            print(f"{step + 1} of {len(steps)}: loss {loss.item():.3f}, {time.monotonic() - started:.0f} s", flush=True)
            _keep(state, step + 1, network, optimizer, schedule)
    network.eval()
    return network


def _steps(learned: Sequence[Sample]) -> list[tuple[list[int], bool]]:
    """The batches of all epochs, of texts of about one length each, and whether their sides are swapped."""
    chance = np.random.default_rng(SEED)
    lengths = [len(sample.left) + len(sample.right) for sample in learned]
    steps: list[tuple[list[int], bool]] = []
    for _ in range(EPOCHS):
        steps.extend((batch, bool(chance.random() < 0.5)) for batch in batches(lengths, chance))
    return steps


def batches(lengths: Sequence[int], chance: np.random.Generator) -> list[list[int]]:
    """Rows in batches of texts of about one length, in random order."""
    order = np.argsort(np.array(lengths) * chance.uniform(0.9, 1.1, len(lengths)), kind="stable")
    made = [order[start : start + BATCH].tolist() for start in range(0, len(order), BATCH)]
    chance.shuffle(made)
    return made


def _parameters(network: Any) -> list[dict[str, Any]]:
    plain = [tensor for name, tensor in network.named_parameters() if name.endswith(("bias", "LayerNorm.weight"))]
    others = [tensor for name, tensor in network.named_parameters() if not name.endswith(("bias", "LayerNorm.weight"))]
    return [{"params": others, "weight_decay": 0.01}, {"params": plain, "weight_decay": 0.0}]


def _loss(network: Any, batch: Sequence[Sample], *, swapped: bool) -> Any:
    import torch

    sides = [(sample.right, sample.left) if swapped else (sample.left, sample.right) for sample in batch]
    known = torch.tensor([sample.known for sample in batch], dtype=torch.float32)
    if swapped:
        known = known[:, [1, 0, 2, 3]]
    counts = (known >= 0).float() * torch.tensor([1.0, 1.0, LESSER, LESSER])
    target = known.clamp(0, 1) * (1 - 2 * SMOOTHING) + SMOOTHING
    losses = torch.nn.functional.binary_cross_entropy_with_logits(
        network(**encoded(sides)).logits, target, reduction="none"
    )
    weights = torch.tensor([sample.weight for sample in batch], dtype=torch.float32)
    return ((losses * counts).sum(dim=1) * weights).mean()


def _keep(state: Path, step: int, network: Any, optimizer: Any, schedule: Any) -> None:
    import torch

    content = {
        "step": step,
        "network": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "schedule": schedule.state_dict(),
        "random": torch.get_rng_state(),
    }
    torch.save(content, state.with_suffix(".new"))
    state.with_suffix(".new").replace(state)


def scores(network: Any, pairs: Sequence[tuple[str, str]]) -> Floats:
    """Logits of pairs of texts, in the order of ``OUTPUTS``: float32 (n, 4), read with the lesser text first."""
    import torch

    logits = np.zeros((len(pairs), len(OUTPUTS)), np.float32)
    order = np.argsort([len(left) + len(right) for left, right in pairs], kind="stable")
    with torch.inference_mode():
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            logits[rows] = network(**encoded([(min(pairs[row]), max(pairs[row])) for row in rows])).logits.numpy()
    swapped = np.array([left > right for left, right in pairs], np.bool_)
    logits[swapped] = logits[swapped][:, pair_scorer.SWAPPED]
    return logits


if __name__ == "__main__":
    main()
