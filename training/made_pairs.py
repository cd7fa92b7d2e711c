"""Pairs made from unlabelled lines by changes whose effect on coverage is known: what labels show too rarely.

A slip of the pen or a filler changes nothing; another number, a negation, words that change places, another word in the
place of one make another line; a line with a second one added covers it and is not covered.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from crew_pipeline.dedup import lexicon, static
from crew_pipeline.dedup.speech import speaker_names, without_addressees
from crew_pipeline.dedup.text import normalise
from training import corpora, coverage

_WORDS = (4, 28)
"""Lines of so many words are changed."""
_OF_EACH_KIND = 2_500
_WORD = re.compile(r"[a-z][a-z']{3,}")
_KIN = (0.3, 0.62)
"""Similarity of word vectors between which another word could stand in a word's place, and is another thing."""
_BEFORE = ("ok", "well", "so", "um", "yeah", "right", "please", "hi", "hey", "actually", "oh", "and", "but")
_AFTER = ("please", "right", "i think", "ok", "though", "you know", "then")
_DENIED = (
    "is/is not", "are/are not", "can/cannot", "do/do not", "will/will not", "have/have not", "should/should not",
    "was/was not", "does/does not", "would/would not", "i'm/i'm not", "it's/it's not",
)  # fmt: skip
_SUBJECTS = frozenset(["it", "this", "you", "i", "that", "there", "they", "we", "he", "she"])
_VERBS = frozenset(["is", "can", "are", "will", "should", "have", "was", "do"])
_PLAIN = frozenset(lexicon.FUNCTION_WORDS | lexicon.NEGATIONS)


@dataclass(frozen=True)
class MadePair:
    """Two texts, and which covers the other: 1, 0, or None where the change leaves that open."""

    left: str
    right: str
    left_covers: float | None
    right_covers: float | None


class Maker:
    """Makes pairs from lines, by chance."""

    def __init__(self, lines: Sequence[str], chance: random.Random) -> None:
        self._lines = lines
        self._chance = chance
        self._vocabulary = sorted({word for line in lines for word in _WORD.findall(line)} - _PLAIN)
        self._vectors = static.word_vectors(self._vocabulary)[0]
        self._place = {word: place for place, word in enumerate(self._vocabulary)}
        self._changes: tuple[Callable[[str, list[str], list[int]], MadePair | None], ...] = (
            self.filler, self.slip, self.dropped, self.another_word, self.another_word, self.another_number,
            self.denied, self.added, self.added, self.swapped, self.unrelated, self.asked,
        )  # fmt: skip

    def pairs(self, most: int) -> Iterator[MadePair]:
        """``most`` pairs, or as many as three rounds over the lines give."""
        made = 0
        for line in [*self._lines] * 3:
            words = line.split()
            telling = [n for n, word in enumerate(words) if _bare(word) in self._place]
            pair = self._chance.choice(self._changes)(line, words, telling)
            if pair is not None and pair.left != pair.right and made < most:
                made += 1
                yield pair

    def filler(self, line: str, words: list[str], telling: list[int]) -> MadePair:
        """A word of habit before or after."""
        if self._chance.random() < 0.6:
            return MadePair(line, f"{self._chance.choice(_BEFORE)}{self._chance.choice((',', ''))} {line}", 1, 1)
        end = line[-1] if line[-1] in ".!?" else ""
        return MadePair(line, f"{line.rstrip('.!?')} {self._chance.choice(_AFTER)}{end}", 1, 1)

    def slip(self, line: str, words: list[str], telling: list[int]) -> MadePair | None:
        """A letter of a word that tells something is missing, or changes places with the next."""
        if not telling:
            return None
        number = self._chance.choice(telling)
        word = words[number]
        at = self._chance.randrange(1, len(_bare(word)) - 1)
        twisted = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
        return MadePair(line, _with(words, number, self._chance.choice((twisted, word[:at] + word[at + 1 :]))), 1, 1)

    def dropped(self, line: str, words: list[str], telling: list[int]) -> MadePair | None:
        """Without a word that tells something: it does not cover the whole line; whether it is covered is left open."""
        if len(telling) < 3:
            return None
        number = self._chance.choice(telling)
        return MadePair(line, " ".join(words[:number] + words[number + 1 :]), None, 0)

    def another_word(self, line: str, words: list[str], telling: list[int]) -> MadePair | None:
        """Another word of its kind in the place of one."""
        if not telling:
            return None
        number = self._chance.choice(telling)
        word = _bare(words[number])
        likeness = self._vectors @ self._vectors[self._place[word]]
        kin = np.flatnonzero((likeness > _KIN[0]) & (likeness < _KIN[1]))
        others = [self._vocabulary[place] for place in kin.tolist() if self._vocabulary[place][:4] != word[:4]]
        if not others:
            return None
        return MadePair(line, _with(words, number, words[number].replace(word, self._chance.choice(others))), 0, 0)

    def another_number(self, line: str, words: list[str], telling: list[int]) -> MadePair | None:
        """Another number, weekday or colour."""
        digits = list(re.finditer(r"\d{1,8}", line))
        if digits:
            one = self._chance.choice(digits)
            other = str(int(one.group()) + self._chance.choice((1, 2, 5, 10)))
            return MadePair(line, line[: one.start()] + other + line[one.end() :], 0, 0)
        named = [n for n, word in enumerate(words) if word in lexicon.NUMBER_WORDS or word in lexicon.VALUE_WORDS]
        if not named:
            return None
        number = self._chance.choice(named)
        numbers = words[number] in lexicon.NUMBER_WORDS
        pool = sorted(set(lexicon.NUMBER_WORDS if numbers else lexicon.VALUE_WORDS) - {words[number]})
        return MadePair(line, _with(words, number, self._chance.choice(pool)), 0, 0)

    def denied(self, line: str, words: list[str], telling: list[int]) -> MadePair | None:
        """The same, denied."""
        if not lexicon.NEGATIONS.isdisjoint(words):
            return None
        verbs = [
            (number, pair.split("/")[1])
            for number, word in enumerate(words)
            for pair in _DENIED
            if number > 0 and word == pair.split("/")[0]
        ]
        return MadePair(line, _with(words, *self._chance.choice(verbs)), 0, 0) if verbs else None

    def added(self, line: str, words: list[str], telling: list[int]) -> MadePair | None:
        """A second line before or after."""
        other = self._chance.choice(self._lines)
        first, second = (line, other) if self._chance.random() < 0.5 else (other, line)
        return MadePair(first + self._chance.choice((". ", " and ", ", ", " ")) + second, line, 1, 0)

    def swapped(self, line: str, words: list[str], telling: list[int]) -> MadePair | None:
        """Two words that tell something have changed places; not those of a list."""
        if len(telling) < 2:
            return None
        first, second = sorted(self._chance.sample(telling, 2))
        one, other = _bare(words[first]), _bare(words[second])
        if second - first < 2 or one == other or not {"and", "or"}.isdisjoint(words[first:second]):
            return None
        changed = words.copy()
        changed[first], changed[second] = words[first].replace(one, other), words[second].replace(other, one)
        return MadePair(line, " ".join(changed), 0, 0)

    def unrelated(self, line: str, words: list[str], telling: list[int]) -> MadePair:
        """Any other line."""
        return MadePair(line, self._chance.choice(self._lines), 0, 0)

    def asked(self, line: str, words: list[str], telling: list[int]) -> MadePair | None:
        """A statement turned into a question."""
        if words[0] not in _SUBJECTS or words[1] not in _VERBS or line.endswith("?"):
            return None
        return MadePair(line, " ".join([words[1], words[0], *words[2:]]).rstrip(".!") + "?", 0, 0)


def lines_of(without: Collection[str], chance: random.Random) -> list[str]:
    """Cores of lines of the shared corpora, as many of each kind of talk, in random order.

    Args:
        without: kinds of talk that are left out; the one without a licence always is.
    """
    chosen: list[str] = []
    for kind in sorted(set(corpora.FILES) - set(without) - {coverage.UNLICENSED}):
        cores: set[str] = set()
        for rows in corpora.days_of(kind).values():
            names = speaker_names({row[3] for row in rows})
            cores.update(without_addressees(normalise(row[5]), names) for row in rows)
        fitting = sorted(core for core in cores if _WORDS[0] <= len(core.split()) <= _WORDS[1])
        chosen.extend(chance.sample(fitting, min(_OF_EACH_KIND, len(fitting))))
    chance.shuffle(chosen)
    return chosen


def _bare(word: str) -> str:
    return word.strip(".,!?")


def _with(words: Sequence[str], number: int, word: str) -> str:
    return " ".join([*words[:number], word, *words[number + 1 :]])
