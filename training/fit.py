"""Fits the judge: ``crew_pipeline/dedup/judge/pair_scorer.npz`` and ``pairs.json``.

    python -m training.fit             # pair scorer, judge and report
    python -m training.fit --judge     # the judge alone, with the pair scorer that is there

The pair scorer learns from our pairs of four fifths of their days and from three fifths of the invented ones. It never
saw a pair of the shared folder, nor the rest of ours: on those its verdicts are as good as on new text, and on those
the last stage of the judge is fitted. The same machine writes the same bytes; nothing of this runs when days are
processed.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.preprocessing import StandardScaler

from crew_pipeline.dedup import features, pair_model, pair_scorer
from crew_pipeline.dedup.embedding import SentenceTransformerEncoder
from crew_pipeline.dedup.features import Texts
from crew_pipeline.dedup.neighbours import cosine
from crew_pipeline.dedup.speech import Utterance
from crew_pipeline.model import BUNDLED_MODEL
from training import data
from training import pair_scorer as adapter
from training.archive import write_npz

PRECISION = {"strict": 0.9, "balanced": 0.8, "loose": 0.65}
"""Of the operating points, on pairs that were not fitted to."""
DOUBT = (0.1, 0.95)
FOLDS = 5
TREES = {"max_depth": 3, "max_iter": 150, "learning_rate": 0.05, "min_samples_leaf": 25, "l2_regularization": 5.0}

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


def main() -> None:
    """Fit and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--judge", action="store_true", help="keep the pair scorer")
    chosen = parser.parse_args()
    pairs = data.load()
    if not chosen.judge:
        write_npz(pair_scorer.ADAPTER, **fit_scorer(pairs))
    stored = fit_judge(pairs, *table(pairs))
    pair_model.FILE.write_bytes(orjson.dumps(stored, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS) + b"\n")
    print(f"{pair_model.FILE.name}: {pair_model.FILE.stat().st_size / 1e3:.0f} kB")


def is_read(pair: data.Pair) -> bool:
    """Whether the pair scorer learns from a pair."""
    return pair.part < {"ours": 4, "written": 3, "shared": 0}[pair.source]


def fit_scorer(pairs: list[data.Pair], use: Callable[[data.Pair], bool] = is_read) -> dict[str, NDArray[np.float16]]:
    """The pair scorer's adapter, fitted to the pairs that ``use`` picks."""
    weights = data.loss_weights(pairs)
    samples = [
        adapter.Sample(one.left, one.right, one.duplicate, float(weight))
        for one, weight in zip(pairs, weights, strict=True)
        if use(one)
    ]
    return {name: array.astype(np.float16) for name, array in adapter.fit(samples).items()}


def table(pairs: list[data.Pair]) -> tuple[Floats, Floats]:
    """Features of all pairs: float64 (n, len(features.NAMES)); and the plain cosine similarity."""
    texts = sorted({text for one in pairs for text in (one.left, one.right)})
    index = {text: row for row, text in enumerate(texts)}
    left = np.array([index[one.left] for one in pairs])
    right = np.array([index[one.right] for one in pairs])
    encoder = SentenceTransformerEncoder(BUNDLED_MODEL)
    taken = Texts([Utterance.of(text) for text in texts])
    same = np.array([one.same_speaker for one in pairs])
    similarity = cosine(encoder.encode(texts), left, right)
    # What the pair scorer has learned from tells nothing of how well it reads.
    unread = [row for row, one in enumerate(pairs) if not is_read(one)]
    logits = np.zeros(len(pairs))
    logits[unread] = pair_scorer.BundledScorer(encoder).logits([(pairs[row].left, pairs[row].right) for row in unread])
    return np.column_stack([features.compare(taken, left, right, same), similarity, logits]), similarity


def fit_judge(pairs: list[data.Pair], rows: Floats, similarity: Floats) -> dict[str, Any]:
    """The content of ``pairs.json``."""
    stages = {}
    for basis, columns in pair_model.COLUMNS.items():
        usable = np.array([basis != "reading" or not is_read(one) for one in pairs])
        chosen = [one for one, use in zip(pairs, usable, strict=True) if use]
        stages[basis] = fit_stage(chosen, rows[usable][:, : len(columns)], basis)
    return {"doubt": DOUBT, "stages": stages, "version": 1}


def fit_stage(pairs: list[data.Pair], rows: Floats, name: str = "") -> dict[str, Any]:
    """One stage: fitted to all pairs, calibrated and given its operating points by cross-validation over days."""
    truth = np.array([one.duplicate for one in pairs])
    held_out = out_of_fold(pairs, rows)
    weights = evaluation_weights(pairs)
    slope, offset = _calibration(held_out, truth, weights)
    probability = 1 / (1 + np.exp(-(slope * held_out + offset)))
    stored = _fit(rows, truth, data.loss_weights(pairs))
    points = {point: threshold(probability, truth, weights, least) for point, least in PRECISION.items()}
    if name:
        _report(name, pairs, probability, truth, points)
    return {**stored, "slope": slope, "offset": offset, "points": points}


def out_of_fold(pairs: list[data.Pair], rows: Floats) -> Floats:
    """Mean log-odds of each pair by a judge that has seen no pair of its day."""
    truth = np.array([one.duplicate for one in pairs])
    days = [f"{one.corpus} {one.day}" for one in pairs]
    weights = data.loss_weights(pairs)
    found = np.zeros(len(pairs))
    for fitted, held_out in GroupKFold(FOLDS).split(rows, truth, days):
        judge = pair_model.Judge.read(
            {**_fit(rows[fitted], truth[fitted], weights[fitted]), "slope": 1.0, "offset": 0.0}
        )
        found[held_out] = judge.log_odds(rows[held_out])
    return found


def evaluation_weights(pairs: list[data.Pair]) -> Floats:
    """Every corpus counts as much as another, within it every pair by its weight; invented pairs are left out."""
    weights = np.array([0.0 if one.source == "written" else one.weight for one in pairs])
    groups = np.array([f"{one.source} {one.corpus}" for one in pairs])
    for group in sorted(set(groups.tolist())):
        if weights[groups == group].sum() > 0:
            weights[groups == group] /= weights[groups == group].sum()
    return weights


def threshold(probability: Floats, truth: Flags, weights: Floats, least: float) -> float:
    """The lowest probability from which on precision is at least ``least``."""
    order = np.argsort(-probability, kind="stable")
    precision = np.cumsum((weights * truth)[order]) / np.maximum(np.cumsum(weights[order]), 1e-12)
    good = np.flatnonzero(precision >= least)
    return round(float(probability[order][good[-1]]) if len(good) else 1.0, 4)


def _fit(rows: Floats, truth: Flags, weights: Floats) -> dict[str, Any]:
    scaler = StandardScaler().fit(rows)
    linear = LogisticRegression(C=0.1, max_iter=5000).fit(scaler.transform(rows), truth, sample_weight=weights)
    trees = HistGradientBoostingClassifier(random_state=0, early_stopping=False, **TREES)
    trees.fit(rows, truth, sample_weight=weights)
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
    """Platt's slope and offset, so that probabilities are frequencies among the pairs of a day."""
    used = weights > 0
    fitted = LogisticRegression(C=1e6, max_iter=1000).fit(
        log_odds[used, None], truth[used], sample_weight=weights[used] * used.sum() / weights.sum()
    )
    return round(float(fitted.coef_[0, 0]), 6), round(float(fitted.intercept_[0]), 6)


def _short(numbers: Floats) -> list[float]:
    return [round(float(one), 6) for one in numbers]


def quality(probability: Floats, truth: Flags, weights: Floats, least: float) -> tuple[float, float, float]:
    """Precision, recall and F1 at a threshold."""
    found = probability >= least
    hits = (weights * (found & truth)).sum()
    precision = hits / max((weights * found).sum(), 1e-12)
    recall = hits / max((weights * truth).sum(), 1e-12)
    return precision, recall, 2 * precision * recall / max(precision + recall, 1e-12)


def _report(name: str, pairs: list[data.Pair], probability: Floats, truth: Flags, points: dict[str, float]) -> None:
    weight = np.array([one.weight for one in pairs])
    groups = np.array([f"{one.source} {one.corpus}" for one in pairs])
    print(f"\nstage {name}: {len(pairs):,} pairs, cross-validated by day")
    for group in sorted(set(groups.tolist())):
        members = groups == group
        line = "  ".join(
            f"{point} ≥ {least:.3f}: P {p:.2f} R {r:.2f} F1 {f:.3f}"
            for point, least in points.items()
            for p, r, f in [quality(probability[members], truth[members], weight[members], least)]
        )
        print(f"  {group:22} {members.sum():6,}  {line}", flush=True)
    real = evaluation_weights(pairs)
    for low, high in zip((0, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95), (0.05, 0.2, 0.4, 0.6, 0.8, 0.95, 1.01), strict=True):
        members = (probability >= low) & (probability < high) & (real > 0)
        if members.any():
            mean = np.average(probability[members], weights=real[members])
            rate = np.average(truth[members], weights=real[members])
            print(f"  said {mean:.2f}, were {rate:.2f} ({members.sum():,} pairs)")


if __name__ == "__main__":
    warnings.filterwarnings("ignore", category=FutureWarning)
    main()
