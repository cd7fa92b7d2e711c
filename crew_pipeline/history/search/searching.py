"""Search: what was said in these words, or in others that mean the same, each text once with the places it stands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal, NamedTuple

from rapidfuzz.distance import DamerauLevenshtein

from crew_pipeline.dedup.verification import line_id, stamp
from crew_pipeline.history.search.folding import words_of
from crew_pipeline.history.search.index import OpenIndex
from crew_pipeline.history.search.query_encoder import query_encoder
from crew_pipeline.history.search.texts import Place, key_of
from crew_pipeline.history.search.words import EVERYWHERE, Asked, Filter, Told, WordHit, WordIndex, asked
from crew_pipeline.storage.conversations import searched
from crew_pipeline.storage.conversations.searched import FoundLine, ShownLine
from crew_pipeline.storage.database import Database

Mode = Literal["auto", "words", "meaning"]

MOST = 100
"""Texts that a search finds at most."""
_CANDIDATES = 400
"""Texts near the query that are rescored exactly."""
_BY_WORDS = 0.4
"""What the words of a text count beside its meaning, chosen on questions with known lines (benchmarks/search_quality):
from 0.2 to 0.7 is ahead of words, of vectors, and of the fusion of their ranks, which loses what shares no word."""
_LEAST_COSINE = 0.35
_ABOVE_USUAL = 3.0
"""Spreads above the mean of texts that have nothing to do with the query: nearer ones have."""
_LEAST_SHARE = 0.3
"""Of what was asked for, that a text must say which is found by its words alone."""
_UNMEANT = 0.6
"""The cosine of a text that has no vector and says all that was asked for: a word or two, not embedded."""
_SHOWN_PLACES = 5
_SHORT = 2
"""Letters of a word that counts as no other's beginning or part."""


class Hit(NamedTuple):
    """A text that was found.

    Attributes:
        score: by which hits are ordered.
        cosine: of query and text; None where that was not looked at, or the text has no vector.
        by_words, by_meaning: how it was found.
    """

    key: int
    score: float
    cosine: float | None
    by_words: bool
    by_meaning: bool


@dataclass(frozen=True)
class Search:
    """What somebody looks for, and where."""

    query: str
    among: Filter = EVERYWHERE
    mode: Mode = "auto"


def find(db: Database, index: OpenIndex, client: str, search: Search) -> list[Hit]:
    """The texts that answer a search, the best first; none where nothing does."""
    if index.words is None or not search.query.strip():
        return []
    by_words: list[WordHit] = []
    if search.mode != "meaning":
        by_words = index.words.search(asked(search.query), search.among, MOST)
    # Who quotes wants these words.
    by_meaning = search.mode != "words" and not ('"' in search.query and search.mode == "auto")
    near = _cosines(db, index, client, search, by_words) if by_meaning else None
    return _ordered(by_words, near)[:MOST]


class _Near(NamedTuple):
    """Cosines of texts and query, and from where on one has something to do with it."""

    cosines: dict[int, float]
    floor: float


def _cosines(db: Database, index: OpenIndex, client: str, search: Search, by_words: Sequence[WordHit]) -> _Near | None:
    """Exact cosines of the texts that are near the query, and of those that were found by their words."""
    encoder = query_encoder()
    if encoder is None or index.meaning is None or not len(index.meaning):
        return None
    vector = encoder.encode(search.query)
    hashes = {bytes(digest) for digest in index.meaning.near(vector, search.among, _CANDIDATES)}
    hashes |= index.meaning.hashes_of([hit.key for hit in by_words])
    with db.read() as connection:
        vectors = searched.vectors(connection, client, index.model, sorted(hashes))
    mean, spread = index.meaning.usual(vector)
    cosines = {key_of(digest): round(float(one @ vector), 6) for digest, one in vectors.items()}
    return _Near(cosines, max(_LEAST_COSINE, mean + _ABOVE_USUAL * spread))


def _ordered(by_words: Sequence[WordHit], near: _Near | None) -> list[Hit]:
    said = {hit.key: hit for hit in by_words if hit.is_whole or hit.share >= _LEAST_SHARE}
    if near is None:
        return [Hit(hit.key, hit.score, None, by_words=True, by_meaning=False) for hit in said.values()]
    shares = {hit.key: hit.share for hit in by_words}
    hits = []
    for key in {*said, *(key for key, cosine in near.cosines.items() if cosine >= near.floor)}:
        cosine, share = near.cosines.get(key), shares.get(key, 0.0)
        score = (_UNMEANT * share if cosine is None else cosine) + _BY_WORDS * share
        means_it = cosine is not None and cosine >= near.floor
        hits.append(Hit(key, score, cosine, key in said, means_it))
    return sorted(hits, key=lambda hit: (-hit.score, hit.key))


def shown(db: Database, index: OpenIndex, client: str, search: Search, hits: Sequence[Hit]) -> list[dict[str, Any]]:
    """Hits as visitors are shown them. What was erased since the index was written is left out."""
    words = index.words
    assert words is not None
    told = {hit.key: found for hit in hits if (found := words.told(hit.key, search.among)) is not None}
    places = [(place.conversation_id, place.position) for found in told.values() for _, place in found.places]
    with db.read() as connection:
        lines = searched.found_lines(connection, client, places)
    marker = _Marker(asked(search.query), words)
    results = []
    for hit in hits:
        if hit.key not in told:
            continue
        result = _result(hit, told[hit.key], lines, marker)
        if result is not None:
            results.append(result)
    return results


def _result(hit: Hit, told: Told, lines: Mapping[tuple[str, int], FoundLine], marker: _Marker) -> dict[str, Any] | None:
    there = [
        (day, place, lines[place.conversation_id, place.position])
        for day, place in told.places
        if (place.conversation_id, place.position) in lines
    ]
    if not there:
        return None
    _, place, line = there[0]
    part = line.text[place.start : place.end]
    marks = list(marker.marks(part))
    return {
        "text": part,
        "highlights": [[start, end] for start, end in marks],
        "score": round(hit.score, 6),
        "similarity": hit.cosine,
        "found_by": [name for name, found in (("words", hit.by_words), ("meaning", hit.by_meaning)) if found],
        "times": told.times,
        "days": told.days,
        "first_day": told.first.isoformat(),
        "last_day": told.last.isoformat(),
        "places": [_place(*one) for one in there[:_SHOWN_PLACES]],
    }


def _place(day: date, place: Place, line: FoundLine) -> dict[str, Any]:
    return {
        "day": day.isoformat(),
        "line_id": line_id(line.conversation_id, line.position),
        "start": place.start,
        "end": place.end,
        "conversation_id": line.conversation_id,
        "session_id": line.session_id,
        "title": line.title,
        "crew": line.crew,
        "speaker": line.speaker,
        "spoken_at": stamp(line.spoken_at),
        "before": _beside(line.conversation_id, line.before),
        "after": _beside(line.conversation_id, line.after),
    }


def _beside(conversation_id: str, line: ShownLine | None) -> dict[str, Any] | None:
    if line is None:
        return None
    return {"line_id": line_id(conversation_id, line.position), "speaker": line.speaker, "text": line.text}


class _Marker:
    """Finds where texts say what was asked for; what is asked of the index is asked once for all of them."""

    def __init__(self, query: Asked, words: WordIndex) -> None:
        self._wanted = [
            _Wanted(
                word,
                begins=query.is_open and word == query.phrases[-1][-1] and len(word) > _SHORT,
                slips=words.slips(word),
                within=len(word) > _SHORT and not words.is_said(word),
            )
            for word in dict.fromkeys(word for phrase in words.telling(query) for word in phrase)
        ]
        self._known: dict[str, bool] = {}

    def marks(self, text: str) -> Iterator[tuple[int, int]]:
        """The places in a text (code points), ascending."""
        for word in words_of(text):
            if self._matches(word.folded):
                yield word.start, word.end

    def _matches(self, said: str) -> bool:
        known = self._known.get(said)
        if known is None:
            known = self._known[said] = any(wanted.matches(said) for wanted in self._wanted)
        return known


class _Wanted(NamedTuple):
    """A word that is looked for, and as what else it counts: as the beginning of another, with so many letters wrong,
    or within another."""

    word: str
    begins: bool
    slips: int
    within: bool

    def matches(self, said: str) -> bool:
        word, slips = self.word, self.slips
        if said == word or (self.begins and said.startswith(word)) or (self.within and word in said):
            return True
        return slips > 0 and DamerauLevenshtein.distance(said, word, score_cutoff=slips) <= slips
