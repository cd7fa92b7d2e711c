"""How far the judge carries over: fitted on one corpus and the invented pairs, measured on the other.

    python -m training.transfer [--scorer]

Without ``--scorer`` the stage before the scorer is measured, which takes a minute; with it, a scorer is trained on the
one corpus alone as well (some ten minutes each).
"""

from __future__ import annotations

import argparse

import numpy as np

from crew_pipeline.dedup import pair_model, pair_scorer
from crew_pipeline.dedup.embedding import SentenceTransformerEncoder
from crew_pipeline.model import BUNDLED_MODEL
from training import data, fit
from training.archive import write_npz


def main() -> None:
    """Print precision, recall and F1 of each corpus by the judge of the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scorer", action="store_true", help="train a scorer for each as well")
    chosen = parser.parse_args()
    pairs = data.load()
    rows, similarity = fit.table(pairs)
    for corpus in data.CORPORA:
        own = [one.corpus != corpus for one in pairs]
        measured = np.array([one.source == "shared" and one.corpus == corpus for one in pairs])
        basis, columns = "meaning", rows[:, :-1]
        fitted = np.array(own)
        if chosen.scorer:
            basis, columns = "reading", np.column_stack([rows[:, :-1], _logits(pairs, corpus)])
            fitted &= np.array([not fit.is_read(one) for one in pairs])
        learned = [one for one, use in zip(pairs, fitted, strict=True) if use]
        stored = fit.fit_stage(learned, columns[fitted])
        judge = pair_model.Judge.read(stored)
        probability = judge.probability(columns[measured])
        truth = np.array([one.duplicate for one in pairs])[measured]
        weights = np.array([one.weight for one in pairs])[measured]
        print(f"\n{corpus}, by a judge ({basis}) that has seen nothing of it")
        for point, least in stored["points"].items():
            precision, recall, f1 = fit.quality(probability, truth, weights, least)
            print(f"  {point:9} ≥ {least:.3f}: P {precision:.2f} R {recall:.2f} F1 {f1:.3f}")
        best = max(fit.quality(probability, truth, weights, least)[2] for least in np.unique(probability))
        cosine = max(fit.quality(similarity[measured], truth, weights, least)[2] for least in np.arange(0.5, 1, 0.01))
        print(f"  best F1 {best:.3f}; cosine's best {cosine:.3f}", flush=True)


def _logits(pairs: list[data.Pair], corpus: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Verdicts of a scorer that was trained without ``corpus``."""
    shipped = pair_scorer.ADAPTER
    pair_scorer.ADAPTER = shipped.with_name(f"scorer-without-{corpus}.npz")
    write_npz(pair_scorer.ADAPTER, **fit.fit_scorer(pairs, lambda one: fit.is_read(one) and one.corpus != corpus))
    try:
        wanted = [row for row, one in enumerate(pairs) if not fit.is_read(one)]
        found = np.zeros(len(pairs))
        found[wanted] = pair_scorer.BundledScorer(SentenceTransformerEncoder(BUNDLED_MODEL)).logits(
            [(pairs[row].left, pairs[row].right) for row in wanted]
        )
    finally:
        pair_scorer.ADAPTER.unlink()
        pair_scorer.ADAPTER = shipped
    return found


if __name__ == "__main__":
    main()
