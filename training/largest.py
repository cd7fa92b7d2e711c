"""Prints the largest clusters of ten days of each corpus, for reading by eye (``docs/read-by-eye.md``).

python -m training.largest
"""

from __future__ import annotations

from typing import Any

from crew_pipeline.dedup import frames
from training import corpora

KINDS = ("support", "meetings")
DAYS = 10
CLUSTERS = 20
SHOWN = 12


def main() -> None:
    """Print them, corpus by corpus."""
    engine = corpora.Engine()
    for kind in KINDS:
        clusters: list[tuple[int, str, list[str]]] = []
        every = corpora.days_of(kind)
        days = list(every)[:: len(every) // DAYS][:DAYS]
        hidden = 0
        for day in days:
            said = {(row[1], row[2]): row for row in every[day]}
            for _, cluster in engine.fold(day, every[day]).groupby("cluster_id", sort=True):
                hidden += len(cluster) - 1
                clusters.append((len(cluster), f"{kind} {day}", _shown(cluster, said)))
        total = sum(len(every[day]) for day in days)
        print(f"\n{kind}: {len(days)} days, {total:,} lines, {hidden:,} folded, {len(clusters):,} clusters")
        largest = sorted(clusters, key=lambda cluster: (-cluster[0], cluster[1:]))[:CLUSTERS]
        for number, (size, name, shown) in enumerate(largest, 1):
            print(f"\n{number}. {name}, {size} lines", *shown, sep="\n")


def _shown(cluster: Any, said: dict[tuple[str, int], Any]) -> list[str]:
    """The canonical line, then the different texts under it, each with its probability."""
    shown: dict[str, str] = {}
    for row in sorted(frames.rows(cluster), key=lambda member: (not member.is_canonical, -member.probability)):
        *_, speaker, _, text = said[row.conversation_id, row.position]
        mark = "*" if row.is_canonical else f"{row.probability:.2f}"
        shown.setdefault(text, f"   {mark:>4} {speaker}: {text}")
    return list(shown.values())[:SHOWN]


if __name__ == "__main__":
    main()
