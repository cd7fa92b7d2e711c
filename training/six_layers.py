"""Six layers that read pairs as the twelve of the base model do: what the pair scorer starts from.

    python -m training.six_layers --base WHEEL [--work .training]

Every second layer is kept, and what the twelve make of unlabelled pairs of lines that lie near each other is learned:
their last token vectors, those of the middle, and their score. The state is kept on the way; started again, it goes on
from there. Writes ``WORK/six-layers.pt``.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from crew_pipeline.dedup.neighbours import nearest_pairs
from crew_pipeline.dedup.text_vectors import halves, text_vectors
from training import base_model, made_pairs
from training.cross_encoder import BATCH, batches, encoded

KEPT = (0, 2, 4, 7, 9, 11)
"""Layers of the twelve that the six start as."""
MIDDLE = (3, 5)
"""Which of the six's and of the twelve's token vectors must agree in the middle."""
PAIRS, RATE, SEED = 20_000, 1e-4, 5
LESSER_MIDDLE, LESSER_SCORE = 0.3, 0.02
"""What the middle and the score count for beside the last token vectors."""
_TOGETHER = 1_500
_KEPT_EVERY = 100


def main() -> None:
    """Learn from the twelve layers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path(".training"))
    chosen = parser.parse_args()
    learn(chosen.base, unlabelled_pairs(), chosen.work / "six-layers.pt")


def unlabelled_pairs() -> list[tuple[str, str]]:
    """Pairs of lines of the shared corpora that lie near each other, in random order."""
    chance = random.Random(SEED)
    lines = made_pairs.lines_of((), chance)
    pairs: list[tuple[str, str]] = []
    for start in range(0, len(lines), _TOGETHER):
        some = sorted(set(lines[start : start + _TOGETHER]))
        near = nearest_pairs(halves(text_vectors(some)), [range(len(some))], 4)
        pairs.extend((some[left], some[right]) for left, right in zip(near.left, near.right, strict=True))
    chance.shuffle(pairs)
    return pairs[:PAIRS]


def six_of(twelve: Any) -> Any:
    """A copy of the base model with every second layer."""
    import copy

    import torch

    six = copy.deepcopy(twelve)
    six.bert.encoder.layer = torch.nn.ModuleList([six.bert.encoder.layer[number] for number in KEPT])
    six.config.num_hidden_layers = len(KEPT)
    return six


def learn(wheel: Path, pairs: Sequence[tuple[str, str]], target: Path) -> None:
    """Train the six layers and keep them in ``target``."""
    import torch

    twelve = base_model.model(wheel, 1).eval()
    six = six_of(twelve)
    for module in six.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    steps = batches([len(left) + len(right) for left, right in pairs], np.random.default_rng(SEED))
    optimizer = torch.optim.AdamW(six.parameters(), lr=RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / 50) * max(0.0, 1 - step / len(steps))
    )
    first = 0
    if target.exists():
        kept = torch.load(target)
        first = kept["step"]
        six.load_state_dict(kept["network"])
        optimizer.load_state_dict(kept["optimizer"])
        schedule.load_state_dict(kept["schedule"])
    target.parent.mkdir(parents=True, exist_ok=True)
    for step in range(first, len(steps)):
        loss = _loss(six, twelve, [pairs[row] for row in steps[step]])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(six.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if (step + 1) % _KEPT_EVERY == 0 or step + 1 == len(steps):
            print(f"{step + 1} of {len(steps)} batches of {BATCH}: loss {loss.item():.4f}", flush=True)
            state = {"optimizer": optimizer.state_dict(), "schedule": schedule.state_dict()}
            torch.save({"step": step + 1, "network": six.state_dict(), **state}, target.with_suffix(".new"))
            target.with_suffix(".new").replace(target)


def _loss(six: Any, twelve: Any, pairs: Sequence[tuple[str, str]]) -> Any:
    import torch

    features = encoded(pairs)
    with torch.no_grad():
        wanted = twelve(**features, output_hidden_states=True)
    found = six(**features, output_hidden_states=True)
    tokens = features["attention_mask"][..., None].float()

    def apart(mine: Any, theirs: Any) -> Any:
        return ((mine - theirs) ** 2 * tokens).sum() / tokens.sum() / mine.shape[-1]

    last = apart(found.hidden_states[-1], wanted.hidden_states[-1])
    middle = apart(found.hidden_states[MIDDLE[0]], wanted.hidden_states[MIDDLE[1]])
    return last + LESSER_MIDDLE * middle + LESSER_SCORE * ((found.logits - wanted.logits) ** 2).mean()


if __name__ == "__main__":
    main()
