"""What two texts have in common and what sets them apart: one row of numbers a pair, each with a meaning.

No feature names a subject: they compare words with words, so that a model fitted on some conversations carries over to
others. Those of a pair are symmetric in the two texts, up to the last bits of float32; those of a side say what a text
has that the other lacks, and so tell which of the two may be hidden under which.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from crew_pipeline.dedup import lexicon, static
from crew_pipeline.dedup.neighbours import ROWS_AT_ONCE
from crew_pipeline.dedup.speech import Utterance
from crew_pipeline.dedup.text import has_value
from crew_pipeline.dedup.traits import Traits, flags, swapped

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]

_SAME_WORD = 0.7
"""Edit similarity from which two words are taken for spellings of one."""
_COUNTERPART = 0.6
"""Similarity below which a word has no counterpart in the other text."""
_LEAST_WEIGHT = 0.2
_MOST_TOKEN_PAIRS = 4_000_000

PAIR = (
    "topic", "plain", "overlap", "coverage_least", "coverage_most", "missing_most", "missing_sum", "missing_least",
    "no_counterpart_most", "no_counterpart_least", "swapped", "swapped_one", "shared", "shared_most",
    "trigrams", "characters", "sorted_words",
    "contained", "order", "length", "length_ratio", "filler_ratio", "asks_one", "asks_both",
    "marks_one", "seeks_both", "denies_one", "values_differ", "values_added", "values_shared", "opposites", "persons",
    "persons_crossed", "thanks_one", "greets_one", "same_content", "contradictions", "short", "code", "marked",
)  # fmt: skip
"""Names of the features of a pair."""
SIDE = (
    "tells", "missing", "missing_most", "alone", "other", "other_most", "other_share", "other_count", "content",
    "plain_missing", "asks_with_missing", "values_missing", "values", "asks", "seeks", "denies", "thanks", "greets",
    "person_1", "person_2", "person_3", "person_4", "telling_words", "words",
)  # fmt: skip
"""Names of the features of one side, the text that is to be hidden or the one that stays visible."""
WORDS = (*PAIR, *(f"hidden_{name}" for name in SIDE), *(f"visible_{name}" for name in SIDE))
"""Names of all features that need no model, in the order of the columns of ``Rows``."""


@dataclass(frozen=True)
class Texts:
    """The texts that pairs point into, analysed once."""

    utterances: Sequence[Utterance]

    @cached_property
    def words(self) -> list[str]:
        """The distinct content words, sorted."""
        return sorted({word for utterance in self.utterances for word in utterance.content})

    @cached_property
    def _index(self) -> dict[str, int]:
        return {word: index for index, word in enumerate(self.words)}

    @cached_property
    def _vectors_and_weights(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return static.word_vectors(self.words)

    @property
    def word_vectors(self) -> NDArray[np.float32]:
        """Unit vectors of ``words``."""
        return self._vectors_and_weights[0]

    @cached_property
    def word_weights(self) -> Floats:
        """How much each of ``words`` tells, 0 to 1."""
        return self._vectors_and_weights[1].astype(np.float64)

    def weight_of(self, word: str) -> float:
        """How much one of ``words`` tells."""
        return float(self.word_weights[self._index[word]])

    @cached_property
    def stems(self) -> Ints:
        """A number for each of ``words``, the same for those that begin with the same five letters."""
        codes: dict[str, int] = {}
        return np.array([codes.setdefault(word[:5], len(codes)) for word in self.words], np.int64)

    @cached_property
    def valued(self) -> Flags:
        """Which of ``words`` are values."""
        return np.array([has_value(word) for word in self.words], np.bool_)

    @cached_property
    def bags(self) -> Ragged:
        """The different content words of each text, as indices into ``words``, ascending."""
        return Ragged.of([sorted({self._index[word] for word in utterance.content}) for utterance in self.utterances])

    @cached_property
    def trigrams(self) -> Ragged:
        """The different runs of three characters of each text's content, as arbitrary numbers, ascending."""
        codes: dict[str, int] = {}
        return Ragged.of(
            [
                sorted({codes.setdefault(run, len(codes)) for run in _runs(" ".join(utterance.content))})
                for utterance in self.utterances
            ]
        )

    @cached_property
    def contents(self) -> list[str]:
        """The content words of each text, with spaces between."""
        return [" ".join(utterance.content) for utterance in self.utterances]

    @cached_property
    def in_order(self) -> list[str]:
        """The content words of each text as a string of one character a word."""
        return [
            "".join(chr(0x10000 + self._index[word] % 1_000_000) for word in utterance.content)
            for utterance in self.utterances
        ]

    @cached_property
    def topics(self) -> NDArray[np.float32]:
        """Static vectors of the texts: weighted mean of the content words, the direction all texts share taken out."""
        weights = np.sqrt(np.maximum(self.word_weights, _LEAST_WEIGHT)).astype(np.float32)
        return static.without_common(_of_unit_length(self.bags.sums(self.word_vectors * weights[:, None])))

    @cached_property
    def plains(self) -> NDArray[np.float32]:
        """Static vectors of the texts: plain mean of all words but fillers."""
        return _of_unit_length(self.bags.sums(self.word_vectors))

    @cached_property
    def letters(self) -> NDArray[np.float32]:
        """Runs of three characters, counted into ``static.DIMENSION`` places by a fixed hash: unit vectors."""
        out = np.zeros((len(self.utterances), static.DIMENSION), np.float32)
        for row, utterance in enumerate(self.utterances):
            hashed = np.array([crc32(run.encode()) for run in _runs(" ".join(utterance.content))], np.int64)
            np.add.at(out[row], hashed % static.DIMENSION, np.where(hashed >> 31, np.float32(1), np.float32(-1)))
        return _of_unit_length(out)

    @cached_property
    def traits(self) -> Traits:
        """What must not differ."""
        return Traits.of(self.utterances)


@dataclass(frozen=True)
class Ragged:
    """Rows of different lengths, one after the other."""

    flat: Ints
    starts: Ints

    @classmethod
    def of(cls, rows: Sequence[Sequence[int]]) -> Ragged:
        """From one list for each row."""
        sizes = np.array([len(row) for row in rows], np.int64)
        flat = np.array([item for row in rows for item in row], np.int64)
        return cls(flat, np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64))

    @property
    def sizes(self) -> Ints:
        """Length of each row."""
        return np.diff(self.starts)

    def take(self, rows: Ints) -> tuple[Ints, Ints]:
        """The items of ``rows``, and for each item the place of its row in ``rows``."""
        sizes = self.sizes[rows]
        owner = np.repeat(np.arange(len(rows)), sizes)
        first = np.concatenate([[0], np.cumsum(sizes)[:-1]]) if len(rows) else np.zeros(0, np.int64)
        within = np.arange(int(sizes.sum())) - first[owner]
        return self.flat[self.starts[rows][owner] + within], owner

    def sums(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """The sum of ``values[item]`` over each row; 0 for an empty one."""
        out = np.zeros((len(self.sizes), *values.shape[1:]), np.float32)
        filled = np.flatnonzero(self.sizes)
        if len(filled):
            out[filled] = np.add.reduceat(values[self.flat], self.starts[:-1][filled], axis=0)
        return out


@dataclass(frozen=True)
class Rows:
    """The features of pairs of texts.

    Attributes:
        pair: float64 (n, len(PAIR)).
        left, right: float64 (n, len(SIDE)).
    """

    pair: Floats
    left: Floats
    right: Floats

    def __len__(self) -> int:
        return len(self.pair)

    def at(self, rows: Ints) -> Rows:
        """Those of some of the pairs."""
        return Rows(self.pair[rows], self.left[rows], self.right[rows])

    @property
    def left_hidden(self) -> Floats:
        """With the left text hidden under the right: float64 (n, len(WORDS))."""
        return np.column_stack([self.pair, self.left, self.right])

    @property
    def right_hidden(self) -> Floats:
        """With the right text hidden under the left: float64 (n, len(WORDS))."""
        return np.column_stack([self.pair, self.right, self.left])

    def column(self, name: str) -> Floats:
        """A feature of the pairs, float64 (n,)."""
        return self.pair[:, PAIR.index(name)]


def compare(texts: Texts, left: Ints, right: Ints) -> Rows:
    """Features of pairs of texts.

    Args:
        left, right: int64 (n,), indices into ``texts``.
    """
    of_words, sides = _of_words(texts, left, right)
    columns: dict[str, NDArray[np.generic]] = {
        "topic": _dot(texts.topics, left, right),
        "plain": _dot(texts.plains, left, right),
        **of_words,
        **_of_characters(texts, left, right),
        **_of_traits(texts, left, right),
    }
    return Rows(
        _in_columns(columns, PAIR),
        _in_columns(sides[0] | _of_side(texts, left, right), SIDE),
        _in_columns(sides[1] | _of_side(texts, right, left), SIDE),
    )


def _in_columns(columns: Mapping[str, NDArray[np.generic]], names: Sequence[str]) -> Floats:
    return np.column_stack([columns[name].astype(np.float64) for name in names])


def _of_words(texts: Texts, left: Ints, right: Ints) -> tuple[dict[str, Floats], list[dict[str, Floats]]]:
    """Which words have a counterpart in the other text, and how much the words without one tell: of the pair, and of
    the left and the right side."""
    counterparts = best_counterparts(texts, left, right)
    a, b = (
        _words_of_side(texts, rows, best, alike)
        for rows, best, alike in zip((left, right), counterparts[:2], counterparts[2:], strict=True)
    )
    cover_a = _share(a["tells"] - a["missing"], a["tells"], b["tells"])
    cover_b = _share(b["tells"] - b["missing"], b["tells"], a["tells"])
    shared = a["shared"]
    union = a["tells"] + b["tells"] - shared
    of_pair = {
        "overlap": np.where(union > 0, shared / np.where(union > 0, union, 1), 1.0),
        "coverage_least": np.minimum(cover_a, cover_b),
        "coverage_most": np.maximum(cover_a, cover_b),
        "missing_most": np.maximum(a["missing_most"], b["missing_most"]),
        "missing_sum": a["missing"] + b["missing"],
        "missing_least": np.minimum(a["missing"], b["missing"]),
        "no_counterpart_most": np.maximum(a["alone"], b["alone"]),
        "no_counterpart_least": np.minimum(a["alone"], b["alone"]),
        "swapped": np.minimum(a["other_most"], b["other_most"]),
        "swapped_one": np.maximum(a["other"], b["other"]),
        "shared": shared,
        "shared_most": a["shared_most"],
        "length": np.log1p(np.minimum(a["tells"], b["tells"])),
        "length_ratio": np.abs(np.log((a["tells"] + 0.5) / (b["tells"] + 0.5))),
    }
    return of_pair, [a, b]


def _words_of_side(texts: Texts, rows: Ints, best: Floats, alike: Floats) -> dict[str, Floats]:
    """How much a text's content words tell: all, those whose like the other text lacks (``missing``: by how much),
    those without a counterpart (``alone``) and those that it has in no spelling (``other``)."""
    word, pair = texts.bags.take(rows)
    count, weight = len(rows), texts.word_weights[word]
    gap, other, same = weight * (1 - best), weight * (alike < 1), weight * (best == 1)
    tells = _total(pair, weight, count)
    return {
        "tells": tells,
        "missing": _total(pair, gap, count),
        "missing_most": _most(pair, gap, count),
        "alone": _total(pair, weight * (best < _COUNTERPART), count),
        "other": (others := _total(pair, other, count)),
        "other_most": _most(pair, other, count),
        "other_share": np.where(tells > 0, others / np.where(tells > 0, tells, 1), 0.0),
        "other_count": _total(pair, (alike < 1).astype(np.float64), count),
        "content": _total(pair, np.ones(len(word)), count),
        "shared": _total(pair, same, count),
        "shared_most": _most(pair, same, count),
    }


def _of_side(texts: Texts, rows: Ints, others: Ints) -> dict[str, NDArray[np.generic]]:
    """What a text does, and what it has that the other lacks."""
    traits = texts.traits
    pairs = list(zip(rows.tolist(), others.tolist(), strict=True))
    words = np.array([len(one.words) for one in texts.utterances])
    telling = np.array([one.content_words for one in texts.utterances])
    return {
        "plain_missing": np.array([len(traits.plain[a] - traits.plain[b]) for a, b in pairs]),
        "asks_with_missing": np.array([len(traits.asking[a] - traits.asking[b]) for a, b in pairs]),
        "values_missing": np.array([len(traits.values[a] - traits.values[b]) for a, b in pairs]),
        "values": np.array([len(traits.values[a]) for a, _ in pairs]),
        "asks": traits.question[rows],
        "seeks": traits.seeks[rows],
        "denies": traits.negated[rows],
        "thanks": traits.thanks[rows],
        "greets": traits.greets[rows],
        **{f"person_{number + 1}": traits.persons[rows, number] for number in range(len(lexicon.PERSONS))},
        "telling_words": telling[rows],
        "words": words[rows],
    }


def best_counterparts(texts: Texts, left: Ints, right: Ints) -> tuple[Floats, Floats, Floats, Floats]:
    """How well each word of one text is matched by a word of the other, 0 to 1; 1 only for the same word.

    Returns:
        Two arrays for the words of ``texts.bags.take(left)`` and of ``take(right)``: the best match by meaning or
        spelling. Two more for the same words: 1 where the other text has the word or a spelling or form of it, else 0.
    """
    parts = []
    sizes = np.cumsum(texts.bags.sizes[left] * texts.bags.sizes[right])
    start = 0
    while start < len(left):
        done = int(sizes[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(sizes, done + _MOST_TOKEN_PAIRS)))
        parts.append(_best_of(texts, left[start:stop], right[start:stop]))
        start = stop
    if not parts:
        return np.zeros(0), np.zeros(0), np.zeros(0), np.zeros(0)
    best_a, best_b, alike_a, alike_b = (np.concatenate(column) for column in zip(*parts, strict=True))
    return best_a, best_b, alike_a, alike_b


def _best_of(texts: Texts, left: Ints, right: Ints) -> tuple[Floats, Floats, Floats, Floats]:
    a_word, a_pair = texts.bags.take(left)
    b_word, b_pair = texts.bags.take(right)
    vocabulary = len(texts.words)
    a_key, b_key = a_pair * vocabulary + a_word, b_pair * vocabulary + b_word
    best_a, best_b = _among(a_key, b_key).astype(np.float64), _among(b_key, a_key).astype(np.float64)
    alike_a, alike_b = best_a.copy(), best_b.copy()
    # Values match only themselves, and a word that the other text has needs no further match.
    for mine, theirs, best, alike in (
        ((a_word, a_pair), (b_word, b_pair), best_a, alike_a),
        ((b_word, b_pair), (a_word, a_pair), best_b, alike_b),
    ):
        loose = np.flatnonzero((best < 1) & ~texts.valued[mine[0]])
        fits = np.flatnonzero(~texts.valued[theirs[0]])
        others = Ragged(theirs[0][fits], np.searchsorted(theirs[1][fits], np.arange(len(left) + 1)))
        facing, owner = others.take(mine[1][loose])
        if len(facing):
            likeness, spelt = _word_likeness(texts, mine[0][loose][owner], facing)
            np.maximum.at(best, loose[owner], likeness)
            np.maximum.at(alike, loose[owner], spelt)
    return best_a, best_b, alike_a, alike_b


def _word_likeness(texts: Texts, left: Ints, right: Ints) -> tuple[Floats, Floats]:
    """Similarity of words: of their vectors, or of their letters where these look like spellings of one word; and 1.0
    where they are spellings or forms of one word, else 0."""
    from rapidfuzz import process
    from rapidfuzz.distance import OSA

    low, high = np.minimum(left, right), np.maximum(left, right)
    pairs, back = np.unique(low * len(texts.words) + high, return_inverse=True)
    low, high = pairs // len(texts.words), pairs % len(texts.words)
    likeness = _dot(texts.word_vectors, low, high)
    alike = np.zeros(len(pairs))
    letters = np.array([len(word) for word in texts.words])
    long = np.flatnonzero(np.minimum(letters[low], letters[high]) >= 4)
    if len(long):
        spelt = process.cpdist(
            [texts.words[word] for word in low[long]],
            [texts.words[word] for word in high[long]],
            scorer=OSA.normalized_similarity,
            score_cutoff=_SAME_WORD,
            dtype=np.float32,
        ).astype(np.float64)
        likeness[long] = np.maximum(likeness[long], spelt)
        alike[long] = (spelt >= _SAME_WORD) | (texts.stems[low[long]] == texts.stems[high[long]])
    return np.clip(likeness, 0, 0.99).round(4)[back], alike[back]


def _of_characters(texts: Texts, left: Ints, right: Ints) -> dict[str, Floats]:
    from rapidfuzz import fuzz, process
    from rapidfuzz.distance import LCSseq

    def of(words: list[str], scorer: Any) -> Floats:
        if not len(left):
            return np.zeros(0)
        pairs = [words[row] for row in left], [words[row] for row in right]
        return np.asarray(process.cpdist(*pairs, scorer=scorer, dtype=np.float32), np.float64)

    runs_a, pair_a = texts.trigrams.take(left)
    runs_b, pair_b = texts.trigrams.take(right)
    span = int(texts.trigrams.flat.max(initial=0)) + 1
    both = _among(pair_a * span + runs_a, pair_b * span + runs_b)
    common = _total(pair_a, both.astype(np.float64), len(left))
    either = texts.trigrams.sizes[left] + texts.trigrams.sizes[right] - common
    return {
        "trigrams": common / np.maximum(either, 1),
        "characters": of(texts.contents, fuzz.ratio) / 100,
        "sorted_words": of(texts.contents, fuzz.token_sort_ratio) / 100,
        "contained": of(texts.contents, fuzz.partial_ratio) / 100,
        "order": of(texts.in_order, LCSseq.normalized_similarity),
    }


def _of_traits(texts: Texts, left: Ints, right: Ints) -> dict[str, NDArray[np.generic]]:
    traits = texts.traits
    pairs = list(zip(left.tolist(), right.tolist(), strict=True))
    more_a = flags(bool(traits.values[a] - traits.values[b]) for a, b in pairs)
    more_b = flags(bool(traits.values[b] - traits.values[a]) for a, b in pairs)
    contents = [utterance.content for utterance in texts.utterances]
    apart = flags(traits.set_apart(a, b) or swapped(contents[a], contents[b]) for a, b in pairs)
    asks_one = traits.question[left] != traits.question[right]
    denies_one = traits.negated[left] != traits.negated[right]
    opposed = traits.opposed(left, right)
    persons_a, persons_b = traits.persons[left], traits.persons[right]
    words = np.array([len(utterance.words) for utterance in texts.utterances])
    content = np.array([utterance.content_words for utterance in texts.utterances])
    return {
        "filler_ratio": np.abs(np.log((words[left] + 1) / (words[right] + 1))),
        "asks_one": asks_one,
        "asks_both": traits.question[left] & traits.question[right],
        "marks_one": traits.marked[left] != traits.marked[right],
        "seeks_both": traits.seeks[left] & traits.seeks[right],
        "denies_one": denies_one,
        "values_differ": (more_a & more_b) | apart,
        "values_added": more_a ^ more_b,
        "values_shared": flags(bool(traits.values[a] & traits.values[b]) for a, b in pairs),
        "opposites": opposed,
        "persons": (persons_a != persons_b).sum(axis=1),
        "persons_crossed": (persons_a[:, 0] & ~persons_a[:, 1] & persons_b[:, 1] & ~persons_b[:, 0])
        | (persons_a[:, 1] & ~persons_a[:, 0] & persons_b[:, 0] & ~persons_b[:, 1]),
        "thanks_one": traits.thanks[left] != traits.thanks[right],
        "greets_one": traits.greets[left] != traits.greets[right],
        "same_content": flags(texts.contents[a] == texts.contents[b] for a, b in pairs),
        "contradictions": asks_one.astype(np.int64) + denies_one + (more_a & more_b) + opposed,
        "short": np.minimum(content[left], content[right]).clip(max=4),
        "code": traits.code[left] | traits.code[right],
        "marked": traits.marked_up[left] | traits.marked_up[right],
    }


def _runs(content: str) -> set[str]:
    return {content[start : start + 3] for start in range(len(content) - 2)} or {content}


def _among(items: Ints, others: Ints) -> Flags:
    """Which of ``items`` are among ``others``; both ascend."""
    if not len(others):
        return np.zeros(len(items), np.bool_)
    place = np.searchsorted(others, items).clip(max=len(others) - 1)
    return np.asarray(others[place] == items, np.bool_)


def _of_unit_length(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    length: NDArray[np.float32] = np.linalg.norm(vectors, axis=1, keepdims=True).astype(np.float32)
    return np.asarray(vectors / np.where(length == 0, np.float32(1), length), np.float32)


def _dot(vectors: NDArray[np.float32], left: Ints, right: Ints) -> Floats:
    out = np.empty(len(left))
    for start in range(0, len(left), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        out[part] = np.einsum("ij,ij->i", vectors[left[part]], vectors[right[part]], dtype=np.float32)
    return out.round(4)


def _total(owner: Ints, values: Floats, count: int) -> Floats:
    return np.asarray(np.bincount(owner, weights=values, minlength=count), np.float64)


def _most(owner: Ints, values: Floats, count: int) -> Floats:
    out = np.zeros(count)
    np.maximum.at(out, owner, values)
    return out


def _share(covered: Floats, total: Floats, of_other: Floats) -> Floats:
    """The share of a text's weight that is covered; a text without weight is covered if the other has none either."""
    return np.where(total > 0, covered / np.where(total > 0, total, 1), (of_other == 0).astype(np.float64))
