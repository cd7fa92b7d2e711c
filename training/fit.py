"""Fits the judge: ``crew_pipeline/dedup/judge/pairs.json``.

    python -m training.fit [--work .training]

Fitted to the coverage pairs and to the folds that were read, of all kinds of talk but the one without a licence. The
basis ``reading`` needs what a pair scorer says of pairs of whose kind it has learned nothing, which
``training.cross_encoder --leave`` writes into ``WORK``; folds are of days that the shipped one has not seen. Calibrated
on kinds of talk that the fit has not seen, and given its operating points on folds of kinds whose folds it has not
seen. The same machine writes the same bytes; nothing of this runs when days are processed.
"""

from __future__ import annotations

import argparse
import itertools
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from crew_pipeline.dedup import judging, pair_model
from crew_pipeline.dedup.features import Texts, compare
from crew_pipeline.dedup.pair_scorer import SWAPPED, BundledScorer
from crew_pipeline.dedup.speech import Utterance
from crew_pipeline.dedup.text import count_words
from crew_pipeline.dedup.voices import voice
from training import corpora, coverage, fold_readings
from training.coverage import CoveragePair

PRECISION = {"strict": 0.99, "balanced": 0.95, "loose": 0.85}
"""Of the operating points, on kinds of talk that were not fitted to."""
DOUBT = 0.55
"""Probability by words from which on a pair is read."""
TREES = {"max_depth": 3, "max_iter": 150, "learning_rate": 0.05, "min_samples_leaf": 25, "l2_regularization": 5.0}
LINEAR = 0.05
_FEWEST = 20
"""Pairs above an operating point before its precision counts."""
_SHORTEST = 3
FOLDS_COUNT_FOR = 1.0
"""What a fold that was read counts for in the loss, beside a labelled pair of middling weight."""
_WEIGHT = 0.25
"""Power of a pair's weight in the loss: what is drawn rarely counts more, but not as much more as in the figures."""

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Table:
    """The coverage pairs both ways round: first each right text hidden under its left one, then each left one.

    Attributes:
        pairs: n of them; all arrays have 2n rows.
        rows: float64 (2n, k), features of the basis.
        usable: bool (2n,), pairs that the basis knows all of.
    """

    pairs: Sequence[CoveragePair]
    rows: Floats
    usable: Flags

    @cached_property
    def kind(self) -> NDArray[np.str_]:
        """The kind of talk of each row."""
        return np.array([pair.kind for pair in self.pairs] * 2)

    @cached_property
    def covered(self) -> Floats:
        """By which share of the readings the hidden text is covered."""
        return np.array([one.left_covers for one in self.pairs] + [one.right_covers for one in self.pairs])

    @cached_property
    def source(self) -> NDArray[np.str_]:
        """Where the label of each row is from."""
        return np.array([pair.source for pair in self.pairs] * 2)

    @cached_property
    def weight(self) -> Floats:
        """How many pairs of its kind each row stands for; every kind counts as much as another."""
        weight = np.array([pair.weight for pair in self.pairs] * 2)
        labelled = self.source == "label"
        for kind in set(self.kind.tolist()):
            weight[labelled & (self.kind == kind)] /= weight[labelled & (self.kind == kind)].mean()
        return weight

    @cached_property
    def loss_weight(self) -> Floats:
        """What each row counts for in the fit."""
        return np.where(self.source == "label", self.weight**_WEIGHT, FOLDS_COUNT_FOR)

    @cached_property
    def folds(self) -> Flags:
        """Folds of whole days that two readers agree on."""
        one_way = [pair.source == "fold" and pair.agreed for pair in self.pairs]
        return np.array([*one_way, *[False] * len(one_way)]) & self.usable

    @cached_property
    def counted(self) -> Flags:
        """What is measured with: both readers agree, one voice says both texts, nothing forbids the fold."""
        one_way = [
            one.source == "label"
            and one.agreed
            and one.kind in corpora.FILES
            and one.left.core != one.right.core
            and one_voice(one)
            for one in self.pairs
        ]
        return np.array(one_way * 2) & self.usable


def main() -> None:
    """Fit and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path(".training"))
    chosen = parser.parse_args()
    pairs = [*coverage.load(), *fold_readings.load()]
    features, free = features_of(pairs)
    logits, read = readings(pairs, chosen.work)
    bases = {
        "words": Table(pairs, features, free),
        "reading": Table(pairs, np.hstack([features, logits]), free & read),
    }
    stored = {"doubt": DOUBT, "stages": {basis: fit_stage(table, basis) for basis, table in bases.items()}}
    pair_model.FILE.write_bytes(orjson.dumps(stored, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS) + b"\n")
    print(f"{pair_model.FILE.name}: {pair_model.FILE.stat().st_size / 1e3:.0f} kB")


def one_voice(pair: CoveragePair) -> bool:
    one, other = (voice(side.speaker, side.conversation) for side in (pair.left, pair.right))
    return one == other


def features_of(pairs: Sequence[CoveragePair]) -> tuple[Floats, Flags]:
    """Features of the pairs both ways round, and which ways nothing forbids a fold."""
    cores = sorted({side.core for pair in pairs for side in (pair.left, pair.right)})
    index = {core: row for row, core in enumerate(cores)}
    left, right = (np.array([index[getattr(pair, side).core] for pair in pairs]) for side in ("left", "right"))
    texts = Texts([Utterance.of(core) for core in cores])
    rows = compare(texts, left, right)
    values, words = texts.traits.values, np.array([count_words(core) for core in cores])
    ways = [*zip(right.tolist(), left.tolist(), strict=True), *zip(left.tolist(), right.tolist(), strict=True)]
    kept = np.array([values[hidden] <= values[visible] for hidden, visible in ways])
    free = np.tile((judging.obstacles(rows) == 0) & (np.minimum(words[left], words[right]) >= _SHORTEST), 2)
    read = np.isfinite([one.left_covers for one in pairs] + [one.right_covers for one in pairs])
    return np.vstack([rows.right_hidden, rows.left_hidden]), free & kept & read


def readings(pairs: Sequence[CoveragePair], work: Path) -> tuple[Floats, Flags]:
    """What pair scorers that never saw a pair's kind of talk say of it, both ways round, and of which pairs."""
    logits, read = np.zeros((len(pairs), len(SWAPPED))), np.zeros(len(pairs), np.bool_)
    for path in sorted(work.glob("without-*.npz")):
        with np.load(path) as stored:
            fresh = ~read[stored["numbers"]]
            logits[stored["numbers"][fresh]] = stored["logits"][fresh]
            read[stored["numbers"]] = True
    unseen = [number for number, pair in enumerate(pairs) if pair.source != "label"]
    logits[unseen] = BundledScorer().logits([(pairs[row].left.core, pairs[row].right.core) for row in unseen])
    read[unseen] = True
    return np.vstack([logits, logits[:, SWAPPED]]), np.tile(read, 2)


def fit_stage(table: Table, name: str) -> dict[str, Any]:
    """One basis: fitted to all that may be learned from, calibrated on kinds left out."""
    licensed = table.kind != coverage.UNLICENSED
    unseen_kind, unseen_folds = left_out(table, folds_alone=False), left_out(table, folds_alone=True)
    counted = (table.counted | table.folds) & licensed
    slope, offset = _calibration(unseen_kind[counted], table.covered[counted] == 1, table.weight[counted])
    of_kinds, of_folds = (1 / (1 + np.exp(-(slope * found + offset))) for found in (unseen_kind, unseen_folds))
    points = {point: threshold(of_folds, table, least) for point, least in PRECISION.items()}
    _report(name, table, of_kinds, of_folds, points)
    learned = table.usable & licensed
    stored = _fit(table.rows[learned], table.covered[learned], table.loss_weight[learned])
    return {**stored, "slope": slope, "offset": offset, "points": points}


def left_out(table: Table, *, folds_alone: bool) -> Floats:
    """Log-odds of each row by a judge that has seen no pair of its kind of talk, or (``folds_alone``) no fold of it."""
    found = np.full(len(table.rows), -20.0)
    for kind in sorted(set(table.kind[table.usable].tolist())):
        of_kind = table.kind == kind
        unseen = of_kind & (table.source != "label") if folds_alone else of_kind
        seen = table.usable & ~unseen & (table.kind != coverage.UNLICENSED)
        asked = table.usable & unseen
        if not asked.any():
            continue
        fitted = _fit(table.rows[seen], table.covered[seen], table.loss_weight[seen])
        judge = pair_model.Judge.read({**fitted, "slope": 1.0, "offset": 0.0})
        found[asked] = judge.log_odds(table.rows[asked])
    return found


def threshold(probability: Floats, table: Table, least: float) -> float:
    """The lowest probability from which on the folds of all licensed kinds are right by ``least``."""
    rows = np.flatnonzero(table.folds & (table.kind != coverage.UNLICENSED))
    order = rows[np.argsort(-probability[rows], kind="stable")]
    precision = np.cumsum(table.covered[order] == 1) / np.arange(1, len(order) + 1)
    good = np.flatnonzero(precision >= least)
    good = good[good >= _FEWEST]
    return round(float(probability[order][good[-1]]) if len(good) else 1.0, 4)


def _fit(rows: Floats, covered: Floats, counts_for: Floats) -> dict[str, Any]:
    """Fit to shares of readings: a row counts as covered by its share, and as not covered by the rest."""
    twice = np.vstack([rows, rows])
    truth = np.repeat([True, False], len(rows))
    counts = np.concatenate([covered, 1 - covered]) * np.tile(counts_for, 2)
    used = counts > 0
    twice, truth, counts = twice[used], truth[used], counts[used]
    scaler = StandardScaler().fit(twice)
    linear = LogisticRegression(C=LINEAR, max_iter=5000).fit(scaler.transform(twice), truth, sample_weight=counts)
    trees = HistGradientBoostingClassifier(random_state=0, early_stopping=False, **TREES)
    trees.fit(twice, truth, sample_weight=counts)
    return {
        "mean": _short(scaler.mean_),
        "scale": _short(scaler.scale_),
        "weights": _short(linear.coef_[0]),
        "bias": round(float(linear.intercept_[0]), 6),
        "start": round(float(trees._baseline_prediction[0, 0]), 6),
        "depth": TREES["max_depth"],
        **_arrays_of(trees),
    }


def _arrays_of(trees: Any) -> dict[str, Any]:
    """The trees as rectangular arrays; nodes that a tree does not have are leaves of value 0."""
    nodes = [predictors[0].nodes for predictors in trees._predictors]
    size = max(len(one) for one in nodes)
    feature, thresholds, child, value = [], [], [], []
    for one in nodes:
        spare = range(len(one), size)
        feature.append([0 if node["is_leaf"] else int(node["feature_idx"]) for node in one] + [0 for _ in spare])
        thresholds.append(
            [0.0 if node["is_leaf"] else round(float(node["num_threshold"]), 6) for node in one] + [0.0 for _ in spare]
        )
        child.append(
            [
                [place, place] if node["is_leaf"] else [int(node["left"]), int(node["right"])]
                for place, node in enumerate(one)
            ]
            + [[place, place] for place in spare]
        )
        value.append(
            [round(float(node["value"]), 6) if node["is_leaf"] else 0.0 for node in one] + [0.0 for _ in spare]
        )
    return {"feature": feature, "threshold": thresholds, "child": child, "value": value}


def _calibration(log_odds: Floats, truth: Flags, weights: Floats) -> tuple[float, float]:
    """Platt's slope and offset, so that probabilities are frequencies."""
    fitted = LogisticRegression(C=1e6, max_iter=1000).fit(log_odds[:, None], truth, sample_weight=weights)
    return round(float(fitted.coef_[0, 0]), 6), round(float(fitted.intercept_[0]), 6)


def _short(numbers: Floats) -> list[float]:
    return [round(float(one), 6) for one in numbers]


def _report(name: str, table: Table, of_kinds: Floats, of_folds: Floats, points: dict[str, float]) -> None:
    truth, weight = table.covered == 1, table.weight
    print(f"\nbasis {name}: {', '.join(f'{point} ≥ {least:.3f}' for point, least in points.items())}")
    print(
        "  labelled pairs of one voice with their kind left out (P, R, weighted); folds of unseen days (right of all)"
    )
    for kind in corpora.FILES:
        rows, folds = table.counted & (table.kind == kind), table.folds & (table.kind == kind)
        line = "   ".join(
            f"P {weight[found & truth].sum() / max(weight[found].sum(), 1e-12):.2f} "
            f"R {weight[found & truth].sum() / max(weight[rows & truth].sum(), 1e-12):.2f}, "
            f"{(shown & truth).sum():3} of {shown.sum():3}"
            for least in points.values()
            for found, shown in [(rows & (of_kinds >= least), folds & (of_folds >= least))]
        )
        print(f"  {kind:14} {rows.sum():5,} {folds.sum():4}   {line}", flush=True)
    rows = (table.counted | table.folds) & (table.kind != coverage.UNLICENSED)
    for low, high in itertools.pairwise((0, 0.05, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 1.01)):
        band = rows & (of_kinds >= low) & (of_kinds < high)
        if band.any():
            said = np.average(of_kinds[band], weights=weight[band])
            were = np.average(truth[band], weights=weight[band])
            print(f"  said {said:.2f}, were {were:.2f} ({band.sum():,} pairs, kinds left out)")


if __name__ == "__main__":
    warnings.filterwarnings("ignore", category=FutureWarning)
    main()
