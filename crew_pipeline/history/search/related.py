"""Conversations of other days that speak of the same as one, with the texts that show it."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, NamedTuple

import numpy as np

from crew_pipeline.dedup.verification import line_id
from crew_pipeline.history.search.index import OpenIndex
from crew_pipeline.history.search.meaning import Floats
from crew_pipeline.history.search.texts import DayText, Place, key_of, texts_of
from crew_pipeline.history.search.words import EVERYWHERE
from crew_pipeline.storage.conversations import searched
from crew_pipeline.storage.conversations.searched import FoundLine
from crew_pipeline.storage.database import Database

_MOST_TEXTS = 24
"""Of the conversation: those that tell most of what it is about."""
_CANDIDATES = 40
_LEAST_WORDS = 4
_LEAST_COSINE = 0.5
_ABOVE_USUAL = 4.0
_SHOWN_PAIRS = 3


class _Pair(NamedTuple):
    """A text of the conversation, and one of another that is near it; ``weight``: how much the first tells."""

    own: DayText
    other: int
    cosine: float
    weight: float


def related(
    db: Database, index: OpenIndex, client: str, conversation_id: str, max_words: int, most: int
) -> list[dict[str, Any]] | None:
    """The conversations of other sessions that speak of the same, the nearest first; None where there is no such
    conversation."""
    with db.read() as connection:
        lines = searched.conversation(connection, client, conversation_id)
    if not lines:
        return None
    if index.words is None or index.meaning is None or not len(index.meaning):
        return []
    pairs = _pairs(db, index, client, texts_of(lines, max_words))
    told = {pair.other: found for pair in pairs if (found := index.words.told(pair.other, EVERYWHERE)) is not None}
    places = [(place.conversation_id, place.position) for found in told.values() for _, place in found.places]
    with db.read() as connection:
        there = searched.found_lines(connection, client, places)
    own_session = (lines[0].crew, lines[0].session_id)
    by_conversation: dict[str, list[tuple[_Pair, Place, FoundLine]]] = defaultdict(list)
    for pair in pairs:
        for place in _places_of(told, pair.other):
            line = there.get((place.conversation_id, place.position))
            if line is not None and (line.crew, line.session_id) != own_session:
                by_conversation[place.conversation_id].append((pair, place, line))
    ranked = sorted(
        ((_score(found), name, found) for name, found in by_conversation.items()), key=lambda one: (-one[0], one[1])
    )
    return [_shown(score, found) for score, _, found in ranked[:most]]


def _pairs(db: Database, index: OpenIndex, client: str, texts: list[DayText]) -> list[_Pair]:
    """Texts of the conversation beside those that are nearest to them."""
    words, meaning = index.words, index.meaning
    assert words is not None
    assert meaning is not None
    weights = {said.text_hash: sum(map(words.weight, dict.fromkeys(said.words))) for said in texts}
    telling = sorted(
        (said for said in texts if len(said.words) >= _LEAST_WORDS),
        key=lambda said: (-weights[said.text_hash], said.text_hash),
    )[:_MOST_TEXTS]
    with db.read() as connection:
        own = searched.vectors(connection, client, index.model, [said.text_hash for said in telling])
        near = {
            digest: [bytes(one) for one in meaning.near(vector, EVERYWHERE, _CANDIDATES)]
            for digest, vector in own.items()
        }
        others = searched.vectors(
            connection, client, index.model, sorted({one for some in near.values() for one in some})
        )
    return [
        _Pair(said, key_of(other), cosine, weights[said.text_hash])
        for said in telling
        if said.text_hash in own
        for other, cosine in _close(
            own[said.text_hash], near[said.text_hash], others, meaning.usual(own[said.text_hash])
        )
    ]


def _close(
    vector: Floats, near: list[bytes], vectors: dict[bytes, Floats], usual: tuple[float, float]
) -> list[tuple[bytes, float]]:
    floor = max(_LEAST_COSINE, usual[0] + _ABOVE_USUAL * usual[1])
    cosines = [(digest, round(float(np.dot(vectors[digest], vector)), 6)) for digest in near if digest in vectors]
    return sorted(
        ((digest, cosine) for digest, cosine in cosines if cosine >= floor), key=lambda one: (-one[1], one[0])
    )


def _places_of(told: dict[int, Any], key: int) -> list[Place]:
    found = told.get(key)
    return [place for _, place in found.places] if found is not None else []


def _score(found: list[tuple[_Pair, Place, FoundLine]]) -> float:
    """Each text of the conversation counts once, as much as it tells and as near as its nearest is."""
    best: dict[bytes, float] = {}
    for pair, _, _ in found:
        worth = pair.weight * (pair.cosine - _LEAST_COSINE)
        best[pair.own.text_hash] = max(best.get(pair.own.text_hash, 0.0), worth)
    return round(sum(best.values()), 6)


def _shown(score: float, found: list[tuple[_Pair, Place, FoundLine]]) -> dict[str, Any]:
    line = found[0][2]
    shown: dict[bytes, dict[str, Any]] = {}
    for pair, place, other in sorted(found, key=lambda one: (-one[0].cosine, one[1])):
        own = min(place for places in pair.own.places.values() for place in places)
        shown.setdefault(
            pair.own.text_hash,
            {
                "line_id": line_id(own.conversation_id, own.position),
                "other_line_id": line_id(other.conversation_id, other.position),
                "other_speaker": other.speaker,
                "other_text": other.text[place.start : place.end],
                "similarity": pair.cosine,
            },
        )
    return {
        "conversation_id": line.conversation_id,
        "day": line.day.isoformat(),
        "session_id": line.session_id,
        "title": line.title,
        "crew": line.crew,
        "score": score,
        "pairs": list(shown.values())[:_SHOWN_PAIRS],
    }
