"""The engine's clustering against ``community_detection`` and average linkage on the same embeddings: time and result.

What each returns is counted, and how much of it depends on the order in which the lines come.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import text

from benchmarks.common import CLIENT, loaded_store, options, progress, report
from crew_pipeline.dedup import frames
from crew_pipeline.dedup.config import EngineConfig
from crew_pipeline.dedup.cores import distinct_texts
from crew_pipeline.dedup.embedding import SentenceTransformerEncoder
from crew_pipeline.dedup.folding import cluster_lines
from crew_pipeline.dedup.pair_scorer import scorer_of
from crew_pipeline.dedup.text_vectors import text_vectors

Vectors = NDArray[np.float32]
Groups = set[frozenset[str]]
Method = Callable[[list[str], dict[str, NDArray[np.float32]]], Groups]
THRESHOLD = 0.85


def main() -> None:
    """Cluster the same distinct lines with each method, twice: as they are and shuffled."""
    chosen = options(__doc__ or "")
    sizes = (1_000, 2_000) if chosen.quick else (1_000, 5_000, 10_000)
    with loaded_store(chosen.corpus) as (_, databases), databases.db.read() as connection:
        rows = connection.execute(
            text("SELECT text FROM lines ORDER BY spoken_at, conversation_id, position LIMIT 40000")
        )
        lines = frames.frame([(CLIENT, "c", 0, "s", datetime.now(UTC), row.text) for row in rows], frames.LINES)
    texts = list(distinct_texts(lines, EngineConfig()).values())[: max(sizes)]
    progress(f"embedding {len(texts):,} distinct lines")
    vectors = dict(zip(texts, SentenceTransformerEncoder().encode(texts), strict=True))
    methods: dict[str, Method] = {
        "engine": engine,
        "community_detection": community_detection,
        "average_linkage": average_linkage,
    }
    content: dict[str, Any] = {"threshold": THRESHOLD, "sizes": {}}
    for method in methods.values():
        method(texts[:50], vectors)
    for size in sizes:
        some = texts[:size]
        shuffled = some[:]
        random.Random(size).shuffle(shuffled)  # noqa: S311 - not for secrets
        content["sizes"][str(size)] = {}
        for name, method in methods.items():
            progress(f"{name}, {size:,} lines")
            started = time.perf_counter()
            groups = method(some, vectors)
            seconds = time.perf_counter() - started
            again = method(shuffled, vectors)
            content["sizes"][str(size)][name] = {
                "seconds": round(seconds, 3),
                "clusters": len(groups),
                "lines_in_clusters": sum(len(group) for group in groups),
                "members_without_a_link": weak_members(groups, vectors),
                "same_when_shuffled": groups == again,
            }
    report(content, as_json=chosen.json)


def engine(texts: list[str], vectors: dict[str, NDArray[np.float32]]) -> Groups:
    """The engine: candidates, judgement by words, pairs read where in doubt, stars."""
    start = datetime(2025, 1, 1, tzinfo=UTC)
    # The time of a line follows from its text, so that shuffling changes the order alone.
    lines = frames.frame(
        [(CLIENT, "c", hash_of(one), "s", start + timedelta(seconds=hash_of(one) % 80_000), one) for one in texts],
        frames.LINES,
    )
    own = distinct_texts(lines, EngineConfig())
    keyed = dict(zip(own, text_vectors(list(own.values())), strict=True))
    members = cluster_lines(CLIENT, "2025-01-01", lines, keyed, EngineConfig(), scorer_of("bundled")).members
    text_at = {hash_of(one): one for one in texts}
    return {frozenset(text_at[position] for position in rows["position"]) for _, rows in members.groupby("cluster_id")}


def hash_of(one: str) -> int:
    """A number that follows from a text."""
    import hashlib

    return int.from_bytes(hashlib.blake2b(one.encode(), digest_size=7).digest(), "big")


def community_detection(texts: list[str], vectors: dict[str, NDArray[np.float32]]) -> Groups:
    """sentence-transformers' ``community_detection``."""
    from sentence_transformers.util import community_detection as detect

    matrix = np.stack([vectors[one] for one in texts])
    found = detect(matrix, threshold=THRESHOLD, min_community_size=2)
    return {frozenset(texts[index] for index in group) for group in found}


def average_linkage(texts: list[str], vectors: dict[str, NDArray[np.float32]]) -> Groups:
    """Agglomerative clustering with average linkage, as the original system had it."""
    from sklearn.cluster import AgglomerativeClustering

    matrix = np.stack([vectors[one] for one in texts])
    labels = AgglomerativeClustering(
        n_clusters=None, metric="cosine", linkage="average", distance_threshold=1 - THRESHOLD
    ).fit_predict(matrix)
    groups: dict[int, list[str]] = {}
    for label, one in zip(labels.tolist(), texts, strict=True):
        groups.setdefault(label, []).append(one)
    return {frozenset(group) for group in groups.values() if len(group) > 1}


def weak_members(groups: Groups, vectors: dict[str, NDArray[np.float32]]) -> int:
    """Members that are not near the best centre their cluster has: nobody could be shown why they are in it."""
    weak = 0
    for group in groups:
        matrix = np.stack([vectors[one] for one in group])
        near = (matrix @ matrix.T) >= THRESHOLD - 1e-4
        weak += int(len(group) - near.sum(axis=1).max())
    return weak


if __name__ == "__main__":
    main()
