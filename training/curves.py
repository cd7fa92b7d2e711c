"""Precision over recall of what would be hidden, kind of talk by kind of talk, beside cosine and average linkage.

    python -m training.curves [--work .training]

Of the coverage pairs that two readings agree on, weighted. A pair is right to be hidden where one line covers the other
and they are not two people's own. The engine has seen nothing of the kind, neither in the scorer nor in the judge, and
must hide the covered line of one voice; its peers may hide either line of any voice. They are cosine similarity of the
embedding model's vectors, which is also what SemHash links by, and average linkage over all texts of the day, cut at
the height at which the two texts meet. Each is given the thresholds that suit it best: the precision at a recall is the
best at that recall and more.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import pdist

from crew_pipeline.dedup.config import EngineConfig
from crew_pipeline.dedup.cores import distinct_texts
from crew_pipeline.dedup.embedding import SentenceTransformerEncoder
from crew_pipeline.dedup.frames import LINES, columns
from crew_pipeline.dedup.text import text_hash
from training import corpora, coverage, fit, fold_readings
from training.coverage import CoveragePair

RECALLS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8)

Floats = NDArray[np.float64]


def main() -> None:
    """Print a row for each kind and judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path(".training"))
    labelled = coverage.load()
    scores, right = engine(labelled, parser.parse_args().work)
    encoder = SentenceTransformerEncoder()
    print("precision at a recall of " + ", ".join(f"{recall:.2f}" for recall in RECALLS))
    for kind in corpora.FILES:
        of_kind = [row for row, pair in enumerate(labelled) if pair.kind == kind and _measured(pair)]
        pairs = [labelled[row] for row in of_kind]
        truth = np.array([max(pair.left_covers, pair.right_covers) == 1 and not pair.own for pair in pairs])
        weight = np.array([pair.weight for pair in pairs])
        cosine, linked = peers(kind, pairs, encoder)
        judges = {"engine": (scores[of_kind], right[of_kind]), "cosine": (cosine, truth), "linkage": (linked, truth)}
        for name, (score, hits) in judges.items():
            print(f"{kind:14}{name:9}" + "  ".join(curve(score, hits, truth, weight)), flush=True)


def _measured(pair: CoveragePair) -> bool:
    return pair.agreed and pair.left.core != pair.right.core


def engine(labelled: Sequence[CoveragePair], work: Path) -> tuple[Floats, NDArray[np.bool_]]:
    """How sure the judge of the basis ``reading`` is of each pair, its kind left out, and whether the line that it
    would hide may be hidden; -inf where it may not fold."""
    pairs = [*labelled, *fold_readings.load()]
    features, free = fit.features_of(pairs)
    logits, read = fit.readings(pairs, work)
    table = fit.Table(pairs, np.hstack([features, logits]), free & read)
    found = fit.left_out(table, folds_alone=False)
    one_voice = np.array([fit.one_voice(pair) for pair in pairs] * 2)
    found = np.where(table.usable & one_voice, found, -np.inf)
    own = np.array([bool(pair.own) for pair in pairs] * 2)
    covered = (table.covered == 1) & ~own
    count = len(pairs)
    second = found[count:] > found[:count]
    return (
        np.where(second, found[count:], found[:count])[: len(labelled)],
        np.where(second, covered[count:], covered[:count])[: len(labelled)],
    )


def peers(kind: str, pairs: Sequence[CoveragePair], encoder: SentenceTransformerEncoder) -> tuple[Floats, Floats]:
    """Cosine similarity of each pair's texts, and the similarity at which average linkage joins them."""
    days = corpora.days_of(kind)
    cosine, linked = np.zeros(len(pairs)), np.zeros(len(pairs))
    for day in sorted({pair.day for pair in pairs}):
        texts = {
            **distinct_texts(columns(days[day], LINES), EngineConfig()),
            **{
                text_hash(core): core for pair in pairs if pair.day == day for core in (pair.left.core, pair.right.core)
            },
        }
        place = {key: number for number, key in enumerate(texts)}
        vectors = encoder.encode(list(texts.values())).astype(np.float64)
        joined = _joined_at(vectors)
        for row, pair in enumerate(pairs):
            if pair.day == day:
                one, other = (place[text_hash(side.core)] for side in (pair.left, pair.right))
                cosine[row], linked[row] = vectors[one] @ vectors[other], joined(one, other)
    return cosine, linked


def _joined_at(vectors: Floats) -> Callable[[int, int], float]:
    """At which similarity average linkage puts two rows into one cluster: at the height of their lowest common node."""
    merges = linkage(pdist(vectors, "cosine"), "average")
    count = len(vectors)
    parent = np.zeros(2 * count - 1, np.int64)
    for number, (one, other) in enumerate(merges[:, :2].astype(np.int64).tolist()):
        parent[one] = parent[other] = count + number

    def joined(one: int, other: int) -> float:
        # A parent's number is higher than its children's.
        while one != other:
            one, other = (parent[one], other) if one < other else (one, parent[other])
        return 1.0 if one < count else float(1 - merges[one - count, 2])

    return joined


def curve(score: Floats, hits: NDArray[np.bool_], truth: NDArray[np.bool_], weight: Floats) -> list[str]:
    """The best precision at each of ``RECALLS`` and more; "-" where no threshold gets there."""
    order = np.argsort(-score, kind="stable")
    order = order[np.isfinite(score[order])]
    found = np.cumsum((weight * hits)[order])
    precision, recall = found / np.cumsum(weight[order]), found / (weight * truth).sum()
    return [f"{precision[recall >= least].max():.2f}" if (recall >= least).any() else "  - " for least in RECALLS]


if __name__ == "__main__":
    warnings.filterwarnings("ignore", category=FutureWarning)
    main()
