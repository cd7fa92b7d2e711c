"""The words that tell a theme from the others: class-based TF-IDF, ranked again by where the words are said.

The weighting is that of M. Grootendorst, "BERTopic: Neural topic modeling with a class-based TF-IDF procedure", 2022.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from crew_pipeline.dedup.lexicon import FUNCTION_WORDS
from crew_pipeline.history.search.folding import words_of

MOST = 12
"""Terms that are kept; as many as are asked for are shown of those that nobody has forbidden."""
_SHORTEST = 3
_LEAST_SAID = 3
_LIFT = 1.5
"""How many times as often as anywhere a term must be said in a group to name it."""
_PHRASE = 0.5
"""Of what its rarer word counts a phrase must count, to stand in its place."""


def terms_of(text: str) -> Iterable[str]:
    """Words that may name a theme, and pairs of them that follow each other, folded."""
    words = [word.folded for word in words_of(text)]
    telling = [_is_telling(word) for word in words]
    yield from (word for word, tells in zip(words, telling, strict=True) if tells)
    for (one, first), (other, second) in pairwise(zip(words, telling, strict=True)):
        if first and second and one != other:
            yield f"{one} {other}"


def _is_telling(word: str) -> bool:
    return len(word) >= _SHORTEST and not word.isdigit() and word not in FUNCTION_WORDS


class Counted:
    """A group of segments: how many, and in how many of them each term is."""

    def __init__(self) -> None:
        self.segments = 0
        self.terms: Counter[str] = Counter()

    def add(self, terms: Iterable[str]) -> None:
        """Count a segment: each term once, however often it says it."""
        self.segments += 1
        self.terms.update({*terms})

    def join(self, other: Counted) -> None:
        """Take in another group."""
        self.segments += other.segments
        self.terms.update(other.terms)


def joined(groups: Iterable[Counted]) -> Counted:
    """All of some groups."""
    whole = Counted()
    for group in groups:
        whole.join(group)
    return whole


def names(counted: Mapping[int, Counted]) -> dict[int, list[str]]:
    """The terms that tell each group from the others, best first; a phrase takes the place of its words."""
    whole = joined(counted.values())
    size = whole.terms.total() / max(1, len(counted))
    return {group: _best(one, whole, size) for group, one in sorted(counted.items(), key=lambda of: of[0])}


def _best(group: Counted, whole: Counted, size: float) -> list[str]:
    terms, all_terms = group.terms, whole.terms
    said, total = max(terms.values(), default=0), max(1, terms.total())
    scores = {
        term: times / total * math.log(1 + size / all_terms[term])
        for term, times in terms.items()
        if times >= min(_LEAST_SAID, said) and _tells(times / group.segments, all_terms[term] / whole.segments)
    }
    ranked = sorted(scores, key=lambda term: (-scores[term], term))
    chosen: list[str] = []
    for term in ranked:
        if len(chosen) == MOST:
            break
        phrase = _phrase_of(term, terms, ranked)
        if not _overlaps(phrase, chosen):
            chosen.append(phrase)
    return chosen


def _tells(here: float, anywhere: float) -> bool:
    """Whether a term is said more here than anywhere: one that half of all segments say names nothing."""
    return here >= min(_LIFT * anywhere, (1 + anywhere) / 2)


def _phrase_of(term: str, terms: Counter[str], ranked: Sequence[str]) -> str:
    """The phrase that a word is mostly said in, else the word."""
    if " " in term:
        return term
    phrases = (other for other in ranked if " " in other and term in other.split())
    return next((phrase for phrase in phrases if terms[phrase] >= _PHRASE * terms[term]), term)


def _overlaps(term: str, chosen: Iterable[str]) -> bool:
    words = {*term.split()}
    return any(not words.isdisjoint(other.split()) for other in chosen)
