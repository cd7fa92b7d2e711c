"""Decisions and tasks, as they are told from the rest, beside those that readers marked in conversations kept aside.

    python -m benchmarks.summaries [--json] [--quick]

The marks are in ``training/points/marks.jsonl``, made by reading whole conversations. Nothing was fitted to those that
are measured: meetings of series that are kept aside, and all other talk. Where two have read, what both marked counts;
a line that one of them marked counts neither way. ``near``: of what was found, how much lies within two lines of one.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from typing import Any

import numpy as np

from benchmarks.common import report
from crew_pipeline.history.summaries.classifier import SHORTEST, classifier
from crew_pipeline.history.summaries.sentences import Sentence
from crew_pipeline.history.themes.grid import Grid
from training.corpora import SHARED
from training.points import Marked, conversations, marked, vectors_of

KINDS = ("decision", "task")
_BESIDE = 2
_QUICK = 4


class Counts:
    """What was found of a kind, and what was right."""

    def __init__(self) -> None:
        self.marked = self.found = self.right = self.near = 0

    def figures(self) -> dict[str, Any]:
        """As they are told."""
        return {
            "marked": self.marked,
            "found": self.found,
            "precision": round(self.right / self.found, 3) if self.found else None,
            "recall": round(self.right / self.marked, 3) if self.marked else None,
            "near": round(self.near / self.found, 3) if self.found else None,
        }


def count(one: Marked, talk: list[Sentence], grid: Grid, counts: dict[str, Counts]) -> None:
    """Add a conversation."""
    found = classifier().classify(talk, grid)
    for kind in KINDS:
        into = counts[kind]
        of_kind = [one.readings(sentence.position).count(kind) for sentence in talk]
        for place, (sentence, what) in enumerate(zip(talk, found, strict=True)):
            readings = of_kind[place]
            if sentence.words < SHORTEST:
                continue
            into.marked += readings == one.read
            if what is None or what.kind != kind or 0 < readings < one.read:
                continue
            into.found += 1
            into.right += readings == one.read
            into.near += any(of_kind[max(0, place - _BESIDE) : place + _BESIDE + 1])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--quick", action="store_true", help="a few conversations of each corpus")
    asked = parser.parse_args()
    if not SHARED.exists():
        report({"skipped": "the shared corpora are not there"}, as_json=asked.json)
        return
    aside = [one for one in marked() if one.kept_aside]
    by_corpus: dict[str, list[Marked]] = defaultdict(list)
    for one in aside:
        by_corpus[one.corpus].append(one)
    corpora = {}
    for corpus, chosen in sorted(by_corpus.items()):
        read = chosen[:_QUICK] if asked.quick else chosen
        sessions = conversations(corpus)
        talks = [sessions[one.session_id] for one in read]
        counts = {kind: Counts() for kind in KINDS}
        for one, talk, grid in zip(read, talks, vectors_of(talks), strict=True):
            count(one, talk, grid, counts)
        corpora[corpus] = {
            "conversations": len(read),
            "read_twice": sum(one.read > 1 for one in read),
            "lines": int(np.sum([len(talk) for talk in talks])),
            **{kind: counts[kind].figures() for kind in KINDS},
        }
    report({"corpora": corpora}, as_json=asked.json)


if __name__ == "__main__":
    main()
