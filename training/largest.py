"""Prints the largest clusters of ten days of each corpus, for reading by eye (``docs/read-by-eye.md``).

python -m training.largest
"""

from __future__ import annotations

import gzip
from collections import defaultdict
from datetime import datetime
from typing import Any

import orjson

from crew_pipeline.dedup import frames
from crew_pipeline.dedup.config import EngineConfig
from crew_pipeline.dedup.cores import distinct_texts
from crew_pipeline.dedup.embedding import SentenceTransformerEncoder
from crew_pipeline.dedup.folding import cluster_lines
from crew_pipeline.dedup.pair_scorer import scorer_of
from training.data import CORPORA, SHARED

DAYS = 10
CLUSTERS = 20
SHOWN = 12


def main() -> None:
    """Print them, corpus by corpus."""
    config, encoder = EngineConfig(), SentenceTransformerEncoder()
    scorer = scorer_of(config.pair_scorer, encoder)
    for corpus in CORPORA:
        found: list[tuple[int, str, list[str]]] = []
        days = days_of(corpus)
        hidden = total = 0
        for day, rows in days.items():
            lines = frames.frame(rows, frames.LINES)
            texts = distinct_texts(lines, config)
            vectors = dict(zip(texts, encoder.encode(list(texts.values())), strict=True))
            members = cluster_lines("eye", day, lines, vectors, config, scorer).members
            said = {(row.conversation_id, row.position): row for row in frames.rows(lines)}
            total += len(lines)
            for _, cluster in members.groupby("cluster_id", sort=True):
                hidden += len(cluster) - 1
                found.append((len(cluster), f"{corpus} {day}", _shown(cluster, said)))
        print(f"\n{corpus}: {len(days)} days, {total:,} lines, {hidden:,} folded, {len(found):,} clusters")
        for number, (size, name, shown) in enumerate(sorted(found, key=lambda one: (-one[0], one[1:]))[:CLUSTERS], 1):
            print(f"\n{number}. {name}, {size} lines", *shown, sep="\n")


def days_of(corpus: str) -> dict[str, list[tuple[Any, ...]]]:
    """Ten days, spread evenly over the corpus."""
    days: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    with gzip.open(SHARED / CORPORA[corpus]) as file:
        for raw in file:
            line = orjson.loads(raw)
            spoken = datetime.fromisoformat(line["created_at"])
            key = ("eye", line["session_id"], line["line"], line["speaker"], spoken, line["text"])
            days[line["created_at"][:10]].append(key)
    every = sorted(days)
    return {day: days[day] for day in every[:: len(every) // DAYS][:DAYS]}


def _shown(cluster: Any, said: dict[tuple[str, int], Any]) -> list[str]:
    """The canonical line, then the different texts under it, each with its probability."""
    shown: dict[str, str] = {}
    for row in sorted(frames.rows(cluster), key=lambda one: (not one.is_canonical, -one.probability)):
        line = said[row.conversation_id, row.position]
        mark = "*" if row.is_canonical else f"{row.probability:.2f}"
        shown.setdefault(line.text, f"   {mark:>4} {line.speaker}: {line.text}")
    return list(shown.values())[:SHOWN]


if __name__ == "__main__":
    main()
