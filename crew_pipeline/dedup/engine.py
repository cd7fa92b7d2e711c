"""The semantic deduplication service: lines of a day in, clusters with evidence for every member out.

Two steps, so that the second can be done again without the first: texts are compared (which needs vectors, and yields
judged pairs that are worth keeping), and lines are folded by what the pairs say at an operating point and by what
people have said about them (which takes milliseconds).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crew_pipeline.dedup import clustering, frames, judging, neighbours, text
from crew_pipeline.dedup.config import EngineConfig
from crew_pipeline.dedup.embedding import Vectors
from crew_pipeline.dedup.features import Texts, Traits
from crew_pipeline.dedup.feedback import Feedback, TextPair
from crew_pipeline.dedup.judging import PairReader, Pairs
from crew_pipeline.dedup.pair_model import Stage, pair_model
from crew_pipeline.dedup.speech import Utterance, speaker_names, without_addressees

SHORT = 3
"""A line of fewer content words is never hidden under another speaker's line."""
BY_A_READER = "a reader said that they are the same"


class MissingVectorsError(ValueError):
    """Texts that are to be compared have not been embedded."""


@dataclass(frozen=True)
class Comparison:
    """What is known of the texts of a client's day among each other.

    Attributes:
        texts: hashes of the texts that were compared, ascending.
        pairs: the judged pairs, as indices into ``texts``.
        candidates: how many pairs lay above the similarity floor.
        whole: whether every pair above the usual floor was judged; only then can texts be added to it.
        stage: what the judgement rests on.
    """

    texts: Sequence[bytes]
    pairs: Pairs
    candidates: int
    whole: bool
    stage: Stage


@dataclass(frozen=True)
class Clusters:
    """The clusters of a client's day.

    Attributes:
        members: frame ``frames.MEMBERS``, one row a line of a cluster, its canonical line included.
        compared: how many distinct texts were compared.
        candidates: how many pairs lay above the similarity floor.
    """

    members: pd.DataFrame
    compared: int
    candidates: int


def cores(lines: pd.DataFrame) -> list[str]:
    """The core of each line of ``lines`` (``frames.LINES``, one client's day): normalised, addressees left out."""
    return list(_cores(frozenset(lines["speaker"]), tuple(lines["text"])))


# Every step of a day asks for them: the last day's are kept.
@lru_cache(maxsize=2)
def _cores(speakers: frozenset[str], texts: tuple[str, ...]) -> tuple[str, ...]:
    names = speaker_names(set(speakers))
    known = {raw: without_addressees(text.normalise(raw), names) for raw in set(texts)}
    return tuple(known[raw] for raw in texts)


def distinct_texts(lines: pd.DataFrame, config: EngineConfig) -> dict[bytes, str]:
    """The distinct cores of a client's day (``frames.LINES``) that are compared by meaning, by hash, ascending."""
    found: dict[bytes, str] = {}
    for core in set(cores(lines)):
        if config.min_words <= text.count_words(core) <= config.max_words:
            found[text.text_hash(core)] = core
    return dict(sorted(found.items()))


def exact_repeats() -> Comparison:
    """No pair compared: by it ``fold_lines`` folds what repeats word for word and nothing else."""
    return Comparison([], judging.no_pairs(), 0, whole=False, stage="words")


def first_comparison(lines: pd.DataFrame, config: EngineConfig) -> Comparison:
    """Compare the texts of a client's day by their words alone: no embedding is needed."""
    texts = distinct_texts(lines, config)
    pairs = judging.first_stage(_texts_of(texts.values()), pair_model())
    return Comparison(list(texts), pairs, len(pairs), whole=False, stage="words")


def compare_lines(
    lines: pd.DataFrame,
    vectors: Mapping[bytes, NDArray[np.float32]],
    config: EngineConfig,
    reader: PairReader | None = None,
    known: Comparison | None = None,
) -> Comparison:
    """Compare the texts of a client's day with everything there is.

    Args:
        lines: frame ``frames.LINES``, all of one client.
        vectors: unit vectors of at least the texts that ``distinct_texts`` names, by text hash.
        reader: reads pairs in doubt; None leaves them to the stage before.
        known: an earlier comparison of this day by the same engine. Only texts that are new to it are compared, with
            each other and with the rest; the result is the same as without it; ``known`` itself where nothing is new.

    Raises:
        MissingVectorsError: texts that are compared have no vector.
    """
    texts = distinct_texts(lines, config)
    missing = sum(key not in vectors for key in texts)
    if missing:
        raise MissingVectorsError(f"{missing} of {len(texts)} texts have no vector; make line_embeddings first")
    matrix: Vectors = np.stack([vectors[key] for key in texts]) if texts else np.empty((0, 1), np.float32)
    bench = _Bench.of(lines, texts, matrix, reader)
    return (known and bench.added_to(known)) or bench.compare()


@dataclass(frozen=True)
class _Bench:
    """The texts of a day and what is needed to compare them.

    Attributes:
        keys, texts: hashes, ascending, and cores.
        speakers: who says each text.
        short: bool, which texts are too short to fold under another speaker's.
    """

    keys: list[bytes]
    texts: list[str]
    vectors: Vectors
    speakers: list[set[str]]
    short: list[bool]
    reader: PairReader | None

    @classmethod
    def of(cls, lines: pd.DataFrame, texts: Mapping[bytes, str], vectors: Vectors, reader: PairReader | None) -> _Bench:
        speakers: dict[str, set[str]] = {core: set() for core in texts.values()}
        for core, speaker in zip(cores(lines), lines["speaker"], strict=True):
            if core in speakers:
                speakers[core].add(text.normalise(speaker))
        short = [Utterance.of(core).content_words < SHORT for core in texts.values()]
        return cls(list(texts), list(texts.values()), vectors, list(speakers.values()), short, reader)

    def compare(self) -> Comparison:
        """Compare all texts."""
        near = neighbours.near_pairs(self.vectors, judging.FLOOR)
        return self._comparison(self._judged(near), len(near.left), whole=near.whole)

    def added_to(self, known: Comparison) -> Comparison | None:
        """The comparison that adds what is new to what is known, or None where it has to be made from nothing."""
        index = {key: row for row, key in enumerate(self.keys)}
        if not known.whole or any(key not in index for key in known.texts):
            return None  # where a text is gone, pairs that were counted are gone with it
        fresh = np.ones(len(self.keys), np.bool_)
        place = np.array([index[key] for key in known.texts], np.int64)
        fresh[place] = False
        near = neighbours.near_pairs(self.vectors, judging.FLOOR, fresh, known.candidates)
        if not near.whole:
            return None
        old = known.pairs.at(place)
        # A text that another speaker has said since may make a pair worth reading.
        again = ~old.settled & self._foldable(old.left, old.right)
        if not fresh.any() and not again.any():
            return known
        doubtful = neighbours.Near(old.left[again], old.right[again], old.similarity[again], whole=True)
        pairs = judging.joined([old.where(~again), self._judged(doubtful), self._judged(near)])
        return self._comparison(pairs, known.candidates + len(near.left), whole=True)

    def _comparison(self, pairs: Pairs, candidates: int, *, whole: bool) -> Comparison:
        return Comparison(self.keys, pairs, candidates, whole, "meaning" if self.reader is None else "reading")

    def _foldable(self, left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which pairs lines could fold by: not those of two short texts that no speaker has in common."""
        pairs = zip(left.tolist(), right.tolist(), strict=True)
        return np.array(
            [
                not (self.short[one] and self.short[other]) or bool(self.speakers[one] & self.speakers[other])
                for one, other in pairs
            ],
            np.bool_,
        )

    def _judged(self, near: neighbours.Near) -> Pairs:
        """Judge pairs; only the texts that are in one are taken apart."""
        used = np.unique(np.concatenate([near.left, near.right]))
        within = replace(near, left=np.searchsorted(used, near.left), right=np.searchsorted(used, near.right))
        texts = _texts_of(self.texts[row] for row in used.tolist())
        foldable = self._foldable(near.left, near.right)
        return judging.full_stages(texts, within, pair_model(), self.reader, foldable).at(used)


def _texts_of(found: Iterable[str]) -> Texts:
    return Texts([Utterance.of(core) for core in found])


def cluster_lines(
    client: str,
    day: str,
    lines: pd.DataFrame,
    vectors: Mapping[bytes, NDArray[np.float32]],
    config: EngineConfig,
    reader: PairReader | None = None,
) -> Clusters:
    """Compare and fold one client's lines of one day. See ``compare_lines`` and ``fold_lines``."""
    _refuse_others(client, lines)
    return fold_lines(client, day, lines, compare_lines(lines, vectors, config, reader), config)


def _refuse_others(client: str, lines: pd.DataFrame) -> None:
    if set(lines["client"]) - {client}:
        raise ValueError(f"lines of other clients were given with those of {client!r}")


def fold_lines(
    client: str,
    day: str,
    lines: pd.DataFrame,
    comparison: Comparison,
    config: EngineConfig,
    feedback: Feedback | None = None,
) -> Clusters:
    """Cluster one client's lines of one day by what the comparison of its texts says at ``config.folding``.

    The result is the same for any order of ``lines``.

    Args:
        client, day: whose lines they are and of which day (``YYYY-MM-DD``); part of every cluster's id.
        lines: frame ``frames.LINES``, all of one client.
        feedback: what people have said; it outweighs any judgement.

    Raises:
        ValueError: the lines belong to more than one client.
    """
    _refuse_others(client, lines)
    ordered = lines.sort_values(["spoken_at", "conversation_id", "position"], kind="stable").reset_index(drop=True)
    folding = _Folding(ordered, comparison, config, feedback or Feedback())
    return Clusters(folding.members(client, day), len(comparison.texts), comparison.candidates)


@dataclass(frozen=True)
class _Node:
    """Lines that repeat each other word for word, and may stand for one another.

    Attributes:
        key: hash of the core.
        rows: places of the lines in the day's order.
        speakers: who says them; ``speaker`` says the first.
    """

    key: bytes
    utterance: Utterance
    rows: list[int]
    speaker: str
    speakers: frozenset[str]

    @property
    def short(self) -> bool:
        return self.utterance.content_words < SHORT


@dataclass(frozen=True)
class _Folding:
    """Pairs of texts turned into clusters of lines."""

    ordered: pd.DataFrame
    comparison: Comparison
    config: EngineConfig
    feedback: Feedback
    evidence: dict[tuple[int, int], tuple[float, float, str]] = field(default_factory=dict)

    @cached_property
    def nodes(self) -> list[_Node]:
        """In order of hash and first line, so that nothing depends on the order of arrival."""
        rows_of: dict[tuple[bytes, str], list[int]] = {}
        utterances: dict[bytes, Utterance] = {}
        speakers = [text.normalise(speaker) for speaker in self.ordered["speaker"]]
        for row, core in enumerate(cores(self.ordered)):
            if text.count_words(core) < self.config.min_words:
                continue
            key = text.text_hash(core)
            if key not in utterances:
                utterances[key] = Utterance.of(core)
            apart = ""
            if key in self.lone:
                apart = str(row)
            elif utterances[key].content_words < SHORT and self.config.short_repeats == "own":
                apart = speakers[row]
            rows_of.setdefault((key, apart), []).append(row)
        return [
            _Node(key, utterances[key], rows, speakers[rows[0]], frozenset(speakers[row] for row in rows))
            for (key, _), rows in sorted(rows_of.items(), key=lambda item: (item[0][0], item[1][0]))
        ]

    @cached_property
    def lone(self) -> set[bytes]:
        """Texts whose repeats were said to be different."""
        return {one for one, other in self.feedback.different if one == other}

    @cached_property
    def nodes_of(self) -> dict[bytes, list[int]]:
        """The nodes of each text."""
        found: dict[bytes, list[int]] = {}
        for number, node in enumerate(self.nodes):
            found.setdefault(node.key, []).append(number)
        return found

    @cached_property
    def traits(self) -> Traits:
        return Traits.of([node.utterance for node in self.nodes])

    def members(self, client: str, day: str) -> pd.DataFrame:
        """Frame ``frames.MEMBERS`` of the clusters of enough lines, in order of their canonical line."""
        canonical = self._stars()
        conversation, position = self.ordered["conversation_id"].tolist(), self.ordered["position"].tolist()
        clusters: dict[int, list[int]] = {}
        for number, centre in enumerate(canonical):
            clusters.setdefault(centre, []).append(number)
        found: list[tuple[object, ...]] = []
        for centre in sorted(clusters, key=lambda number: self.nodes[number].rows[0]):
            lines = sorted((row, number) for number in clusters[centre] for row in self.nodes[number].rows)
            if len(lines) < self.config.min_cluster_size:
                continue
            head = self.nodes[centre].rows[0]
            cluster_id = _cluster_id(client, day, conversation[head], position[head])
            found.extend(
                (client, cluster_id, conversation[row], position[row], row == head)
                + ((1.0, 1.0, "canonical line") if row == head else self._evidence(number, centre))
                for row, number in lines
            )
        return frames.frame(found, frames.MEMBERS)

    def _evidence(self, member: int, centre: int) -> tuple[float, float, str]:
        return (1.0, 1.0, judging.EXACT) if member == centre else self.evidence[(member, centre)]

    def _stars(self) -> list[int]:
        under: list[dict[int, float]] = [{} for _ in self.nodes]
        different = {pair for pair in self.feedback.different if pair[0] != pair[1]}
        self._link_by_judgement(under, different)
        groups = self._link_by_readers(under)
        apart = frozenset(
            frozenset((one, other))
            for left, right in different
            for one in self.nodes_of.get(left, ())
            for other in self.nodes_of.get(right, ())
        )
        weight = [len(node.rows) for node in self.nodes]
        return clustering.stars(clustering.Links(under, apart, groups), weight, self._ranks(), self._clash)

    def _link_by_judgement(self, under: list[dict[int, float]], different: set[TextPair]) -> None:
        threshold = pair_model().threshold(self.config.folding, self.comparison.stage)
        pairs = self.comparison.pairs
        sure = np.flatnonzero(np.maximum(pairs.probability, pairs.probability_same) >= threshold)
        for pair in sure.tolist():
            left, right = (self.comparison.texts[int(side[pair])] for side in (pairs.left, pairs.right))
            if (left, right) in different:
                continue
            for one in self.nodes_of.get(left, ()):
                for other in self.nodes_of.get(right, ()):
                    same = bool(self.nodes[one].speakers & self.nodes[other].speakers)
                    probability = float((pairs.probability_same if same else pairs.probability)[pair])
                    if probability < threshold:
                        continue
                    because = pairs.reason[pair] + ("; same speaker" if same else "")
                    for member, centre in ((one, other), (other, one)):
                        if self._may_hide(member, centre):
                            under[centre][member] = probability
                            self.evidence[(member, centre)] = (float(pairs.similarity[pair]), probability, because)

    def _link_by_readers(self, under: list[dict[int, float]]) -> list[list[int]]:
        """Link what readers have put together; the groups. A later word outweighs an earlier one."""
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
            if repeated or any((one, other) in apart for one in keys for other in keys):
                continue
            for number in merged:
                group_of[number] = merged
        groups = {min(group): sorted(group) for group in group_of.values() if len(group) > 1}
        for group in groups.values():
            for member in group:
                for centre in group:
                    if member != centre:
                        similarity = self.evidence.get((member, centre), (1.0, 1.0, ""))[0]
                        under[centre][member] = 1.0
                        self.evidence[(member, centre)] = (similarity, 1.0, BY_A_READER)
        return [groups[first] for first in sorted(groups)]

    def _may_hide(self, member: int, centre: int) -> bool:
        """Whether a reader misses nothing: no value is lost, and no short line goes under another speaker's."""
        if not self.traits.values[member] <= self.traits.values[centre]:
            return False
        one, other = self.nodes[member], self.nodes[centre]
        return not one.short or one.speakers == {other.speaker}

    def _clash(self, one: int, other: int) -> bool:
        """Whether two texts contradict each other, or are one whose repeats must stay apart."""
        if self.nodes[one].key == self.nodes[other].key and self.nodes[one].key in self.lone:
            return True
        traits = self.traits
        mine, theirs = traits.values[one], traits.values[other]
        if mine - theirs and theirs - mine:
            return True
        sides = np.array([one]), np.array([other])
        return bool(traits.negated[one] == traits.negated[other] and traits.opposed(*sides)[0])

    def _ranks(self) -> list[int]:
        """The clearest complete version first: most content words, fewest fillers and no cut-off ending, most often
        said, first said."""

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
