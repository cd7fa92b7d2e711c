"""Fold the lines of a day: judged pairs of their texts in, clusters with evidence for every member out.

Lines fold by what the pairs say at an operating point, and by what people have said about them. No data frame is
needed, so that a server can fold a day again without loading pandas.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crew_pipeline.dedup import clustering, frames, judging, neighbours, text, text_vectors
from crew_pipeline.dedup.comparing import Comparison, compare_lines
from crew_pipeline.dedup.config import EngineConfig
from crew_pipeline.dedup.cores import cores
from crew_pipeline.dedup.features import Texts
from crew_pipeline.dedup.feedback import Feedback, TextPair
from crew_pipeline.dedup.frames import Columns
from crew_pipeline.dedup.judging import PairScorer
from crew_pipeline.dedup.pair_model import pair_model
from crew_pipeline.dedup.passages import code_in, hashes_in
from crew_pipeline.dedup.speech import SHORT, Utterance
from crew_pipeline.dedup.traits import Traits
from crew_pipeline.dedup.voices import voices

if TYPE_CHECKING:
    import pandas as pd

BY_A_READER = "a reader said that they are the same"


@dataclass(frozen=True)
class Clusters:
    """The clusters of a client's day.

    Attributes:
        rows: of ``frames.MEMBERS``, one a line of a cluster, its canonical line included.
        compared: how many distinct texts were compared.
        candidates: how many pairs lay above the similarity floor.
    """

    rows: Sequence[tuple[Any, ...]]
    compared: int
    candidates: int

    @cached_property
    def members(self) -> pd.DataFrame:
        """The rows as a frame ``frames.MEMBERS``."""
        return frames.frame(self.rows, frames.MEMBERS)


def cluster_lines(
    client: str,
    day: str,
    lines: Columns,
    vectors: Mapping[bytes, NDArray[np.float32]],
    config: EngineConfig,
    scorer: PairScorer | None = None,
) -> Clusters:
    """Compare and fold one client's lines of one day. See ``compare_lines`` and ``fold_lines``."""
    _refuse_others(client, lines)
    return fold_lines(client, day, lines, compare_lines(lines, vectors, config, scorer), config)


def _refuse_others(client: str, lines: Columns) -> None:
    if set(lines["client"]) - {client}:
        raise ValueError(f"lines of other clients were given with those of {client!r}")


def fold_lines(
    client: str,
    day: str,
    lines: Columns,
    comparison: Comparison,
    config: EngineConfig,
    feedback: Feedback | None = None,
) -> Clusters:
    """Cluster one client's lines of one day by what the comparison of its texts says at ``config.folding``.

    The result is the same for any order of ``lines``.

    Args:
        client, day: whose lines they are and of which day (``YYYY-MM-DD``); part of every cluster's id.
        lines: columns ``frames.LINES``, all of one client.
        feedback: what people have said; it outweighs any judgement.

    Raises:
        ValueError: the lines belong to more than one client.
    """
    _refuse_others(client, lines)
    folding = _Folding(_in_order(lines), comparison, config, feedback or Feedback())
    return Clusters(folding.members(client, day), len(comparison.texts), comparison.candidates)


def _in_order(lines: Columns) -> Mapping[str, Sequence[Any]]:
    """The columns that folding looks at, in order of time."""
    names = ("spoken_at", "conversation_id", "position", "speaker", "text")
    rows: list[tuple[Any, ...]] = list(zip(*(lines[name] for name in names), strict=True))
    rows.sort(key=lambda row: row[:3])
    return frames.columns(rows, names)


@dataclass(frozen=True)
class _Node:
    """Lines that repeat each other word for word (code in them sign by sign), and may stand for one another.

    Attributes:
        key: hash of the core.
        rows: places of the lines in the day's order.
        voices: who says them; ``voice`` says the first.
    """

    key: bytes
    utterance: Utterance
    rows: list[int]
    voice: str
    voices: frozenset[str]


@dataclass(frozen=True)
class _Folding:
    """Pairs of texts turned into clusters of lines."""

    ordered: Mapping[str, Sequence[Any]]
    comparison: Comparison
    config: EngineConfig
    feedback: Feedback
    evidence: dict[tuple[int, int], tuple[float, float, str]] = field(default_factory=dict)

    @cached_property
    def nodes(self) -> list[_Node]:
        """The nodes in order of hash and first line, so that the order in which lines arrive does not matter."""
        rows_of: dict[tuple[bytes, str], list[int]] = {}
        utterances: dict[bytes, Utterance] = {}
        said_by = voices(self.ordered)
        for row, core in enumerate(cores(self.ordered)):
            if text.count_words(core) < self.config.min_words or self._is_to_be_seen(row):
                continue
            key = text.text_hash(core)
            if key not in utterances:
                utterances[key] = Utterance.of(core)
            apart = ""
            if key in self.lone:
                apart = str(row)
            elif utterances[key].content_words < SHORT and self.config.short_repeats == "own":
                apart = said_by[row]
            rows_of.setdefault((key, apart), []).append(row)
        groups = [(key, rows) for (key, _), group in rows_of.items() for rows in self._of_one_code(group)]
        return [
            _Node(key, utterances[key], rows, said_by[rows[0]], frozenset(said_by[row] for row in rows))
            for key, rows in sorted(groups, key=lambda item: (item[0], item[1][0]))
        ]

    def _is_to_be_seen(self, row: int) -> bool:
        """Whether a passage stands in a line that people want to see wherever it stands."""
        wanted = self.feedback.shown
        return bool(wanted) and not wanted.isdisjoint(hashes_in(self.ordered["text"][row]))

    def _of_one_code(self, rows: list[int]) -> list[list[int]]:
        """Lines that repeat each other, parted by the code in them."""
        if len(rows) == 1:
            return [rows]
        parted: dict[str, list[int]] = {}
        for row in rows:
            parted.setdefault(code_in(self.ordered["text"][row]), []).append(row)
        return list(parted.values())

    @cached_property
    def lone(self) -> set[bytes]:
        """Texts whose repeats were said to be different."""
        return {left for left, right in self.feedback.different if left == right}

    @cached_property
    def nodes_of(self) -> dict[bytes, list[int]]:
        """The nodes of each text."""
        numbers: dict[bytes, list[int]] = {}
        for number, node in enumerate(self.nodes):
            numbers.setdefault(node.key, []).append(number)
        return numbers

    @cached_property
    def traits(self) -> Traits:
        return Traits.of([node.utterance for node in self.nodes])

    def members(self, client: str, day: str) -> list[tuple[Any, ...]]:
        """Rows of ``frames.MEMBERS``: the clusters of enough lines, in order of their canonical line."""
        canonical = self._stars()
        conversation, position = self.ordered["conversation_id"], self.ordered["position"]
        clusters: dict[int, list[int]] = {}
        for number, centre in enumerate(canonical):
            clusters.setdefault(centre, []).append(number)
        rows: list[tuple[Any, ...]] = []
        for centre in sorted(clusters, key=lambda number: self.nodes[number].rows[0]):
            lines = sorted((row, number) for number in clusters[centre] for row in self.nodes[number].rows)
            if len(lines) < self.config.min_cluster_size:
                continue
            head = self.nodes[centre].rows[0]
            cluster_id = _cluster_id(client, day, conversation[head], position[head])
            rows.extend(
                (client, cluster_id, conversation[row], position[row], row == head)
                + ((1.0, 1.0, "canonical line") if row == head else self._evidence(number, centre, row, head))
                for row, number in lines
            )
        return rows

    def _evidence(self, member: int, centre: int, row: int, head: int) -> tuple[float, float, str]:
        """Why the line of one row is hidden under that of another."""
        if member != centre:
            return self.evidence[(member, centre)]
        one, other = (text.normalise(self.ordered["text"][place]) for place in (row, head))
        return 1.0, 1.0, judging.EXACT if one == other else judging.TO_OTHERS

    def _stars(self) -> list[int]:
        under: list[dict[int, float]] = [{} for _ in self.nodes]
        different = {pair for pair in self.feedback.different if pair[0] != pair[1]}
        self._link_by_judgement(under, different)
        groups = self._link_by_visitors(under)
        apart = frozenset(
            frozenset((left_node, right_node))
            for left, right in different
            for left_node in self.nodes_of.get(left, ())
            for right_node in self.nodes_of.get(right, ())
        )
        weight = [len(node.rows) for node in self.nodes]
        return clustering.stars(clustering.Links(under, apart, groups), weight, self._ranks(), self._clash)

    def _link_by_judgement(self, under: list[dict[int, float]], different: set[TextPair]) -> None:
        threshold = pair_model().threshold(self.config.folding, self.comparison.basis)
        pairs = self.comparison.pairs
        for pair in np.flatnonzero(np.maximum(pairs.left_under, pairs.right_under) >= threshold).tolist():
            left, right = (self.comparison.texts[int(side[pair])] for side in (pairs.left, pairs.right))
            if (left, right) in different:
                continue
            for hidden, visible, under_it in (
                (left, right, float(pairs.left_under[pair])),
                (right, left, float(pairs.right_under[pair])),
            ):
                if under_it < threshold:
                    continue
                for member in self.nodes_of.get(hidden, ()):
                    for centre in self.nodes_of.get(visible, ()):
                        if self._may_hide(member, centre):
                            under[centre][member] = under_it
                            evidence = (float(pairs.similarity[pair]), under_it, pairs.reason[pair])
                            self.evidence[(member, centre)] = evidence

    def _link_by_visitors(self, under: list[dict[int, float]]) -> list[list[int]]:
        """Link what visitors have put together and return the groups. A later word outweighs an earlier one."""
        group_of = {number: {number} for number in range(len(self.nodes))}
        apart = {pair for pair in self.feedback.different if pair[0] != pair[1]}
        for left, right in self.feedback.same:
            together = [*self.nodes_of.get(left, ()), *self.nodes_of.get(right, ())]
            if left not in self.nodes_of or right not in self.nodes_of:
                continue
            merged = set().union(*(group_of[number] for number in together))
            keys = sorted({self.nodes[number].key for number in merged})
            repeated = len(merged) > len(keys) and any(
                sum(self.nodes[number].key == key for number in merged) > 1 for key in self.lone
            )
            if repeated or any((first, second) in apart for first in keys for second in keys):
                continue
            for number in merged:
                group_of[number] = merged
        groups = {min(group): sorted(group) for group in group_of.values() if len(group) > 1}
        for group in groups.values():
            for member in group:
                for centre in group:
                    if member != centre:
                        similarity = self._similarity(member, centre)
                        under[centre][member] = 1.0
                        self.evidence[(member, centre)] = (similarity, 1.0, BY_A_READER)
        return [groups[number] for number in sorted(groups)]

    def _similarity(self, member: int, centre: int) -> float:
        """Cosine similarity of two nodes' texts by their static vectors (4 decimals), as pairs have it."""
        known = self.evidence.get((member, centre)) or self.evidence.get((centre, member))
        if known is not None:
            return known[0]
        vectors = text_vectors.of_texts(Texts([self.nodes[number].utterance for number in (member, centre)]))
        near, _ = neighbours.given_pairs(text_vectors.halves(vectors), np.array([0]), np.array([1]))
        return max(0.0, float(near.similarity[0]))

    def _may_hide(self, member: int, centre: int) -> bool:
        """Whether a visitor misses nothing: no value is lost, and what one voice says goes under its own words only."""
        if not self.traits.values[member] <= self.traits.values[centre]:
            return False
        return self.nodes[member].voices == {self.nodes[centre].voice}

    def _clash(self, left: int, right: int) -> bool:
        """Whether two nodes contradict each other, or are of one text whose repeats must stay apart."""
        if self.nodes[left].key == self.nodes[right].key and self.nodes[left].key in self.lone:
            return True
        traits = self.traits
        mine, theirs = traits.values[left], traits.values[right]
        if mine - theirs and theirs - mine:
            return True
        sides = np.array([left]), np.array([right])
        return bool(traits.negated[left] == traits.negated[right] and traits.opposed(*sides)[0])

    def _ranks(self) -> list[int]:
        """The rank of each node, the clearest first: most content words, fewest fillers and no cut-off ending, most
        often said, first said."""

        def clarity(number: int) -> tuple[int, int, int, int]:
            node = self.nodes[number]
            return -node.utterance.content_words, node.utterance.disfluencies, -len(node.rows), node.rows[0]

        ranks = [0] * len(self.nodes)
        for rank, number in enumerate(sorted(range(len(self.nodes)), key=clarity)):
            ranks[number] = rank
        return ranks


def _cluster_id(client: str, day: str, conversation_id: str, position: int) -> str:
    key = "\x1f".join((client, day, conversation_id, str(position)))
    return hashlib.blake2b(key.encode(), digest_size=8).hexdigest()
