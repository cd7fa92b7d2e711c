"""The semantic deduplication service: lines of a day in, clusters with evidence for every member out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crew_pipeline.dedup import clustering, frames, judging, neighbours, text
from crew_pipeline.dedup.config import EngineConfig
from crew_pipeline.dedup.embedding import Vectors


class MissingVectorsError(ValueError):
    """Texts that are to be compared have not been embedded."""


@dataclass(frozen=True)
class Clusters:
    """The clusters of a client's day.

    Attributes:
        members: frame ``frames.MEMBERS``, one row a line of a cluster, its canonical line included.
        compared: how many distinct texts were compared.
        candidates: how many pairs lay above the similarity threshold.
    """

    members: pd.DataFrame
    compared: int
    candidates: int


def distinct_texts(lines: pd.DataFrame, config: EngineConfig) -> dict[bytes, str]:
    """The normalised texts of ``lines`` (``frames.LINES``) that are compared by meaning, by hash, in order of hash."""
    found: dict[bytes, str] = {}
    for normalised in {text.normalise(raw) for raw in set(lines["text"])}:
        if config.min_words <= text.count_words(normalised) <= config.max_words:
            found[text.text_hash(normalised)] = normalised
    return dict(sorted(found.items()))


def cluster_lines(
    client: str, day: str, lines: pd.DataFrame, vectors: Mapping[bytes, NDArray[np.float32]], config: EngineConfig
) -> Clusters:
    """Cluster one client's lines of one day.

    The result is the same for any order of ``lines``.

    Args:
        client, day: whose lines they are and of which day (``YYYY-MM-DD``); part of every cluster's id.
        lines: frame ``frames.LINES``, all of one client.
        vectors: unit vectors of at least the texts that ``distinct_texts`` names, by text hash.

    Raises:
        MissingVectorsError: texts that are compared have no vector.
        ValueError: the lines belong to more than one client.
    """
    if set(lines["client"]) - {client}:
        raise ValueError(f"lines of other clients were given with those of {client!r}")
    ordered = lines.sort_values(["spoken_at", "conversation_id", "position"], kind="stable").reset_index(drop=True)
    texts = _Texts.of(ordered, config)
    compared = texts.compared
    missing = sum(texts.hashes[index] not in vectors for index in compared.tolist())
    if missing:
        raise MissingVectorsError(f"{missing} of {len(compared)} texts have no vector; make line_embeddings first")
    matrix: Vectors = (
        np.stack([vectors[texts.hashes[index]] for index in compared.tolist()])
        if len(compared)
        else np.empty((0, 1), np.float32)
    )
    left, right, similarity = neighbours.near_pairs(matrix, config.similarity_threshold)
    traits = judging.Traits.of([texts.normalised[index] for index in compared.tolist()])
    judged = judging.judge(traits, left, right, similarity, config.similarity_threshold)
    accepted = judged.accepted
    star = clustering.stars(
        len(texts.hashes), compared[left[accepted]], compared[right[accepted]], texts.weight, texts.rank
    )
    folds = _Folds(ordered, texts, star, similarity[accepted], judged.score[accepted])
    members = folds.members(client, day, config.min_cluster_size)
    return Clusters(members, compared=len(compared), candidates=len(left))


@dataclass(frozen=True)
class _Texts:
    """The distinct texts of a day that have enough words, exact repeats collapsed."""

    normalised: list[str]
    hashes: list[bytes]
    rows: list[list[int]]
    compared: NDArray[np.int64]
    weight: NDArray[np.int64]
    rank: NDArray[np.int64]

    @classmethod
    def of(cls, ordered: pd.DataFrame, config: EngineConfig) -> _Texts:
        rows_of: dict[str, list[int]] = {}
        for row, raw in enumerate(ordered["text"].tolist()):
            rows_of.setdefault(text.normalise(raw), []).append(row)
        counts = {normalised: text.count_words(normalised) for normalised in rows_of}
        # In order of hash, so that the index of a text does not depend on when it was said.
        kept = sorted(
            (text.text_hash(normalised), normalised) for normalised in rows_of if counts[normalised] >= config.min_words
        )
        normalised = [one for _, one in kept]
        rows = [rows_of[one] for one in normalised]
        # The fuller version first, then the one said first.
        order = sorted(range(len(kept)), key=lambda index: (-counts[normalised[index]], rows[index][0]))
        rank = np.empty(len(kept), np.int64)
        rank[order] = np.arange(len(kept))
        return cls(
            normalised=normalised,
            hashes=[key for key, _ in kept],
            rows=rows,
            compared=np.array(
                [index for index, one in enumerate(normalised) if counts[one] <= config.max_words], np.int64
            ),
            weight=np.array([len(one) for one in rows], np.int64),
            rank=rank,
        )


@dataclass(frozen=True)
class _Folds:
    """Stars of texts turned back into clusters of lines."""

    ordered: pd.DataFrame
    texts: _Texts
    star: clustering.Stars
    similarity: NDArray[np.float64]
    score: NDArray[np.float64]

    def members(self, client: str, day: str, min_size: int) -> pd.DataFrame:
        """Frame ``frames.MEMBERS`` of the clusters of at least ``min_size`` lines, in order of their canonical line."""
        conversation = self.ordered["conversation_id"].tolist()
        position = self.ordered["position"].tolist()
        texts_of: dict[int, list[int]] = {}
        for index, centre in enumerate(self.star.centre.tolist()):
            texts_of.setdefault(centre, []).append(index)
        members: list[tuple[object, ...]] = []
        for centre in sorted(texts_of, key=lambda index: self.texts.rows[index][0]):
            lines = sorted((row, index) for index in texts_of[centre] for row in self.texts.rows[index])
            if len(lines) < min_size:
                continue
            head = self.texts.rows[centre][0]
            cluster_id = _cluster_id(client, day, conversation[head], position[head])
            members.extend(
                (client, cluster_id, conversation[row], position[row], row == head, *self._evidence(index, row == head))
                for row, index in lines
            )
        return frames.frame(members, frames.MEMBERS)

    def _evidence(self, index: int, is_canonical: bool) -> tuple[float, float, str]:
        link = int(self.star.link[index])
        if is_canonical:
            return 1.0, 1.0, "canonical line"
        if link < 0:
            return 1.0, 1.0, judging.EXACT
        similarity = float(self.similarity[link])
        return similarity, float(self.score[link]), judging.reason_for(similarity)


def _cluster_id(client: str, day: str, conversation_id: str, position: int) -> str:
    key = "\x1f".join((client, day, conversation_id, str(position)))
    return hashlib.blake2b(key.encode(), digest_size=8).hexdigest()
