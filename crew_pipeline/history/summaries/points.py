"""The points of a conversation: what a summary of it, of its day, or of more, is put together from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crew_pipeline.history.summaries import coverage
from crew_pipeline.history.summaries.classifier import Found, classifier
from crew_pipeline.history.summaries.cues import Said, last_words, quality, unanswered
from crew_pipeline.history.summaries.sentences import Sentence, sentences_of
from crew_pipeline.history.themes.grid import NORM, Grid, on_grid
from crew_pipeline.model import EngineOptions
from crew_pipeline.storage.history.points import DECISION, KEY, QUESTION, TASK, PointRow

DIMENSION = 384
VERSION = "3"
"""Of how points are chosen; another one has all days' points chosen anew."""
_LONGEST_COUNTED = 40
_KEYS = range(2, 9)
_SENTENCES_A_KEY = 25
_MOST = {DECISION: 16, TASK: 16, QUESTION: 8}
_SURE = 1.0
_ROUTINE_AT = int(0.8 * NORM**2)
_ROUTINE_FROM = 4
"""Conversations of a day."""


def points_of(
    entry: Mapping[str, Any],
    options: EngineOptions,
    vectors: Mapping[bytes, Any],
    folded: Sequence[Said] = (),
) -> list[PointRow]:
    """The points of a conversation of a document, in its order.

    Args:
        vectors: of the texts that it shows, by hash: float32 (dimension,).
        folded: what is said in the conversation and hidden.
    """
    sentences = sentences_of(entry, options)
    if not sentences:
        return []
    grid = _on_grid(sentences, vectors)
    weights = np.array([_weight(sentence) for sentence in sentences], np.int64) * grid.any(axis=1)
    rows = coverage.weightiest(weights)
    rows = rows[weights[rows] > 0]
    likeness = coverage.alike(grid[rows])
    stands_for = np.zeros(len(sentences), np.int64)
    stands_for[rows] = coverage.covered(likeness, weights[rows])
    found = _most_certain(_classified(sentences, grid, folded))
    good = np.array([0 if row in found else quality(sentences[row]) for row in rows.tolist()], np.int64)
    keys = coverage.choose(likeness, weights[rows], good, _how_many(len(rows)))
    found |= {int(rows[place]): Found(KEY, _SURE) for place in keys}
    return [
        PointRow(
            entry["id"],
            sentences[place].position,
            sentences[place].start,
            sentences[place].end,
            found[place].kind,
            int(stands_for[place]),
            found[place].certainty,
            sentences[place].times,
            grid[place],
        )
        for place in sorted(found)
    ]


def without_routine(rows: Sequence[PointRow]) -> list[PointRow]:
    """A day's points without the decisions and tasks that nearly everybody has: what is said so in several
    conversations of a day is a service's formula, or a crew's standing prompt."""
    places = [place for place, row in enumerate(rows) if row.kind in {DECISION, TASK}]
    grid = stacked([rows[place].vector for place in places]).astype(np.float32)
    conversations = [rows[place].conversation_id for place in places]
    routine = set()
    for number, place in enumerate(places):
        near = np.flatnonzero(grid @ grid[number] >= _ROUTINE_AT)
        if len({conversations[other] for other in near.tolist()}) >= _ROUTINE_FROM:
            routine.add(place)
    return [row for place, row in enumerate(rows) if place not in routine]


def _classified(sentences: Sequence[Sentence], grid: Grid, folded: Sequence[Said]) -> list[Found | None]:
    """What each sentence is: by the classifier, or a question that nobody answers."""
    kinds = classifier().classify(sentences, grid)
    shown = (Said(one.position, one.speaker, one.text) for one in sentences)
    last = last_words((*shown, *folded))
    return [
        kind or (Found(QUESTION, _SURE) if unanswered(sentence, last) else None)
        for sentence, kind in zip(sentences, kinds, strict=True)
    ]


def _on_grid(sentences: Sequence[Sentence], vectors: Mapping[bytes, Any]) -> Grid:
    made = np.zeros((len(sentences), DIMENSION), np.int8)
    known = [place for place, sentence in enumerate(sentences) if sentence.text_hash in vectors]
    if known:
        made[known] = on_grid(np.stack([vectors[sentences[place].text_hash] for place in known]))
    return made


def _weight(sentence: Sentence) -> int:
    """How much it says: its words, more where it was said again, but not as often as it was."""
    return min(sentence.words, _LONGEST_COUNTED) * sentence.times.bit_length()


def _how_many(sentences: int) -> int:
    return min(max(_KEYS.start, sentences // _SENTENCES_A_KEY), _KEYS.stop - 1)


def _most_certain(classified: Sequence[Found | None]) -> dict[int, Found]:
    """By place; of each kind no more than a summary can use."""
    kept: dict[int, Found] = {}
    for kind, most in _MOST.items():
        of_kind = [(place, found) for place, found in enumerate(classified) if found is not None and found.kind == kind]
        kept |= dict(sorted(of_kind, key=lambda one: (-one[1].certainty, one[0]))[:most])
    return kept


def stacked(vectors: Sequence[NDArray[np.int8]]) -> Grid:
    """Vectors of points as one array: int8 (n, dimension)."""
    return np.stack(vectors) if vectors else np.zeros((0, DIMENSION), np.int8)
