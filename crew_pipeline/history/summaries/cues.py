"""What speaks for a sentence being a decision or a task, being left without an answer, or reading well by itself."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from crew_pipeline.dedup import lexicon
from crew_pipeline.dedup.speech import tokens
from crew_pipeline.dedup.text import has_value, is_marked_up, looks_like_code, normalise
from crew_pipeline.history.summaries.habits import HABITS
from crew_pipeline.history.summaries.sentences import Sentence

NUMBER = "<n>"
_BESIDE = 3
"""Lines before and after that count."""
_LONGEST = 60
_PLACES = 10
_LEANS_ON_BEFORE = frozenset(
    [
        "and",
        "but",
        "so",
        "because",
        "or",
        "that",
        "that's",
        "it",
        "it's",
        "they",
        "they're",
        "which",
        "then",
        "he",
        "she",
        "this",
        "these",
        "those",
        "also",
        "since",
        "while",
        "well",
        "if",
        "whether",
        "than",
        "like",
    ]
)
_UNFINISHED = re.compile(r"(?:[-,…]|\.\.+)$")
_HANGING = frozenset(
    [
        "the",
        "a",
        "an",
        "of",
        "and",
        "to",
        "or",
        "but",
        "with",
        "for",
        "in",
        "on",
        "at",
        "that",
        "is",
        "are",
        "my",
        "your",
        "our",
        "their",
        "by",
        "as",
        "from",
        "like",
        "so",
        "just",
        "um",
        "uh",
        "i",
        "we",
        "you",
    ]
)
_LETTERS_THAT_ARE_WORDS = frozenset("aiouk")
_READS_FROM, _READS_TO = 5, 60
_GOOD = range(8, 31)
_FEWEST_TELLING, _TELLS_MUCH = 3, 8
_HESITATIONS = frozenset(["hm", "hmm", "mm", "mmm", "um", "uh", "uhm", "er", "erm", "oh", "ah", "eh", "huh"])
"""What is no answer; "yes" is one."""
_MOST_FILLERS = 0.34


@lru_cache(maxsize=16_384)
def words_of(text: str) -> tuple[str, ...]:
    """The words of a sentence as they count: numbers, versions and names of code are one word."""
    return tuple(NUMBER if has_value(word) else word for word in tokens(normalise(text)))[:_LONGEST]


def asks(text: str) -> bool:
    """Whether it ends as a question does."""
    return "?" in text.rstrip(" .!)\"'")[-3:]


def cues(sentences: Sequence[Sentence], place: int) -> Iterator[str]:
    """What is seen of a sentence of a conversation: its words alone, in twos and threes, how long it is, where in the
    conversation it stands, and what is said around it. Each once."""
    return iter(dict.fromkeys([*_own(sentences[place]), *_around(sentences, place)]))


def _own(sentence: Sentence) -> Iterator[str]:
    words = words_of(sentence.text)
    yield f"length {min(len(words) // 4, 8)}"
    if asks(sentence.text):
        yield "asks"
    habits = [name for name, pattern in HABITS.items() if pattern.search(sentence.text)]
    yield from habits
    yield from (f"{one} & {other}" for place, one in enumerate(habits) for other in habits[place + 1 :])
    framed = ("^", *words, "$")
    for size in (1, 2, 3):
        for start in range(len(framed) - size + 1):
            yield " ".join(framed[start : start + size])


def _around(sentences: Sequence[Sentence], place: int) -> Iterator[str]:
    yield f"place {_PLACES * place // len(sentences)}"
    own = sentences[place].speaker
    for steps in range(1, _BESIDE + 1):
        for sign, other in (("-", place - steps), ("+", place + steps)):
            if 0 <= other < len(sentences):
                beside = sentences[other]
                words = words_of(beside.text)
                if steps == 1:
                    yield f"{sign}{'same' if beside.speaker == own else 'other'}"
                    yield f"{sign}first {words[0] if words else ''}"
                if asks(beside.text):
                    yield f"{sign}asks"
                yield from (f"{sign}{word}" for word in words)


class Said(NamedTuple):
    """What somebody says at a place of a conversation, shown or folded."""

    position: int
    speaker: str
    text: str


def last_words(said: Iterable[Said]) -> dict[str, int]:
    """For each speaker of a conversation the place at which he says something last that may answer a question."""
    found: dict[str, int] = {}
    for one in said:
        if not _HESITATIONS.issuperset(words_of(one.text)):
            found[one.speaker] = max(one.position, found.get(one.speaker, one.position))
    return found


def unanswered(sentence: Sentence, last: Mapping[str, int]) -> bool:
    """Whether a sentence asks something after which nobody else says anything, as long as the conversation lasts.

    Args:
        last: see ``last_words``.
    """
    if not asks(sentence.text) or len(_telling(tokens(normalise(sentence.text)))) < _FEWEST_TELLING:
        return False
    return all(place <= sentence.position for speaker, place in last.items() if speaker != sentence.speaker)


def _telling(words: Sequence[str]) -> list[str]:
    return [word for word in dict.fromkeys(words) if word not in lexicon.FUNCTION_WORDS]


def quality(sentence: Sentence) -> int:
    """How well a sentence reads where it stands alone, in percent; 0 where it says nothing so."""
    words = tokens(normalise(sentence.text))
    telling = len(_telling(words))
    if not _READS_FROM <= len(words) <= _READS_TO or telling < _FEWEST_TELLING:
        return 0
    if looks_like_code(sentence.text) or is_marked_up(sentence.text):
        return 0
    found = (100 if len(words) in _GOOD else 75) * min(telling, _TELLS_MUCH) // _TELLS_MUCH
    if asks(sentence.text):
        found = found * 40 // 100
    if next((word for word in words if word not in lexicon.FILLERS), "") in _LEANS_ON_BEFORE:
        found = found * 50 // 100
    if any(len(word) == 1 and word.isalpha() and word not in _LETTERS_THAT_ARE_WORDS for word in words):
        found = found * 50 // 100
    if _UNFINISHED.search(sentence.text) or words[-1] in _HANGING:
        found = found * 50 // 100
    if sum(word in lexicon.FILLERS for word in words) > _MOST_FILLERS * len(words):
        found = found * 60 // 100
    return found
