"""The index of words: a tantivy index of which each document is a text as one speaker of a crew said it on one day."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import regex
import tantivy
from tantivy import Occur, Query

from crew_pipeline.history.search.folding import words_of
from crew_pipeline.history.search.texts import DayText, Place

_HEAP_BYTES = 64 * 1024 * 1024
_WRITTEN_BY = 1
"""Threads: the same documents give the same segments."""
_FUZZY_FROM = 4
_TWO_ERRORS_FROM = 9
"""Letters of a word that may be written with one or two of them wrong."""
_BEGUN_FROM = _SUBSTRING_FROM = 3
_EXPANDED_TO = 12
"""Words that a word which is being typed may become."""
_SLIPS = 5e-5
"""Share of documents: a word that so few have may be another one, misspelt."""
_COMMON = 0.01
"""Share of documents from which on a word is taken for all of what is being typed."""
_NEAR = 0.5
"""Share of a word's weight that one counts which is near it."""
_FULL = 1.3
"""Of its weight, what a word adds to the score of a text of usual length."""
_ROUNDS = 6
_AT_ONCE = 200
_MOST_WORDS = 32
"""Of a query."""
_FREQUENT = 0.1
"""Share of all documents from which on a word tells nothing beside rarer ones."""
_PLACES_OF = 5
"""Documents, the newest, whose places are told."""
_MOST_PLACES = 10
_MOST_DAYS = 50_000


@dataclass(frozen=True)
class Filter:
    """Which places of texts count."""

    first: date | None = None
    last: date | None = None
    crew: str | None = None
    speaker: str | None = None

    @property
    def is_open(self) -> bool:
        """Whether all do."""
        return self == EVERYWHERE


EVERYWHERE = Filter()


class Asked(NamedTuple):
    """What somebody looks for.

    Attributes:
        phrases: words that stand one after the other; of a single word one each.
        is_open: whether the last word may go on.
    """

    phrases: list[list[str]]
    is_open: bool

    def goes_on(self, phrase: list[str]) -> bool:
        """Whether the last word of a phrase may go on."""
        return self.is_open and phrase is self.phrases[-1]

    @property
    def words(self) -> list[str]:
        """All of them."""
        return [word for phrase in self.phrases for word in phrase]


class WordHit(NamedTuple):
    """A text that says what is asked for, or some of it.

    Attributes:
        key: see ``texts.key_of``.
        score: BM25 (Robertson & Zaragoza, 2009).
        share: how much of what was asked for it says, 0 to 1, roughly: of the score of a text that says all of it.
        is_whole: whether it says all of it.
    """

    key: int
    score: float
    share: float
    is_whole: bool


class Told(NamedTuple):
    """How often a text was said.

    Attributes:
        places: the newest ones, of a few days.
    """

    times: int
    days: int
    first: date
    last: date
    places: list[tuple[date, Place]]


class Occurrence(NamedTuple):
    """Where a text was said by one speaker on one day: ``times`` in all, and the first ``places``."""

    day: date
    times: int
    places: list[Place]


_QUOTED = regex.compile(r'"([^"]*)"?|(\S+)')


def asked(query: str) -> Asked:
    """What a query looks for. What stands in quotes, or without a space, stands together."""
    phrases: list[list[str]] = []
    is_open = not query[-1:].isspace()
    for quoted, word in _QUOTED.findall(query):
        if folded := [one.folded for one in words_of(quoted or word)]:
            phrases.append(folded)
            is_open = is_open and not quoted
    kept: list[list[str]] = []
    for phrase in phrases:
        left = phrase[: _MOST_WORDS - sum(map(len, kept))]
        # What is cut does not go on.
        is_open = is_open and left == phrase
        if left and left not in kept:
            kept.append(left)
    return Asked(kept, is_open and kept[-1:] == phrases[-1:])


def schema() -> Any:
    """The fields of a document."""
    builder = tantivy.SchemaBuilder()
    builder.add_unsigned_field("key", indexed=True, fast=True)
    builder.add_unsigned_field("day", indexed=True, fast=True)
    builder.add_unsigned_field("times", fast=True)
    builder.add_text_field("crew", tokenizer_name="raw", index_option="basic")
    builder.add_text_field("speaker", tokenizer_name="raw", index_option="basic")
    builder.add_text_field("words", tokenizer_name="whitespace")
    builder.add_bytes_field("places", stored=True)
    return builder.build()


def slips_of(word: str) -> int:
    """With how many letters wrong a word may be another one; numbers and names with numbers are what they are."""
    if len(word) < _FUZZY_FROM or not word.isalpha():
        return 0
    return 2 if len(word) >= _TWO_ERRORS_FROM else 1


class WordIndex:
    """An index of a folder, as it was when it was opened or looked at again."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._index = tantivy.Index(schema(), path=str(folder))
        self._schema = self._index.schema
        self.look_again()

    def look_again(self) -> None:
        """See what has been written since."""
        self._index.reload()
        self._searcher = self._index.searcher()
        self._documents = self._searcher.num_docs

    def write(self, days: Iterable[tuple[date, Sequence[DayText]]]) -> None:
        """Put days in the place of what the index has of them, all or none; the lock on the folder is the caller's."""
        writer = self._index.writer(_HEAP_BYTES, _WRITTEN_BY)
        try:
            for day, texts in days:
                writer.delete_documents_by_query(Query.term_query(self._schema, "day", day.toordinal()))
                for said in texts:
                    for (crew, speaker), places in sorted(said.places.items()):
                        writer.add_document(_document(day, said, crew, speaker, places))
            writer.commit()
        finally:
            writer.wait_merging_threads()
        self.look_again()

    def __len__(self) -> int:
        return int(self._documents)

    def search(self, query: Asked, among: Filter, most: int) -> list[WordHit]:
        """The texts that say most of what is asked, the best first."""
        if not query.phrases or not self._documents:
            return []
        found: dict[int, float] = {}
        clauses = [self._clause(one, is_open=query.goes_on(one)) for one in query.phrases]
        self._collect(Query.boolean_query([(Occur.Must, clause) for clause in clauses]), among, most, found)
        whole = len(found)
        if len(clauses) > 1 and whole < most:
            self._collect(self._some_of(query, clauses), among, most, found)
        weights = sum(self.weight(word) for word in dict.fromkeys(query.words))
        hits = [
            WordHit(key, score, min(1.0, score / (_FULL * max(weights, 1e-9))), is_whole=number < whole)
            for number, (key, score) in enumerate(found.items())
        ]
        return sorted(hits, key=lambda hit: (-hit.score, hit.key))[:most]

    def told(self, key: int, among: Filter) -> Told | None:
        """How often and where a text was said; None where it was not."""
        # One for all that is asked here: another thread may look again meanwhile, and addresses are of a searcher.
        searcher = self._searcher
        query = self._within(Query.term_query(self._schema, "key", key), among)
        newest = searcher.search(query, _PLACES_OF, count=False, order_by_field="day").hits
        if not newest:
            return None
        places: list[tuple[date, Place]] = []
        for ordinal, address in newest:
            stored = self._stored_places(searcher, address)
            places += [(date.fromordinal(ordinal), Place(*place)) for place in orjson.loads(bytes(stored))]
        if len(newest) < _PLACES_OF:
            # These are all there are, as mostly; to aggregate takes longer than all else that is asked here.
            ordinals: Any = [ordinal for ordinal, _ in newest]
            counts: Any = searcher.fast_field_values("times", [address for _, address in newest])
            times, days, first, last = sum(counts), len({*ordinals}), min(ordinals), max(ordinals)
        else:
            times, days, first, last = self._counted(searcher, query)
        return Told(times, days, date.fromordinal(first), date.fromordinal(last), places[:_MOST_PLACES])

    def occurrences(self, key: int, most: int) -> list[Occurrence]:
        """Where a text was said, by day and speaker, the newest first."""
        searcher = self._searcher
        query = self._within(Query.term_query(self._schema, "key", key), EVERYWHERE)
        found = searcher.search(query, most, count=False, order_by_field="day").hits
        counts: Any = searcher.fast_field_values("times", [address for _, address in found])
        return [
            Occurrence(
                date.fromordinal(ordinal),
                int(times),
                [Place(*place) for place in orjson.loads(bytes(self._stored_places(searcher, address)))],
            )
            for (ordinal, address), times in zip(found, counts, strict=True)
        ]

    @staticmethod
    def _stored_places(searcher: Any, address: Any) -> Any:
        return searcher.doc(address).get_first("places")

    def telling(self, query: Asked) -> list[list[str]]:
        """What of a query is not in every tenth text; all of it where everything is."""
        frequent = _FREQUENT * self._documents
        return [one for one in query.phrases if min(map(self._frequency, one)) <= frequent] or query.phrases

    def _counted(self, searcher: Any, query: Any) -> tuple[int, int, int, int]:
        """Times, days, first and last day (ordinals)."""
        found = searcher.aggregate(
            query,
            {
                "times": {"sum": {"field": "times"}},
                "first": {"min": {"field": "day"}},
                "last": {"max": {"field": "day"}},
                # A cardinality would be about right.
                "days": {"terms": {"field": "day", "size": _MOST_DAYS}},
            },
        )
        times, first, last = (int(found[name]["value"]) for name in ("times", "first", "last"))
        return times, len(found["days"]["buckets"]), first, last

    def weight(self, word: str) -> float:
        """How much a word tells, by how rare it is (inverse document frequency, as BM25 has it)."""
        frequency = self._frequency(word)
        return math.log1p((self._documents - frequency + 0.5) / (frequency + 0.5))

    def is_said(self, word: str) -> bool:
        """Whether any text has a word."""
        return self._frequency(word) > 0

    def slips(self, word: str) -> int:
        """With how many letters wrong a word is looked for: none where many say it, one at most where anybody does."""
        frequency = self._frequency(word)
        if frequency > 5 + _SLIPS * self._documents:
            return 0
        return min(1, slips_of(word)) if frequency else slips_of(word)

    def is_common(self, word: str) -> bool:
        """Whether so many texts have a word that nobody looks for others which begin with it."""
        return self._frequency(word) >= 100 + _COMMON * self._documents

    def _frequency(self, word: str) -> int:
        return int(self._searcher.doc_freq("words", word))

    def _collect(self, query: Any, among: Filter, most: int, found: dict[int, float]) -> None:
        """The best texts, each once, however often it was said."""
        query, searcher = self._within(query, among), self._searcher
        # What was found by a stricter look comes first, whatever a looser one says of it.
        ceiling = min(found.values(), default=math.inf)
        for _ in range(_ROUNDS):
            hits = searcher.search(query, _AT_ONCE, count=False).hits
            keys: Any = searcher.fast_field_values("key", [address for _, address in hits])
            for (score, _), key in zip(hits, keys, strict=True):
                found.setdefault(key, min(score, ceiling))
            if len(hits) < _AT_ONCE or len(found) >= most:
                return
            # A text that was said very often takes all the places; it is not looked for any more.
            seen = Query.term_set_query(self._schema, "key", sorted({*keys}))
            query = Query.boolean_query([(Occur.Must, query), (Occur.MustNot, seen)])

    def _within(self, query: Any, among: Filter) -> Any:
        clauses = [(Occur.Must, query)]
        if among.first or among.last:
            first, last = (None if day is None else day.toordinal() for day in (among.first, among.last))
            days = Query.range_query(self._schema, "day", tantivy.FieldType.Unsigned, first, last)
            clauses.append((Occur.Must, Query.const_score_query(days, 0.0)))
        for name, value in (("crew", among.crew), ("speaker", among.speaker)):
            if value is not None:
                named = Query.term_query(self._schema, name, value, "basic")
                clauses.append((Occur.Must, Query.const_score_query(named, 0.0)))
        return Query.boolean_query(clauses) if len(clauses) > 1 else query

    def _some_of(self, query: Asked, clauses: Sequence[Any]) -> Any:
        """Words and phrases that tell something, as many as there are.

        One of those that tell most must be there: what says the others alone is not worth a look at half of all texts.
        """
        telling = self.telling(query)
        rarest = [one for one in telling if not self.is_common(min(one, key=self._frequency))] or telling
        said = list(zip(query.phrases, clauses, strict=True))
        must = Query.boolean_query([(Occur.Should, clause) for one, clause in said if one in rarest])
        more = [(Occur.Should, clause) for one, clause in said if one in telling and one not in rarest]
        return Query.boolean_query([(Occur.Must, must), *more])

    def _clause(self, phrase: list[str], *, is_open: bool) -> Any:
        if len(phrase) > 1:
            in_order: Any = phrase
            whole = Query.phrase_query(self._schema, "words", in_order)
            if not self._stand_together(phrase, whole):
                return self._around(phrase) or whole
            if not is_open or len(phrase[-1]) < _BEGUN_FROM:
                return whole
            begun = Query.phrase_prefix_query(self._schema, "words", in_order)
            return Query.boolean_query([(Occur.Should, whole), (Occur.Should, begun)])
        (word,) = phrase
        alternatives = [Query.term_query(self._schema, "words", word)]
        if is_open and len(word) >= _BEGUN_FROM and not self.is_common(word):
            for longer, _ in self._searcher.terms_with_prefix("words", word, limit=_EXPANDED_TO):
                if longer != word:
                    # By itself a rare word would count more than the one that was asked for.
                    near = Query.const_score_query(Query.term_query(self._schema, "words", longer), self._less(word))
                    alternatives.append(near)
        alternatives += self._like(word, is_begun=len(alternatives) > 1)
        return Query.disjunction_max_query(alternatives) if len(alternatives) > 1 else alternatives[0]

    def _stand_together(self, phrase: list[str], whole: Any) -> bool:
        """Whether any text says a phrase; of words that very many say it is taken for granted."""
        if all(map(self.is_common, phrase)):
            return True
        return bool(self._searcher.search(whole, 1, count=False).hits)

    def _around(self, phrase: list[str]) -> Any:
        """Where a phrase is a part of a name: of libfoo_bar, foo_bar. None where it says too little to look for."""
        if min(len(phrase[0]), len(phrase[-1])) < _SUBSTRING_FROM:
            return None
        first, *rest = map(regex.escape, phrase)
        around: Any = [f".*{first}", *rest[:-1], f"{rest[-1]}.*"]
        query = Query.regex_phrase_query(self._schema, "words", around)
        try:
            self._searcher.search(query, 1, count=False)
        except ValueError:
            # Too many words begin or end so.
            return None
        return query

    def _like(self, word: str, *, is_begun: bool) -> list[Any]:
        """Words that hold one which nobody has said, and those that differ by a slip from one that hardly anybody has.

        Args:
            is_begun: other words begin with it, so it need not stand within any.
        """
        near, errors = [], self.slips(word)
        if errors:
            close = Query.fuzzy_term_query(self._schema, "words", word, errors)
            near.append(Query.const_score_query(close, self._less(word)))
        if len(word) >= _SUBSTRING_FROM and not self.is_said(word) and not is_begun:
            held = Query.regex_query(self._schema, "words", f".*{regex.escape(word)}.*")
            near.append(Query.const_score_query(held, 0.8 * self._less(word)))
        return near

    def _less(self, word: str) -> float:
        return _NEAR * self.weight(word)


def _document(day: date, said: DayText, crew: str, speaker: str, places: Sequence[Place]) -> Any:
    document = tantivy.Document()
    document.add_unsigned("key", said.key)
    document.add_unsigned("day", day.toordinal())
    document.add_unsigned("times", len(places))
    document.add_text("crew", crew)
    document.add_text("speaker", speaker)
    document.add_text("words", " ".join(said.words))
    document.add_bytes("places", orjson.dumps([tuple(place) for place in places[:_MOST_PLACES]]))
    return document
