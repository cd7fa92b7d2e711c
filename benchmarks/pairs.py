"""The engine's judgement against its peers, on the same embeddings and the same labelled pairs.

Peers: cosine similarity at the threshold that suits the very pairs best, average linkage at 0.85 (the system that this
one goes back to), sentence-transformers' ``community_detection``, and SemHash at its own default. Clusterers get the
whole days of the pairs; a pair counts as found where both its lines come into one cluster. Precision, recall and F1 are
weighted. B-cubed is the same seen from each line: which of the lines it was judged against lie in its cluster, and
which should; averaged over lines. Everything is done twice, the second time with the lines shuffled.

``judged`` is the judgement of the pairs' texts, whoever says them. The engine has learned from other labels of these
corpora, from none of these pairs.
"""

from __future__ import annotations

import gzip
import random
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pandas as pd
from numpy.typing import NDArray

from benchmarks.common import options, progress, report
from crew_pipeline.dedup import evaluation, frames
from crew_pipeline.dedup.config import EngineConfig
from crew_pipeline.dedup.cores import cores, distinct_texts
from crew_pipeline.dedup.embedding import SentenceTransformerEncoder
from crew_pipeline.dedup.folding import cluster_lines as engine_clusters
from crew_pipeline.dedup.labelled_pairs import read_pairs
from crew_pipeline.dedup.pair_scorer import scorer_of
from crew_pipeline.dedup.text import text_hash
from crew_pipeline.dedup.text_vectors import text_vectors

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
CORPORA = {"irc": "ubuntu_irc.jsonl.gz", "ami": "ami_meetings.jsonl.gz"}
CONFIG = EngineConfig()
LINKAGE = 0.85

Vectors = dict[bytes, NDArray[np.float32]]
Clusterer = Callable[[pd.DataFrame, Vectors], list[int]]


@dataclass(frozen=True)
class Day:
    """A day of a corpus: its lines and its labelled pairs, as places of lines."""

    lines: pd.DataFrame
    pairs: list[tuple[int, int, bool, float]]
    labelled: list[evaluation.LabelledPair]


def main() -> None:
    """Measure all of them on both corpora."""
    chosen = options(__doc__ or "", days=10)
    encoder = SentenceTransformerEncoder()
    scorer = scorer_of(CONFIG.pair_scorer)
    content: dict[str, Any] = {}
    for corpus in CORPORA:
        days = days_of(corpus, 2 if chosen.quick else chosen.days)
        progress(f"{corpus}: embedding {sum(len(day.lines) for day in days):,} lines of {len(days)} days")
        vectors = [embedded(day.lines, encoder) for day in days]
        peers: dict[str, Clusterer] = {
            "average_linkage": average_linkage,
            "community_detection": community_detection,
            "semhash": semhash,
        }

        def engine(lines: pd.DataFrame, known: Vectors) -> list[int]:
            texts = distinct_texts(lines, CONFIG)
            own = dict(zip(texts, text_vectors(list(texts.values())), strict=True))
            members = engine_clusters("bench", "2025-01-01", lines, own, CONFIG, scorer).members
            places = {(row.conversation_id, row.position): row.cluster_id for row in frames.rows(members)}
            number = {name: index for index, name in enumerate(sorted(set(places.values())))}
            return [
                number.get(places.get((row.conversation_id, row.position), ""), -1 - place)
                for place, row in enumerate(frames.rows(lines))
            ]

        labelled = [pair for day in days for pair in day.labelled]
        judged = evaluation.evaluate(labelled, encoder, CONFIG, scorer)
        folded = measured("engine", engine, days, vectors)
        found = {
            "pairs": len(labelled),
            "engine": folded,
            "judged": quality(judged.judged),
            "peers": {
                "cosine": {
                    **quality(judged.cosine),
                    "bcubed_f1": None,
                    "seconds": 0.0,
                    "threshold": judged.cosine_threshold,
                },
                **{name: measured(name, peer, days, vectors) for name, peer in peers.items()},
            },
        }
        content[corpus] = found
    first = content["irc"]
    report({"corpora": content, "engine": first["engine"], "peers": first["peers"]}, as_json=chosen.json)


def quality(found: evaluation.Quality) -> dict[str, float]:
    """As the report has it."""
    return {"precision": found.precision, "recall": found.recall, "f1": found.f1}


def days_of(corpus: str, most: int) -> list[Day]:
    """The days of a corpus with the most labelled pairs."""
    labelled = read_pairs(SHARED / "duplicate_pairs" / f"{corpus}.jsonl")
    by_day: dict[str, list[evaluation.LabelledPair]] = defaultdict(list)
    for pair in labelled:
        by_day[pair.day.split()[-1]].append(pair)
    wanted = sorted(by_day, key=lambda day: (-len(by_day[day]), day))[:most]
    rows: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    with gzip.open(SHARED / CORPORA[corpus]) as file:
        for raw in file:
            line = orjson.loads(raw)
            if line["created_at"][:10] in wanted:
                spoken = datetime.fromisoformat(line["created_at"])
                key = ("bench", line["session_id"], line["line"], line["speaker"], spoken, line["text"])
                rows[line["created_at"][:10]].append(key)
    return [_day(frames.frame(rows[day], frames.LINES), by_day[day]) for day in sorted(wanted)]


def _day(lines: pd.DataFrame, labelled: list[evaluation.LabelledPair]) -> Day:
    place: dict[tuple[str, str], int] = {}
    for number, row in enumerate(frames.rows(lines)):
        place.setdefault((row.speaker, row.text), number)
    pairs = [
        (place[one.left_speaker, one.left], place[one.right_speaker, one.right], one.duplicate, one.weight)
        for one in labelled
        if (one.left_speaker, one.left) in place and (one.right_speaker, one.right) in place
    ]
    return Day(lines, pairs, labelled)


def embedded(lines: pd.DataFrame, encoder: SentenceTransformerEncoder) -> Vectors:
    """Vectors of the day's distinct texts, by hash."""
    texts = distinct_texts(lines, CONFIG)
    return dict(zip(texts, encoder.encode(list(texts.values())), strict=True))


def measured(name: str, clusterer: Clusterer, days: list[Day], vectors: list[Vectors]) -> dict[str, Any]:
    """A clusterer's quality on whole days, its time, and whether shuffled lines give the same pairs."""
    progress(name)
    clusterer(days[0].lines, vectors[0])
    seconds, same, together, truth, weight, bcubed = 0.0, True, [], [], [], []
    for day, known in zip(days, vectors, strict=True):
        started = time.perf_counter()
        labels = clusterer(day.lines, known)
        seconds += time.perf_counter() - started
        order = list(range(len(labels)))
        random.Random(7).shuffle(order)  # noqa: S311 - not for secrets
        shuffled = clusterer(day.lines.iloc[order].reset_index(drop=True), known)
        again = {place: shuffled[number] for number, place in enumerate(order)}
        found = [labels[one] == labels[other] for one, other, _, _ in day.pairs]
        same &= _partition(labels) == _partition([again[place] for place in range(len(labels))])
        together += found
        truth += [duplicate for _, _, duplicate, _ in day.pairs]
        weight += [one[3] for one in day.pairs]
        bcubed += _bcubed(day, found)
    agreed = evaluation.quality(np.array(together), np.array(truth), np.array(weight))
    precision, recall = (float(np.nanmean([one[side] for one in bcubed])) for side in (0, 1))
    return {
        **quality(agreed),
        "bcubed_f1": round(2 * precision * recall / (precision + recall), 4),
        "seconds": round(seconds, 3),
        "same_when_shuffled": same,
    }


def _partition(labels: list[int]) -> set[frozenset[int]]:
    groups: dict[int, set[int]] = defaultdict(set)
    for place, label in enumerate(labels):
        groups[label].add(place)
    return {frozenset(group) for group in groups.values() if len(group) > 1}


def _bcubed(day: Day, together: list[bool]) -> list[tuple[float, float]]:
    """Precision and recall of every labelled line, itself counted in; each weight as much as it stands for."""
    hits: dict[int, list[float]] = defaultdict(lambda: [1.0, 1.0, 1.0])
    for (one, other, duplicate, weight), found in zip(day.pairs, together, strict=True):
        for line in (one, other):
            counts = hits[line]
            counts[0] += weight * (duplicate and found)
            counts[1] += weight * found
            counts[2] += weight * duplicate
    return [(both / found, both / wanted) for both, found, wanted in hits.values()]


def _keys(lines: pd.DataFrame) -> list[bytes]:
    return [text_hash(core) for core in cores(lines)]


def _lifted(lines: pd.DataFrame, label_of: dict[bytes, int]) -> list[int]:
    """Labels of lines from those of their texts; lines that were not compared stand alone."""
    return [label_of.get(key, -1 - place) for place, key in enumerate(_keys(lines))]


def _present(lines: pd.DataFrame, vectors: Vectors) -> list[bytes]:
    return [key for key in dict.fromkeys(_keys(lines)) if key in vectors]


def average_linkage(lines: pd.DataFrame, vectors: Vectors) -> list[int]:
    """Agglomerative clustering with average linkage, as the original system had it."""
    from sklearn.cluster import AgglomerativeClustering

    keys = _present(lines, vectors)
    labels = AgglomerativeClustering(
        n_clusters=None, metric="cosine", linkage="average", distance_threshold=1 - LINKAGE
    ).fit_predict(np.stack([vectors[key] for key in keys]))
    return _lifted(lines, dict(zip(keys, labels.tolist(), strict=True)))


def community_detection(lines: pd.DataFrame, vectors: Vectors) -> list[int]:
    """sentence-transformers' ``community_detection`` at its default threshold."""
    from sentence_transformers.util import community_detection as detect

    keys = _present(lines, vectors)
    found = detect(np.stack([vectors[key] for key in keys]), threshold=0.75, min_community_size=2)
    label = {keys[index]: number for number, group in enumerate(found) for index in group}
    alone = {key: len(found) + number for number, key in enumerate(keys)}
    return _lifted(lines, {**alone, **label})


def semhash(lines: pd.DataFrame, vectors: Vectors) -> list[int]:
    """SemHash at its default threshold: each removed record goes to the kept one it matches best."""
    from semhash import SemHash
    from vicinity import Backend

    keys = _present(lines, vectors)
    names = {key.hex(): number for number, key in enumerate(keys)}

    class Known:
        def encode(self, texts: Any, **_: Any) -> NDArray[np.float32]:
            return np.stack([vectors[bytes.fromhex(one)] for one in texts])

    index = SemHash.from_embeddings(
        np.stack([vectors[key] for key in keys]), [key.hex() for key in keys], Known(), ann_backend=Backend.BASIC
    )
    label = {key: number for number, key in enumerate(keys)}
    for one in index.self_deduplicate().filtered:
        if one.duplicate_of is not None:
            label[bytes.fromhex(str(one.record))] = names[str(one.duplicate_of)]
    return _lifted(lines, label)


if __name__ == "__main__":
    main()
