"""BERTopic over given vectors: run by ``benchmarks.themes`` with a Python that has it, which this project has not."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np


def main(folder: Path) -> None:
    """Its own way with seeds that are fixed; and with what it leaves out put to the nearest topics."""
    from bertopic import BERTopic
    from umap import UMAP

    texts = json.loads((folder / "texts.json").read_text(encoding="utf-8"))
    vectors = np.load(folder / "given.npz")["vectors"]
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    found = {}
    for name, topics in (("as it is", None), ("30 topics", 30)):
        reduced = UMAP(n_neighbors=15, n_components=5, min_dist=0.0, metric="cosine", random_state=42)
        model = BERTopic(umap_model=reduced, nr_topics=topics)
        own, _ = model.fit_transform(texts, vectors)
        put = model.reduce_outliers(texts, own, strategy="embeddings", embeddings=vectors)
        # Ids of topics begin with 1.
        found[name] = [int(topic) + 2 for topic in own]
        found[f"{name}, nothing left out"] = [int(topic) + 2 for topic in put]
    (folder / "found.json").write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
